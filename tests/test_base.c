/* test_base.c: what everything else stands on: text, random numbers, arenas, failing, files, messages, signals. Numbers
 * are those of the papers and of other implementations, or counted by hand. */
#include "unit.h"
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/jetcl-base-XXXXXX", name_of[4096];
static const char *at(const char *name) { return snprintf(name_of, sizeof name_of, "%s/%s", folder, name), name_of; }

/* What work() leaves on stderr, and how it ends (a status of waitpid), in a process of its own. */
static char output[8192];
static int apart(void (*work)(void))
{
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (!pid) {
        dup2(ends[1], 2);
        work();
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n < sizeof output - 1 && (got = read(ends[0], output + n, sizeof output - 1 - n)) > 0;)
        n += (size_t)got;
    output[n] = 0;
    close(ends[0]);
    waitpid(pid, &status, 0);
    return status;
}

/* ---- text ---------------------------------------------------------------------------------------------- */

static void reads_numbers(void **state)
{
    (void)state;
    static const struct { const char *s; bool ok; f64 v; } reals[] = {
        { "4e-3", true, 4e-3 }, { "-.5", true, -.5 }, { "+1", true, 1 }, { "7.", true, 7 }, { "", false }, { " 1", false },
        { "1 ", false }, { "0x10", false }, { "nan", false }, { "-inf", false }, { "1e999", false }, { "1e", false },
        { "e1", false }, { "1_0", false },
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
        { "-9223372036854775808", true, INT64_MIN }, { "9223372036854775808", false }, { "1.0", false }, { "", false },
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
    assert_true(slice_eq(SLICE("abc"), "abc") && !slice_eq(SLICE("abc"), "ab") && !slice_eq(SLICE("ab"), "abc"));
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
        { "epoch", "epochs" }, { "EPOCHS", "epochs" }, { "bach", "batch" }, { "batsch", "batch" }, { "tabch", "batch" },
        { "tabhc", NULL }, { "warmup_epoch", "warmup_epochs" }, { "akkumulate", "accumulate" },
        { "wurmap_epoks", "warmup_epochs" },      // 4 edits are a third of 12
        { "wurmap_epoksX", NULL }, { "l", "lr" }, { "lrxy", "lr" }, { "lrxyz", NULL }, { "", "lr" }, { "nothing", NULL },
    };
    for (int i = 0; i < countof(row); i++) {
        const char *got = text_nearest(row[i].s, names, countof(names));
        if (row[i].want ? !got || strcmp(got, row[i].want) : got != NULL)
            fail_msg("'%s' is near '%s', wanted '%s'", row[i].s, got ? got : "none", row[i].want ? row[i].want : "none");
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
        { 3599, "59:59" }, { 3600, "1:00:00" }, { 7391, "2:03:11" }, { 86399, "23:59:59" }, { 86400, "1d 00:00" },
        { 2 * 86400 + 3 * 3600 + 11 * 60 + 59, "2d 03:11" }, { -1, "?" }, { NAN, "?" }, { 1e9, "?" }, { 9e8, "10416d 16:00" },
    };
    for (int i = 0; i < countof(times); i++)
        assert_string_equal(text_time(out, times[i].s), times[i].want);
}

/* A field is what was given, byte by byte: names of classes and files are data. */
static void csv_is_text(void **state)
{
    (void)state;
    static const char *const want[][2] = {
        { "plain", "\"plain\"" }, { "a,\"b\"", "\"a,\"\"b\"\"\"" }, { "", "\"\"" }, { "-1.5e3", "\"-1.5e3\"" },
        { "=1+1", "\"=1+1\"" }, { "-blue", "\"-blue\"" }, { "@SUM(A1)", "\"@SUM(A1)\"" }, { "\t=1", "\"\t=1\"" },
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
    assert_true(hash_text(HASH_START, "") == 0xcbf29ce484222325u && hash_text(HASH_START, "a") == 0xaf63dc4c8601ec8cu);
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

/* Block n of a generator: the counter is (a lo, a hi, b, stream + n 2^20); after 4096 blocks comes another key. */
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
        assert_true(rng_element_normal(seed, 6, 11, far) == rng_unit_to_normal(rng_element_unit(seed, 6, 11, far)));
    }
}

