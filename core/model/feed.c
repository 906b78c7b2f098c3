/* feed.c: the loader's batches as a network's input. Bytes and recipes go to the device, which erases, mixes
 * and normalises (cl/feed.cl): a quarter of what the finished numbers would take on the way.
 *
 * A micro-batch is mixed with images of others of its batch, so these come along after its own: memory
 * stays that of two micro-batches. Only a whole batch finds its partners in itself. */
#include "model/model.h"
#include "op/grid.h"

static range feed_take(struct feed *f, u64 bytes)
{
    range r = pool_take(f->memory, bytes);
    r.bytes = bytes;
    return r;
}

/* A kernel over the rows of `images` images. */
static void feed_launch(struct feed *f, launches *list, const char *kernel, i64 images, i64 micro,
                        const arg *first, int n)
{
    launch k = { .file = "feed", .kernel = kernel, .label = "images" };
    i64 rows = images * f->h, block = grid_rows(list, &k, rows, 3 * f->w);
    const arg rest[] = { ARG_INT(f->h), ARG_INT(f->w), ARG_INT(micro), ARG_LONG(rows), ARG_LONG(block) };
    memcpy(k.args, first, sizeof *first * (size_t)n);
    memcpy(k.args + n, rest, sizeof rest);
    grid_groups(list, &k, CEIL_DIV(rows, block), 1, 1);
    launch_add(list, &k);
}

static int feed_open_set(struct feed *f, struct feed_set *x)
{
    u64 image = 3 * (u64)f->h * (u64)f->w, n = (u64)f->micro;
    x->pixels = feed_take(f, image * n * (f->gathered ? 2 : 1));
    x->recipes = feed_take(f, sizeof(struct recipe) * n);
    x->values = feed_take(f, sizeof *((struct batch *)0)->values);
    if (!x->pixels.mem || !x->recipes.mem || !x->values.mem)
        return -1;
    // recipes that no batch has written yet point at image 0
    if (mem_fill(f->d, x->recipes, 0))
        return -1;
    if (f->sets > 1 && !(x->up = upload_new(f->d, x->pixels.bytes + x->recipes.bytes + x->values.bytes)))
        return -1;
    x->list = launches_new(f->d, "feed");
    const arg erase[] = { ARG_RANGE(x->pixels), ARG_RANGE(x->recipes), ARG_RANGE(f->noise),
                          ARG_INT(RNG_AUGMENT) };
    const arg feed[] = { ARG_RANGE(x->pixels), ARG_RANGE(x->recipes), ARG_RANGE(x->values),
                         ARG_RANGE(f->images) };
    feed_launch(f, x->list, "erase", f->gathered ? 2 * f->micro : f->micro, f->micro, erase, countof(erase));
    feed_launch(f, x->list, "feed", f->micro, f->gathered ? f->micro : 0, feed, countof(feed));
    return launches_compile(x->list);
}

int feed_open(struct feed *f, dev *d, const node *images, bool whole)
{
    *f = (struct feed){ .d = d, .micro = node_dim(images, 0),
                        .h = (int)node_dim(images, 2), .w = (int)node_dim(images, 3),
                        .gathered = !whole, .images = images->home, .memory = pool_new(d, "pixels"),
                        .sets = dev_uploads_beside(d) ? 2 : 1 };
    f->noise = feed_take(f, 3 * NOISE_DRAWS);
    int rc = !f->noise.mem || mem_fill(d, f->noise, 0) ? -1 : 0;
    for (int i = 0; i < f->sets && !rc; i++)
        rc = feed_open_set(f, &f->set[i]);
    return rc ? rc : dev_finish(d);               // uploads do not wait for what has filled the memory
}

void feed_close(struct feed *f)
{
    for (int i = 0; i < f->sets; i++) {
        upload_free(f->set[i].up);
        if (f->set[i].list)
            launches_free(f->set[i].list);
    }
    if (f->memory)
        pool_free(f->memory);
    *f = (struct feed){ 0 };
}

static int feed_write(const struct feed *f, const struct feed_set *x, range r, const void *from)
{
    return x->up ? upload_add(x->up, r, from) : mem_write_later(f->d, r, from);
}

