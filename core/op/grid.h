/* grid.h: the grids of kernels that exist in two shapes: on CPUs an item takes a block of rows, on GPUs a
 * group of TEAM items for each of TEAMS rows does. Both have the same names and arguments, so an emitter only
 * says how many groups it needs.
 *
 *     launch k = { .file = "norm", .kernel = "l2norm", ... };
 *     i64 block = grid_rows(l, &k, rows, cols);                        // an argument of the kernel
 *     grid_groups(l, &k, CEIL_DIV(rows, block), 1, 1);
 */
#ifndef JETCL_GRID_H
#define JETCL_GRID_H
#include "graph/graph.h"

/* k's first arguments: where n's inputs lie, then where n does. How many they are. */
int  grid_operands(const node *n, launch *k);
/* Gives k a grid of x * y * z groups, -DTEAM and -DTEAMS. k->file must be set; add k before the next call. */
void grid_groups(const launches *l, launch *k, i64 x, i64 y, i64 z);
/* How many rows of `cols` values a group should take. Depends on the device class and its tuning: the order
 * of a sum may not follow from it. */
i64  grid_rows(const launches *l, const launch *k, i64 rows, i64 cols);

#endif
