/* special.h: exp, erf and gelu as polynomials, one text for one, four and sixteen lanes: exp_1 exp_4 exp_16,
 * and so on. A driver's erf(float) can be twenty times slower than its erf(float16) (PoCL calls libm lane by
 * lane), and two drivers differ in the last bits; these agree wherever fma and division round correctly.
 *
 *     exp_N(x)         e^x
 *     exp_decay_N(x)   e^x, x <= 0
 *     erf_N(x)         2/sqrt(pi) int_0^x exp(-t^2) dt
 *     gelu_N(x)        x Phi(x), Phi the normal distribution function
 *     gelu_grad_N(x)   Phi(x) + x phi(x)
 */
#ifndef SPECIAL_H
#define SPECIAL_H

#define W     1
#define real  float
#define ints int
#include "special_lanes.h"
#undef W
#undef real
#undef ints

#define W     4
#define real  float4
#define ints int4
#include "special_lanes.h"
#undef W
#undef real
#undef ints

#define W     16
#define real  float16
#define ints int16
#include "special_lanes.h"
#undef W
#undef real
#undef ints
#endif
