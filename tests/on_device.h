/* on_device.h: the device that a test of ops runs on; cmocka's group setup and teardown. */
#ifndef JETCL_ON_DEVICE_H
#define JETCL_ON_DEVICE_H
#include "unit.h"
#include "dev/dev.h"

static dev *device;

static int open_device(void **state)
{
    (void)state;
    device = dev_open(NULL);
    if (!device)
        fprintf(stderr, "%s\n", fail_message());
    return device ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    dev_close(device);
    return 0;
}
#endif
