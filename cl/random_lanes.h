/* random_lanes.h: unit, ln and normal of random.h for W lanes: core/base/rng.c's polynomials to the letter. No
 * product there feeds a sum except through fma, so no compiler can contract one. */

static inline real FN(unit)(bits b) { return TO(convert, real)(b >> 8) * 0x1p-24f; }

static inline real FN(ln)(real x)
{
    bits u = TO(as, bits)(x);
    ints e = TO(as, ints)((u - 0x3F3504F3u) >> 23);
    e -= (e & 0x100) << 1;
    real t = TO(as, real)(u - (TO(as, bits)(e) << 23)) - 1.0f;
    real p = fma((real)7.0376836292e-2f, t, (real)-1.1514610310e-1f);
    p = fma(p, t, (real)1.1676998740e-1f);
    p = fma(p, t, (real)-1.2420140846e-1f);
    p = fma(p, t, (real)1.4249322787e-1f);
    p = fma(p, t, (real)-1.6668057665e-1f);
    p = fma(p, t, (real)2.0000714765e-1f);
    p = fma(p, t, (real)-2.4999993993e-1f);
    p = fma(p, t, (real)3.3333331174e-1f);
    real y = p * t * t * t;
    y = fma(-0.5f * t, t, y) + t;
    return fma(TO(convert, real)(e), (real)0.693147180f, y);
}

static inline real FN(normal)(real u)
{
    real x = fma((real)2.0f, u, (real)-0x1.fffffep-1f);
    real y = -FN(ln)(fma(-x, x, (real)1.0f)), w = y - 2.5f;
    real p = fma((real)2.81022636e-08f, w, (real)3.43273939e-07f);
    p = fma(p, w, (real)-3.5233877e-06f);
    p = fma(p, w, (real)-4.39150654e-06f);
    p = fma(p, w, (real)0.00021858087f);
    p = fma(p, w, (real)-0.00125372503f);
    p = fma(p, w, (real)-0.00417768164f);
    p = fma(p, w, (real)0.246640727f);
    p = fma(p, w, (real)1.50140941f);
    if (FN(FAR)(y)) {
        real s = sqrt(y) - 3.0f, q = fma((real)-0.000200214257f, s, (real)0.000100950558f);
        q = fma(q, s, (real)0.00134934322f);
        q = fma(q, s, (real)-0.00367342844f);
        q = fma(q, s, (real)0.00573950773f);
        q = fma(q, s, (real)-0.0076224613f);
        q = fma(q, s, (real)0.00943887047f);
        q = fma(q, s, (real)1.00167406f);
        q = fma(q, s, (real)2.83297682f);
        p = select(p, q, y >= 5.0f);
    }
    return 1.41421356f * p * x;
}
