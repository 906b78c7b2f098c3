/* dev_help.h: what the tests of the device runtime share: the device they run on, and a kernel for it. */
#include "unit.h"
#include <stdlib.h>
#include "dev/dev.h"

static arena *scratch;

static dev *open_device(void)
{
    struct dev_info *all;
    if (!getenv("JETCL_DEVICE") && !dev_list(scratch, &all)) {
        print_message("no OpenCL device here\n");
        skip();
    }
    dev *d = dev_open(getenv("JETCL_DEVICE") ? NULL : "0:0");
    if (!d)
        fail_msg("%s", fail_message());
    return d;
}

static const char *const text_add =
    "__kernel void add(__global float *x, const float a, const int n)\n"
    "{ int i = get_global_id(0); if (i < n) x[i] += a; }\n";
