/* loss_scale.c: the loss scale of training in F16, on the device: see cl/loss_scale.cl. */
#include "op/op.h"
#include <math.h>

static const char *loss_scale_shape(const node *n, struct shape *out)
{
    (void)n;
    *out = SCALAR;
    return NULL;
}

static void loss_scale_emit(const node *n, launches *l)
{
    const struct loss_scale_args *a = n->args;
    launch_add(l,
               &(launch){ .file = "loss_scale",
                          .kernel = "loss_scale",
                          .label = n->name,
                          .global = { 1 },
                          .local = { 1 },
                          .args = { ARG_RANGE(a->state), ARG_RANGE(n->in[0]->home), ARG_RANGE(n->in[1]->home),
                                    ARG_REAL(log(a->beta1)), ARG_REAL(log(a->beta2)), ARG_INT(a->grow),
                                    ARG_REAL(LOSS_SCALE_MOST) } });
}

const op loss_scale_op = { "loss_scale", .args = sizeof(struct loss_scale_args), .flags = OP_EFFECT,
                           .shape = loss_scale_shape, .emit = loss_scale_emit };

void op_loss_scale(node *square_sum, const struct loss_scale_args *a)
{
    node_new(&loss_scale_op, a, square_sum, graph_step(square_sum->g));
}
