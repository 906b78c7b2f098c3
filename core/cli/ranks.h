/* ranks.h: a command on several devices starts itself once for each, by way of mpirun. */
#ifndef JETCL_RANKS_H
#define JETCL_RANKS_H
#include "cli/cli.h"

/* Where the setting names several devices and no launcher has started us: runs the command line with a rank on
 * each and ends the program with its exit code. Else 0, or -1 + fail. */
int ranks_launch(struct cli *c, const char *devices);

#endif
