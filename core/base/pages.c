/* pages.c: hints about the pages of memory. A system that does not know them ignores them. */
#include "base/base.h"
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE (-1)                  /* refused */
#endif
#ifndef MADV_HUGEPAGE
#define MADV_HUGEPAGE (-1)
#endif

static void pages_advise(void *p, size_t bytes, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = (uintptr_t)p + bytes;
    uintptr_t from = ROUND_UP((uintptr_t)p, page), to = end / page * page;
    if (from < to)
        madvise((void *)from, to - from, advice);
}

void pages_fetch(void *p, size_t bytes) { pages_advise(p, bytes, MADV_POPULATE_WRITE); }
void pages_large(void *p, size_t bytes) { pages_advise(p, bytes, MADV_HUGEPAGE); }
