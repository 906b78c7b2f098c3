/* confusion.c: what a model takes for what: the matrix as a table and as a picture. Rows are the truth. */
#include "study/analyse.h"

int confusion_csv(const char *path, const struct scores *s, const char *const *names)
{
    struct file_out o;
    if (file_begin(&o, path))
        return -1;
    fprintf(o.f, "truth");
    for (int j = 0; j < s->classes; j++) {
        fputc(',', o.f);
        csv_text(o.f, names[j]);
    }
    for (int i = 0; i < s->classes; i++) {
        fputc('\n', o.f);
        csv_text(o.f, names[i]);
        for (int j = 0; j < s->classes; j++)
            fprintf(o.f, ",%lld", (long long)s->confusion[(i64)i * s->classes + j]);
    }
    fputc('\n', o.f);
    return file_commit(&o);
}

/* White rows have no images. */
int confusion_png(const char *path, const struct scores *s)
{
    arena *a = arena_open("confusion matrix");
    int cell = MAX(1, MIN(32, 640 / s->classes)), side = cell * s->classes;
    struct image m = { 0 };
    int rc = image_room(a, &m, side, side);
    for (int y = 0; !rc && y < side; y++) {
        const i64 *row = s->confusion + (i64)(y / cell) * s->classes;
        i64 images = 0;
        for (int j = 0; j < s->classes; j++)
            images += row[j];
        for (int x = 0; x < side; x++) {
            f64 share = images ? (f64)row[x / cell] / (f64)images : 0;
            u8 *to = m.rgb + 3 * ((size_t)y * (size_t)side + (size_t)x);
            to[0] = (u8)(255 - 247 * share);
            to[1] = (u8)(255 - 207 * share);
            to[2] = (u8)(255 - 148 * share);
        }
    }
    rc = rc || image_save_png(path, &m) ? -1 : 0;
    arena_close(a);
    return rc;
}
