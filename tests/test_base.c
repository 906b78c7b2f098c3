/* test_base.c: what everything else stands on: text, random numbers, arenas, failing, files. Numbers are those
 * of the papers and of other implementations, or counted by hand. */
#include "apart.h"
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sys/stat.h>

/* ---- text ---------------------------------------------------------------------------------------------- */

static void reads_numbers(void **state)
{
    (void)state;
    static const struct { const char *s; bool ok; f64 v; } reals[] = {
        { "4e-3", true, 4e-3 }, { "-.5", true, -.5 }, { "+1", true, 1 }, { "7.", true, 7 }, { "", false },
        { " 1", false },
        { "1 ", false }, { "0x10", false }, { "nan", false }, { "-inf", false }, { "1e999", false },
        { "1e", false },
        { "e1", false }, { "1_0", false }, { "1e-400", false }, { "0e-999", true, 0 },
        { "5e-324", true, 5e-324 },
        { "000000000000000000000000000000000000000000000000000000000000001", true, 1 },        // 63 characters
        { "0000000000000000000000000000000000000000000000000000000000000001", false },
    };
    for (int i = 0; i < countof(reals); i++) {
        f64 v = 0;
        bool ok = text_real(slice_of(reals[i].s), &v);
        if (ok != reals[i].ok || (ok && v != reals[i].v))
            fail_msg("'%s' read as %d, %g", reals[i].s, ok, v);
    }
    static const struct { const char *s; bool ok; i64 v; } ints[] = {
        { "0", true, 0 }, { "-12", true, -12 }, { "+3", true, 3 }, { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN }, { "9223372036854775808", false }, { "1.0", false },
        { "", false },
        { " 1", false }, { "x", false }, { "1e3", false }, { "0000000000000000000000000000001", true, 1 },
        { "00000000000000000000000000000001", false },
    };
    for (int i = 0; i < countof(ints); i++) {
        i64 v = 0;
        bool ok = text_int(slice_of(ints[i].s), &v);
        if (ok != ints[i].ok || (ok && v != ints[i].v))
            fail_msg("'%s' read as %d, %lld", ints[i].s, ok, (long long)v);
    }
}

static void compares_text(void **state)
{
    (void)state;
    assert_true(slice_eq(SLICE("abc"), "abc") && !slice_eq(SLICE("abc"), "ab")
                && !slice_eq(SLICE("ab"), "abc"));
    assert_false(slice_eq(SLICE("abc"), "abd"));
    assert_true(text_starts("blocks.0", "blocks.") && text_starts("a", "") && !text_starts("block", "blocks"));
    assert_true(text_ends("x.bias", ".bias") && text_ends("bias", "bias") && !text_ends("ias", "bias"));
    assert_false(text_ends("x.biases", ".bias"));
}

static void finds_the_nearest_name(void **state)
{
    (void)state;
    static const char *const names[] = { "epochs", "batch", "accumulate", "warmup_epochs", "lr" };
    static const struct { const char *s, *want; } row[] = {
        { "epoch", "epochs" }, { "EPOCHS", "epochs" }, { "bach", "batch" }, { "batsch", "batch" },
        { "tabch", "batch" },
        { "tabhc", NULL }, { "warmup_epoch", "warmup_epochs" }, { "akkumulate", "accumulate" },
        { "wurmap_epoks", "warmup_epochs" },      // 4 edits are a third of 12
        { "wurmap_epoksX", NULL }, { "l", "lr" }, { "lrxy", "lr" }, { "lrxyz", NULL }, { "", "lr" },
        { "nothing", NULL },
    };
    for (int i = 0; i < countof(row); i++) {
        const char *got = text_nearest(row[i].s, names, countof(names));
        if (row[i].want ? !got || strcmp(got, row[i].want) : got != NULL)
            fail_msg("'%s' is near '%s', wanted '%s'", row[i].s, got ? got : "none",
                     row[i].want ? row[i].want : "none");
    }
    static const char *const twins[] = { "abcd", "abce" };
    assert_string_equal(text_nearest("abcf", twins, 2), "abcd");            // the first of two as near
    char out[96], longer[70];
    assert_string_equal(text_hint(out, "epoch", names, countof(names)), " (did you mean 'epochs'?)");
    assert_string_equal(text_hint(out, "nothing", names, countof(names)), "");
    memset(longer, 'a', 65);
    longer[65] = 0;
    assert_null(text_nearest(longer, (const char *const[]){ "b" }, 1));
    longer[64] = 0;
    assert_string_equal(text_nearest(longer, (const char *const[]){ longer }, 1), longer);
}

