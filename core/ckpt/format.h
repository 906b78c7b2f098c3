/* format.h: what a file format is, and the list of tensors all of them fill. Private to core/ckpt.
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: type pickle_stack words entry element archive pickle_call pickle torch safetensors npz
 * Order: torch_zip torch_legacy pickle_numpy onnx_read config ckpt shards scheme view architecture mmengine
 * Order: names named cast seal pos_embed load
 *
 *     ckpt -> entry, entry, ...        names and shapes, found when opening
 *               | data                 NULL until tensor_data asks the format's read()
 *               ` arena held           the bytes read, where they are not simply mapped
 */
#ifndef JETCL_CKPT_FORMAT_H
#define JETCL_CKPT_FORMAT_H

#include "ckpt/ckpt.h"

/* A checkpoint stays far below these; a hostile file gets no more memory than them out of a few bytes. */
enum {
    MAX_TENSORS = 65536,
    MAX_NAME    = 1024,                              /* bytes in a tensor's name */
    MAX_TEXT    = 8 << 20,                           /* bytes of names and metadata together */
    MAX_SLACK   = 16 << 20                           /* bytes data may grow beyond its file when unpacked */
};

typedef struct {
    tensor      t;
    const void *data;                                /* NULL: not read yet */
    arena      *held;                                /* what data lies in, unless mapped or borrowed */
    u64         at;                                  /* format's own: an offset, an index */
    const void *src;                                 /* format's own */
    bool        used;                                /* load.c: some parameter took it */
} entry;

enum { NOT_MINE = 1 };                               /* the first bytes fit, but it is another format */

struct format {
    const char *name, *suffixes;                     /* suffixes that save() answers to; "" for none */
    bool        (*knows)(const struct file_map *m);  /* by the first bytes */
    int         (*open)(ckpt *c);                    /* entries, metadata; 0, -1 + fail, or NOT_MINE */
    const void *(*read)(ckpt *c, entry *e, arena *a);        /* bytes of e, in the map or in a; NULL + fail */
    void        (*close)(ckpt *c);
    void        (*drop)(ckpt *c, entry *e);          /* when e's data goes; NULL mostly */
    int         (*save)(ckpt *c, struct file_out *o);        /* -1 + fail without the path */
};

struct ckpt {
    arena              *mem;
    const char         *path;                        /* or label */
    struct file_map     map;
    bool                mapped;                      /* map is ours to unmap */
    const struct format *format;
    ckpt               *inner;                    /* of a view (names.c): the file it shows */
    bool                google;                   /* a model whose pos_embed is resized bilinearly */
    const char         *scheme, *under;           /* of a model: whose names the file has, after which prefix */
    struct left_out    *left;                     /* tensors of the file that are not in the model */
    size_t              nleft, left_cap;
    int                 strange;              /* tensors that its scheme does not know, under their own names */
    const char         *strange_first;
    void               *state;                       /* format's own */
    entry             **list;
    size_t              n, cap;
    entry             **sorted;                      /* by name; NULL: to be made again */
    struct meta        *meta;
    size_t              nmeta, meta_cap, text;       /* text: bytes of names and metadata so far */
    int                 skipped;                     /* things in the file that are not tensors ... */
    const char         *skipped_first;               /* ... and one of them, for messages */
};
struct meta { const char *key, *value; };
struct left_out { const char *name, *why; };

ckpt  *ckpt_make(const char *path);                  /* an empty one */
ckpt  *ckpt_open_file(const char *path);             /* ckpt_open of one file */
int    ckpt_sort(ckpt *c);                           /* by name; -1 + fail when two are the same */
/* A new entry after checking name and shape as the world's. NULL + fail without the path. */
entry *ckpt_entry(ckpt *c, slice name, enum ckpt_type type, int nd, const i64 *shape);
/* A metadata string; -1 + fail when there is too much text. */
int    ckpt_note(ckpt *c, slice key, slice value);
/* The same for each member of a JSON object of strings. */
int    ckpt_notes_json(ckpt *c, const void *text, size_t n);
/* Without that metadata, if it is there. */
void   ckpt_drop_meta(ckpt *c, const char *key);
/* Something that is not a tensor was skipped; always 0. */
int    ckpt_skip(ckpt *c, slice name, const char *what);
/* The file's words for a message: escaped, cut after some sixty bytes. Four results may be in use at once. */
const char *ckpt_quote(slice s);
bool   ckpt_is_utf8(slice s);
/* Is s, out of a file, the name of a file that can lie beside it: nothing hidden, no path, one line? */
bool   ckpt_is_neighbour(slice s);
/* One row of types.def. */
struct type_row { const char *name; int bytes, unit; const char *safetensors, *npy, *storage, *dtype; };
extern const struct type_row types[CKPT_TYPES];
/* The type that a format calls s: type_of(s, offsetof(struct type_row, npy)); CKPT_TYPES for none. */
enum ckpt_type type_of(slice s, size_t column);
/* Writes the tensor's elements to f; drops them again if this call read them. -1 + fail(FAULT_RUN). */
int    entry_write(entry *e, FILE *f);
void   words_json(FILE *f, const char *s);           /* quoted and escaped */
/* Copies elements of `size` bytes from a strided array (strides in elements) to a contiguous one. */
void   ckpt_gather(void *to, const void *from, int size, int nd, const i64 *shape, const i64 *stride);
void   ckpt_swap(void *p, u64 bytes, int unit);          /* reverses the bytes of every unit */

#define FORMAT(name) extern const struct format name##_format;
#include "ckpt/formats.def"
#undef FORMAT

#endif
