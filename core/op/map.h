/* map.h: a pointwise node from inside, for map.c, map_text.c and map_emit.c. */
#ifndef JETCL_OP_MAP_H
#define JETCL_OP_MAP_H
#include "op/op.h"

/* Operands are the node's, then its steps: a random step has a shape of its own. */
struct layout {
    int n_axes;                          /* after merging; the last is the columns */
    i64 extent[MAX_DIM];
    u32 full[MAX_IN + MAX_STEPS];        /* bit per axis: does this operand (or random step) vary along it? */
};

/* The variables a text may use, in operand order: a forward text the operands; a derivative also y and dy. */
extern const char *const map_variables[3][4];
bool map_uses(const char *text, const char *word);      /* does the formula name it? */

/* ---- map_text.c */
struct layout map_layout(const node *n);
const char *map_text(arena *a, const node *n, const struct layout *l, const char **name);

/* ---- map_emit.c */
void map_emit(const node *n, launches *l);

/* ---- map_onnx.c */
const char *map_onnx(const node *n, struct onnx *o);

#endif
