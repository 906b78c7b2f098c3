/* attention.h: attention from inside: attention.c, attention_host.c. */
#ifndef JETCL_OP_ATTENTION_H
#define JETCL_OP_ATTENTION_H
#include "op/op.h"

struct attention_args { int heads; node *log_sum; /* (b h n), where the backward op needs it */ };

/* Images, tokens, heads, channels of a head. */
struct attention_sizes { i64 b, n, h, d; };
struct attention_sizes attention_sizes(const node *n);
bool attention_on_gpu(const node *n);

/* What op->host and op->host_side ask for: y (b n d); side (b h n); dx (b n 3*d). */
void attention_host(const node *n, const f64 *const *in, f64 *y);
void attention_host_log_sum(const node *n, const node *side, const f64 *const *in, f64 *y);
void attention_grad_host(const node *n, const f64 *const *in, f64 *dx);

#endif
