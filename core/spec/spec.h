/* spec.h: the experiment file as a struct. Every key is one row of keys.def, which makes its field.
 *
 *     struct spec s;                              // strings and lists live in the arena
 *     if (spec_load(&s, a, "experiments/demo.yaml", sets, n)) return -1;      // file:line:column and a caret
 *     int core = list_at(s.model.moe.core, stage);
 *     if (!found) return spec_fail(&s, "data.set", "unknown data set '%s'", s.data.set);
 */
#ifndef JETCL_SPEC_H
#define JETCL_SPEC_H
#include "base/base.h"

typedef struct { int n; const int *v; }         counts;
typedef struct { int n; const f64 *v; }         reals;
typedef struct { int n; const char *const *v; } texts;

/* Value i of a list that may be shorter: the last one stands for all after it (`98` for `[98, 98, 98]`). */
#define list_at(list, i) ((list).v[MIN(i, (list).n - 1)])

/* ---- the struct: nested as the sections of keys.def are ------------------------------------------------ */

#define FIELD_count  int
#define FIELD_integer i64
#define FIELD_real   f64
#define FIELD_text   const char *          /* never NULL: "" when not given */
#define FIELD_path   const char *          /* absolute, or relative to the working folder; never NULL */
#define FIELD_flag   bool
#define FIELD_counts counts
#define FIELD_reals  reals
#define FIELD_texts  texts

/* WORDS(m, p, a, b, c) is m(p, a) m(p, b) m(p, c): up to eight words of a CHOICE. */
#define WORDS_1(m, p, a)      m(p, a)
#define WORDS_2(m, p, a, ...) m(p, a) WORDS_1(m, p, __VA_ARGS__)
#define WORDS_3(m, p, a, ...) m(p, a) WORDS_2(m, p, __VA_ARGS__)
#define WORDS_4(m, p, a, ...) m(p, a) WORDS_3(m, p, __VA_ARGS__)
#define WORDS_5(m, p, a, ...) m(p, a) WORDS_4(m, p, __VA_ARGS__)
#define WORDS_6(m, p, a, ...) m(p, a) WORDS_5(m, p, __VA_ARGS__)
#define WORDS_7(m, p, a, ...) m(p, a) WORDS_6(m, p, __VA_ARGS__)
#define WORDS_8(m, p, a, ...) m(p, a) WORDS_7(m, p, __VA_ARGS__)
#define WORDS_PICK(a, b, c, d, e, f, g, h, n, ...) n
#define WORDS(m, p, ...) \
    WORDS_PICK(__VA_ARGS__, WORDS_8, WORDS_7, WORDS_6, WORDS_5, WORDS_4, WORDS_3, WORDS_2, WORDS_1, ) \
    (m, p, __VA_ARGS__)

/* Words of a LISTED key: the rows of another list. */
enum mlp_act {
#define ACT(name, value, slope) MLP_ACT_##name,
#include "cl/act.def"
#undef ACT
};

#define WORD_ENUM(p, w) p##_##w,
struct spec_origin;
struct spec {
#define SECTION(name, help) struct {
#define END(name) } name;
#define KEY(section, type, name, def, checks, help) FIELD_##type name;
#define CHOICE(section, prefix, name, def, help, ...) enum { WORDS(WORD_ENUM, prefix, __VA_ARGS__) } name;
#define LISTED(section, list, name, def, help) enum list name;
#define OPTION(key, prefix, name, def, help, ...) enum { WORDS(WORD_ENUM, prefix, __VA_ARGS__) } key##_##name;
#include "spec/keys.def"
    const char         *file;              /* the experiment file, "" for defaults alone */
    struct spec_origin *origin;            /* who wrote each key; for spec_fail() */
    arena              *arena;
};

#define NOISE_ONE_OVER_E (-1.0)            /* model.moe.noise: 1/E */

/* ---- reading ------------------------------------------------------------------------------------------- */

