/* special_lanes.h: the functions of special.h for W lanes; real and ints are the float and int of that width.
 *
 * Coefficients are minimax fits by iterated least squares (Lawson 1961). 1 - erf(t) = exp(-t^2) k Q(k),
 * k = 1/(1 + 0.38 t), has the form Hastings used (1955).
 */

/* e^(x - n log 2), where x is within log(2)/2 of n log 2 */
static inline real FN(exp_rest)(real x, real n)
{
    real r = fma(n, (real)-6.93145752e-1f, x);           /* log 2 in two parts */
    r = fma(n, (real)-1.42860677e-6f, r);
    real p = fma(r, (real)1.38145988e-3f, (real)8.36871658e-3f);
    p = fma(p, r, (real)4.1668389e-2f);
    p = fma(p, r, (real)1.66665211e-1f);
    p = fma(p, r, (real)4.99999940e-1f);
    return fma(p, r * r, r) + 1.0f;
}

/* 2^n e^r. Adding 3 2^22 rounds to an integer, which then stands in the low bits. */
static inline real FN(exp)(real x)
{
    real shifted = fma(fmin(fmax(x, (real)-104.0f), (real)89.0f), (real)1.44269504f, (real)12582912.0f);
    real p = FN(exp_rest)(x, shifted - 12582912.0f);
    ints i = TO(as, ints)(shifted) - 0x4B400000, half_i = i >> 1;      /* 2^128, denormals: in two steps */
    p = p * TO(as, real)((half_i + 127) << 23) * TO(as, real)((i - half_i + 127) << 23);
    return select(p, (real)0.0f, x < -104.0f);
}

/* The same for x <= 0 down to 2^-125, and that below: what the normal distribution needs. */
static inline real FN(exp_down)(real x)
{
    real y = fmax(x, (real)-86.6f), shifted = fma(y, (real)1.44269504f, (real)12582912.0f);
    real p = FN(exp_rest)(y, shifted - 12582912.0f);
    return TO(as, real)(TO(as, ints)(p) + (TO(as, ints)(shifted) << 23));
}

/* e^x for x <= 0, for softmax: 0 below -87, and NaN stays NaN. */
static inline real FN(exp_decay)(real x)
{
    real y = select(x, (real)-87.0f, x < -87.0f);
    real shifted = fma(y, (real)1.44269504f, (real)12582912.0f);
    real n = shifted - 12582912.0f;
    real r = fma(n, (real)-6.93145752e-1f, y);
    r = fma(n, (real)-1.42860677e-6f, r);
    real p = fma(r, (real)1.38145988e-3f, (real)8.36871658e-3f);
    p = fma(p, r, (real)4.1668389e-2f);
    p = fma(p, r, (real)1.66665211e-1f);
    p = fma(p, r, (real)4.99999940e-1f);
    p = fma(p, r * r, r) + 1.0f;
    p = TO(as, real)(TO(as, ints)(p) + (TO(as, ints)(shifted) << 23));
    return select(p, (real)0.0f, x < -87.0f);
}

/* 1 - erf(t) over exp(-t^2), t >= 0 */
static inline real FN(tail)(real t)
{
    real k = 1.0f / fma(t, (real)0.38f, (real)1.0f);
    real p = fma(k, (real)5.90417236e-2f, (real)-2.62659281e-1f);
    p = fma(p, k, (real)3.64676446e-1f);
    p = fma(p, k, (real)-1.62435710e-1f);
    p = fma(p, k, (real)2.30734944e-1f);
    p = fma(p, k, (real)1.38330147e-1f);
    p = fma(p, k, (real)2.03993693e-1f);
    p = fma(p, k, (real)2.13906273e-1f);
    p = fma(p, k, (real)2.14411795e-1f);
    return p * k;
}

static inline real FN(erf)(real x)
{
    real t = fabs(x), z = x * x;
    real p = fma(z, (real)7.85386073e-5f, (real)-8.01019371e-4f);
    p = fma(p, z, (real)5.18832775e-3f);
    p = fma(p, z, (real)-2.68538129e-2f);
    p = fma(p, z, (real)1.12835854e-1f);
    p = fma(p, z, (real)-3.76126260e-1f);
    p = fma(p, z, (real)1.28379107e-1f);
    real far = copysign(fma(-FN(exp_down)(-z), FN(tail)(t), (real)1.0f), x);
    return select(far, fma(x, p, x), t < 1.0f);
}

static inline real FN(gelu)(real x)
{
    real h = 0.5f * FN(exp_down)(-0.5f * x * x) * FN(tail)(SQRT1_2 * fabs(x));
    return x * select(1.0f - h, h, x < 0.0f);
}

static inline real FN(gelu_grad)(real x)
{
    real e = FN(exp_down)(-0.5f * x * x), h = 0.5f * e * FN(tail)(SQRT1_2 * fabs(x));
    return fma(RSQRT_2PI * e, x, select(1.0f - h, h, x < 0.0f));
}
