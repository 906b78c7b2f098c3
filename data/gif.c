/* gif.c: the first frame of a GIF (some of the Pets are GIFs called .jpg). What the frame leaves free shows
 * the transparent colour, or colour 0, as Pillow has it. Without giflib such files are refused by name. */
#include "data/formats.h"

#ifndef HAVE_GIF

int gif_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, struct image *out)
{
    (void)p, (void)n, (void)info, (void)want, (void)out;
    return fail(FAULT_DATA,
                "a GIF, and this program was built without giflib (install libgif-dev and configure again)");
}

#else
#include <gif_lib.h>

struct source { const u8 *p; size_t left; };

static int gif_read_bytes(GifFileType *g, GifByteType *to, int n)
{
    struct source *s = g->UserData;
    int take = (int)MIN((size_t)n, s->left);
    memcpy(to, s->p, (size_t)take);
    s->p += take;
    s->left -= (size_t)take;
    return take;
}

static void gif_put(struct image *out, struct window want, int x, int y, const ColorMapObject *map, int index)
{
    x -= want.x;
    y -= want.y;
    if (x < 0 || y < 0 || x >= want.w || y >= want.h)
        return;
    GifColorType c = index < map->ColorCount ? map->Colors[index] : (GifColorType){ 0, 0, 0 };
    u8 *to = out->rgb + ((size_t)y * want.w + x) * 3;
    to[0] = c.Red;
    to[1] = c.Green;
    to[2] = c.Blue;
}

/* Rows of an interlaced frame come in four sweeps. */
static int interlaced_row(int i, int h)
{
    static const int start[] = { 0, 4, 2, 1 }, step[] = { 8, 8, 4, 2 };
    for (int k = 0; k < 4; k++) {
        int rows = start[k] < h ? (h - start[k] + step[k] - 1) / step[k] : 0;
        if (i < rows)
            return start[k] + i * step[k];
        i -= rows;
    }
    return 0;
}

/* Skips to the first frame; its transparent colour index or -1. */
static int find_frame(GifFileType *g, int *transparent)
{
    GifRecordType type;
    *transparent = -1;
    do {
        if (DGifGetRecordType(g, &type) == GIF_ERROR)
            return -1;
        int code;
        GifByteType *block = NULL;
        if (type == EXTENSION_RECORD_TYPE && DGifGetExtension(g, &code, &block) == GIF_ERROR)
            return -1;
        if (block && code == GRAPHICS_EXT_FUNC_CODE && block[0] >= 4 && (block[1] & 1))
            *transparent = block[4];
        while (block)
            if (DGifGetExtensionNext(g, &block) == GIF_ERROR)
                return -1;
    } while (type == EXTENSION_RECORD_TYPE);
    return type == IMAGE_DESC_RECORD_TYPE && DGifGetImageDesc(g) != GIF_ERROR ? 0 : -1;
}

static int gif_draw(GifFileType *g, const struct image_info *info, struct window want, struct image *out)
{
    int transparent;
    if (find_frame(g, &transparent))
        return -1;
    const GifImageDesc *f = &g->Image;
    const ColorMapObject *map = f->ColorMap ? f->ColorMap : g->SColorMap;
    if (!map || f->Width <= 0 || f->Height <= 0 || f->Width > info->w || f->Height > info->h)
        return -1;
    for (int y = 0; y < info->h; y++)
        for (int x = 0; x < info->w; x++)
            gif_put(out, want, x, y, map, MAX(0, transparent));
    GifPixelType line[65536];
    for (int i = 0; i < f->Height; i++) {
        if (DGifGetLine(g, line, f->Width) == GIF_ERROR)
            return -1;
        int y = f->Interlace ? interlaced_row(i, f->Height) : i;
        for (int x = 0; x < f->Width; x++)
            gif_put(out, want, f->Left + x, f->Top + y, map, line[x]);
    }
    return 0;
}

int gif_decode(const u8 *p, size_t n, const struct image_info *info, struct window want, struct image *out)
{
    struct source s = { p, n };
    int code = 0;
    GifFileType *g = DGifOpen(&s, gif_read_bytes, &code);
    int bad = !g || gif_draw(g, info, want, out);
    const char *what = g && g->Error ? GifErrorString(g->Error) : code ? GifErrorString(code) : NULL;
    if (g)
        DGifCloseFile(g, &code);
    return bad ? fail(FAULT_DATA, "damaged GIF: %s", what ? what : "no usable first frame") : 0;
}
#endif