/* One value from outside the file, `text` as after --set: "optim.lr=1e-3". `by` is what the user wrote it
 * with: "--set", "--device", "JETCL_DEVICE"; messages begin with it. */
struct yaml;
struct spec_set { const char *by, *text; const struct yaml *tree; };    /* tree: a map in place of text */

/* Reads path with its `base:` files over the defaults, the user's file, then JETCL_DEVICE and JETCL_DATA,
 * then the n sets in order, then fills in presets, then checks keys against each other. path NULL: no file.
 * 0, or -1 + fail(FAULT_USAGE). */
int spec_load(struct spec *s, arena *a, const char *path, const struct spec_set *sets, int n);
/* The same for the experiment that a checkpoint was saved with; `name` stands for it in messages. */
int spec_load_text(struct spec *s, arena *a, const char *name, const char *text, const struct spec_set *sets,
                   int n);
/* Text alone, without the user's file; `name` stands for it in messages. */
int spec_parse(struct spec *s, arena *a, const char *name, const char *text, const struct spec_set *sets,
               int n);
/* fail(FAULT_USAGE) at the place where the key was written, with the source line and a caret. Returns -1. */
int spec_fail(const struct spec *s, const char *key, const char *fmt, ...) PRINTF(3, 4);
/* Did a file, the environment or --set write this key (rather than a default or preset)? */
bool spec_written(const struct spec *s, const char *key);
/* The value of a key as it is written, "quick_gelu"; which of a key's words it is, -1: none of them. */
const char *spec_word(arena *a, const struct spec *s, const char *key);
int  spec_word_index(const char *key, const char *word);

/* ---- writing ------------------------------------------------------------------------------------------- */

/* The complete experiment, itself a valid file that loads to the same values. */
void spec_write(FILE *f, const struct spec *s);
const char *spec_text(arena *a, const struct spec *s);      /* the same */
void spec_write_json(FILE *f, const struct spec *s);
/* Value of one key as it would be written; NULL for an unknown key. */
const char *spec_value(arena *a, const struct spec *s, const char *key);
/* What differs between two experiments that spec_hash() would see: "optim.lr 4e-3 -> 1e-3, ..."; "" when
 * nothing does. */
const char *spec_changes(arena *a, const struct spec *from, const struct spec *to);
/* The first difference in what a run that continues may not change (seed, order of the data, model): "seed was
 * 1 and is 2"; NULL when there is none. */
const char *spec_fixed(arena *a, const struct spec *from, const struct spec *to);
/* Every row: type, default, meaning; as text for a terminal or as Markdown. */
void spec_list(FILE *f, bool markdown);
void spec_list_json(FILE *f);
/* One key or section in full. -1 + fail(FAULT_USAGE) with the nearest name when there is no such key. */
int  spec_help(FILE *f, const char *key);
bool spec_is_section(const char *path);                    /* "model.moe" */
/* The same rows for other programs to read: a section, then its keys. words: what a choice may be, each with
 * a blank after it; "" for any other type. Returns how many. */
struct spec_row { const char *path, *help, *def, *values, *words; bool section; };
int  spec_rows(arena *a, const struct spec_row **out);

/* ---- experiments that come with the program ------------------------------------------------------------ */

/* The file that `name` means: itself or NAME.yaml in the working folder, else one of the installed
 * experiments (kind "tables": in tables/ first). NULL when there is none of that name. */
const char *spec_find(arena *a, const char *name, const char *kind);
/* Their names, one per line. 0, or -1 + fail(FAULT_DATA). */
int         spec_shipped_list(FILE *f);

/* ---- identity ------------------------------------------------------------------------------------------ */

/* Equal for experiments that compute the same: leaves out name, device, threads, data.workers, data.root,
 * recycle.statistics, data.changed, log, keep, signal; paths count as seen from the working folder. */
u64  spec_hash(const struct spec *s);

#endif
