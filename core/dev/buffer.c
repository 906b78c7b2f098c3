/* buffer.c: device memory. A mem is one allocation; launches bind ranges of it as sub-buffers, made once per
 * (offset, length) and kept. Ranges may overlap: launches that touch the same bytes keep their order.
 *
 *     mem   [........................................]
 *     range      [off ....... bytes]      off a multiple of the device's alignment
 */
#include "dev/ocl.h"

struct sub { struct sub *next; u64 off, bytes; cl_mem cl; };

/* CPU devices under-report what they have (PoCL takes two GiB off, and guesses on virtual machines): only a
 * warning. */
static int buffer_fits(dev *d, u64 bytes, const char *what)
{
    char a[24], b[24], c[24];
    text_bytes(a, (f64)bytes);
    if (bytes > d->info.max_alloc)
        return fail(FAULT_DEVICE, "%s: needs %s in one allocation; %s allows %s", what, a, d->info.name,
                    text_bytes(b, (f64)d->info.max_alloc));
    if (d->used + bytes <= d->info.global_mem)
        return 0;
    text_bytes(b, (f64)d->used);
    text_bytes(c, (f64)d->info.global_mem);
    if (!d->info.cpu_kind)
        return fail(FAULT_DEVICE, "%s: needs %s; %s has %s, of which %s are in use (a smaller train.batch "
                    "needs less)", what, a, d->info.name, c, b);
    if (!d->warned_full)
        warn("%s: needs %s with %s in use; %s reports %s and may start to swap", what, a, b, d->info.name, c);
    d->warned_full = true;
    return 0;
}

mem *mem_new(dev *d, u64 bytes, const char *what)
{
    bytes = ROUND_UP(MAX(bytes, 1), d->info.align);
    if (buffer_fits(d, bytes, what))
        return NULL;
    cl_int e = 0;
    cl_mem cl = d->queue ? clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, &e) : NULL;
    if (ocl_check(what, e, "clCreateBuffer"))
        return NULL;
    arena *a = arena_open("mem");
    mem *m = arena_one(a, mem);
    *m = (mem){ .a = a, .d = d, .cl = cl, .bytes = bytes, .what = arena_printf(a, "%s", what) };
    d->used += bytes;
    d->peak = MAX(d->peak, d->used);
    return m;
}

void mem_free(mem *m)
{
    if (!m)
        return;
    for (int i = 0; i < countof(m->subs); i++)
        for (struct sub *s = m->subs[i]; s; s = s->next)
            clReleaseMemObject(s->cl);
    if (m->cl)
        clReleaseMemObject(m->cl);
    m->d->used -= m->bytes;
    arena_close(m->a);
}

void mem_large_pages(mem *m)
{
    cl_int e;
    if (!m->cl || !m->d->info.cpu_kind || m->bytes < 4 << 20)
        return;
    void *p = clEnqueueMapBuffer(m->d->queue, m->cl, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION, 0, m->bytes, 0,
                                 NULL, NULL, &e);
    if (e)
        return;
    pages_large(p, m->bytes);
    clEnqueueUnmapMemObject(m->d->queue, m->cl, p, 0, NULL, NULL);
}

u64 mem_bytes(const mem *m)        { return m->bytes; }
u64 dev_mem_used(const dev *d)     { return d->used; }
u64 dev_mem_peak(const dev *d)     { return d->peak; }

void mem_check(range r)
{
    unsigned long long off = r.off, bytes = r.bytes;
    check(r.mem, "range without memory, %llu bytes at %llu", bytes, off);
    check(off <= r.mem->bytes && bytes <= r.mem->bytes - off, "%s: %llu bytes at %llu of %llu", r.mem->what,
          bytes, off, (unsigned long long)r.mem->bytes);
}

cl_mem mem_bind(range r)
{
    mem *m = r.mem;
    mem_check(r);
    check(r.off % m->d->info.align == 0, "%s: offset %llu is not a multiple of %u", m->what,
          (unsigned long long)r.off, m->d->info.align);
    if (!m->cl || (r.off == 0 && r.bytes == m->bytes))
        return m->cl;
    struct sub **slot = &m->subs[(r.off / m->d->info.align * 31 + r.bytes / sizeof(u32)) % countof(m->subs)];
    for (struct sub *s = *slot; s; s = s->next)
        if (s->off == r.off && s->bytes == r.bytes)
            return s->cl;
    cl_int e;
    cl_buffer_region region = { r.off, r.bytes };
    cl_mem cl = clCreateSubBuffer(m->cl, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &e);
    if (ocl_check(m->what, e, "clCreateSubBuffer"))
        return NULL;
    struct sub *s = arena_one(m->a, struct sub);
    *s = (struct sub){ *slot, r.off, r.bytes, cl };
    *slot = s;
    return cl;
}

