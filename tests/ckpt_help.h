/* ckpt_help.h: what the tests of core/ckpt share: a sample checkpoint, scratch files, refusals. */
#ifndef JETCL_TEST_CKPT_HELP_H
#define JETCL_TEST_CKPT_HELP_H

#include "unit.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "ckpt/ckpt.h"

#define MAX_TENSORS_FOR_TEST 65536
#define SOME __attribute__((unused)) static

SOME const char *scratch_dir(void)
{
    static char dir[] = "/tmp/jetcl-ckpt-XXXXXX";
    static bool made;
    if (!made)
        made = mkdtemp(dir) != NULL;
    assert_true(made);
    return dir;
}

SOME const char *scratch_path(char out[4096], const char *name)
{
    snprintf(out, 4096, "%s/%s", scratch_dir(), name);
    return out;
}

SOME int scratch_files(void)            /* how many there are: nothing may be left behind by a failed save */
{
    int n = 0;
    DIR *d = opendir(scratch_dir());
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

SOME int scratch_remove(void **state)
{
    (void)state;
    char path[4096];
    DIR *d = opendir(scratch_dir());
    for (struct dirent *e; (e = readdir(d));)
        unlink(scratch_path(path, e->d_name));
    closedir(d);
    return rmdir(scratch_dir());
}

/* Every type that all three written formats know, odd shapes, and metadata with characters that want
 * escaping. */
SOME ckpt *sample_new(void)
{
    static const struct { const char *name; enum ckpt_type type; int nd; i64 shape[3]; } row[] = {
        { "blocks.0.attn.qkv.weight", CKPT_F32, 2, { 9, 3 } },
        { "blocks.0.attn.qkv.bias", CKPT_F32, 1, { 9 } },
        { "half", CKPT_F16, 3, { 2, 1, 5 } }, { "brain", CKPT_BF16, 1, { 7 } },
        { "double", CKPT_F64, 1, { 3 } },
        { "step", CKPT_I64, 0, { 0 } }, { "i32", CKPT_I32, 1, { 3 } }, { "i16", CKPT_I16, 1, { 5 } },
        { "i8", CKPT_I8, 1, { 3 } },
        { "u8", CKPT_U8, 1, { 5 } }, { "flag", CKPT_BOOL, 1, { 3 } }, { "none", CKPT_F32, 2, { 0, 4 } },
        { "z", CKPT_C64, 1, { 2 } }, { "u16", CKPT_U16, 1, { 1 } }, { "u32", CKPT_U32, 1, { 1 } },
        { "u64", CKPT_U64, 1, { 1 } },
        { "n\xc3\xa4me", CKPT_F32, 1, { 1 } },
    };
    static u64 bits[64];
    for (int i = 0; i < countof(bits); i++)
        bits[i] = (u64)i * 0x9e3779b97f4a7c15u >> 1;       // some are NaNs with a payload: bits must survive
    static const u8 flags[] = { 1, 0, 1 };
    ckpt *c = ckpt_new();
    for (int i = 0; i < countof(row); i++)
        ckpt_add(c, row[i].name, row[i].type, row[i].nd, row[i].shape, row[i].type == CKPT_BOOL
                 ? (const void *)flags : bits + i);
    ckpt_set_meta(c, "arch", "vit \"tiny\"\n\\ \xc3\xa9");
    ckpt_set_meta(c, "classes", "cat\ndog");
    return c;
}

/* Same names, types, shapes and bits; order aside. */
SOME void assert_same(const ckpt *a, const ckpt *b)
{
    assert_int_equal(ckpt_count(a), ckpt_count(b));
    for (int i = 0; i < ckpt_count(a); i++) {
        const tensor *x = ckpt_at(a, i), *y = ckpt_find(b, x->name);
        if (!y)
            fail_msg("%s is missing", x->name);
        if (x->type != y->type || !tensor_shape_is(y, x->nd, x->shape))
            fail_msg("%s: %s and %s, or another shape", x->name, ckpt_type_name(x->type),
                     ckpt_type_name(y->type));
        const void *p = tensor_data(x), *q = tensor_data(y);
        if (!p || !q)
            fail_msg("%s", fail_message());
        if (x->bytes && memcmp(p, q, x->bytes))
            fail_msg("%s: other bits", x->name);
    }
}

/* |got - want| <= rtol * max|want| + atol, NaN never. */
SOME void assert_near(const f32 *got, const f32 *want, u64 n, f64 rtol, f64 atol)
{
    f64 most = 0;
    for (u64 i = 0; i < n; i++)
        most = MAX(most, fabs(want[i]));
    for (u64 i = 0; i < n; i++)
        if (!(fabs((f64)got[i] - want[i]) <= rtol * most + atol))
            fail_msg("element %llu: %.9g, not %.9g", (unsigned long long)i, got[i], want[i]);
}

SOME void assert_file(const char *path, const void *bytes, size_t n)
{
    struct file_map m;
    assert_int_equal(file_map(path, &m), 0);
    assert_int_equal(m.n, n);
    if (n)
        assert_memory_equal(m.p, bytes, n);
    file_unmap(&m);
}

/* A safetensors file with this header in file[]; returns its size. */
SOME size_t safetensors(u8 *file, const char *header, const void *data, size_t n)
{
    u64 h = strlen(header);
    memcpy(file, &h, 8);
    memcpy(file + 8, header, h);
    if (n)
        memcpy(file + 8 + h, data, n);
    return 8 + h + n;
}

/* Opens and reads every tensor: true when all went well. */
SOME bool accepted(const void *p, size_t n)
{
    fail_clear();
    ckpt *c = ckpt_open_bytes(p, n, "x");
    bool ok = c;
    for (int i = 0; ok && i < ckpt_count(c); i++) {
        ok = tensor_data(ckpt_at(c, i));
        if (ok)
            tensor_drop(ckpt_at(c, i));
    }
    ckpt_close(c);
    return ok;
}

/* Must fail as bad data, with one line that holds `says`. */
SOME void assert_refused(const void *p, size_t n, const char *says)
{
    if (accepted(p, n))
        fail_msg("%zu bytes accepted, but they should say '%s'", n, says);
    if (fail_fault() != FAULT_DATA || strncmp(fail_message(), "x: ", 3) || strchr(fail_message(), '\n') ||
        !strstr(fail_message(), says))
        fail_msg("'%s' wanted, got %d '%s'", says, fail_fault(), fail_message());
}

/* The same, and in no more memory than the file's size and 64 MiB: measured in a process of its own. */
SOME void assert_frugal(const void *p, size_t n, const char *says)
{
    assert_refused(p, n, says);
#ifndef __SANITIZE_ADDRESS__
    int status;
    pid_t child = fork();
    if (!child) {
        struct rusage before, after;
        getrusage(RUSAGE_SELF, &before);
        accepted(p, n);
        getrusage(RUSAGE_SELF, &after);
        _exit((after.ru_maxrss - before.ru_maxrss) > (long)(n >> 10) + (64 << 10));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status)
        fail_msg("more memory than the file's size and 64 MiB: '%s'", says);
#endif
}

#endif
