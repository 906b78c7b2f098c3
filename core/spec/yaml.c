/* yaml.c: text -> tree of struct yaml through libfyaml, and complaints that show the line. Experiment files
 * are small, so everything that could make a small file expensive (aliases, depth, size) is refused rather
 * than handled. */
#include "spec/key.h"
#include <errno.h>
#include <libfyaml.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_BYTES = 1 << 20, MAX_DEPTH = 32, MAX_NODES = 100000, SHOWN = 100 };

struct reader { arena *a; const struct source *source; int nodes; };

/* ---- complaints ---------------------------------------------------------------------------------------- */

static bool starts_character(char c) { return ((u8)c & 0xc0) != 0x80; }

/* The line and a caret below, both cut to a window around the column; control characters cannot reach
 * the terminal. */
static int show_line(char *out, size_t size, struct place at)
{
    const char *p = at.source->text;
    for (u32 line = 1; line < at.line && p; line++)
        p = (p = strchr(p, '\n')) ? p + 1 : NULL;
    if (!p || !at.line)
        return 0;
    u32 from = at.column > SHOWN * 3 / 4 ? at.column - SHOWN / 2 : 1, column = 0;
    size_t used = 0;
    char row[SHOWN * 4 + 8];
    for (; *p && *p != '\n' && *p != '\r'; p++) {
        column += starts_character(*p);
        if (column >= from + SHOWN)
            break;
        if (column >= from && used < sizeof row - 1)
            row[used++] = (u8)*p < ' ' || *p == 127 ? ' ' : *p;
    }
    row[used] = 0;
    if (strspn(row, " ") == used)
        return 0;
    return snprintf(out, size, "\n    %s\n    %*s^", row, (int)(at.column > from ? at.column - from : 0), "");
}

static int place_vfail(struct place at, const char *fmt, va_list ap)
{
    char text[1024], line[768] = "";
    vsnprintf(text, sizeof text, fmt, ap);
    if (!at.source)
        return fail(FAULT_USAGE, "%s", text);
    if (!at.source->lines || !at.line)
        return fail(FAULT_USAGE, "%s: %s", at.source->name, text);
    show_line(line, sizeof line, at);
    return fail(FAULT_USAGE, "%s:%u:%u: %s%s", at.source->name, at.line, at.column, text, line);
}

int place_fail(struct place at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    place_vfail(at, fmt, ap);
    va_end(ap);
    return -1;
}

const char *place_path(arena *a, struct place at, const char *path)
{
    const char *home = getenv("HOME"), *dir = at.source ? at.source->dir : "";
    if (path[0] == '~' && (path[1] == '/' || !path[1]) && home)
        return arena_printf(a, "%s%s", home, path + 1);
    if (!path[0] || path[0] == '/' || !dir[0])
        return arena_printf(a, "%s", path);
    return shipped_path(a, arena_printf(a, "%s/%s", dir, path));
}

/* ---- libfyaml's tree -> ours --------------------------------------------------------------------------- */

static struct place token_place(const struct reader *r, struct fy_token *t)
{
    const struct fy_mark *m = t ? fy_token_start_mark(t) : NULL;
    return (struct place){ r->source, m ? (u32)m->line + 1 : 0, m ? (u32)m->column + 1 : 0 };
}

static int yaml_convert(struct reader *r, struct fy_node *f, int depth, struct yaml *y);

static int convert_list(struct reader *r, struct fy_node *f, int depth, struct yaml *y)
{
    y->kind = YAML_LIST;
    y->n = fy_node_sequence_item_count(f);
    y->items = arena_array(r->a, struct yaml, MAX(1, y->n));
    void *it = NULL;
    int i = 0;
    for (struct fy_node *c; (c = fy_node_sequence_iterate(f, &it)); i++) {
        y->items[i].at = y->at;
        if (yaml_convert(r, c, depth + 1, &y->items[i]))
            return -1;
    }
    return 0;
}

