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
static void add_launch(struct feed *f, const char *kernel, i64 images, i64 micro, const arg *first, int n)
{
    launch k = { .file = "feed", .kernel = kernel, .label = "images" };
    i64 rows = images * f->h, block = grid_rows(f->list, &k, rows, 3 * f->w);
    const arg rest[] = { ARG_INT(f->h), ARG_INT(f->w), ARG_INT(micro), ARG_LONG(rows), ARG_LONG(block) };
    memcpy(k.args, first, sizeof *first * (size_t)n);
    memcpy(k.args + n, rest, sizeof rest);
    grid_groups(f->list, &k, CEIL_DIV(rows, block), 1, 1);
    launch_add(f->list, &k);
}

int feed_open(struct feed *f, dev *d, const node *images, bool whole)
{
    *f = (struct feed){ .d = d, .micro = node_dim(images, 0),
                        .h = (int)node_dim(images, 2), .w = (int)node_dim(images, 3),
                        .gathered = !whole, .images = images->home, .memory = pool_new(d, "pixels") };
    u64 image = 3 * (u64)f->h * (u64)f->w, n = (u64)f->micro;
    f->pixels = feed_take(f, image * n * (whole ? 1 : 2));
    f->recipes = feed_take(f, sizeof(struct recipe) * n);
    f->values = feed_take(f, sizeof *((struct batch *)0)->values);
    f->noise = feed_take(f, 3 * NOISE_DRAWS);
    if (!f->pixels.mem || !f->recipes.mem || !f->values.mem || !f->noise.mem)
        return -1;
    // recipes that no batch has written yet point at image 0
    if (mem_fill(d, f->recipes, 0) || mem_fill(d, f->noise, 0))
        return -1;
    f->list = launches_new(d, "feed");
    const arg erase[] = { ARG_RANGE(f->pixels), ARG_RANGE(f->recipes), ARG_RANGE(f->noise),
                          ARG_INT(RNG_AUGMENT) };
    const arg feed[] = { ARG_RANGE(f->pixels), ARG_RANGE(f->recipes), ARG_RANGE(f->values),
                         ARG_RANGE(f->images) };
    add_launch(f, "erase", whole ? f->micro : 2 * f->micro, f->micro, erase, countof(erase));
    add_launch(f, "feed", f->micro, whole ? 0 : f->micro, feed, countof(feed));
    return launches_compile(f->list);
}

void feed_close(struct feed *f)
{
    if (f->list)
        launches_free(f->list);
    if (f->memory)
        pool_free(f->memory);
    *f = (struct feed){ 0 };
}

static range image_at(const struct feed *f, i64 k, i64 n)
{
    u64 image = 3 * (u64)f->h * (u64)f->w;
    return (range){ f->pixels.mem, f->pixels.off + image * (u64)k, image * (u64)n };
}

static int write_partners(struct feed *f, const struct batch *b, i64 from, i64 n)
{
    size_t image = 3 * (size_t)f->h * (size_t)f->w;
    for (i64 k = 0; k < n; k++) {
        const u8 *partner = b->pixels + (size_t)b->recipes[from + k].partner * image;
        if (mem_write_later(f->d, image_at(f, f->micro + k, 1), partner))
            return -1;
    }
    return 0;
}

static int write_numbers(struct feed *f, const f32 *from, i64 n)
{
    u64 bytes = f->images.bytes / (u64)f->micro * (u64)n;
    return mem_write_later(f->d, (range){ f->images.mem, f->images.off, bytes }, from);
}

int feed_batch(struct feed *f, const struct batch *b, i64 from, i64 n)
{
    size_t image = 3 * (size_t)f->h * (size_t)f->w;
    check(n > 0 && n <= f->micro && from >= 0 && from + n <= b->n && (f->gathered || (!from && n == b->n)),
          "images %ld + %ld of %d, for %ld%s", (long)from, (long)n, b->n, (long)f->micro,
          f->gathered ? "" : " of whole batches");
    if (b->numbers)
        return write_numbers(f, b->numbers + (size_t)from * image, n);
    if (b->h != f->h || b->w != f->w)
        return fail(FAULT_USAGE, "images are read as squares, %d x %d pixels; model.image is %d x %d",
                    b->h, b->w, f->h, f->w);
    range recipes = { f->recipes.mem, f->recipes.off, sizeof(struct recipe) * (u64)n };
    if (mem_write_later(f->d, image_at(f, 0, n), b->pixels + (size_t)from * image)
        || mem_write_later(f->d, recipes, b->recipes + from) || mem_write_later(f->d, f->values, b->values)
        || (f->gathered && b->mixes && write_partners(f, b, from, n)))
        return -1;
    if (b->noise && b->noise != f->noise_of && mem_write_later(f->d, f->noise, b->noise))
        return -1;
    f->noise_of = b->noise ? b->noise : f->noise_of;
    return launches_run_part(f->list, b->noise ? 0 : 1, 2);           // erase, feed
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
