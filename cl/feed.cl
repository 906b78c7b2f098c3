/* feed.cl: a batch as bytes becomes the network's input: images[k][c][y][x] of pixels[k][y][x][c],
 * normalised, with what is erased and mixed. data/finish.c says what and why; the bits are the same, since
 * all values come out of tables and nothing is computed but one sum. Two kernels: `erase` writes noise over
 * the pixels, `feed` looks up and adds. A group takes `block` of the rows of all images, its items what
 * lies along a row.
 *
 *     recipe (17 ints)   partner, mixed y1 y2 x1 x2, erased y1 y2 x1 x2 key key, the same of the partner
 *     values             [alone | own | other][c][byte]
 *     noise              [c][16-bit draw]
 *
 * after: image k's partner is image k + after, put there by the host; 0: the one that the recipe says.
 * Bound: 3 or 6 bytes read and 12 written a pixel.
 */
#include "random.h"

/* Sixteen bits for each of the bytes 8 n .. 8 n + 7 of a row of the rectangle, two a word. */
static inline uint4 draws(ulong seed, uint stream, int row, int n)
{
    uint c0 = 8 * n, c1 = row, c2 = 0, c3 = stream;
    PHILOX_10(PHILOX_ONE)
    return (uint4)(c0, c1, c2, c3);
}

/* Images from `micro` on are partners. */
kernel void erase(global uchar *pixels, global const int *recipes, global const uchar *noise,
                  uint stream, int h, int w, int micro, long rows, long block)
{
    const long first = get_group_id(0) * block, end = min(first + block, rows);
    for (long row = first; row < end; row++) {
        const int k = row / h, y = row % h;
        global const int *r = recipes + (k < micro ? 17 * k + 5 : 17 * (k - micro) + 11);
        if (y < r[0] || y >= r[1])
            continue;
        global uchar *to = pixels + (row * w + r[2]) * 3;
        const ulong key = (ulong)(uint)r[5] << 32 | (uint)r[4];
        const int bytes = 3 * (r[3] - r[2]);
        for (int n = get_local_id(0); 8 * n < bytes; n += get_local_size(0)) {
            const uint4 two = draws(key, stream, y - r[0], n);
            const uint each[8] = { two.x, two.x >> 16, two.y, two.y >> 16,
                                   two.z, two.z >> 16, two.w, two.w >> 16 };
            #pragma unroll
            for (int i = 0; i < 8; i++)           // known indices, so that `each` stays in registers
                if (i < bytes - 8 * n)
                    to[8 * n + i] = (noise + ((8 * n + i) % 3 << 16))[each[i] & 0xFFFF];
        }
    }
}

/* Pixels [from, end) of a row, alone and mixed. */
static inline void plain(global const uchar *p, global const float *alone, global float *to, long plane,
                         int from, int end)
{
    for (int x = from + get_local_id(0); x < end; x += get_local_size(0)) {
        to[x] = alone[p[3 * x]];
        to[plane + x] = alone[256 + p[3 * x + 1]];
        to[2 * plane + x] = alone[512 + p[3 * x + 2]];
    }
}

static inline void blend(global const uchar *p, global const uchar *q, global const float *own,
                         global float *to, long plane, int from, int end)
{
    global const float *other = own + 768;
    for (int x = from + get_local_id(0); x < end; x += get_local_size(0)) {
        to[x] = own[p[3 * x]] + other[q[3 * x]];
        to[plane + x] = own[256 + p[3 * x + 1]] + other[256 + q[3 * x + 1]];
        to[2 * plane + x] = own[512 + p[3 * x + 2]] + other[512 + q[3 * x + 2]];
    }
}

kernel void feed(global const uchar *pixels, global const int *recipes, global const float *values,
                 global float *images, int h, int w, int after, long rows, long block)
{
    const long first = get_group_id(0) * block, end = min(first + block, rows), plane = (long)h * w;
    for (long row = first; row < end; row++) {
        const long k = row / h;
        const int y = row % h;
        global const int *r = recipes + 17 * k;
        const long partner = after ? k + after : (long)r[0];
        global const uchar *p = pixels + row * w * 3, *q = pixels + (partner * h + y) * w * 3;
        global float *to = images + (3 * k * h + y) * w;
        const bool mixes = y >= r[1] && y < r[2] && r[3] < r[4];
        const int left = mixes ? r[3] : w, right = mixes ? r[4] : w;
        plain(p, values, to, plane, 0, left);
        blend(p, q, values + 768, to, plane, left, right);
        plain(p, values, to, plane, right, w);
    }
}