/* ---- transfers ----------------------------------------------------------------------------------------- */

static int buffer_write(dev *d, range r, const void *src, cl_bool wait)
{
    mem_check(r);
    if (!d->queue || !r.bytes)
        return 0;
    return OCL(r.mem->what,
               clEnqueueWriteBuffer(d->queue, r.mem->cl, wait, r.off, r.bytes, src, 0, NULL, NULL));
}

static int buffer_read(dev *d, range r, void *dst, cl_bool wait)
{
    mem_check(r);
    if (!r.bytes)
        return 0;
    if (!d->queue) {
        memset(dst, 0, r.bytes);
        return 0;
    }
    return OCL(r.mem->what,
               clEnqueueReadBuffer(d->queue, r.mem->cl, wait, r.off, r.bytes, dst, 0, NULL, NULL));
}

int mem_write(dev *d, range r, const void *src)       { return buffer_write(d, r, src, CL_TRUE); }
int mem_read(dev *d, range r, void *dst)              { return buffer_read(d, r, dst, CL_TRUE); }
int mem_write_later(dev *d, range r, const void *src) { return buffer_write(d, r, src, CL_FALSE); }
int mem_read_later(dev *d, range r, void *dst)        { return buffer_read(d, r, dst, CL_FALSE); }

int mem_copy(dev *d, range dst, range src)
{
    mem_check(dst);
    mem_check(src);
    check(dst.bytes == src.bytes, "copy of %llu bytes to %llu", (unsigned long long)src.bytes,
          (unsigned long long)dst.bytes);
    if (!d->queue || !src.bytes)
        return 0;
    return OCL(dst.mem->what, clEnqueueCopyBuffer(d->queue, src.mem->cl, dst.mem->cl, src.off, dst.off,
                                                  src.bytes, 0, NULL, NULL));
}

/* ---- pools --------------------------------------------------------------------------------------------- */

struct pool {
    arena      *a;
    dev        *d;
    const char *what;
    mem       **mems;
    size_t      n, cap;
    u64         used, promised, total;       /* in the newest mem; reserved but in no mem yet; in all mems */
};

pool *pool_new(dev *d, const char *what)
{
    arena *a = arena_open("pool");
    pool *p = arena_one(a, pool);
    *p = (pool){ .a = a, .d = d, .what = arena_printf(a, "%s", what) };
    return p;
}

void pool_free(pool *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        mem_free(p->mems[i]);
    arena_close(p->a);
}

static u64 buffer_largest(const pool *p) { return p->d->info.max_alloc / p->d->info.align * p->d->info.align; }

/* A new mem with room for `bytes`: as much of the reserved bytes as one allocation holds; without a
 * reservation, as much as there is already. */
static int buffer_grow(pool *p, u64 bytes)
{
    u64 want = p->promised ? p->promised : MIN(p->total, (u64)64 << 20);
    u64 size = MAX(bytes, MIN(want, buffer_largest(p)));
    mem *m = mem_new(p->d, size, p->what);
    if (!m)
        return -1;
    *arena_push(p->a, p->mems, p->n, p->cap) = m;
    p->promised -= MIN(p->promised, size);
    p->total += m->bytes;
    p->used = 0;
    return 0;
}

int pool_reserve(pool *p, u64 bytes)
{
    p->promised += bytes;
    u64 left = p->n ? p->mems[p->n - 1]->bytes - p->used : 0;
    if (left < bytes)
        return buffer_grow(p, MIN(bytes, buffer_largest(p)));
    p->promised -= bytes;
    return 0;
}

range pool_take(pool *p, u64 bytes)
{
    u64 size = ROUND_UP(MAX(bytes, 1), p->d->info.align);
    if ((!p->n || size > p->mems[p->n - 1]->bytes - p->used) && buffer_grow(p, size))
        return RANGE_NONE;
    range r = { p->mems[p->n - 1], p->used, bytes };
    p->used += size;
    return r;
}

u64 pool_total(const pool *p) { return p->total; }

/* ---- zeros that kernels count in ------------------------------------------------------------------------ */

range dev_tickets(dev *d)
{
    if (!d->tickets)
        return RANGE_NONE;
    d->ticket = (d->ticket + 1) % TICKETS;
    return (range){ d->tickets, d->ticket * (u64)d->info.align, 8 };
}

range dev_counters(dev *d)
{
    return d->tickets ? (range){ d->tickets, TICKETS * (u64)d->info.align, 4 * DEV_COUNTERS } : RANGE_NONE;
}
