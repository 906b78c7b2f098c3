/* write.c: the resolved experiment as YAML, its hash, and the key table as help. */
#include "spec/key.h"
#include <stdlib.h>
#include <unistd.h>

/* A path means the same from wherever the file is read. */
static const char *spec_written_value(const struct spec *s, const struct key *k)
{
    const void *field = key_field(k, s);
    const char *path = k->type == TYPE_path ? *(const char *const *)field : "";
    char here[4096];
    if (!*path || *path == '/' || !getcwd(here, sizeof here))
        return value_text(s->arena, k, field);
    path = arena_printf(s->arena, "%s/%s", here, text_starts(path, "./") ? path + 2 : path);
    return value_text(s->arena, k, &path);
}

void spec_write(FILE *f, const struct spec *s)
{
    int depth = 0;
    arena_mark mark = arena_save(s->arena);
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++) {
        if (k->type == TYPE_end)
            depth--;
        else if (k->type == TYPE_section)
            fprintf(f, "%*s%s:\n", 2 * depth++, "", k->path);
        else
            fprintf(f, "%*s%s: %s\n", 2 * depth, "", depth ? key_leaf(k) : k->path, spec_written_value(s, k));
    }
    arena_restore(s->arena, mark);
}

const char *spec_text(arena *a, const struct spec *s)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    check(f, "open_memstream failed");
    spec_write(f, s);
    fclose(f);
    const char *copy = arena_copy(a, text, n);
    free(text);
    return copy;
}

/* Keys that change where or how fast something is computed, but not what. */
static bool outside_hash(const char *path)
{
    static const char *const outside[] = {
        "name", "device", "device.matrix", "threads", "data.workers", "data.root", "recycle.statistics",
        "data.changed", "log.", "keep.", "signal.", "dist.", "train.check", "train.profile"
    };
    for (int i = 0; i < countof(outside); i++)
        if (text_ends(outside[i], ".") ? text_starts(path, outside[i]) : !strcmp(path, outside[i]))
            return true;
    return false;
}

const char *path_plain(arena *a, const char *path)
{
    char here[4096] = "", *out;
    if (!path[0] || !getcwd(here, sizeof here))
        return path;
    char *full = arena_printf(a, "%s%s%s", path[0] == '/' ? "" : here, path[0] == '/' ? "" : "/", path);
    out = full;
    for (const char *p = full; *p;) {
        size_t n = strcspn(p + 1, "/") + 1;                // "/name"
        if (n == 3 && !strncmp(p, "/..", 3))
            while (out > full && *--out != '/')
                ;
        else if (n > 1 && !(n == 2 && p[1] == '.')) {
            memmove(out, p, n);
            out += n;
        }
        p += n;
    }
    *out = 0;
    size_t n = strlen(here);
    return !strncmp(full, here, n) && full[n] == '/' ? full + n + 1 : full;
}

static const char *hashed_value(arena *a, const struct spec *s, const struct key *k)
{
    const void *field = key_field(k, s);
    return k->type == TYPE_path ? path_plain(a, *(const char *const *)field) : value_text(a, k, field);
}

u64 spec_hash(const struct spec *s)
{
    u64 h = HASH_START;
    arena_mark mark = arena_save(s->arena);
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++) {
        if (k->type <= TYPE_end || outside_hash(k->path))
            continue;
        h = hash_text(h, arena_printf(s->arena, "%s=%s\n", k->path, hashed_value(s->arena, s, k)));
    }
    arena_restore(s->arena, mark);
    return h;
}

const char *spec_fixed(arena *a, const struct spec *from, const struct spec *to)
{
    static const char *const fixed[] = { "seed", "data.set", "data.train", "data.classes", "data.fold",
                                         "model." };
    static const char *const start[] = { "model.init", "model.init_ema", "model.strict" };
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++) {
        bool may_not = false;
        for (int i = 0; i < countof(fixed) && k->type > TYPE_end; i++)
            may_not |= text_ends(fixed[i], ".") ? text_starts(k->path, fixed[i]) : !strcmp(k->path, fixed[i]);
        for (int i = 0; i < countof(start); i++)
            may_not &= strcmp(k->path, start[i]) != 0;
        if (!may_not)
            continue;
        const char *old = hashed_value(a, from, k), *new = hashed_value(a, to, k);
        if (strcmp(old, new))
            return arena_printf(a, "%s was %s and is %s", k->path, old, new);
    }
    return NULL;
}

const char *spec_changes(arena *a, const struct spec *from, const struct spec *to)
{
    const char *list = "";
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++) {
        if (k->type <= TYPE_end || outside_hash(k->path))
            continue;
        const char *old = hashed_value(a, from, k), *new = hashed_value(a, to, k);
        if (strcmp(old, new))
            list = arena_printf(a, "%s%s%s %s -> %s", list, list[0] ? ", " : "", k->path, old, new);
    }
    return list;
}

/* ---- help ---------------------------------------------------------------------------------------------- */

/* Calls with the full path of each section too; sections come before their keys. */
struct row { const struct key *key; const char *path; bool section; };

static int all_rows(arena *a, struct row *rows)
{
    const char *stack[8] = { "" };
    int n = 0, depth = 0;
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++) {
        if (k->type == TYPE_end)
            depth--;
        else if (k->type == TYPE_section) {
            const char *path = depth ? arena_printf(a, "%s.%s", stack[depth], k->path) : k->path;
            stack[++depth] = path;
            rows[n++] = (struct row){ k, path, true };
        } else
            rows[n++] = (struct row){ k, k->path, false };
    }
    return n;
}

static const char *shown_default(const struct key *k) { return k->def[0] ? k->def : "none"; }

