/* move.h: how the kernels of cl/move.cl divide their work, for move.c and permute.c. */
#ifndef JETCL_OP_MOVE_H
#define JETCL_OP_MOVE_H
#include "op/op.h"

/* A group's share of rows of `run` values: `chunk` of the run, of `rows` rows. */
struct share { i64 chunks, chunk, rows; };
struct share move_share(const launches *l, i64 a, i64 run);

#endif
