/* pages.c: wishes about the pages of memory. A system that does not know them goes on as before. */
#include "base/base.h"
#include <sys/mman.h>
#include <unistd.h>

static void wish(void *p, size_t bytes, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = (uintptr_t)p + bytes;
    uintptr_t from = ROUND_UP((uintptr_t)p, page), to = end / page * page;
    if (from < to)
        madvise((void *)from, to - from, advice);
}

void pages_fetch(void *p, size_t bytes)
{
#ifdef MADV_POPULATE_WRITE
    wish(p, bytes, MADV_POPULATE_WRITE);
#else
    (void)p, (void)bytes, (void)wish;
#endif
}

void pages_large(void *p, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    wish(p, bytes, MADV_HUGEPAGE);
#else
    (void)p, (void)bytes, (void)wish;
#endif
}
