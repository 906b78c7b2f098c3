/* lockstep_host.h: an op's values by plain loops in float64. Private to this folder. */
#ifndef JETCL_LOCKSTEP_HOST_H
#define JETCL_LOCKSTEP_HOST_H
#include "op/op.h"

/* Is there a loop for n? And its values from those of its operands; NULL: there is none. */
bool       lockstep_on_host(const node *n);
const f64 *lockstep_host(arena *a, const node *n, const f64 *const *operands);

#endif