static void list_row(FILE *f, arena *a, struct row r)
{
    if (r.section)
        fprintf(f, "\n%s%s%s: %s\n", say_bold(1), r.path, say_plain(1), r.key->help);
    else {
        fprintf(f, "  %-28s %-22s %s%s%s\n  %-28s ", r.path, shown_default(r.key), say_dim(1),
                value_expected(a, r.key), say_plain(1), "");
        print_wrapped(f, 31, r.key->help);
    }
}

/* `|` would end a table cell. */
static void write_table_cell(FILE *f, const char *text)
{
    for (; *text; text++)
        fprintf(f, *text == '|' ? "\\|" : "%c", *text);
}

static void markdown_row(FILE *f, arena *a, struct row r)
{
    if (r.section)
        fprintf(f, "\n### %s\n\n%s\n\n| key | default | value | meaning |\n|---|---|---|---|\n", r.path,
                r.key->help);
    else {
        fprintf(f, "| `%s` | `%s` | ", r.path, shown_default(r.key));
        write_table_cell(f, value_expected(a, r.key));
        fputs(" | ", f);
        write_table_cell(f, r.key->help);
        fputs(" |\n", f);
    }
}

void spec_list(FILE *f, bool markdown)
{
    arena *a = arena_open("help");
    struct row *rows = arena_array(a, struct row, spec_key_count);
    int n = all_rows(a, rows);
    if (markdown)
        fputs("### top level\n\n| key | default | value | meaning |\n|---|---|---|---|\n", f);
    for (int i = 0; i < n; i++)
        (markdown ? markdown_row : list_row)(f, a, rows[i]);
    arena_close(a);
}

/* {model: {moe: {core: 5}}} as "model.moe.core: 5". */
static void flat_rows(FILE *f, arena *a, const struct yaml *y, const char *path)
{
    for (int i = 0; i < y->n; i++) {
        const struct yaml *child = &y->items[i];
        const char *below = arena_printf(a, "%s%s%s", path, path[0] ? "." : "", child->key);
        if (child->kind == YAML_MAP)
            flat_rows(f, a, child, below);
        else if (child->kind == YAML_TEXT)
            fprintf(f, "      %s: %s\n", below, child->text);
        else {
            fprintf(f, "      %s: [", below);
            for (int j = 0; j < child->n; j++)
                fprintf(f, "%s%s", j ? ", " : "", child->items[j].text);
            fputs("]\n", f);
        }
    }
}

static void help_key(FILE *f, arena *a, const struct key *k)
{
    const char *quote = strpbrk(k->def, " []") ? "'" : "";                // what a shell would take apart
    fprintf(f, "%s%s%s: ", say_bold(1), k->path, say_plain(1));
    print_wrapped(f, (int)strlen(k->path) + 2, k->help);
    fprintf(f, "  value:   %s\n  default: %s\n  set:     --set %s%s=%s%s\n", value_expected(a, k),
            shown_default(k), quote, k->path, k->def[0] ? k->def : "...", quote);
    for (int i = 0; i < spec_preset_count; i++)
        if (!strcmp(spec_presets[i].key, k->path)) {
            fprintf(f, "  %s changes these defaults:\n", spec_presets[i].value);
            flat_rows(f, a, yaml_parse(a, "presets.def", "", spec_presets[i].text, false), "");
        }
}

static int no_such_key(const char *key, const struct row *rows, const char **names, int n)
{
    for (int i = 0; i < n; i++)
        names[i] = rows[i].path;
    const char *near = text_nearest(key, names, n);
    for (int i = 0; i < n; i++)
        names[i] = key_leaf(rows[i].key);
    if (!near)
        near = text_nearest(key, names, n);
    return near ? fail(FAULT_USAGE, "no command or key '%s' (did you mean '%s'?)", key, near)
                : fail(FAULT_USAGE,
                       "no command or key '%s' (jetcl help lists commands, jetcl config --list the keys)",
                       key);
}

int spec_rows(arena *a, const struct spec_row **out)
{
    struct row *rows = arena_array(a, struct row, spec_key_count);
    int n = all_rows(a, rows);
    struct spec_row *shown = arena_array(a, struct spec_row, n);
    for (int i = 0; i < n; i++) {
        const struct key *k = rows[i].key;
        shown[i] = (struct spec_row){ rows[i].path, k->help, "", "", "", rows[i].section };
        if (rows[i].section)
            continue;
        shown[i].def = shown_default(k);
        shown[i].values = value_expected(a, k);
        shown[i].words = k->type == TYPE_choice ? k->checks : k->type == TYPE_flag ? "on off " : "";
    }
    *out = shown;
    return n;
}

int spec_help(FILE *f, const char *key)
{
    arena *a = arena_open("help");
    struct row *rows = arena_array(a, struct row, spec_key_count);
    int n = all_rows(a, rows), found = 0;
    size_t length = strlen(key);
    if (length > 1 && key[length - 1] == '.')              // a section that has a command's name
        key = arena_copy(a, key, --length);
    for (int i = 0; i < n; i++) {
        bool same = !strcmp(rows[i].path, key);
        bool leaf = !rows[i].section && !strcmp(key_leaf(rows[i].key), key);
        bool inside = !strncmp(rows[i].path, key, length) && rows[i].path[length] == '.';
        if (leaf || (same && !rows[i].section))
            help_key(f, a, rows[i].key);
        else if (same || inside)
            list_row(f, a, rows[i]);
        found += same || inside || leaf;
    }
    int rc = found ? 0 : no_such_key(key, rows, arena_array(a, const char *, n), n);
    arena_close(a);
    return rc;
}
