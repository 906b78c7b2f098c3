/* sheet.c: what the network will see, as one picture that a person can look at. */
#include "data/report.h"
#include <math.h>

enum { GAP = 2, LIGHT = 235 };

int sheet_draw(arena *a, const f32 *images, int n, int side, int columns, const f32 mean[3],
               const f32 std[3], struct image *out)
{
    int rows = CEIL_DIV(n, columns);
    if (image_room(a, out, columns * (side + GAP) + GAP, rows * (side + GAP) + GAP))
        return -1;
    memset(out->rgb, LIGHT, image_bytes(out));
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 3 * side * side; k++) {
            int c = k / (side * side), y = k / side % side, x = k % side;
            size_t at = (size_t)(i / columns * (side + GAP) + GAP + y) * (size_t)out->w
                        + (size_t)(i % columns * (side + GAP) + GAP + x);
            f32 v = images[(size_t)i * 3 * (size_t)side * (size_t)side + (size_t)k] * std[c] + mean[c];
            out->rgb[3 * at + (size_t)c] = (u8)fminf(255, fmaxf(0, rintf(v)));
        }
    return 0;
}
