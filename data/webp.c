/* webp.c: libwebp, whole pictures. Alpha is dropped, not blended, as in a PNG; an animation is refused by
 * name, since the simple decoder does not read one. */
#include "data/formats.h"
#include <webp/decode.h>

static int webp_failed(VP8StatusCode code)
{
    static const char *const what[] = {
        [VP8_STATUS_OUT_OF_MEMORY] = "out of memory",
        [VP8_STATUS_BITSTREAM_ERROR] = "its data contradict themselves",
        [VP8_STATUS_UNSUPPORTED_FEATURE] = "a feature that libwebp does not read",
        [VP8_STATUS_SUSPENDED] = "the file ends early",
        [VP8_STATUS_NOT_ENOUGH_DATA] = "the file ends early" };
    const char *text = (int)code < countof(what) ? what[code] : NULL;
    return fail(FAULT_DATA, "damaged WebP: %s", text ? text : "cannot be decoded");
}

int webp_peek(const u8 *p, size_t n, struct image_info *out)
{
    WebPBitstreamFeatures f;
    VP8StatusCode code = WebPGetFeatures(p, n, &f);
    if (code != VP8_STATUS_OK)
        return webp_failed(code);
    if (f.has_animation)
        return fail(FAULT_DATA, "an animated WebP, which is not read");
    out->w = f.width;
    out->h = f.height;
    return 0;
}

/* RIFF chunks after "RIFF size WEBP": type, 32-bit little-endian length, payload padded to an even length. */
int webp_orientation(const u8 *p, size_t n)
{
    for (u64 at = 12, len; at + 8 <= n; at += 8 + len + (len & 1)) {
        len = (u64)p[at + 4] | (u64)p[at + 5] << 8 | (u64)p[at + 6] << 16 | (u64)p[at + 7] << 24;
        if (at + 8 + len > n)
            break;
        const u8 *body = p + at + 8;
        if (!memcmp(p + at, "EXIF", 4))           // some writers keep JPEG's marker before the TIFF block
            return len >= 6 && !memcmp(body, "Exif\0\0", 6) ? exif_orientation(body + 6, len - 6)
                                                            : exif_orientation(body, len);
    }
    return 1;
}

int webp_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, arena *a,
                struct image *out)
{
    struct image all = { 0 }, *whole = out;
    WebPDecoderConfig c;
    if (want.w != info->w || want.h != info->h) {
        whole = &all;
        if (image_room(a, &all, info->w, info->h))
            return -1;
    }
    if (!WebPInitDecoderConfig(&c))
        return fail(FAULT_RUN, "libwebp is of another version than its headers");
    c.output.colorspace = MODE_RGB;
    c.output.is_external_memory = 1;
    c.output.u.RGBA.rgba = whole->rgb;
    c.output.u.RGBA.stride = 3 * info->w;
    c.output.u.RGBA.size = (size_t)info->w * (size_t)info->h * 3;
    VP8StatusCode code = WebPDecode(p, n, &c);
    WebPFreeDecBuffer(&c.output);
    if (code != VP8_STATUS_OK)
        return webp_failed(code);
    if (whole != out)
        image_crop(&all, want, out);
    return 0;
}