static int convert_pair(struct reader *r, struct fy_node_pair *pair, int depth, struct yaml *map,
                        struct yaml *y)
{
    struct fy_node *k = fy_node_pair_key(pair);
    size_t n = 0;
    const char *text = k && fy_node_is_scalar(k) && !fy_node_is_alias(k) ? fy_node_get_scalar(k, &n) : NULL;
    if (!text || memchr(text, 0, n))
        return yaml_fail(map, "keys are plain words");
    y->key = arena_copy(r->a, text, n);
    y->key_at = y->at = token_place(r, fy_node_get_scalar_token(k));
    for (const struct yaml *other = map->items; other < y; other++)
        if (!strcmp(other->key, y->key))
            return place_fail(y->key_at, "duplicate key '%s' (first in line %u)", y->key, other->key_at.line);
    return yaml_convert(r, fy_node_pair_value(pair), depth + 1, y);
}

static int convert_map(struct reader *r, struct fy_node *f, int depth, struct yaml *y)
{
    y->kind = YAML_MAP;
    int n = fy_node_mapping_item_count(f);
    if (n > 1000)
        return yaml_fail(y, "more than 1000 keys in one place");
    y->items = arena_array(r->a, struct yaml, MAX(1, n));
    void *it = NULL;
    for (struct fy_node_pair *pair; (pair = fy_node_mapping_iterate(f, &it)); y->n++)
        if (convert_pair(r, pair, depth, y, &y->items[y->n]))
            return -1;
    if (!y->key && y->n)                                   // an item of a list, or the file: where it begins
        y->at = y->items[0].key_at;
    return 0;
}

/* f == NULL is an empty value. y->at holds the nearest known place on entry. */
static int yaml_convert(struct reader *r, struct fy_node *f, int depth, struct yaml *y)
{
    if (depth > MAX_DEPTH || ++r->nodes > MAX_NODES)
        return yaml_fail(y, "nested too deeply or too long");
    y->text = "";
    if (!f)
        return 0;
    size_t n = 0;
    if (fy_node_is_alias(f) || fy_node_get_anchor(f))
        return yaml_fail(y, "anchors and aliases (&x, *x) are not used here; share keys through `base:`");
    if (fy_node_get_tag(f, &n))
        return yaml_fail(y, "tags (!x) are not used here");
    if (fy_node_is_sequence(f))
        return convert_list(r, f, depth, y);
    if (fy_node_is_mapping(f))
        return convert_map(r, f, depth, y);
    struct place at = token_place(r, fy_node_get_scalar_token(f));
    if (at.line || !y->at.line)                            // nothing at all after a key has no place
        y->at = at;
    const char *text = fy_node_get_scalar(f, &n);
    if (text && memchr(text, 0, n))
        return yaml_fail(y, "a NUL byte in a value");
    bool null = fy_node_get_style(f) == FYNS_PLAIN && (n == 0 || (n == 1 && text[0] == '~') ||
                                                       (n == 4 && !memcmp(text, "null", 4)));
    if (text && !null)
        y->text = arena_copy(r->a, text, n);
    return 0;
}

/* ---- bytes libfyaml should not see: 0.7 never returns from some directives and some invalid UTF-8 ------ */

/* Length of the well-formed UTF-8 character at p, 0 when there is none (p ends in NUL). */
static int yaml_character(const u8 *p)
{
    int n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
          : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool beyond = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return overlong || beyond ? 0 : n;
}

static int check_text(const struct source *source)
{
    struct place at = { source, 1, 1 };
    int n;
    for (const u8 *p = (const u8 *)source->text; *p; p += n, at.column++) {
        n = yaml_character(p);
        if (!n)
            return place_fail(at, "byte 0x%02x is not UTF-8", *p);
        if ((*p < ' ' && !strchr("\t\n\r", *p)) || *p == 127)
            return place_fail(at, "a control character (0x%02x)", *p);
        if (*p == '%' && at.column == 1)
            return place_fail(at, "directives (%%...) are not used here");
        if (*p == '\n')
            at = (struct place){ source, at.line + 1, 0 };
    }
    return 0;
}

/* ---- text -> libfyaml ---------------------------------------------------------------------------------- */

/* What libfyaml's messages mostly mean. */
static const char *hint_of(const char *msg)
{
    return strstr(msg, "multiline plain key") ? " (is the next line indented too far?)"
         : strstr(msg, "missing comma in flow") ? " (or is a closing bracket missing before?)" : "";
}