/* What would make some numbers likelier is drawn again. */
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
        f64 inside = ((f64)u * 2 - (1 - 0x1p-24) + 1) / 2;                  // a hair off 0 and 1
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

static void expect_text(const char *path, const char *want)
{
    arena *a = arena_open("test");
    size_t n = 0;
    char *got = file_text(a, path, &n);
    assert_non_null(got);
    assert_int_equal(n, strlen(want));
    assert_string_equal(got, want);
    arena_close(a);
}

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
    file_mkdirs(at("taken"));
    snprintf(path, sizeof path, "%s", at("taken"));
    assert_int_equal(file_begin(&o, path), 0);
    assert_int_equal(file_commit(&o), -1);        // a folder has the name
    assert_int_equal(fail_fault(), FAULT_RUN);
    assert_false(file_exists(o.tmp));
    assert_int_equal(file_save(at("no/such/folder"), "x", 1), -1);
    f64 t = clock_now();
    usleep(2000);
    assert_true(clock_now() - t >= .0019 && clock_now() - t < 100);
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static int level;
static void talk(void)
{
    say_setup((struct say_options){ level, 0, true });
    say(SAY_NORMAL, "normal %d", 1);
    say(SAY_VERBOSE, "verbose");
    say(SAY_DEBUG, "debug");
    warn("careful");
    say_error("error");
    progress("never seen");
}

static void talk_to_logs(void)
{
    say_log(SAY_LOG_FILE, at("log1"));
    say_log(SAY_RUN_LOG, at("log2"));
    level = SAY_QUIET;
    talk();
    say_log(SAY_RUN_LOG, NULL);
    say_error("last");
}

static void levels(void **state)
{
    (void)state;
    static const char *const want[] = { "error\n", "normal 1\nwarning: careful\nerror\n",
                                        "normal 1\nverbose\nwarning: careful\nerror\n",
                                        "normal 1\nverbose\ndebug\nwarning: careful\nerror\n" };
    for (level = SAY_QUIET; level <= SAY_DEBUG; level++) {
        apart(talk);
        assert_string_equal(output, want[level + 1]);
    }
    apart(talk_to_logs);
    assert_string_equal(output, "error\nlast\n");
    expect_text(at("log1"), "normal 1\nwarning: careful\nerror\nlast\n");
    expect_text(at("log2"), "normal 1\nwarning: careful\nerror\n");
    assert_int_equal(say_log(SAY_LOG_FILE, at("no/log")), -1);
    assert_int_equal(fail_fault(), FAULT_RUN);
}

static void bars_and_lines(void **state)
{
    (void)state;
    static const struct { f64 at; const char *want; } row[] = {
        { 0, "[>         ]" }, { .5, "[=====>    ]" }, { .99, "[=========>]" }, { 1, "[==========]" }, { -3, "[>         ]" },
        { 7, "[==========]" } };
    char out[13];
    for (int i = 0; i < countof(row); i++)
        assert_string_equal(say_bar(out, 12, row[i].at), row[i].want);
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    print_wrapped(f, 70, "aaaa bbbbb c dd\tx eeeeeeeeeeeeeeee f");
    fclose(f);
    char want[400];
    snprintf(want, sizeof want, "aaaa bbbbb\n%70sc dd\tx\n%70seeeeeeeeeeeeeeee\n%70sf\n", "", "", "");
    assert_string_equal(text, want);
    free(text);
}

static void colours(void **state)
{
    (void)state;
    unsetenv("NO_COLOR");
    unsetenv("FORCE_COLOR");
    say_setup((struct say_options){ 0, 1, true });
    assert_string_equal(say_bold(1), "\033[1m");
    assert_string_equal(say_red(2), "\033[31m");
    assert_string_equal(say_green(2), "\033[32m");
    assert_string_equal(say_dim(2), "\033[2m");
    assert_string_equal(say_plain(2), "\033[0m");
    say_setup((struct say_options){ 0, 0, true });
    setenv("FORCE_COLOR", "1", 1);
    assert_string_equal(say_bold(1), "");
    say_setup((struct say_options){ 0, -1, true });
    setenv("NO_COLOR", "1", 1);
    assert_string_equal(say_red(1), "\033[31m");  // forcing goes before
    setenv("FORCE_COLOR", "", 1);
    assert_string_equal(say_red(1), "");
    unsetenv("FORCE_COLOR");
    unsetenv("NO_COLOR");
}

