/* table_forecast.h: what the parts of a table's forecast share. */
#ifndef JETCL_TABLE_FORECAST_H
#define JETCL_TABLE_FORECAST_H
#include "study/table.h"

struct asked {                              /* an experiment that is to be done */
    const struct table_run *run;
    struct cost             cost;           /* seconds; NAN: not known */
    f64                     bytes;          /* of memory */
    bool                    fits;           /* into the budget */
};

/* Sets `fits` of the n experiments of a table that are done within so many seconds in all, with the prepared
 * runs that they need. Returns the seconds that these take. */
f64 budget_choose(struct asked *list, size_t n, const struct table *t, f64 seconds);

#endif
