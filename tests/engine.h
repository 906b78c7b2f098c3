/* engine.h: a device with an emulated matrix engine, and half types on the host. */
#ifndef JETCL_ENGINE_H
#define JETCL_ENGINE_H
#include "on_device.h"
#include <math.h>
#include <stdlib.h>

/* To the nearest value of a half type. */
static f32 nearest(f32 x, enum dtype t)
{
    int e;
    if (t == F32)
        return x;
    frexp((f64)x, &e);
    f64 quantum = ldexp(1, e - (t == F16 ? 11 : 8));
    return (f32)(nearbyint((f64)x / quantum) * quantum);
}

static dev *open_engine(const char *fake)
{
    setenv("JETCL_FAKE", fake, 1);
    dev *d = dev_open(NULL);
    unsetenv("JETCL_FAKE");
    assert_non_null(d);
    assert_non_null(dev_matrix(d));                // it passed its check
    dev_force_class(d, DEV_GPU);                   // compiled in a tenth of the time, not optimised
    return d;
}
#endif
