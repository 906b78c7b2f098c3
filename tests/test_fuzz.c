/* test_fuzz.c: replays the fuzzers' corpus: inputs that once found something, or that reach far. One test a
 * target; what must hold is check()ed in fuzz/targets.h, so a failure stops here with the input's name.
 */
#include "unit.h"
#include "fuzz/targets.h"

/* The files of a ustar archive: 512 bytes of header with name at 0 and octal size at 124, then the bytes,
 * padded. */
static int replay(const char *path, int (*run)(const u8 *, size_t))
{
    struct file_map m;
    int n = 0;
    if (file_map(path, &m))
        fail_msg("%s", fail_message());
    for (u64 at = 0; at + 512 <= m.n && m.p[at];) {
        unsigned long size = 0;
        assert_int_equal(sscanf((const char *)m.p + at + 124, "%11lo", &size), 1);
        assert_true(size <= FUZZ_MAX && at + 512 + size <= m.n);
        if (m.p[at + 156] == '0') {                  // a file, no folder
            u8 *copy = test_malloc(size + 1);        // of its own size: a sanitizer sees a byte too far
            memcpy(copy, m.p + at + 512, size);
            run(copy, size);
            test_free(copy);
            n++;
        }
        at += 512 + ROUND_UP(size, 512);
    }
    file_unmap(&m);
    return n;
}

static void corpus(void **state)
{
    const struct target *t = *state;
    char path[256];
    snprintf(path, sizeof path, "tests/fuzz/corpus/%s.tar", t->name);
    assert_true(replay(path, t->run) > 0);
}

int main(void)
{
    struct CMUnitTest tests[countof(targets)];
    for (int i = 0; i < countof(targets); i++)
        tests[i] = (struct CMUnitTest){ targets[i].name, corpus, NULL, NULL, (void *)&targets[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
