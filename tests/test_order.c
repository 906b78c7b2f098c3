/* test_order.c: launches that may overlap, against the same work done one by one on the host. Ranges of
 * random lists touch one another in every way: a write must wait for what reads and writes its bytes, and be
 * waited for. */
#include "on_device.h"
#include "dev/list.h"

enum { CELLS = 24, LAUNCHES = 400, MOST = 1 << 21 };

/* Neither the order of two of these nor that of any other launch can be changed without a trace. */
static const char *const text =
    "__kernel void stir(__global const uint *x, __global uint *y, int n, int factor, int times)\n"
    "{ for (int i = get_global_id(0); i < n; i += get_global_size(0))\n"
    "    for (int k = 0; k < times; k++) y[i] = (y[i] ^ x[i]) * factor + 1; }\n";

struct step { int x, y, cells, factor, groups, times; };

static struct step draw(rng *r, int room)
{
    struct step s = { .cells = 1 + (int)rng_below(r, (u32)MIN(3, room / 2)), .groups = 8, .times = 1 };
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
        for (int k = 0; k < s->times; k++)
            v[s->y * cell + i] = (v[s->y * cell + i] ^ v[s->x * cell + i]) * (u32)s->factor + 1;
}

/* A list of steps, run twice on random cells, gives what the host gets. Returns whether any may overlap. The
 * seed is in the program too: each seed's is a new one. */
static bool same_as_host(u32 seed, const struct step *steps, int n, int cell)
{
    static u32 v[MOST], got[MOST];
    arena *a = arena_open("test");
    rng r = rng_at(seed, RNG_TEST, 1, 0);
    u64 bytes = 4 * (u64)cell;
    mem *m = mem_new(device, CELLS * bytes, "cells");
    launches *l = launches_new(device, "steps");
    assert_true(CELLS * cell <= MOST);
    for (int i = 0; i < CELLS * cell; i++)
        v[i] = rng_u32(&r);
    assert_int_equal(mem_write(device, (range){ m, 0, CELLS * bytes }, v), 0);
    for (int i = 0; i < n; i++) {
        const struct step s = steps[i];
        u64 size = (u64)s.cells * bytes;
        launch_add(l, &(launch){ .file = "test", .kernel = "stir", .source = text,
                                 .defs = arena_printf(a, "-D SEED=%u", seed), .global = { (size_t)s.groups },
                                 .args = { ARG_RANGE(((range){ m, (u64)s.x * bytes, size })),
                                           ARG_RANGE(((range){ m, (u64)s.y * bytes, size })),
                                           ARG_INT(s.cells * cell), ARG_INT(s.factor), ARG_INT(s.times) } });
    }
    if (launches_compile(l) || launches_run(l) || launches_run(l) ||
        mem_read(device, (range){ m, 0, CELLS * bytes }, got))
        fail_msg("%s", fail_message());
    for (int i = 0; i < 2 * n; i++)
        on_host(&steps[i % n], v, cell);
    assert_memory_equal(v, got, CELLS * bytes);
    bool overlap = l->events;
    launches_free(l);
    mem_free(m);
    arena_close(a);
    return overlap;
}

static bool random_steps(u32 seed, int n, int cell, int room)
{
    struct step steps[LAUNCHES];
    rng r = rng_at(seed, RNG_TEST, 0, 0);
    for (int i = 0; i < n; i++)
        steps[i] = draw(&r, room);
    return same_as_host(seed, steps, n, cell);
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
            bool overlap = random_steps((u32)i, LAUNCHES >> i % 4, i % 2 ? least : 8 * least, CELLS);
            assert_int_equal(overlap, k < 2 && can_overlap());
        }
    }
    trace_set("");
}

/* With two cells every step reads one and writes the other: a chain is left to the queue's own order. */
static void test_chain(void **state)
{
    (void)state;
    assert_false(random_steps(3, 50, (int)dev_info(device)->align / 4, 2));
    assert_false(random_steps(4, 1, (int)dev_info(device)->align / 4, 2));
}

/* Launches of a new kernel, none of which needs another, and one of more groups, first or last: order.c. */
static void test_sizes(void **state)
{
    (void)state;
    struct step steps[CELLS - 1];
    for (u32 seed = 100; seed < 110; seed++) {
        for (int i = 0; i < countof(steps); i++)
            steps[i] = (struct step){ 0, 1 + i, 1, 5, i == (seed % 2 ? 0 : countof(steps) - 1) ? 16 : 8, 20 };
        assert_int_equal(same_as_host(seed, steps, countof(steps), MOST / CELLS / 64 * 64), can_overlap());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_lists), cmocka_unit_test(test_chain),
                                        cmocka_unit_test(test_sizes) };
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    return cmocka_run_group_tests(tests, open_device, close_device);
}