static range feed_images(const struct feed *f, const struct feed_set *x, i64 k, i64 n)
{
    u64 image = 3 * (u64)f->h * (u64)f->w;
    return (range){ x->pixels.mem, x->pixels.off + image * (u64)k, image * (u64)n };
}

static int feed_partners(const struct feed *f, const struct feed_set *x, const struct batch *b, i64 from, i64 n)
{
    size_t image = 3 * (size_t)f->h * (size_t)f->w;
    for (i64 k = 0; k < n; k++) {
        const u8 *partner = b->pixels + (size_t)b->recipes[from + k].partner * image;
        if (feed_write(f, x, feed_images(f, x, f->micro + k, 1), partner))
            return -1;
    }
    return 0;
}

static int feed_numbers(struct feed *f, const f32 *from, i64 n)
{
    u64 bytes = f->images.bytes / (u64)f->micro * (u64)n;
    return mem_write_later(f->d, (range){ f->images.mem, f->images.off, bytes }, from);
}

static int feed_bytes(const struct feed *f, const struct feed_set *x, const struct batch *b, i64 from, i64 n)
{
    size_t image = 3 * (size_t)f->h * (size_t)f->w;
    range recipes = { x->recipes.mem, x->recipes.off, sizeof(struct recipe) * (u64)n };
    return (x->up && upload_begin(x->up))
           || feed_write(f, x, feed_images(f, x, 0, n), b->pixels + (size_t)from * image)
           || feed_write(f, x, recipes, b->recipes + from) || feed_write(f, x, x->values, b->values)
           || (f->gathered && b->mixes && feed_partners(f, x, b, from, n))
           || (x->up && upload_end(x->up)) ? -1 : 0;
}

int feed_batch(struct feed *f, const struct batch *b, i64 from, i64 n)
{
    size_t image = 3 * (size_t)f->h * (size_t)f->w;
    check(n > 0 && n <= f->micro && from >= 0 && from + n <= b->n && (f->gathered || (!from && n == b->n)),
          "images %ld + %ld of %d, for %ld%s", (long)from, (long)n, b->n, (long)f->micro,
          f->gathered ? "" : " of whole batches");
    if (b->numbers)
        return feed_numbers(f, b->numbers + (size_t)from * image, n);
    if (b->h != f->h || b->w != f->w)
        return fail(FAULT_USAGE, "images are read as squares, %d x %d pixels; model.image is %d x %d",
                    b->h, b->w, f->h, f->w);
    if (b->noise && b->noise != f->noise_of && mem_write_later(f->d, f->noise, b->noise))
        return -1;
    f->noise_of = b->noise ? b->noise : f->noise_of;
    struct feed_set *x = &f->set[f->next++ % f->sets];
    return feed_bytes(f, x, b, from, n) || launches_run_part(x->list, b->noise ? 0 : 1, 2)   // erase, feed
           || (x->up && upload_read(x->up)) ? -1 : 0;
}

struct batch feed_noise(arena *a, const struct spec *s, int n, u64 seed)
{
    struct shape of = model_images(s, n);
    struct batch b = { .n = n, .h = (int)of.d[2], .w = (int)of.d[3], .mixes = true };
    i64 bytes = shape_count(of), classes = s->model.classes;
    rng r = rng_at(seed, RNG_TEST, 0, 0);
    b.pixels = arena_bytes(a, (size_t)bytes, 64);
    b.recipes = arena_array(a, struct recipe, n);
    b.values = arena_bytes(a, sizeof *b.values, 64);
    b.soft_labels = arena_array(a, f32, n * classes);
    for (i64 i = 0; i < bytes; i++)
        b.pixels[i] = (u8)rng_u32(&r);
    for (int i = 0; i < 256; i++)
        for (int c = 0; c < 3; c++)               // half of each of two: 73.9 is the spread of a byte
            b.values->own[c][i] = b.values->other[c][i] = ((f32)i - 127.5f) / 73.9f * 0.70710678f;
    for (int k = 0; k < n; k++) {
        b.recipes[k] = (struct recipe){ .partner = n - 1 - k, .mixed = { 0, b.h, 0, b.w } };
        b.soft_labels[k * classes + rng_below(&r, (u32)classes)] = 1;
    }
    return b;
}
