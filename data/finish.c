/* finish.c: the last steps, from bytes to the network's numbers: noise where a picture is erased, Mixup or
 * CutMix, normalising. Everything is looked up by byte in tables that the host makes, and at most one
 * addition follows, so that every device gives the same bits. This file says what is computed and needs no
 * device (`jetcl data show`); training and evaluation have cl/feed.cl do it, a quarter of the bytes to move,
 * from the same tables.
 *
 *     outside `mixed`   alone[c][own byte]
 *     inside            own[c][own byte] + other[c][partner's byte]
 */
#include "data/set.h"

u8 noise_byte(f32 mean, f32 std, f32 z)
{
    f32 v = mean + std * z;
    return (u8)(v <= 0 ? 0 : v >= 255 ? 255 : v);
}

/* The quantiles of 2^16 equal shares of the normal distribution; 4.3 sigma is far enough for 8 bits. */
void noise_table(const struct fill *f, u8 (*noise)[NOISE_DRAWS])
{
    for (int i = 0; i < NOISE_DRAWS; i++) {
        f32 z = rng_unit_to_normal(((f32)i + 0.5f) / NOISE_DRAWS);
        for (int c = 0; c < 3; c++)
            noise[c][i] = noise_byte(f->mean[c], f->std[c], z);
    }
}

void values_table(struct batch *b, const f32 mean[3], const f32 std[3], f32 weight, f32 rest)
{
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 256; i++) {
            f32 v = ((f32)i - mean[c]) / std[c];
            b->values->alone[c][i] = v;
            b->values->own[c][i] = weight * v;
            b->values->other[c][i] = rest * v;
        }
}

/* The rectangle's row `row`, its bytes numbered from its left: eight draws of 16 bits a counter. */
static void erase_row(const struct erasing *e, int row, const u8 (*noise)[NOISE_DRAWS], u8 *rgb)
{
    u32 bits[4];
    for (int i = 0; i < 3 * (e->box[3] - e->box[2]); i++) {
        if (i % 8 == 0)
            rng_philox(e->key, (u32[4]){ (u32)i, (u32)row, 0, RNG_AUGMENT }, bits);
        rgb[3 * e->box[2] + i] = noise[i % 3][bits[i / 2 % 4] >> 16 * (i & 1) & 0xFFFF];
    }
}

/* Row y of image k, erased where e says so. */
static const u8 *row_of(const struct batch *b, int k, int y, const struct erasing *e, u8 *room)
{
    size_t row = 3 * (size_t)b->w;
    const u8 *p = b->pixels + ((size_t)k * (size_t)b->h + (size_t)y) * row;
    if (y < e->box[0] || y >= e->box[1])
        return p;
    memcpy(room, p, row);
    erase_row(e, y - e->box[0], b->noise, room);
    return room;
}

void batch_image(const struct batch *b, int k, f32 *planes)
{
    const struct recipe *r = &b->recipes[k];
    size_t plane = (size_t)b->h * (size_t)b->w;
    u8 room[2][3 * 8192];
    check(b->w <= 8192, "%d pixels a row", b->w);
    for (int y = 0; y < b->h; y++) {
        const u8 *p = row_of(b, k, y, &r->own, room[0]), *q = row_of(b, r->partner, y, &r->other, room[1]);
        bool mixed = y >= r->mixed[0] && y < r->mixed[1];
        for (int x = 0; x < b->w; x++, p += 3, q += 3) {
            f32 *to = planes + (size_t)y * (size_t)b->w + (size_t)x;
            for (int c = 0; c < 3; c++)
                to[(size_t)c * plane] = mixed && x >= r->mixed[2] && x < r->mixed[3]
                    ? b->values->own[c][p[c]] + b->values->other[c][q[c]] : b->values->alone[c][p[c]];
        }
    }
}