static void writes_sizes(void **state)
{
    (void)state;
    static const struct { f64 v; const char *bytes, *count; } row[] = {
        { 0, "0 B", "0" }, { 999.4, "999 B", "999" }, { 999.5, "1.0 kB", "1.0k" }, { 1500, "1.5 kB", "1.5k" },
        { 999499, "999.5 kB", "999.5k" }, { 999500, "1.0 MB", "1.0M" }, { 1.7e9, "1.7 GB", "1.7G" },
        { 265.4e6, "265.4 MB", "265.4M" }, { 3e12, "3.0 TB", "3.0T" }, { 2e15, "2000.0 TB", "2000.0T" },
    };
    char out[24];
    for (int i = 0; i < countof(row); i++) {
        assert_string_equal(text_bytes(out, row[i].v), row[i].bytes);
        assert_string_equal(text_count(out, row[i].v), row[i].count);
    }
    static const struct { f64 s; const char *want; } times[] = {
        { 0, "0:00" }, { .49, "0:00" }, { .5, "0:01" }, { 59.4, "0:59" }, { 59.5, "1:00" }, { 41, "0:41" },
        { 3599, "59:59" }, { 3600, "1:00:00" }, { 7391, "2:03:11" }, { 86399, "23:59:59" },
        { 86400, "1d 00:00" },
        { 2 * 86400 + 3 * 3600 + 11 * 60 + 59, "2d 03:11" }, { -1, "?" }, { NAN, "?" }, { 1e9, "?" },
        { 9e8, "10416d 16:00" },
    };
    for (int i = 0; i < countof(times); i++)
        assert_string_equal(text_time(out, times[i].s), times[i].want);
    static const struct { const char *text; f64 s; } durations[] = {
        { "48h", 172800 }, { "1d12h", 129600 }, { "1.5h30m", 7200 }, { "20s", 20 }, { "1d1h1m1s", 90061 },
        { "", -1 }, { "48", -1 }, { "h", -1 }, { "1h1d", -1 }, { "1h1h", -1 }, { "-1h", -1 }, { "1 h", -1 },
        { "1hx", -1 }, { "1.5.5h", -1 },
    };
    for (int i = 0; i < countof(durations); i++) {
        f64 s = -1;
        assert_int_equal(text_duration(durations[i].text, &s), durations[i].s >= 0);
        if (durations[i].s >= 0)
            assert_true(s == durations[i].s);
    }
}

/* A field is what was given, byte by byte: names of classes and files are data. */
static void csv_is_text(void **state)
{
    (void)state;
    static const char *const want[][2] = {
        { "plain", "\"plain\"" }, { "a,\"b\"", "\"a,\"\"b\"\"\"" }, { "", "\"\"" }, { "-1.5e3", "\"-1.5e3\"" },
        { "=1+1", "\"=1+1\"" }, { "-blue", "\"-blue\"" }, { "@SUM(A1)", "\"@SUM(A1)\"" },
        { "\t=1", "\"\t=1\"" },
        { "a\r\nb", "\"a\r\nb\"" },
    };
    for (int i = 0; i < countof(want); i++) {
        char *text = NULL;
        size_t n;
        FILE *f = open_memstream(&text, &n);
        csv_text(f, want[i][0]);
        fclose(f);
        assert_string_equal(text, want[i][1]);
        free(text);
    }
}

static void hashes(void **state)
{
    (void)state;
    assert_true(hash_text(HASH_START, "") == 0xcbf29ce484222325u
                && hash_text(HASH_START, "a") == 0xaf63dc4c8601ec8cu);
    assert_true(hash_text(HASH_START, "foobar") == 0x85944171f73967e8u);
    assert_true(hash_text(hash_text(HASH_START, "foo"), "bar") == hash_text(HASH_START, "foobar"));
    char out[9];
    assert_string_equal(hash_hex(out, "\x00\x7f\xa5\xff", 4), "007fa5ff");
}

/* ---- random numbers ------------------------------------------------------------------------------------ */

