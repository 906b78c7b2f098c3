/* ops.c: the table of ops.def. */
#include "op/op.h"

#define OP(name) extern const op name##_op;
#include "op/ops.def"
#undef OP

const op *const op_list[] = {
#define OP(name) &name##_op,
#include "op/ops.def"
#undef OP
};
const int op_count = countof(op_list);
