/* image.h: one picture: read from JPEG, PNG, GIF, WebP or BMP bytes, resized, recoloured, warped, written as
 * PNG.
 *
 *     struct image m = { 0 };
 *     if (image_load(a, "cat.jpg", true, &m)) return -1;         // rows of RGB triples, rotated by their EXIF
 *     image_resize(a, &m, FILTER_BICUBIC, 224, 224, &out);
 *     image_save_png("cat.png", &out);
 *
 * Pixels are 8-bit RGB, rows from the top, no padding between rows. Resizing and the colour operations give
 * Pillow's bits.
 */
#ifndef JETCL_IMAGE_H
#define JETCL_IMAGE_H

#include "base/base.h"

/* rgb has room bytes and IMAGE_SLACK more, so that vector loads and stores may run over the end. */
enum { IMAGE_SLACK = 64 };
struct image  { int w, h; u8 *rgb; size_t room; };
struct window { int x, y, w, h; };

/* Makes m w x h, keeping its memory where that is enough (contents are then undefined). 0, or -1 +
 * fail(FAULT_RUN). */
int  image_room(arena *a, struct image *m, int w, int h);
static inline size_t image_bytes(const struct image *m) { return (size_t)m->w * (size_t)m->h * 3; }

/* ---- decode.c ------------------------------------------------------------------------------------------ */

enum image_kind { IMAGE_UNKNOWN, IMAGE_JPEG, IMAGE_PNG, IMAGE_GIF, IMAGE_WEBP, IMAGE_BMP };
/* w, h: as stored. orientation: EXIF orientation 1..8; 5..8 swap width and height. */
struct image_info { enum image_kind kind; int w, h, orientation; };

/* The format that the first n bytes of a file name; IMAGE_STARTS of them are enough. */
enum { IMAGE_STARTS = 16 };
enum image_kind image_kind_of(const u8 *bytes, size_t n);
/* What the first bytes say, without decoding. Sizes above 2^27 pixels are refused. 0 or -1 +
 * fail(FAULT_DATA). */
int  image_peek(const u8 *bytes, size_t n, bool exif, struct image_info *out);
void image_oriented_size(const struct image_info *info, int *w, int *h);      /* as seen after the rotation */

/* A decoder owns the memory that decoding reuses from picture to picture; zeroed, with an arena, it is
 * ready. */
struct decoder { arena *a; struct image raw; u8 *file; size_t file_room; };

/* Decodes the part `want` (NULL: all) of the upright picture into out; what lies outside is not decoded where
 * the format allows, the pixels are those of a whole decode. halvings k > 0 decodes a JPEG at 1/2^k by a
 * smaller inverse DCT: `want` then counts in those pixels (of ceil(w/2^k)); other formats refuse it. 0 or -1
 * + fail(FAULT_DATA). */
int  image_decode(struct decoder *d, const u8 *bytes, size_t n, const struct image_info *info,
                  const struct window *want, int halvings, struct image *out);
/* The whole file into d->file (by read, so that a file cut short meanwhile is an error and not a signal). */
int  image_read_file(struct decoder *d, const char *path, size_t *n);
/* Whole file, decoded. Messages name it. */
int  image_load(arena *a, const char *path, bool exif, struct image *out);
/* path as one printable line of UTF-8: control characters and stray bytes become \xNN. */
const char *path_shown(char out[512], const char *path);

/* ---- png.c --------------------------------------------------------------------------------------------- */

int  image_save_png(const char *path, const struct image *m);          /* atomic; 0 or -1 + fail(FAULT_RUN) */

/* ---- resize.c: Pillow's separable antialiased filters, 22-bit fixed point, 8 bits between the passes --- */

enum filter { FILTER_BICUBIC /* a = -1/2 */, FILTER_BILINEAR };
/* One scaling: a source of in_w x in_h, of which the box (all of it where w is 0) becomes out_w x out_h; of
 * that `part` is asked for (all where w is 0). Only the source pixels under the part matter: an image may
 * hold those alone. */
struct scaling {
    enum filter filter;
    int in_w, in_h, out_w, out_h;
    struct { f64 x, y, w, h; } box;
    struct window part;
};
/* Memory that scaling reuses from picture to picture; zeroed, with an arena, it is ready. */
struct resizer {
    arena *a;
    struct image across;                          /* between the passes */
    i32 *weights[2], *first[2];
    f64 *exact;
    u8 *tall, *wide;
    size_t room[2], first_room[2], exact_room, tall_room, wide_room;
};

/* The source pixels that the part depends on. */
struct window scaling_needs(const struct scaling *s);
/* m: the source's pixels from (x, y) on, at least those of scaling_needs. 0 or -1 + fail(FAULT_RUN). */
int  image_scale(struct resizer *r, const struct scaling *s, const struct image *m, int x, int y,
                 struct image *out);
int  image_resize(arena *a, const struct image *m, enum filter f, int w, int h, struct image *out);

/* ---- color.c, warp.c: RandAugment's operations (Cubuk et al. 2020), in place or from m to out ---------- */

void image_flip(struct image *m);                                           /* left-right */
void image_autocontrast(struct image *m);
void image_equalize(struct image *m);
void image_invert(struct image *m);
void image_posterize(struct image *m, int bits);
void image_solarize(struct image *m, f64 threshold);
void image_solarize_add(struct image *m, f64 amount);
void image_color(struct image *m, f64 factor);                      /* these four: 1 leaves the image alone */
void image_contrast(struct image *m, f64 factor);
void image_brightness(struct image *m, f64 factor);
void image_sharpness(const struct image *m, f64 factor, struct image *out); /* out has m's size */
/* Output pixel (x, y) samples m at M (x+1/2, y+1/2, 1), M = {a b c; d e f} row by row; outside: fill. Cubic
 * has a = -1. */
void image_affine(const struct image *m, const f64 M[6], enum filter f, const u8 fill[3], struct image *out);
void image_rotate(const struct image *m, f64 degrees, enum filter f, const u8 fill[3], struct image *out);
void image_crop(const struct image *m, struct window w, struct image *out); /* out has w's size */

#endif
