/* formats.h: the formats that decode.c reads. Each decodes the window `want` of the stored picture, before its
 * EXIF rotation of info->w x h into out, already of want's size, or returns -1 + fail(FAULT_DATA) without a
 * file name. */
#ifndef JETCL_IMAGE_FORMATS_H
#define JETCL_IMAGE_FORMATS_H
#include "data/image.h"

int jpeg_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, int halvings,
                arena *a, struct image *out);
int png_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, arena *a,
               struct image *out);
int gif_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, struct image *out);
int webp_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, arena *a,
                struct image *out);
int bmp_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, struct image *out);
/* Width and height; and of a WebP its orientation, 1 when it says none. */
int webp_peek(const u8 *p, size_t n, struct image_info *out);
int bmp_peek(const u8 *p, size_t n, struct image_info *out);
int webp_orientation(const u8 *p, size_t n);
/* Into an open file: 0, or -1 when the file could not be written (errno). */
int jpeg_write(FILE *f, const struct image *m, int quality);
int png_write(FILE *f, const struct image *m);
int exif_orientation(const u8 *tiff, size_t n);          /* orientation of a TIFF block, 1 when there is none */

#endif