/* Known answers of the authors' Random123. */
static void philox_is_philox(void **state)
{
    (void)state;
    static const struct { u32 ctr[4], key[2], want[4]; } row[] = {
        { { 0 }, { 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (int i = 0; i < countof(row); i++) {
        u32 got[4];
        rng_philox(row[i].key, row[i].ctr, got);
        assert_memory_equal(got, row[i].want, sizeof got);
    }
}

/* Block n of a generator: the counter is (a lo, a hi, b, stream + n 2^20); after 4096 blocks comes another key.
 * */
static void draws_in_order(void **state)
{
    (void)state;
    u32 key[2] = { 0x89abcdef, 0x01234567 }, ctr[4] = { 5, 7, 9, RNG_TEST }, want[4];
    rng r = rng_at(0x0123456789abcdefu, RNG_TEST, 7ull << 32 | 5, 9);
    for (int n = 0; n < 4100; n++) {
        ctr[3] = (u32)RNG_TEST + ((u32)(n % 4096) << 20);
        key[1] = 0x01234567u + (n < 4096 ? 0 : 0x632BE5ABu);
        rng_philox(key, ctr, want);
        for (int k = 0; k < 4; k++)
            assert_true(rng_u32(&r) == want[k]);
    }
    rng x = rng_at(3, RNG_TEST, 1, 2), y = x;
    f64 unit = rng_u32(&x) / 4294967296.0;
    assert_true(rng_unit(&y) == unit);
    f64 u = (rng_u32(&x) + 1.0) / 4294967296.0, v = rng_u32(&x) / 4294967296.0;
    assert_true(fabs(rng_normal(&y) - sqrt(-2 * log(u)) * cos(2 * M_PI * v)) < 1e-12);
    for (u64 i = 0; i < 70; i++) {                // element i: counter 4 (i/16) + i%4, word i/4 % 4
        u64 far = i + (5ull << 34);
        u64 c = 4 * (far / 16) + far % 4;
        rng_philox(key, (u32[4]){ (u32)c, (u32)(c >> 32), 11, 6 }, want);
        u64 seed = (u64)key[1] << 32 | key[0];
        assert_true(rng_element(seed, 6, 11, far) == want[far / 4 % 4]);
        assert_true(rng_element_unit(seed, 6, 11, far) == (f32)(want[far / 4 % 4] / 256) / 16777216.0f);
        assert_true(rng_element_normal(seed, 6, 11, far)
                    == rng_unit_to_normal(rng_element_unit(seed, 6, 11, far)));
    }
}

/* Draws that would make some numbers likelier are repeated. */
static void below_has_no_favourites(void **state)
{
    (void)state;
    static const u32 limits[] = { 1, 2, 3, 7, 1000, 0x80000001u, 0xC0000000u, ~0u };
    for (int i = 0; i < countof(limits); i++) {
        rng r = rng_at(1, RNG_TEST, (u64)i, 0), plain = r;
        u32 over = (u32)((1ull << 32) % limits[i]);
        int again = 0;
        for (int k = 0; k < 400; k++) {
            u64 m = (u64)rng_u32(&plain) * limits[i];
            for (; (u32)m < over; again++)
                m = (u64)rng_u32(&plain) * limits[i];
            assert_true(rng_below(&r, limits[i]) == (u32)(m >> 32));
        }
        assert_true(limits[i] < 0x80000000u || limits[i] == ~0u || again > 50);
    }
    int seen[6] = { 0 };
    rng r = rng_at(2, RNG_TEST, 0, 0);
    for (int k = 0; k < 6000; k++) {
        i32 v[3] = { 0, 1, 2 };
        rng_shuffle(&r, v, 3);
        assert_true((1 << v[0] | 1 << v[1] | 1 << v[2]) == 7);
        seen[2 * v[0] + (v[1] > v[2])]++;
    }
    f64 chi = 0;
    for (int i = 0; i < 6; i++)
        chi += (seen[i] - 1000.0) * (seen[i] - 1000.0) / 1000;
    assert_true(chi < 20.5);                      // one in a thousand at 5 degrees of freedom
}

static f64 normal_quantile(f64 u)
{
    f64 lo = -9, hi = 9;
    for (int i = 0; i < 100; i++)
        *(0.5 * erfc(-(lo + hi) / 2 * M_SQRT1_2) < u ? &lo : &hi) = (lo + hi) / 2;
    return (lo + hi) / 2;
}

static void normals_are_quantiles(void **state)
{
    (void)state;
    f64 worst = 0;
    for (int i = 0; i < 4096; i++) {
        int k = i < 2048 ? i * 8192 + 17 : i < 3072 ? i - 2048 : (1 << 24) - 1 - (i - 3072);
        f32 u = (f32)k / 16777216.0f;
        f64 inside = ((f64)u * 2 - (1 - 0x1p-24) + 1) / 2;                  // next to 0 and 1
        f64 want = normal_quantile(inside);
        worst = fmax(worst, fabs(rng_unit_to_normal(u) - want) / fmax(1, fabs(want)));
    }
    if (!(worst < 5e-6))
        fail_msg("a normal number is off by %g", worst);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static void arenas_hold(void **state)
{
    (void)state;
    arena *a = arena_open("test");
    arena_close(NULL);
    assert_int_equal(arena_used(a), 0);
    for (size_t align = 1; align <= 64; align *= 2) {
        arena_bytes(a, 1, 1);
        u8 *p = arena_bytes(a, 100, align);
        assert_int_equal((uintptr_t)p % align, 0);
        memset(p, 0xAA, 100);
    }
    size_t before = arena_used(a);
    arena_mark mark = arena_save(a);
    u8 *first = arena_bytes(a, 50, 1);
    memset(first, 0xAA, 50);
    arena_bytes(a, 3 << 20, 64);
    assert_true(arena_used(a) >= before + (3 << 20));
    arena_restore(a, mark);
    assert_int_equal(arena_used(a), before);
    u8 *again = arena_bytes(a, 50, 1);
    assert_ptr_equal(again, first);
    for (int i = 0; i < 50; i++)
        assert_int_equal(again[i], 0);            // zeroed when given out again
    assert_string_equal(arena_printf(a, "%d of %s", 3, "four"), "3 of four");
    char *copy = arena_copy(a, "abc", 2);
    assert_string_equal(copy, "ab");
    int *list = NULL;
    size_t n = 0, cap = 0;
    for (int i = 0; i < 1000; i++)
        *arena_push(a, list, n, cap) = i;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(list[i], i);
    assert_true(cap >= 1000 && cap <= 2000);
    u8 *whole = arena_bytes(a, 40000, 64);        // neighbours do not overlap, also at a chunk's end
    u8 *next = arena_bytes(a, 40000, 64);
    memset(whole, 1, 40000);
    memset(next, 2, 40000);
    assert_true(whole[0] == 1 && whole[39999] == 1 && next[0] == 2);
    arena_close(a);
}

static void ask_too_much(void) { arena_bytes(arena_open("the test"), SIZE_MAX / 4, 1); }

static void arenas_end(void **state)
{
    (void)state;
    arena *a = arena_open("the test");
    arena_fail_after(1);
    assert_non_null(arena_try(a, 8, 8));
    assert_null(arena_try(a, 123, 8));
    assert_int_equal(fail_fault(), FAULT_RUN);
    assert_non_null(strstr(fail_message(), "123 bytes"));
    assert_non_null(strstr(fail_message(), "the test"));
    assert_non_null(arena_try(a, 8, 8));
    arena_fail_after(-1);
    assert_null(arena_try(a, SIZE_MAX - 100, 1));
    arena_close(a);
    int status = apart(ask_too_much);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == FAULT_RUN);
    assert_non_null(strstr(output, "jetcl: out of memory: "));
}

/* ---- failing ------------------------------------------------------------------------------------------- */

static void *fail_elsewhere(void *arg)
{
    fail(FAULT_DEVICE, "elsewhere");
    return arg;
}

static void break_invariant(void) { int i = 7; check(i < 5, "index %d of %d", i, 5); }

static void failures_are_told(void **state)
{
    (void)state;
    pthread_t t;
    assert_int_equal(fail(FAULT_DATA, "%s: truncated at byte %d", "x", 12), -1);
    pthread_create(&t, NULL, fail_elsewhere, NULL);
    pthread_join(t, NULL);
    assert_string_equal(fail_message(), "x: truncated at byte 12");
    assert_int_equal(fail_in("reading %s", "y"), -1);
    assert_string_equal(fail_message(), "reading y: x: truncated at byte 12");
    assert_int_equal(fail_fault(), FAULT_DATA);
    fail(FAULT_USAGE, "again: %s", fail_message());                         // its own message among the values
    assert_string_equal(fail_message(), "again: reading y: x: truncated at byte 12");
    assert_int_equal(fail_fault(), FAULT_USAGE);
    char longer[3000];
    memset(longer, 'y', sizeof longer);
    longer[2999] = 0;
    fail_in("%s", longer);
    assert_int_equal(strlen(fail_message()), 2047);
    fail_clear();
    assert_true(!*fail_message() && fail_fault() == FAULT_NONE);
    int status = apart(break_invariant);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(output, "test_base.c:"));
    assert_non_null(strstr(output, "i < 5: index 7 of 5\n"));
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void files_are_mapped(void **state)
{
    (void)state;
    struct file_map m;
    static u8 big[3 * 4096 + 100];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (u8)(i * 7);
    assert_int_equal(file_save(at("big"), big, sizeof big), 0);
    assert_int_equal(file_map(at("big"), &m), 0);
    assert_int_equal(m.n, sizeof big);
    file_expect(&m, m.p + 5000, 100);
    file_forget(&m, m.p + 4000, 1 << 20);         // past the end; what is forgotten is read again
    file_forget(&m, big, 10);                     // not in the map
    assert_memory_equal(m.p, big, sizeof big);
    file_unmap(&m);
    assert_true(!m.p && !m.n);
    assert_int_equal(file_save(at("empty"), "", 0), 0);
    assert_int_equal(file_map(at("empty"), &m), 0);
    assert_true(!m.p && !m.n);
    expect_text(at("empty"), "");
    assert_int_equal(file_map(folder, &m), -1);
    assert_non_null(strstr(fail_message(), "not a regular file"));
    assert_int_equal(fail_fault(), FAULT_DATA);
    assert_int_equal(file_map(at("none"), &m), -1);
    assert_non_null(strstr(fail_message(), "none: No such file"));
    arena *a = arena_open("test");
    assert_null(file_text(a, at("none"), NULL));
    arena_close(a);
}

static void folders_are_made(void **state)
{
    (void)state;
    assert_int_equal(file_mkdirs(at("a/b/c")), 0);
    assert_int_equal(file_mkdirs(at("a/b/c/")), 0);
    assert_true(file_exists(at("a/b/c")) && !file_exists(at("a/b/d")));
    assert_int_equal(file_save(at("a/file"), "x", 1), 0);
    assert_int_equal(file_mkdirs(at("a/file/below")), -1);
    assert_non_null(strstr(fail_message(), "a/file: cannot make the folder: File exists"));
    static char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    struct file_out o;
    assert_int_equal(file_mkdirs(longer), -1);
    assert_non_null(strstr(fail_message(), "path too long: 4999 bytes: xxx"));
    assert_int_equal(file_begin(&o, longer), -1);
    assert_non_null(strstr(fail_message(), "path too long: 4999 bytes: xxx"));
}

static void name_tables(void **state)
{
    (void)state;
    struct name_table t = { 0 };
    arena *a = arena_open("names");
    assert_null(names_get(&t, "none"));
    for (uintptr_t i = 1; i <= 5000; i++)
        names_put(a, &t, arena_printf(a, "blocks.%d.mlp", (int)i), (void *)i);
    names_put(a, &t, "blocks.7.mlp", (void *)(uintptr_t)99);
    for (uintptr_t i = 1; i <= 5000; i++)
        assert_int_equal((uintptr_t)names_get(&t, arena_printf(a, "blocks.%d.mlp", (int)i)), i);
    assert_null(names_get(&t, "blocks.5001.mlp"));
    arena_close(a);
}

/* Control groups in a folder; the smaller of limits counts, and page cache is not used up. */
static void memory_limits(void **state)
{
    (void)state;
    char dir[4096];
    snprintf(dir, sizeof dir, "%s", at("group"));
    setenv("JETCL_CGROUP", dir, 1);
    struct memory m = memory_look();
    assert_true(m.limit == UINT64_MAX && m.unused <= m.machine && !*m.by);
    file_mkdirs(dir);
    file_save(at("group/memory.current"), "50000000\n", 9);
    file_save(at("group/memory.max"), "max\n", 4);
    assert_true(memory_look().limit == UINT64_MAX);
    file_save(at("group/memory.max"), "80000000\n", 9);
    m = memory_look();
    assert_true(m.limit == 80000000 && m.unused == 30000000);
    assert_string_equal(m.by, " (its control group)");
    file_save(at("group/memory.stat"), "anon 5\ninactive_file 10000000\n", 30);
    assert_true(memory_look().unused == 40000000);
    unlink(at("group/memory.current")), unlink(at("group/memory.max")), unlink(at("group/memory.stat"));
    file_save(at("group/memory.limit_in_bytes"), "70000000\n", 9);
    file_save(at("group/memory.usage_in_bytes"), "90000000\n", 9);
    m = memory_look();
    assert_true(m.limit == 70000000 && m.unused == 0);
    unsetenv("JETCL_CGROUP");
}

static void files_are_replaced_whole(void **state)
{
    (void)state;
    struct file_out o;
    assert_int_equal(file_save(at("f"), "old", 3), 0);
    char path[4096];
    snprintf(path, sizeof path, "%s", at("f"));
    assert_int_equal(file_begin(&o, path), 0);
    fputs("new and longer", o.f);
    fflush(o.f);
    expect_text(path, "old");
    assert_true(file_exists(o.tmp) && strcmp(o.tmp, path));
    file_abort(&o);
    assert_false(file_exists(o.tmp));
    expect_text(path, "old");
    assert_int_equal(file_begin(&o, path), 0);
    fputs("new", o.f);
    assert_int_equal(file_commit(&o), 0);
    expect_text(path, "new");
    assert_false(file_exists(o.tmp));
    snprintf(path, sizeof path, "%s", at("taken"));
    assert_int_equal(file_begin(&o, path), 0);
    file_mkdirs(path);
    assert_int_equal(file_commit(&o), -1);        // a folder has the name by now
    assert_int_equal(fail_fault(), FAULT_RUN);
    assert_false(file_exists(o.tmp));
    assert_int_equal(file_begin(&o, path), -1);
    assert_int_equal(file_save(at("no/such/folder"), "x", 1), -1);
    assert_int_equal(file_save(at("last"), "newer", 5), 0);
    snprintf(path, sizeof path, "%s", at("last"));
    assert_int_equal(file_link(path, at("epoch")), 0);
    assert_int_equal(file_link(path, at("epoch")), 0);    // again: two names of one file
    expect_text(at("epoch"), "newer");
    file_save(path, "newest", 6);
    assert_int_equal(file_link(path, at("epoch")), 0);
    expect_text(at("epoch"), "newest");
    assert_int_equal(file_link(at("nothing"), at("epoch")), -1);
    assert_int_equal(fail_fault(), FAULT_RUN);
    expect_text(at("epoch"), "newest");
    f64 t = clock_now();
    usleep(2000);
    assert_true(clock_now() - t >= .0019 && clock_now() - t < 100);
}

static void outputs_spare_other_files(void **state)
{
    (void)state;
    file_save(at("page.html"), "old", 3);
    file_save(at("config.yaml"), "name: x", 7);
    assert_int_equal(file_can_replace(at("page.html"), ".html"), 0);
    assert_int_equal(file_can_replace(at("new.yaml"), ".html"), 0);              // none is there
    assert_int_equal(file_can_replace(at("config.yaml"), ".html"), -1);
    assert_int_equal(fail_fault(), FAULT_USAGE);
    assert_int_equal(mkfifo(at("pipe.html"), 0600), 0);
    assert_int_equal(file_can_replace(at("pipe.html"), ".html"), -1);
    assert_int_equal(fail_fault(), FAULT_RUN);
    file_mkdirs(at("folder.html"));
    assert_int_equal(file_can_save(at("folder.html")), -1);
    assert_int_equal(file_can_save(at("no/page.html")), -1);
    file_mkdirs(at("there"));
    assert_int_equal(file_can_fill(at("there")), 0);
    assert_int_equal(file_can_fill(at("there/to/be/made/")), 0);
    assert_int_equal(file_can_fill("to/be/made"), 0);
    assert_int_equal(file_can_fill(at("config.yaml")), -1);
    assert_int_equal(file_can_fill(at("config.yaml/below")), -1);
    char other[4096];
    snprintf(other, sizeof other, "%s", at("there/../page.html"));
    assert_true(file_same(at("page.html"), other));
    snprintf(other, sizeof other, "%s", at("config.yaml"));
    assert_false(file_same(at("page.html"), other));
    assert_false(file_same(at("none"), at("none")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(compares_text),
        cmocka_unit_test(finds_the_nearest_name),
        cmocka_unit_test(writes_sizes),
        cmocka_unit_test(hashes),
        cmocka_unit_test(csv_is_text),
        cmocka_unit_test(philox_is_philox),
        cmocka_unit_test(draws_in_order),
        cmocka_unit_test(below_has_no_favourites),
        cmocka_unit_test(normals_are_quantiles),
        cmocka_unit_test(arenas_hold),
        cmocka_unit_test(arenas_end),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(files_are_mapped),
        cmocka_unit_test(folders_are_made),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(outputs_spare_other_files),
        cmocka_unit_test(name_tables),
        cmocka_unit_test(memory_limits),
    };
    return cmocka_run_group_tests_name("base", tests, begin, end);
}
