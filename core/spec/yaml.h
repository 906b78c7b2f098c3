/* yaml.h: a YAML file as a small tree that remembers where everything stood. The only user of
 * libfyaml is yaml.c.
 *
 *     struct yaml *root = yaml_load(a, "x.yaml");    // NULL + fail(): x.yaml:3:7: what, the line, a caret
 *     const struct yaml *rows = yaml_get(root, "rows");
 *     if (rows->kind != YAML_LIST) return yaml_fail(rows, "must be a list");
 */
#ifndef JETCL_YAML_H
#define JETCL_YAML_H
#include "base/base.h"

struct source { const char *name, *dir, *text; bool lines; };        /* lines: give line and column as well */
struct place  { const struct source *source; u32 line, column; };          /* from 1; 0: unknown */

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };
struct yaml {
    enum yaml_kind kind;
    const char    *text;                   /* YAML_TEXT; "" for null */
    int            n;                      /* children of a list or map, in the order written */
    struct yaml   *items;
    const char    *key;                    /* of a map's child */
    struct place   at, key_at;
};

/* Strict and bounded: at most 1 MB, 32 levels, 100,000 nodes, one document, no aliases, no tags, no
 * doubled keys. */
struct yaml *yaml_load(arena *a, const char *path);
/* The same for text; relative paths in it are relative to dir ("" for the working folder). */
struct yaml *yaml_parse(arena *a, const char *name, const char *dir, const char *text, bool lines);
/* Child of a map by key, NULL when there is none (or y is not a map). */
const struct yaml *yaml_get(const struct yaml *y, const char *key);
/* fail(FAULT_USAGE, "file:line:column: ...") with the source line and a caret. Returns -1. */
int place_fail(struct place at, const char *fmt, ...) PRINTF(2, 3);
#define yaml_fail(y, ...) place_fail((y)->at, __VA_ARGS__)
/* path as written at `at` -> one the program can open: ~ expanded, relative ones put after the
 * file's folder. */
const char *place_path(arena *a, struct place at, const char *path);

#endif
