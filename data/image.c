/* image.c: room for pixels, crop, flip. */
#include "data/image.h"

int image_room(arena *a, struct image *m, int w, int h)
{
    check(w > 0 && h > 0, "image of %d x %d", w, h);
    size_t need = (size_t)w * (size_t)h * 3;
    if (need > m->room || !m->rgb) {
        // an arena takes nothing back: grow rarely, and by doubling
        size_t room = MAX(need + need / 4, 2 * m->room);
        u8 *p = arena_try(a, room + IMAGE_SLACK, 64);
        if (!p)
            return -1;
        m->rgb = p;
        m->room = room;
    }
    m->w = w;
    m->h = h;
    return 0;
}

void image_crop(const struct image *m, struct window w, struct image *out)
{
    check(w.x >= 0 && w.y >= 0 && w.x + w.w <= m->w && w.y + w.h <= m->h && out->w == w.w && out->h == w.h,
          "crop %d,%d %dx%d of %dx%d into %dx%d", w.x, w.y, w.w, w.h, m->w, m->h, out->w, out->h);
    for (int y = 0; y < w.h; y++)
        memcpy(out->rgb + (size_t)y * w.w * 3, m->rgb + ((size_t)(w.y + y) * m->w + w.x) * 3,
               (size_t)w.w * 3);
}

void image_flip(struct image *m)
{
    for (int y = 0; y < m->h; y++) {
        u8 *a = m->rgb + (size_t)y * m->w * 3, *b = a + (size_t)(m->w - 1) * 3;
        for (; a < b; a += 3, b -= 3)
            for (int c = 0; c < 3; c++) {
                u8 t = a[c];
                a[c] = b[c];
                b[c] = t;
            }
    }
}