static void redraw(void)
{
    setenv("TERM", "xterm", 1);
    say_setup((struct say_options){ 0, 0, false });
    progress_label("[1/2] ");
    if (say_width() != 34)
        _exit(9);
    progress("half %d", 50);
    progress("too soon");
    say(SAY_NORMAL, "told");
    usleep(120000);
    progress("0123456789012345678901234567890123456789");
    progress_done();
    progress_done();
    setenv("TERM", "dumb", 1);
    _exit(say_live() ? 8 : 7);
}

static void progress_is_one_line(void **state)
{
    (void)state;
    int master, status;
    pid_t pid = forkpty(&master, NULL, NULL, &(struct winsize){ .ws_col = 40, .ws_row = 5 });
    if (!pid)
        redraw();
    size_t n = 0;
    for (ssize_t got; n < sizeof output - 1 && (got = read(master, output + n, sizeof output - 1 - n)) > 0;)
        n += (size_t)got;
    output[n] = 0;
    close(master);
    waitpid(pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_string_equal(output, "\r[1/2] half 50\033[K\r\033[Ktold\r\n"
                                "\r[1/2] 012345678901234567890123456789012\033[K\r\033[K");
    progress_label("");
    say_setup((struct say_options){ SAY_QUIET, 0, true });
}

static void trace_a_little(void)
{
    say_setup((struct say_options){ SAY_NORMAL, 0, true });
    trace(TRACE_graph, "off");
    trace_set("graph,no-plan,grahp");
    trace(TRACE_graph, "node %d", 4);
    trace(TRACE_plan, "off");
    if (!trace_on(TRACE_no_plan) || trace_on(TRACE_plan) || trace_file() != stderr)
        _exit(9);
    trace_set("");
    if (trace_on(TRACE_graph))
        _exit(8);
    char list[5000];
    snprintf(list, sizeof list, "plan,file:%s", at("trace"));
    trace_set(list);
    trace(TRACE_plan, "kept");
    snprintf(list, sizeof list, "plan,file:%s", at("no/trace"));
    trace_set(list);
}

static void traces(void **state)
{
    (void)state;
    assert_int_equal(apart(trace_a_little), 0);
    char want[5000];
    snprintf(want, sizeof want, "warning: JETCL_TRACE: no channel 'grahp' (did you mean 'graph'?)\n[graph] node 4\n"
                                "warning: JETCL_TRACE: cannot write %s\n", at("no/trace"));
    assert_string_equal(output, want);
    expect_text(at("trace"), "[plan] kept\n");
}

/* ---- signals ------------------------------------------------------------------------------------------- */

/* A thread takes them, so they are soon seen. false: not within ten seconds. */
static bool asked_to_stop(void)
{
    for (int i = 0; i < 1000 && !stop_requested(); i++)
        usleep(10000);
    return stop_requested();
}

static void ask_politely(void)
{
    stop_begin();
    stop_catch((const char *const[]){ "INT", "USR2" }, 2);
    stop_watched(true);
    if (stop_requested())
        _exit(9);
    kill(getpid(), SIGUSR2);
    if (!asked_to_stop() || stop_fault() != (enum fault)(128 + SIGUSR2))
        _exit(8);
    stop_kept();
    if (stop_fault() != FAULT_STOPPED)
        _exit(7);
    kill(getpid(), SIGUSR2);                      // again and again, if it must be
    usleep(50000);
    kill(getpid(), SIGINT);                       // but an interrupt ends what was asked already
    sleep(10);
    _exit(6);
}

static void ask_otherwise(void)
{
    stop_catch((const char *const[]){ "INT" }, 1);
    stop_watched(true);
    kill(getpid(), SIGINT);
    if (!asked_to_stop() || stop_fault() != (enum fault)130)
        _exit(9);
    kill(getpid(), SIGTERM);
    sleep(10);
    _exit(6);
}

/* A driver's compiler puts handlers in place, ignores some, and nobody looks at the flag. */
static void ask_nobody(void)
{
    struct file_out o;
    stop_begin();
    signal(SIGTERM, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGUSR1, exit);
    stop_catch((const char *const[]){ "USR1" }, 1);
    if (file_begin(&o, at("unfinished")))
        _exit(9);
    kill(getpid(), SIGUSR1);
    sleep(10);
    _exit(6);
}

static void ask_nobody_later(void) { stop_kept(); ask_nobody(); }

static void ask_in_background(void)               /* a shell ignores SIGINT there, nohup SIGHUP */
{
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    stop_begin();
    kill(getpid(), SIGINT);
    usleep(50000);
    stop_catch((const char *const[]){ "INT", "HUP" }, 2);
    kill(getpid(), SIGHUP);
    usleep(50000);
    if (stop_requested())
        _exit(9);
    kill(getpid(), SIGINT);
    _exit(asked_to_stop() ? 5 : 8);
}

/* ---- crashes ------------------------------------------------------------------------------------------- */

static void read_what_is_gone(void)
{
    static char page[8192];
    struct file_map m;
    crash_catch();
    if (file_save(at("cut"), page, sizeof page) || file_map(at("cut"), &m) || truncate(at("cut"), 0))
        _exit(9);
    _exit(m.p[5000] ? 8 : 7);
}

static void crash_in_the_driver(void)
{
    crash_catch();
    signal(SIGSEGV, SIG_DFL);                     // as a compiler might
    crash_catch();
    crash_hint("; remove the cache");
    crash_inside("clBuildProgram(cl, 1)", "softmax");
    raise(SIGSEGV);
}

static void *crash_elsewhere(void *arg) { return *(void *volatile *)arg; }

static void crash_on_its_thread(void)
{
    pthread_t t;
    crash_catch();
    crash_kernel("blocks.0.fc1");
    pthread_create(&t, NULL, crash_elsewhere, NULL);
    pthread_join(t, NULL);
}

static void crash_of_ours(void)
{
    crash_catch();
    raise(SIGSEGV);
    *(volatile int *)(uintptr_t)getpid() = 1;
}

static void crashes(void **state)
{
    (void)state;
    assert_int_equal(apart(read_what_is_gone), FAULT_DATA << 8);
    assert_non_null(strstr(output, "cut: the file became shorter"));
    assert_int_equal(apart(crash_in_the_driver), FAULT_DEVICE << 8);
    assert_string_equal(output, "jetcl: the device's driver crashed (SIGSEGV) in clBuildProgram, softmax; remove the "
                                "cache\n");
    assert_int_equal(apart(crash_on_its_thread), FAULT_DEVICE << 8);
    assert_non_null(strstr(output, "on a thread of its own, after kernel blocks.0.fc1"));
    int status = apart(crash_of_ours);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void signals(void **state)
{
    (void)state;
    int status = apart(ask_politely);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    status = apart(ask_otherwise);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    status = apart(ask_nobody);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    assert_non_null(strstr(output, "stopped by SIGUSR1 before anything was saved"));
    assert_int_equal(apart(ask_nobody_later), FAULT_STOPPED << 8);
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));)
        assert_false(text_ends(e->d_name, ".tmp"));
    closedir(d);
    assert_int_equal(apart(ask_in_background), 5 << 8);
}

static int begin(void **state) { (void)state; return mkdtemp(folder) ? 0 : -1; }

static int end(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numbers),         cmocka_unit_test(compares_text),
        cmocka_unit_test(finds_the_nearest_name), cmocka_unit_test(writes_sizes),
        cmocka_unit_test(hashes), cmocka_unit_test(csv_is_text),                cmocka_unit_test(philox_is_philox),
        cmocka_unit_test(draws_in_order),        cmocka_unit_test(below_has_no_favourites),
        cmocka_unit_test(normals_are_quantiles), cmocka_unit_test(arenas_hold),
        cmocka_unit_test(arenas_end),            cmocka_unit_test(failures_are_told),
        cmocka_unit_test(files_are_mapped),      cmocka_unit_test(folders_are_made),
        cmocka_unit_test(files_are_replaced_whole), cmocka_unit_test(levels),
        cmocka_unit_test(bars_and_lines),        cmocka_unit_test(colours),
        cmocka_unit_test(progress_is_one_line),  cmocka_unit_test(traces),
        cmocka_unit_test(signals), cmocka_unit_test(crashes),
    };
    return cmocka_run_group_tests_name("base", tests, begin, end);
}