/* The first error libfyaml recorded, in our form. */
static int syntax_error(const struct source *source, struct fy_diag *diag)
{
    void *it = NULL;
    struct fy_diag_error *e = diag ? fy_diag_errors_iterate(diag, &it) : NULL;
    if (!e)
        return place_fail((struct place){ source, 0, 0 }, "not valid YAML");
    return place_fail((struct place){ source, (u32)MAX(0, e->line), (u32)MAX(1, e->column) }, "%s%s", e->msg,
                      hint_of(e->msg));
}

static int second_document(struct fy_parser *parser, const struct source *source)
{
    struct fy_document *more = fy_parse_load_document(parser);
    if (!more)
        return 0;
    fy_parse_document_destroy(parser, more);
    return place_fail((struct place){ source, 0, 0 }, "more than one document (---) in the file");
}

static struct yaml *yaml_parse_text(arena *a, const struct source *source, size_t n)
{
    if (check_text(source))
        return NULL;
    struct yaml *y = arena_one(a, struct yaml), *result = NULL;
    struct reader r = { a, source, 0 };
    struct fy_diag_cfg quiet;
    fy_diag_cfg_default(&quiet);
    quiet.fp = NULL;
    quiet.output_fn = NULL;
    struct fy_diag *diag = fy_diag_create(&quiet);
    if (diag)
        fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg cfg = { .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_ALLOW_DUPLICATE_KEYS,
                                .diag = diag };
    struct fy_parser *parser = diag ? fy_parser_create(&cfg) : NULL;
    struct fy_document *doc = NULL;
    y->at = (struct place){ source, 1, 1 };
    if (!parser || fy_parser_set_string(parser, source->text, n)) {
        yaml_fail(y, "cannot be read");
        goto done;
    }
    doc = fy_parse_load_document(parser);
    if (!doc && fy_parser_get_stream_error(parser)) {
        syntax_error(source, diag);
        goto done;
    }
    y->text = "";
    if (doc && (yaml_convert(&r, fy_document_root(doc), 0, y) || second_document(parser, source)))
        goto done;
    if (fy_parser_get_stream_error(parser))
        syntax_error(source, diag);
    else
        result = y;
done:
    if (doc)
        fy_parse_document_destroy(parser, doc);
    if (parser)
        fy_parser_destroy(parser);
    if (diag)
        fy_diag_destroy(diag);
    return result;
}

struct yaml *yaml_parse(arena *a, const char *name, const char *dir, const char *text, bool lines)
{
    struct source *source = arena_one(a, struct source);
    *source = (struct source){ arena_printf(a, "%s", name), arena_printf(a, "%s", dir),
                               arena_printf(a, "%s", text), lines };
    return yaml_parse_text(a, source, strlen(text));
}

static const char *folder_of(arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return "";
    return slash == path ? "/" : arena_copy(a, path, (size_t)(slash - path));
}

struct yaml *yaml_load(arena *a, const char *path)
{
    struct stat st;
    size_t n = 0;
    if (stat(path, &st)) {
        fail(FAULT_USAGE, "%s: %s", path, strerror(errno));
        return NULL;
    }
    if (S_ISREG(st.st_mode) && st.st_size > MAX_BYTES) {
        fail(FAULT_USAGE, "%s: %lld bytes; an experiment file has at most %d", path,
             (long long)st.st_size, MAX_BYTES);
        return NULL;
    }
    const char *text = file_text(a, path, &n);
    if (!text) {
        if (fail_fault() != FAULT_RUN)
            fail(FAULT_USAGE, "%s", arena_printf(a, "%s", fail_message()));
        return NULL;
    }
    const char *nul = memchr(text, 0, n);
    if (nul && (!memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2))) {
        fail(FAULT_USAGE, "%s: UTF-16 text; save it as UTF-8", path);
        return NULL;
    }
    if (nul) {
        fail(FAULT_USAGE, "%s: not a text file (a NUL at byte %ld)", path, (long)(nul - text));
        return NULL;
    }
    struct source *source = arena_one(a, struct source);
    *source = (struct source){ arena_printf(a, "%s", path), folder_of(a, path), text, true };
    return yaml_parse_text(a, source, n);
}

const struct yaml *yaml_get(const struct yaml *y, const char *key)
{
    for (int i = 0; y && y->kind == YAML_MAP && i < y->n; i++)
        if (!strcmp(y->items[i].key, key))
            return &y->items[i];
    return NULL;
}
