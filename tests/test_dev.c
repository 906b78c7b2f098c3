/* test_dev.c: the device runtime: choosing, memory, programs and their cache, launch lists, CLBlast, the null
 * device. Runs on the device that JETCL_DEVICE chooses; PoCL is asked to show two, so that choosing between
 * devices is tested too. */
#include "dev_help.h"
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];                      /* of this run's kernels and caches; removed at the end */

static void expect_fail(enum fault fault, const char *part)
{
    if (fail_fault() != fault || !strstr(fail_message(), part))
        fail_msg("expected fault %d with '%s', got %d: %s", fault, part, fail_fault(), fail_message());
    fail_clear();
}

#define must(x) do { if (x) fail_msg("%s: %s", #x, fail_message()); } while (0)

/* Text files below the test's folder. */
static char *write_file(const char *name, const char *text)
{
    char *path = arena_printf(scratch, "%s/%s", folder, name), *dir = arena_printf(scratch, "%s", path);
    *strrchr(dir, '/') = 0;
    must(file_mkdirs(dir));
    must(file_save(path, text, strlen(text)));
    return path;
}

/* ---- choosing ------------------------------------------------------------------------------------------ */

static void test_choosing(void **state)
{
    (void)state;
    struct dev_info *all;
    dev_close(open_device());
    int n = dev_list(scratch, &all), gpus = 0;
    for (int i = 0; i < n; i++) {
        dev *d = dev_open(all[i].spec);
        assert_non_null(d);
        assert_string_equal(dev_info(d)->name, all[i].name);
        assert_int_equal(dev_class(d), all[i].cpu_kind ? DEV_CPU : DEV_GPU);
        assert_true(all[i].max_alloc > 0 && all[i].simd >= 4 && all[i].align >= 64);
        gpus += all[i].gpu_kind;
        dev_close(d);
    }
    if (n > 1 && !strcmp(all[0].platform, all[1].platform)) {
        assert_null(dev_open(all[0].platform));
        expect_fail(FAULT_DEVICE, "more than one");
        dev *d = dev_open("BASIC");                          // one of PoCL's two
        assert_non_null(d);
        dev_close(d);
    }
    if (!gpus) {
        assert_null(dev_open("gpu"));
        expect_fail(FAULT_DEVICE, "no gpu here; devices: 0:0");
    }
    const char *const unknown[] = { "abacus", "9:9", "uuid:00", "pci:ff:1f.7", "uuid:", "pci:", "a,b" };
    for (int i = 0; i < countof(unknown); i++) {
        assert_null(dev_open(unknown[i]));
        expect_fail(FAULT_DEVICE, "devices: ");
    }
    setenv("JETCL_CLASS", "tpu", 1);
    assert_null(dev_open("0:0"));
    expect_fail(FAULT_USAGE, "JETCL_CLASS");
    unsetenv("JETCL_CLASS");
    setenv("JETCL_CL", "/nonexistent", 1);
    assert_null(dev_open("0:0"));
    expect_fail(FAULT_USAGE, "JETCL_CL");
    unsetenv("JETCL_CL");
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static void test_memory(void **state)
{
    (void)state;
    dev *d = open_device();
    u32 in[1000], out[1000], step = dev_info(d)->align;
    bool real = dev_class(d) != DEV_NULL;
    for (u32 i = 0; i < 1000; i++)
        in[i] = i * 2654435761u;
    mem *m = mem_new(d, 3 * 8192, "three parts");
    range a = { m, 0, 4000 }, b = { m, 8192, 4000 }, c = { m, 16384 + step, 4000 };
    assert_non_null(m);
    assert_int_equal(dev_mem_used(d), mem_bytes(m));
    must(mem_write(d, a, in));
    must(mem_copy(d, b, a));
    must(mem_fill(d, c, 0xABCD1234));
    must(mem_read(d, b, out));
    for (int i = 0; i < 1000; i++)
        assert_true(out[i] == (real ? in[i] : 0));
    must(mem_read(d, c, out));
    assert_true(out[0] == (real ? 0xABCD1234 : 0) && out[999] == out[0]);

    fence last = 0;
    for (int i = 0; i < 200; i++) {                          // more fences than are kept
        must(mem_write_later(d, (range){ m, 0, 4 }, &in[i]));
        must(mem_read_later(d, (range){ m, 0, 4 }, &out[i]));
        last = dev_fence(d);
    }
    must(dev_wait(d, last));
    must(dev_wait(d, 0));
    for (int i = 0; i < 200; i++)
        assert_true(out[i] == (real ? in[i] : 0));

    must(mem_read(d, (range){ m, 0, 0 }, NULL));
    mem *n = mem_new(d, 1, "one byte");
    assert_int_equal(dev_mem_used(d), mem_bytes(m) + mem_bytes(n));
    mem_free(m);
    mem_free(n);
    assert_int_equal(dev_mem_used(d), 0);
    assert_true(dev_mem_peak(d) >= 3 * 8192);
    dev_limit_alloc(d, 1 << 20);
    assert_null(mem_new(d, (1 << 20) + 1, "weights"));
    expect_fail(FAULT_DEVICE, "weights: needs 1.0 MB in one allocation");
    assert_null(mem_new(d, ~(u64)0 >> 1, "everything"));
    expect_fail(FAULT_DEVICE, "everything");
    dev_close(d);
}

static void test_pool(void **state)
{
    (void)state;
    dev *d = open_device();
    u32 step = dev_info(d)->align;
    pool *p = pool_new(d, "parameters");
    must(pool_reserve(p, 100 * step));
    range first = pool_take(p, 1), r = first;
    for (int i = 1; i < 100; i++) {
        r = pool_take(p, i % 2 ? step : 1);
        assert_ptr_equal(r.mem, first.mem);
        assert_int_equal(r.off, (u64)i * step);
    }
    assert_int_equal(pool_total(p), 100 * step);
    assert_ptr_not_equal(pool_take(p, 1).mem, first.mem);
    pool_free(p);
    assert_int_equal(dev_mem_used(d), 0);

    dev_limit_alloc(d, 64 * step);                           // a small device: several mems, none in two
    p = pool_new(d, "activations");
    must(pool_reserve(p, 160 * step));
    for (int i = 0; i < 10; i++) {
        r = pool_take(p, 15 * step);
        assert_true(r.mem && r.off + r.bytes <= mem_bytes(r.mem) && r.off % step == 0);
    }
    assert_int_equal(pool_total(p), 160 * step);
    assert_null(pool_take(p, 65 * step).mem);
    expect_fail(FAULT_DEVICE, "activations");
    pool_free(p);
    dev_close(d);
}

/* ---- launch lists -------------------------------------------------------------------------------------- */

static void test_launches(void **state)
{
    (void)state;
    dev *d = open_device();
    enum { N = 1000 };
    f32 in[N], out[N];
    for (int i = 0; i < N; i++)
        in[i] = (f32)i;
    mem *m = mem_new(d, 8192, "m");
    range x = { m, 0, 4 * N }, y = { m, 4096, 4 * N }, tail = { m, 4096 + dev_info(d)->align, 4 };
    must(mem_write(d, x, in));
    launches *l = launches_new(d, "test");
    u64 wg = (u64)dev_tune(d, "copy", "WG");
    launch copy = { .file = "copy", .kernel = "copy_scaled", .defs = "-DWG=1", .label = "node 7",
                    .bytes = 8 * N, .global = { ROUND_UP(N, wg) }, .local = { wg },
                    .args = { ARG_RANGE(x), ARG_RANGE(y), ARG_INT(N), ARG_REAL(2) } };
    launch add = { .file = "group", .kernel = "add", .source = text_add, .global = { N },
                   .args = { ARG_RANGE(y), ARG_REAL(1), ARG_INT(N) } };
    launch_add(l, &copy);
    launch_add(l, &add);
    add.args[0].r = tail;                                    // overlaps y: the queue is in order
    add.args[1].f = 100;
    add.args[2].i = 1;
    launch_add(l, &add);
    add.global[0] = 0;                                       // nothing to do
    launch_add(l, &add);
    must(launches_compile(l));
    must(launches_compile(l));
    must(launches_run(l));
    must(mem_read(d, y, out));
    int at = (int)dev_info(d)->align / 4;
    for (int i = 0; i < N && dev_class(d) != DEV_NULL; i++)
        assert_true(out[i] == 2 * in[i] + 1 + (i == at ? 100 : 0));

    must(launches_run_part(l, 1, 2));
    must(mem_read(d, y, out));
    assert_true(dev_class(d) == DEV_NULL || out[5] == 12);

    f64 seconds[4];
    must(launches_time(l, seconds));
    for (int i = 0; i < 4; i++) {
        bool some = i < 3 && dev_class(d) != DEV_NULL;
        assert_true(seconds[i] >= 0 && seconds[i] < 10 && (seconds[i] > 0 || !some));
    }
    assert_int_equal(launches_count(l), 4);
    assert_string_equal(launches_at(l, 0)->label, "node 7");
    assert_ptr_equal(launches_dev(l), d);
    launches_free(l);
    mem_free(m);
    dev_close(d);
}

/* Every kind of argument, a buffer that is not given, a local size in three axes, and a list that grows after
 * compiling. */
static void test_arguments(void **state)
{
    (void)state;
    static const char *const text =
        "__kernel void kinds(__global const float *none, __global long *y, const long a, const uint b,\n"
        "                    const float c, const long4 d, __local int *t)\n"
        "{ int i = get_local_id(0) + 2 * get_local_id(1) + 4 * get_local_id(2);\n"
        "  t[i] = i; barrier(CLK_LOCAL_MEM_FENCE);\n"
        "  if (i == 0)\n"
        "      y[get_group_id(1)] = a + b + (long)c + d.s0 + 10 * d.s3 + t[7] + (none ? 1000000 : 0); }\n";
    dev *d = open_device();
    mem *m = mem_new(d, 64, "y");
    range y = { m, 0, 16 };
    i64 out[2] = { 0 };
    launch k = { .file = "kinds", .kernel = "kinds", .source = text,
                 .global = { 2, 4, 2 }, .local = { 2, 2, 2 },
                 .args = { ARG_RANGE(RANGE_NONE), ARG_RANGE(y), ARG_LONG((i64)1 << 40), ARG_INT(3),
                           ARG_REAL(5), ARG_LONG4(1, 2, 3, 4), ARG_LOCAL(32) } };
    launches *l = launches_new(d, "test");
    launch_add(l, &k);
    must(launches_compile(l));
    must(launches_run(l));
    must(mem_read(d, y, out));
    i64 expected = dev_class(d) == DEV_NULL ? 0 : ((i64)1 << 40) + 3 + 5 + 41 + 7;
    assert_true(out[0] == expected && out[1] == expected);
    k.args[3].i = 4;
    launch_add(l, &k);
    must(launches_compile(l));
    must(launches_run(l));
    must(mem_read(d, y, out));
    assert_true(out[1] == expected + (expected != 0));
    k.args[6].bytes = dev_info(d)->local_mem + 4;
    launch_add(l, &k);
    if (dev_class(d) != DEV_NULL) {
        assert_int_equal(launches_compile(l), -1);
        expect_fail(FAULT_DEVICE, "bytes of local memory");
    }
    launches_free(l);
    mem_free(m);
    dev_close(d);
}

/* ---- programs ------------------------------------------------------------------------------------------ */

/* Lines of the kernel trace that hold `part`, since the last call with NULL. */
static int traced(const char *part)
{
    char *path = arena_printf(scratch, "%s/trace", folder);
    static size_t seen;
    size_t n;
    char *text = file_text(scratch, path, &n);
    int count = 0;
    for (char *p = text ? text + seen : NULL; part && p && (p = strstr(p, part)); p++)
        count++;
    if (!part)
        seen = text ? n : 0;
    return count;
}

static void trace_kernels(bool on, const char *more)
{
    trace_set(on ? arena_printf(scratch, "kernel,file:%s/trace%s", folder, more) : "");
    if (on)
        traced(NULL);
}

static int run_constant(dev *d, const launch *k)
{
    mem *m = mem_new(d, 64, "out");
    launches *l = launches_new(d, "constant");
    launch c = *k;
    i32 out = -1;
    c.global[0] = 1;
    c.args[0] = (arg)ARG_RANGE(((range){ m, 0, 4 }));
    launch_add(l, &c);
    if (launches_compile(l) || launches_run(l) || mem_read(d, (range){ m, 0, 4 }, &out))
        out = -1;
    launches_free(l);
    mem_free(m);
    return out;
}

static void test_classes(void **state)
{
    (void)state;
    static const char *const text = "__kernel void which(__global int *y) { *y = %s; }\n";
    write_file("cl/which.cl", "#include \"base_value.h\"\n"
                              "__kernel void which(__global int *y) { *y = VALUE; }\n");
    write_file("cl/base_value.h", "#ifndef VALUE\n#define VALUE 1\n#endif\n");
    write_file("cl/cpu/which.cl", arena_printf(scratch, text, "CLASS_CPU + 1"));
    write_file("cl/gpu/which.cl", arena_printf(scratch, text, "CLASS_GPU + 2"));
    setenv("JETCL_CL", arena_printf(scratch, "%s/cl", folder), 1);
    const launch k = { .file = "which", .kernel = "which" };
    dev *d = open_device();
    if (dev_class(d) == DEV_NULL)
        goto done;
    dev_force_class(d, DEV_CPU);
    assert_int_equal(run_constant(d, &k), 2);
    assert_true(dev_has_override(d, "which") && !dev_has_override(d, "copy"));
    assert_int_equal(dev_tune(d, "copy", "WG"), 1);
    trace_set("no-class");
    assert_int_equal(run_constant(d, &k), 1);
    assert_false(dev_has_override(d, "which"));
    assert_int_equal(dev_tune(d, "copy", "WG"), 64);
    const launch nine = { .file = "which", .kernel = "which", .defs = "-DVALUE=9" };
    assert_int_equal(run_constant(d, &nine), 9);
    trace_set("");
    dev_close(d);
    setenv("JETCL_CLASS", "gpu", 1);
    d = open_device();
    assert_int_equal(dev_class(d), DEV_GPU);
    assert_int_equal(run_constant(d, &k), 3);
    assert_int_equal(dev_tune(d, "copy", "WG"), 64);
done:
    unsetenv("JETCL_CLASS");
    unsetenv("JETCL_CL");
    dev_close(d);
}

static void test_build_errors(void **state)
{
    (void)state;
    write_file("cl/broken.cl", "/* one */\n/* two */\n"
                               "__kernel void broken(__global int *y) { *y = nonsense; }\n");
    write_file("cl/inner.h", "\n\nstatic int f(void) { return missing; }\n");
    write_file("cl/outer.cl", "/* one */\n#include \"inner.h\"\n"
                              "__kernel void outer(__global int *y) { *y = absent; }\n");
    write_file("cl/lost.cl", "\n#include \"nowhere.h\"\n__kernel void lost(__global int *y) { }\n");
    setenv("JETCL_CL", arena_printf(scratch, "%s/cl", folder), 1);
    dev *d = open_device();
    if (dev_class(d) != DEV_NULL) {
        const launch broken = { .file = "broken", .kernel = "broken", .label = "blocks.3" };
        assert_int_equal(run_constant(d, &broken), -1);
        expect_fail(FAULT_DEVICE,
                    "broken (blocks.3): cl/broken.cl: clBuildProgram: CL_BUILD_PROGRAM_FAILURE");
        run_constant(d, &(launch){ .file = "broken", .kernel = "broken" });
        expect_fail(FAULT_DEVICE, "cl/broken.cl:3");
        run_constant(d, &(launch){ .file = "outer", .kernel = "outer" });
        assert_non_null(strstr(fail_message(), "cl/inner.h:3"));
        expect_fail(FAULT_DEVICE, "cl/outer.cl:3");
        run_constant(d, &(launch){ .file = "lost", .kernel = "lost" });
        expect_fail(FAULT_DEVICE, "cl/lost.cl:2: no kernel file cl/nowhere.h");
        run_constant(d, &(launch){ .file = "absent", .kernel = "absent" });
        expect_fail(FAULT_DEVICE, "no kernel file cl/absent.cl");
        run_constant(d, &(launch){ .file = "maps", .kernel = "map",
                                   .source = "\n__kernel void map(__global int *y) { y = q; }" });
        expect_fail(FAULT_DEVICE, "maps:2");
    }
    unsetenv("JETCL_CL");
    dev_close(d);
}

/* No program is built twice in a process, whichever list asks; generated kernels are shared between lists. */
/* What cl/builtins.h has not is found all the same. */
static void test_other_builtins(void **state)
{
    (void)state;
    static const char *const text =
        "__kernel void turn(__global float *x)\n"
        "{ const int i = get_global_id(0); x[i] = atan2pi(x[i], x[i]); }\n";
    dev *d = open_device();
    mem *m = mem_new(d, 4 * 4, "values");
    range r = { m, 0, 4 * 4 };
    f32 x[4] = { 1, 2, 3, -4 }, got[4];
    launches *l = launches_new(d, "group");
    launch_add(l, &(launch){ .file = "group", .kernel = "turn", .source = text, .global = { 4 },
                             .args = { ARG_RANGE(r) } });
    must(launches_compile(l));
    must(mem_write(d, r, x));
    must(launches_run(l));
    must(mem_read(d, r, got));
    for (int i = 0; i < 4; i++)
        assert_float_equal(got[i], i < 3 ? 0.25 : -0.75, 1e-6);
    launches_free(l);
    mem_free(m);
    dev_close(d);
}

static void test_sharing(void **state)
{
    (void)state;
    dev *d = open_device();
    trace_kernels(true, "");
    const char *const text[] = { "__kernel void three(__global int *y) { *y = 3; }",
                                 "__kernel void four(__global int *y) { *y = 4; }" };
    mem *m = mem_new(d, 64, "out");
    launch k = { .file = "shared", .global = { 1 }, .args = { ARG_RANGE(((range){ m, 0, 4 })) } };
    for (int round = 0; round < 2 && dev_class(d) != DEV_NULL; round++) {
        launches *l = launches_new(d, "list");
        k.kernel = "three", k.source = text[0];
        launch_add(l, &k);
        launch_add(l, &k);
        k.kernel = "four", k.source = text[1];
        launch_add(l, &k);
        must(launches_compile(l));
        must(launches_run(l));
        launches_free(l);
        assert_int_equal(traced("built shared"), 1);
        const launch three = { .file = "shared", .kernel = "three", .source = text[0] };
        assert_int_equal(run_constant(d, &three), 3);
        assert_int_equal(traced("built shared"), 1);
    }
    trace_kernels(false, "");
    mem_free(m);
    dev_close(d);
}

static dev *cached_device(const char *cache)
{
    dev_set_cache_dir(cache);
    return open_device();
}

static void test_cache(void **state)
{
    (void)state;
    const launch k = { .file = "cached", .kernel = "seven",
                       .source = "__kernel void seven(__global int *y) { *y = 7; }" };
    char *cache = arena_printf(scratch, "%s/alone", folder);
    trace_kernels(true, ",binaries");
    dev *d = cached_device(cache);
    if (dev_class(d) == DEV_NULL) {
        trace_kernels(false, "");
        dev_close(d);
        return;
    }
    assert_int_equal(run_constant(d, &k), 7);
    assert_int_equal(traced("built cached"), 1);
    dev_close(d);
    d = cached_device(cache);
    assert_int_equal(run_constant(d, &k), 7);
    assert_int_equal(traced("loaded cached"), 1);
    dev_close(d);

    static const char *const damage[] = {                    // cut short, a bit flipped, not ours, empty
        "f=$(ls %s/kernels/*.bin) && head -c 1000 $f >$f.x && mv $f.x $f",
        "f=$(ls %s/kernels/*.bin) && printf X | dd of=$f bs=1 seek=900 conv=notrunc 2>/dev/null",
        "f=$(ls %s/kernels/*.bin) && echo nonsense >$f", "f=$(ls %s/kernels/*.bin) && : >$f" };
    for (int i = 0; i < countof(damage); i++) {
        assert_int_equal(system(arena_printf(scratch, damage[i], cache)), 0);
        d = cached_device(cache);
        traced(NULL);
        assert_int_equal(run_constant(d, &k), 7);
        assert_int_equal(traced("built cached"), 1);
        assert_string_equal(fail_message(), "");
        dev_close(d);
    }
    write_file("occupied", "a file where the cache's folder should be");
    d = cached_device(arena_printf(scratch, "%s/occupied", folder));
    assert_int_equal(run_constant(d, &k), 7);
    assert_string_equal(fail_message(), "");
    dev_close(d);
    trace_kernels(false, "");
    dev_set_cache_dir(cache);
}

/* ---- CLBlast ------------------------------------------------------------------------------------------- */

static void test_gemm(void **state)
{
    (void)state;
    dev *d = open_device();
    if (dev_class(d) == DEV_CPU)
        assert_false(dev_blas(d));
    if (dev_class(d) != DEV_NULL) {
        dev_want_blas(d);
        assert_true(dev_blas(d));                            // its self-check, against plain loops
        trace_set("no_blas");
        assert_false(dev_blas(d));
        trace_set("");
    }
    mem *m = mem_new(d, 4096, "matrices");
    const f32 a[6] = { 1, 2, 3, 4, 5, 6 }, b[6] = { 1, 0, 2, 0, 0, 1 };
    f32 c[4];
    must(mem_write(d, (range){ m, 0, 24 }, a));
    must(mem_write(d, (range){ m, 1024, 24 }, b));
    launches *l = launches_new(d, "gemm");
    const struct gemm product = { .m = 2, .n = 2, .k = 3, .lda = 3, .ldb = 2, .ldc = 2, .batch = 1,
                                  .alpha = 1, .a = { m, 0, 24 }, .b = { m, 1024, 24 },
                                  .c = { m, 2048, 16 } };
    launch_gemm(l, &product, "product");
    launch_add(l, &(launch){ .file = "group", .kernel = "add", .source = text_add, .global = { 4 },
                             .args = { ARG_RANGE(((range){ m, 2048, 16 })), ARG_REAL(100), ARG_INT(4) } });
    must(launches_compile(l));
    must(launches_run(l));
    must(mem_read(d, (range){ m, 2048, 16 }, c));
    assert_true(dev_class(d) == DEV_NULL || (c[0] == 105 && c[1] == 103 && c[2] == 114 && c[3] == 106));
    f64 seconds[2];
    must(launches_time(l, seconds));
    assert_true(seconds[0] >= 0);
    launches_free(l);
    mem_free(m);
    dev_close(d);
}

/* ---- the null device ----------------------------------------------------------------------------------- */

/* A device may be asked whether groups see each other's sums; a kernel that looks too early is told from one
 * that does not, and nothing of it is left behind. */
static void test_joins(void **state)
{
    (void)state;
    dev *d = dev_open("cpu");
    u64 used = dev_mem_used(d);
    assert_true(dev_joins_hold(d, NULL));
    assert_false(dev_joins_hold(d, "-DBROKEN=1"));
    assert_false(dev_joins_hold(d, "-DFENCE=1+"));        // does not build: no, and no failure of the program
    assert_int_equal(fail_fault(), 0);
    assert_true(dev_joins_hold(d, NULL));
    assert_int_equal(dev_mem_used(d), used);
    dev_close(d);
}

static void test_null(void **state)
{
    (void)state;
    char *before = getenv("JETCL_DEVICE") ? arena_printf(scratch, "%s", getenv("JETCL_DEVICE")) : NULL;
    setenv("JETCL_DEVICE", "null", 1);
    test_memory(state);
    test_pool(state);
    test_launches(state);
    test_arguments(state);
    test_gemm(state);
    if (before)
        setenv("JETCL_DEVICE", before, 1);
    else
        unsetenv("JETCL_DEVICE");
}

static int setup(void **state)
{
    (void)state;
    scratch = arena_open("test");
    snprintf(folder, sizeof folder, "/tmp/test_dev.%d", (int)getpid());
    setenv("JETCL_CACHE_DIR", arena_printf(scratch, "%s/cache", folder), 1);
    say_setup((struct say_options){ .level = SAY_QUIET });
    return file_mkdirs(folder);
}

static int teardown(void **state)
{
    (void)state;
    return system(arena_printf(scratch, "rm -rf %s", folder));
}

/* Where a driver keeps what it built: its own variable, XDG's folder, the home's. */
static void test_cache_hints(void **state)
{
    (void)state;
    static const struct { const char *platform, *given, *xdg, *says; } rows[] = {
        { "rusticl", "/mesa", "/xdg", "remove /mesa and " },
        { "rusticl", "", "/xdg", "remove /xdg/mesa_shader_cache and " },
        { "rusticl", "", "", "remove /home/me/.cache/mesa_shader_cache and " },
        { "NVIDIA CUDA", NULL, "/xdg", "remove /home/me/.nv/ComputeCache and " } };
    arena *a = arena_open("test");
    char *home = arena_printf(a, "%s", getenv("HOME") ? getenv("HOME") : "");
    const char *xdg = getenv("XDG_CACHE_HOME"), *kernels = arena_printf(a, "%s/kernels", dev_cache_dir());
    xdg = xdg ? arena_printf(a, "%s", xdg) : NULL;
    setenv("HOME", "/home/me", 1);
    for (int i = 0; i < countof(rows); i++) {
        struct dev_info d = { .pci = "" };
        snprintf(d.platform, sizeof d.platform, "%s", rows[i].platform);
        setenv("MESA_SHADER_CACHE_DIR", rows[i].given ? rows[i].given : "", 1);
        setenv("XDG_CACHE_HOME", rows[i].xdg, 1);
        const char *want = arena_printf(a, "; if it is a damaged cache, %s%s", rows[i].says, kernels);
        assert_string_equal(dev_cache_hint(a, &d), want);
    }
    setenv("HOME", home, 1);
    unsetenv("MESA_SHADER_CACHE_DIR");
    xdg ? setenv("XDG_CACHE_HOME", xdg, 1) : unsetenv("XDG_CACHE_HOME");
    arena_close(a);
}

int main(void)
{
    setenv("POCL_DEVICES", "pthread basic", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_hints), cmocka_unit_test(test_joins), cmocka_unit_test(test_choosing),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_pool), cmocka_unit_test(test_launches), cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_classes), cmocka_unit_test(test_build_errors), cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_other_builtins),
        cmocka_unit_test(test_cache), cmocka_unit_test(test_gemm), cmocka_unit_test(test_null),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
