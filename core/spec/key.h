/* key.h: rows of keys.def as data, and one value between text and field. Private to core/spec. */
#ifndef JETCL_KEY_H
#define JETCL_KEY_H
#include "spec/spec.h"
#include "spec/yaml.h"

enum key_type {
    TYPE_section, TYPE_end, TYPE_choice, TYPE_count, TYPE_integer, TYPE_real, TYPE_text, TYPE_path, TYPE_flag,
    TYPE_counts, TYPE_reals, TYPE_texts
};
struct key {
    enum key_type type;
    const char   *path;                    /* "model.moe.core"; of a section or end its own name alone */
    const char   *def, *checks, *help;     /* TYPE_choice: checks is the words, each with a blank after it */
    size_t        offset;                  /* in struct spec */
};
extern const struct key spec_keys[];
extern const int        spec_key_count;

struct preset { const char *key, *value, *text; };         /* text: a flow map of keys */
extern const struct preset spec_presets[];
extern const int           spec_preset_count;

struct spec_origin { struct place at; int rank; const char *preset; };

const struct key *key_find(const char *path);           /* NULL when there is none; sections are not found */
const char       *key_leaf(const struct key *k);        /* "core" of "model.moe.core" */
int               key_index(const struct key *k);       /* in spec_keys */
/* -1 + fail(FAULT_USAGE): y->key does not exist in the section ("": the top); with what it may have meant. */
int               key_unknown(arena *a, const char *section, const struct yaml *y);
#define key_field(k, s) ((void *)((char *)(s) + (k)->offset))

/* y into the field, checked. -1 + fail() at y. */
int         value_read(arena *a, const struct key *k, const struct yaml *y, void *field);
/* What the field would be written as. */
const char *value_text(arena *a, const struct key *k, const void *field);
/* "an integer, at least 1, or auto": for messages and the list. */
const char *value_expected(arena *a, const struct key *k);

/* write.c: a path without `.`, `x/..` and the working folder in front: however reached, a file is named
 * alike. */
const char *path_plain(arena *a, const char *path);
/* shipped.c: a path written in an experiment that came with the program. What would lie beside experiments/,
 * as `../runs/x`, is taken from the working folder: share/jetcl is not written to. Any other path stays. */
const char *shipped_path(arena *a, const char *path);

int spec_check(const struct spec *s);                   /* keys against each other */

#endif
