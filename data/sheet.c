/* sheet.c: what the network will see, as one picture that a person can look at. */
#include "data/verify.h"
#include <math.h>

enum { GAP = 2, LIGHT = 235, SEEN = 96 };         // small pictures are magnified up to SEEN pixels

int sheet_draw(arena *a, const f32 *images, int n, int side, int columns, const f32 mean[3],
               const f32 std[3], struct image *out)
{
    int zoom = MAX(1, SEEN / side), tile = side * zoom, rows = CEIL_DIV(n, columns);
    size_t plane = (size_t)side * (size_t)side;
    if (image_room(a, out, columns * (tile + GAP) + GAP, rows * (tile + GAP) + GAP))
        return -1;
    memset(out->rgb, LIGHT, image_bytes(out));
    for (int i = 0; i < n; i++)
        for (int k = 0; k < tile * tile; k++) {
            int y = k / tile, x = k % tile;
            size_t at = (size_t)(i / columns * (tile + GAP) + GAP + y) * (size_t)out->w
                        + (size_t)(i % columns * (tile + GAP) + GAP + x);
            const f32 *from = images + 3 * plane * (size_t)i + (size_t)(y / zoom * side + x / zoom);
            for (size_t c = 0; c < 3; c++)
                out->rgb[3 * at + c] = (u8)fminf(255, fmaxf(0, rintf(from[c * plane] * std[c] + mean[c])));
        }
    return 0;
}
