/* memcheck.c: does a device keep what is written, where it is written? */
#include "study/selftest.h"

/* Ranges side by side at the device's own alignment: what is filled in one must not show in its neighbours. */
int memcheck_ranges(struct check_line *out, arena *a, dev *d)
{
    enum { RANGES = 7 };
    u64 step = MAX(dev_info(d)->align, 64), bytes = step * RANGES;
    mem *m = mem_new(d, bytes, "self-test");
    u32 *v = arena_array(a, u32, bytes / 4);
    int rc = m ? 0 : -1;
    for (int i = 0; i < RANGES && !rc; i++)
        rc = mem_fill(d, (range){ m, step * (u64)((i * 3) % RANGES), step }, (u32)((i * 3) % RANGES) + 1);
    rc = rc || mem_read(d, (range){ m, 0, bytes }, v) ? -1 : 0;
    i64 wrong = 0;
    for (u64 i = 0; i < bytes / 4 && !rc; i++)
        wrong += v[i] != i / (step / 4) + 1;
    if (!rc)
        *out = (struct check_line){
            "sub-buffers", wrong ? arena_printf(a, "%lld words of another sub-buffer", (long long)wrong)
                           : arena_printf(a, "%d at multiples of %llu bytes", RANGES, (unsigned long long)step),
            !wrong };
    mem_free(m);
    return rc;
}

/* The largest single allocation, or 1 GiB of it: its first and last words and some between. */
int memcheck_largest(struct check_line *out, arena *a, dev *d)
{
    u64 bytes = MIN(dev_info(d)->max_alloc, (u64)1 << 30) / 4096 * 4096,
        places[] = { 0, bytes / 8192 * 4096, bytes - 4096 };
    char size[24];
    mem *m = mem_new(d, bytes, "self-test");
    u32 v[1024];
    bool ok = m != NULL;
    fail_clear();
    for (int i = 0; i < countof(places) && ok; i++)
        ok = !mem_fill(d, (range){ m, places[i], 4096 }, 0xa5a50000u + (u32)i);
    for (int i = 0; i < countof(places) && ok; i++)
        ok = !mem_read(d, (range){ m, places[i], 4096 }, v) && v[0] == 0xa5a50000u + (u32)i && v[1023] == v[0];
    fail_clear();
    text_bytes(size, (f64)bytes);
    const char *lost = ok ? "" : " in one piece cannot be had, or does not keep what is written";
    *out = (struct check_line){ "largest allocation", arena_printf(a, "%s%s", size, lost), ok };
    mem_free(m);
    return 0;
}
