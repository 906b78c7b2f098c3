/* test_order.c: launches that may overlap, against the same work done one by one on the host. Ranges of
 * random lists touch one another in every way: a write must wait for what reads and writes its bytes, and be
 * waited for. */
#include "on_device.h"
#include "dev/list.h"

enum { CELLS = 24, LAUNCHES = 400, MOST = 1 << 15 };

/* Neither the order of two of these nor that of any other launch can be changed without a trace. */
static const char *const text =
    "__kernel void stir(__global const uint *x, __global uint *y, int n, int factor)\n"
    "{ for (int i = get_global_id(0); i < n; i += get_global_size(0)) y[i] = (y[i] ^ x[i]) * factor + 1; }\n";

struct step { int x, y, cells, factor; };

static struct step draw(rng *r, int room)
{
    struct step s = { .cells = 1 + (int)rng_below(r, (u32)MIN(3, room / 2)) };
    s.factor = 3 + 2 * (int)rng_below(r, 1000);
    s.x = (int)rng_below(r, (u32)(room - s.cells + 1));
    do                                            // a kernel does not read what it writes
        s.y = (int)rng_below(r, (u32)(room - s.cells + 1));
    while (abs(s.x - s.y) < s.cells);
    return s;
}

static void on_host(const struct step *s, u32 *v, int cell)
{
    for (int i = 0; i < s->cells * cell; i++)
        v[s->y * cell + i] = (v[s->y * cell + i] ^ v[s->x * cell + i]) * (u32)s->factor + 1;
}

/* A list of random steps on the first `room` cells, run twice, gives what the host gets. Returns whether any
 * may overlap. */
static bool same_as_host(u32 seed, int launches_wanted, int cell, int room)
{
    static u32 v[MOST], got[MOST];
    rng r = rng_at(seed, RNG_TEST, 0, 0);
    u64 bytes = 4 * (u64)cell;
    mem *m = mem_new(device, CELLS * bytes, "cells");
    launches *l = launches_new(device, "steps");
    struct step steps[LAUNCHES];
    assert_true(CELLS * cell <= MOST);
    for (int i = 0; i < CELLS * cell; i++)
        v[i] = rng_u32(&r);
    assert_int_equal(mem_write(device, (range){ m, 0, CELLS * bytes }, v), 0);
    for (int i = 0; i < launches_wanted; i++) {
        const struct step s = steps[i] = draw(&r, room);
        u64 n = (u64)s.cells * bytes;
        launch_add(l, &(launch){ .file = "test", .kernel = "stir", .source = text, .global = { 8 },
                                 .args = { ARG_RANGE(((range){ m, (u64)s.x * bytes, n })),
                                           ARG_RANGE(((range){ m, (u64)s.y * bytes, n })),
                                           ARG_INT(s.cells * cell), ARG_INT(s.factor) } });
    }
    if (launches_compile(l) || launches_run(l) || launches_run(l) ||
        mem_read(device, (range){ m, 0, CELLS * bytes }, got))
        fail_msg("%s", fail_message());
    for (int i = 0; i < 2 * launches_wanted; i++)
        on_host(&steps[i % launches_wanted], v, cell);
    assert_memory_equal(v, got, CELLS * bytes);
    bool overlap = l->events;
    launches_free(l);
    mem_free(m);
    return overlap;
}

static bool can_overlap(void)
{
    cl_command_queue_properties p = 0;
    clGetDeviceInfo(device->id, CL_DEVICE_QUEUE_PROPERTIES, sizeof p, &p, NULL);
    return dev_class(device) == DEV_CPU && p & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
}

static void test_random_lists(void **state)
{
    (void)state;
    static const char *const orders[] = { "", "shuffle", "in_order" };
    int least = (int)dev_info(device)->align / 4;
    LOOP(k, countof(orders)) {
        trace_set(orders[k]);
        LOOP(i, 10) {
            bool overlap = same_as_host((u32)i, LAUNCHES >> i % 4, i % 2 ? least : 8 * least, CELLS);
            assert_int_equal(overlap, k < 2 && can_overlap());
        }
    }
    trace_set("");
}

/* With two cells every step reads one and writes the other: a chain is left to the queue's own order. */
static void test_chain(void **state)
{
    (void)state;
    assert_false(same_as_host(3, 50, (int)dev_info(device)->align / 4, 2));
    assert_false(same_as_host(4, 1, (int)dev_info(device)->align / 4, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_lists), cmocka_unit_test(test_chain) };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, open_device, close_device);
}
