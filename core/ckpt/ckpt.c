/* ckpt.c: opening a file in whichever format knows its bytes, and saving to the one its suffix names. */
#include "ckpt/format.h"
#include <errno.h>
#include <unistd.h>

static const struct format *const formats[] = {
#define FORMAT(name) &name##_format,
#include "ckpt/formats.def"
#undef FORMAT
};

/* ---- opening ------------------------------------------------------------------------------------------- */

/* What people mistake for a checkpoint, by its first bytes. */
static const char *ckpt_mistaken(const struct file_map *m)
{
    static const struct { const char *first, *what; } known[] = {
        { "version https://git-lfs", "a Git LFS pointer in place of the file: git lfs pull fetches it" },
        { "<", "a web page or XML: has a download gone wrong?" },
        { "{", "JSON text; the weights are in another file" },
        { "\x1f\x8b", "packed by gzip: unpack it first" },
        { "\x89HDF", "HDF5: save the weights as safetensors there" } };
    for (int i = 0; i < countof(known); i++)
        if (m->n >= strlen(known[i].first) && !memcmp(m->p, known[i].first, strlen(known[i].first)))
            return known[i].what;
    if (m->n > 262 && !memcmp(m->p + 257, "ustar", 5))
        return "a tar archive: unpack it first";
    return m->n ? "not a checkpoint that jetcl can read (safetensors, PyTorch .pth, .npz)"
                : "the file is empty";
}

static int open_as(ckpt *c)
{
    for (int i = 0; i < countof(formats); i++) {
        if (!formats[i]->knows(&c->map))
            continue;
        c->format = formats[i];
        int rc = formats[i]->open(c);
        if (rc != NOT_MINE)
            return rc ? rc : ckpt_sort(c);
    }
    c->format = NULL;
    return fail(FAULT_DATA, "%s", ckpt_mistaken(&c->map));
}

static ckpt *open_map(const char *path, struct file_map m, bool mapped)
{
    ckpt *c = ckpt_make(path);
    c->map = m;
    c->mapped = mapped;
    if (!open_as(c))
        return c;
    fail_in("%s", path);
    ckpt_close(c);
    return NULL;
}

ckpt *ckpt_open_file(const char *path)
{
    struct file_map m;
    return file_map(path, &m) ? NULL : open_map(path, m, true);
}

ckpt *ckpt_open_bytes(const void *bytes, size_t n, const char *label)
{
    return open_map(label, (struct file_map){ bytes, n }, false);
}

/* ---- saving -------------------------------------------------------------------------------------------- */

static bool answers_to(const struct format *f, const char *path)
{
    char suffix[32];
    int at = 0, n;
    while (sscanf(f->suffixes + at, " %31s%n", suffix, &n) == 1) {
        if (text_ends(path, suffix))
            return true;
        at += n;
    }
    return false;
}

static const struct format *format_for(const char *path)
{
    for (int i = 0; i < countof(formats); i++)
        if (answers_to(formats[i], path))
            return formats[i];
    fail(FAULT_USAGE, "%s: the suffix must be .safetensors, .npz, .pth or .pt", path);
    return NULL;
}

int ckpt_can_save(const char *path)
{
    return !format_for(path) || file_can_save(path) ? -1 : 0;
}

int ckpt_save(ckpt *c, const char *path)
{
    const struct format *f = format_for(path);
    struct file_out o;
    if (!f)
        return -1;
    if (ckpt_sort(c))
        return fail_in("%s", path);
    if (file_begin(&o, path))
        return -1;
    if (!f->save(c, &o))
        return file_commit(&o);
    file_abort(&o);
    return fail_in("%s", path);
}
