/* arena.c: bump allocation in doubling chunks. Memory is freed by lifetime (program, run, graph, scratch),
 * not piece by piece, so nothing has an owner to get wrong.
 *
 *     chunk -> chunk -> chunk          newest first
 *     [head|used ......|free ...]
 */
#include "base/base.h"
#include <stdlib.h>

struct chunk { struct chunk *next; size_t used, size; _Alignas(64) u8 bytes[]; };
struct arena { const char *name; struct chunk *top; size_t total; };

static i64 fail_countdown = -1;

void arena_fail_after(i64 n) { fail_countdown = n; }

arena *arena_open(const char *name)
{
    arena *a = calloc(1, sizeof *a);
    check(a, "out of memory opening arena %s", name);
    a->name = name;
    return a;
}

static void arena_drop_chunks(arena *a)
{
    struct chunk *c = a->top;
    a->top = c->next;
    a->total -= c->size;
    free(c);
}

void arena_close(arena *a)
{
    if (!a)
        return;
    while (a->top)
        arena_drop_chunks(a);
    free(a);
}

static struct chunk *arena_more(arena *a, size_t bytes)
{
    size_t size = MAX(MAX(bytes, (size_t)16 << 10), MIN(a->total, (size_t)16 << 20));
    struct chunk *c = aligned_alloc(64, ROUND_UP(sizeof *c + size, 64));
    if (!c)
        return NULL;
    if (bytes >= 1 << 20)                         // it is about to be zeroed
        pages_fetch(c->bytes, bytes);
    *c = (struct chunk){ a->top, 0, size };
    a->top = c;
    a->total += size;
    return c;
}

static void *arena_take(arena *a, size_t bytes, size_t align)
{
    check(align && align <= 64 && !(align & (align - 1)), "alignment %zu", align);
    if (bytes > SIZE_MAX / 2)
        return NULL;
    struct chunk *c = a->top;
    size_t at = c ? ROUND_UP(c->used, align) : 0;
    if (!c || at > c->size || bytes > c->size - at) {
        if (!(c = arena_more(a, bytes)))
            return NULL;
        at = 0;
    }
    c->used = at + bytes;
    return memset(c->bytes + at, 0, bytes);
}

void *arena_try(arena *a, size_t bytes, size_t align)
{
    void *p = fail_countdown >= 0 && fail_countdown-- == 0 ? NULL : arena_take(a, bytes, align);
    if (!p)
        fail(FAULT_RUN, "out of memory: %zu bytes needed for %s", bytes, a->name);
    return p;
}

void *arena_bytes(arena *a, size_t bytes, size_t align)
{
    void *p = arena_take(a, bytes, align);
    if (!p) {
        fprintf(stderr, "jetcl: out of memory: %zu bytes needed for %s\n", bytes, a->name);
        exit(FAULT_RUN);
    }
    return p;
}

arena_mark arena_save(arena *a) { return (arena_mark){ a->top, a->top ? a->top->used : 0 }; }

void arena_restore(arena *a, arena_mark m)
{
    while (a->top != m.chunk)
        arena_drop_chunks(a);
    if (a->top)
        a->top->used = m.used;
}

size_t arena_used(const arena *a) { return a->total; }

char *arena_copy(arena *a, const void *src, size_t bytes)
{
    char *p = arena_bytes(a, bytes + 1, 1);
    if (bytes)
        memcpy(p, src, bytes);
    return p;
}

/* Printed once: glibc counts (vsnprintf of no room) at a tenth of the speed, and kernels are long texts. */
char *arena_vprintf(arena *a, const char *fmt, va_list ap)
{
    char *text;
    int n = vasprintf(&text, fmt, ap);
    check(n >= 0, "out of memory printing to arena %s", a->name);
    char *p = arena_copy(a, text, (size_t)n);
    free(text);
    return p;
}

char *arena_printf(arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *p = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return p;
}

void *arena_grow(arena *a, void *old, size_t n, size_t *cap, size_t item)
{
    *cap = MAX(16, 2 * *cap);
    void *p = arena_bytes(a, *cap * item, 16);
    if (n)
        memcpy(p, old, n * item);
    return p;
}
