/* pickle.h: reads Python pickles without Python: a machine that builds values and never calls anything.
 *
 *     struct pickle p;
 *     pickle_init(&p, bytes, n);
 *     if (pickle_read(&p, &root)) ...                        // one pickle; p.at is after it
 *     pickle_close(&p);                                      // values live until here, text in bytes
 *
 * A class it does not know becomes an opaque value that remembers its name; what could only be there to do
 * harm (os.system and the like) is refused by name. Private to core/ckpt.
 */
#ifndef JETCL_CKPT_PICKLE_H
#define JETCL_CKPT_PICKLE_H

#include "ckpt/format.h"

enum kind { P_UNSET, P_NONE, P_BOOL, P_INT, P_BIG, P_FLOAT, P_TEXT, P_BYTES, P_TUPLE, P_LIST, P_DICT,
            P_GLOBAL, P_STORAGE, P_TENSOR, P_OPAQUE };

typedef struct value {
    enum kind kind;
    u32       n;                                     /* bytes of text */
    union {
        i64                 i;                       /* P_BOOL too */
        f64                 f;
        const char         *text;                    /* P_TEXT, P_BYTES, P_BIG (little-endian) */
        struct node        *node;                    /* P_TUPLE, P_LIST, P_DICT, P_OPAQUE */
        const struct global *global;
        struct storage     *storage;
        struct view        *view;                    /* P_TENSOR */
    };
} value;

/* item: elements, or key, value, key, value; of an opaque what was set on it. state: attributes, by BUILD;
 * args: what an opaque was called with. */
struct node { value *item; size_t n, cap; value state, args; const struct global *class; };

/* What we make of the globals that matter (pickle_call.c lists them). */
enum meaning {
    G_OTHER,
    G_DICT,
    G_REBUILD,
    G_REBUILD_V3,
    G_PARAMETER,
    G_FROM_TYPE,
    G_STORAGE,
    G_UNTYPED,
    G_DTYPE,
    G_ENCODE,
    G_SIZE
};
struct global { slice module, name; enum meaning meaning; enum ckpt_type type; };

/* A run of elements in the file; torch calls it a storage. untyped: numel counts bytes, type is CKPT_U8. */
struct storage { slice key; enum ckpt_type type; i64 numel; bool untyped; i64 shift; u64 at; };
struct view {
    struct storage *storage;
    enum ckpt_type  type;
    i64             offset;
    int             nd;
    i64             shape[CKPT_DIMS], stride[CKPT_DIMS];
};

struct pickle {
    arena     *mem;
    const u8  *start, *at, *end;
    value     *stack, *memo;
    size_t     nstack, stack_cap, memo_cap, nmarks, marks_cap, top_memo;
    size_t    *marks;                                /* stack heights */
    struct storage **storages;                       /* one for each mention, in the order met */
    size_t     nstorages, storages_cap;
};

void pickle_init(struct pickle *p, const void *bytes, u64 n);
int  pickle_read(struct pickle *p, value *root);     /* 0, or -1 + fail(FAULT_DATA) */
void pickle_close(struct pickle *p);

/* ---- pickle_stack.c, for pickle_call.c and pickle.c: 0 or -1 + fail, pointers NULL + fail --------------- */

int    pickle_wrong(const struct pickle *p, const char *what);      /* with the position */
void  *pickle_alloc(struct pickle *p, size_t bytes);                /* zeroed, within the budget */
int    pickle_room(struct pickle *p, void *list, size_t n, size_t *cap, size_t item);  /* list: a T ** */
int    pickle_push(struct pickle *p, value v);
int    pickle_pop(struct pickle *p, value *v);                      /* never past the topmost mark */
value *pickle_top(struct pickle *p);
size_t pickle_bottom(const struct pickle *p);                       /* height of the topmost mark */
int    pickle_push_mark(struct pickle *p);
/* The values above the topmost mark, which goes; they stay readable until the next push. */
int    pickle_pop_mark(struct pickle *p, value **items, size_t *n);
struct node *pickle_node(struct pickle *p);                         /* empty */
int    pickle_add(struct pickle *p, struct node *list, value v);
int    pickle_push_node(struct pickle *p, enum kind kind, const value *items, size_t n);

/* ---- pickle_call.c, for pickle.c ---- */

int    pickle_global(struct pickle *p, slice module, slice name);   /* pushes it, or refuses it */
int    pickle_opaque(struct pickle *p, const struct global *class); /* pushes one; class may be NULL */
int    pickle_call(struct pickle *p);                               /* REDUCE: f, args -> value */
int    pickle_object(struct pickle *p, bool keywords);          /* NEWOBJ: class, args, keywords -> value */
int    pickle_build(struct pickle *p);                              /* object, state -> object */
int    pickle_persistent(struct pickle *p);                         /* identity -> storage */

/* ---- pickle_stack.c: looking at values ---- */

value        pickle_value(enum kind kind, struct node *n);
slice        pickle_text(const value *v);             /* of P_TEXT and P_BYTES; else empty */
const value *pickle_get(const value *dict, const char *key);         /* NULL when absent, or no dict */
slice        pickle_class(const value *v, char out[200]);            /* "module.name" of an opaque */

#endif
