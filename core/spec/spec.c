/* spec.c: from files, environment and --set to one struct. Everything that sets keys (a file, its bases, a
 * preset, an option) is a tree of YAML put over what is there by the same function; who wrote a key last is
 * remembered for messages. */
#include "spec/key.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* ---- putting a tree over what is there ----------------------------------------------------------------- */

enum { BY_DEFAULT, BY_PRESET, BY_USER, BY_WRITTEN };

struct layer { int rank; const char *preset; };

static const char *spec_joined(arena *a, const char *section, const char *name)
{
    return section[0] ? arena_printf(a, "%s.%s", section, name) : name;
}

static bool user_may(const char *path)
{
    static const char *const allowed[] = { "device", "device.matrix", "threads", "data.root", "data.workers" };
    for (int i = 0; i < countof(allowed); i++)
        if (!strcmp(path, allowed[i]))
            return true;
    return false;
}

static int spec_apply(struct spec *s, const struct yaml *map, const char *section, struct layer layer);

static int apply_one(struct spec *s, const struct yaml *y, const char *section, struct layer layer)
{
    const char *path = spec_joined(s->arena, section, y->key);
    const struct key *k = key_find(path);
    if (!k && spec_is_section(path)) {
        bool empty = y->kind == YAML_TEXT && !y->text[0];
        if (y->kind != YAML_MAP && !empty)
            return yaml_fail(y, "%s is a section: it must contain keys%s", path,
                             y->kind == YAML_TEXT && strchr(y->text, ':') ? ", with a space after the colon"
                                                                          : "");
        return empty ? 0 : spec_apply(s, y, path, layer);
    }
    if (!k)
        return key_unknown(s->arena, section, y);
    if (layer.rank == BY_USER && !user_may(path))
        return place_fail(y->key_at,
                          "%s belongs in an experiment file; this one may set device, device.matrix, threads, "
                          "data.root and data.workers", path);
    struct spec_origin *origin = &s->origin[key_index(k)];
    if (layer.rank == BY_PRESET && origin->rank > BY_PRESET)
        return 0;
    *origin = (struct spec_origin){ y->at, layer.rank, layer.preset };
    return value_read(s->arena, k, y, key_field(k, s));
}

static int spec_apply(struct spec *s, const struct yaml *map, const char *section, struct layer layer)
{
    if (map->kind != YAML_MAP)
        return map->kind == YAML_TEXT && !map->text[0] ? 0
               : yaml_fail(map, "an experiment file is made of `key: value` lines");
    for (int i = 0; i < map->n; i++)
        if (!(section[0] == 0 && layer.rank >= BY_USER && !strcmp(map->items[i].key, "base")) &&
            apply_one(s, &map->items[i], section, layer))
            return -1;
    return 0;
}

/* ---- where trees come from ----------------------------------------------------------------------------- */

static void apply_defaults(struct spec *s)
{
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++) {
        if (k->type <= TYPE_end)
            continue;
        struct yaml node = { YAML_TEXT, k->def,
                             .at.source = &(const struct source){ "keys.def", "", "", false } };
        struct yaml *y = k->def[0] == '[' ? yaml_parse(s->arena, "keys.def", "", k->def, false) : &node;
        check(y && !value_read(s->arena, k, y, key_field(k, s)), "keys.def: %s: %s", k->path, fail_message());
    }
}

struct chain { const struct chain *up; char path[PATH_MAX]; };

static int apply_file(struct spec *s, const char *path, const struct chain *up, struct place from);

/* The files named by `base:`, weakest first. */
static int apply_bases(struct spec *s, const struct yaml *root, const struct chain *up)
{
    const struct yaml *base = yaml_get(root, "base");
    int n = !base ? 0 : base->kind == YAML_LIST ? base->n : 1;
    for (int i = 0; i < n; i++) {
        const struct yaml *y = base->kind == YAML_LIST ? &base->items[i] : base;
        if (y->kind != YAML_TEXT || !y->text[0])
            return yaml_fail(y, "base must be a file name or a list of them");
        if (apply_file(s, place_path(s->arena, y->at, y->text), up, y->at))
            return -1;
    }
    return 0;
}

static int apply_file(struct spec *s, const char *path, const struct chain *up, struct place from)
{
    struct chain here = { .up = up };
    int depth = 0;
    if (!realpath(path, here.path))
        return place_fail(from, "%s: %s", path, strerror(errno));
    for (const struct chain *c = up; c; c = c->up, depth++)
        if (!strcmp(c->path, here.path))
            return place_fail(from, "base: %s leads back to itself", path);
    if (depth >= 16)
        return place_fail(from, "base: more than 16 files deep");
    struct yaml *root = yaml_load(s->arena, path);
    if (root && root->kind == YAML_TEXT && !*root->text)
        return place_fail(root->at, "the file is empty");  // truncated: defaults alone are not an experiment
    if (!root || apply_bases(s, root, &here))
        return -1;
    return spec_apply(s, root, "", (struct layer){ BY_WRITTEN });
}

static int apply_user_file(struct spec *s)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (!(config && config[0]) && !(home && home[0]))
        return 0;
    const char *path = config && config[0] ? arena_printf(s->arena, "%s/jetcl/config.yaml", config)
                                           : arena_printf(s->arena, "%s/.config/jetcl/config.yaml", home);
    struct yaml *root = file_exists(path) ? yaml_load(s->arena, path) : NULL;
    if (!root)
        return file_exists(path) ? -1 : 0;
    return spec_apply(s, root, "", (struct layer){ BY_USER });
}

/* "a.b.c=value" as the tree {a: {b: {c: value}}}; text is taken as it stands: it needs no quotes. */
static int apply_set(struct spec *s, const struct spec_set *set)
{
    if (set->tree)
        return spec_apply(s, set->tree, "", (struct layer){ BY_WRITTEN });
    const char *eq = strchr(set->text, '=');
    if (!eq || eq == set->text)
        return fail(FAULT_USAGE, "%s %s: must be key=value", set->by, set->text);
    bool whole = !strcmp(set->by, "--set");                // `--set a.b=c`, but `--seed 3`
    const char *name = arena_printf(s->arena, "%s %s", set->by, whole ? set->text : eq + 1);
    char *path = arena_copy(s->arena, set->text, (size_t)(eq - set->text));
    const struct key *k = key_find(path);
    struct yaml *value = arena_one(s->arena, struct yaml);
    if (k && (k->type == TYPE_text || k->type == TYPE_path) && !strchr("\"'", eq[1])) {
        struct source *source = arena_one(s->arena, struct source);
        *source = (struct source){ name, "", "", false };
        *value = (struct yaml){ YAML_TEXT, eq + 1, .at.source = source };
    } else if (!(value = yaml_parse(s->arena, name, "", eq + 1, false)))
        return -1;
    char *dot = strrchr(path, '.');
    value->key = dot ? dot + 1 : path;
    value->key_at = value->at;
    if (dot)
        *dot = 0;
    const char *section = dot ? path : "";
    if (section[0] && !spec_is_section(section))
        return place_fail(value->at, "there is no section '%s' (jetcl config --list shows every key)",
                          section);
    return apply_one(s, value, section, (struct layer){ BY_WRITTEN });
}

static int apply_environment(struct spec *s)
{
    static const char *const names[][2] = { { "JETCL_DEVICE", "device" }, { "JETCL_DATA", "data.root" } };
    for (int i = 0; i < countof(names); i++) {
        const char *value = getenv(names[i][0]);
        if (!value || !value[0])
            continue;
        struct spec_set set = { names[i][0], arena_printf(s->arena, "%s=%s", names[i][1], value), NULL };
        if (apply_set(s, &set))
            return -1;
    }
    return 0;
}

/* ---- presets: defaults that hang on the value of another key ------------------------------------------- */

static bool preset_holds(const struct spec *s, int i)
{
    const char *value = spec_value(s->arena, s, spec_presets[i].key);
    size_t n = strcspn(value, ".");                        // timm's tag: vit_tiny_patch16_224.augreg_in21k
    return strlen(spec_presets[i].value) == n && !strncmp(value, spec_presets[i].value, n);
}

static void apply_presets(struct spec *s)
{
    for (int i = 0; i < spec_preset_count; i++) {
        if (!preset_holds(s, i))
            continue;
        struct yaml *y = yaml_parse(s->arena, "presets.def", "", spec_presets[i].text, false);
        const char *name = arena_printf(s->arena, "%s: %s", spec_presets[i].key, spec_presets[i].value);
        check(y && !spec_apply(s, y, "", (struct layer){ BY_PRESET, name }), "presets.def: %s: %s", name,
              fail_message());
    }
}

static int check_arch(const struct spec *s)
{
    const char **names = arena_array(s->arena, const char *, spec_preset_count);
    int n = 0;
    for (int i = 0; i < spec_preset_count; i++) {
        if (strcmp(spec_presets[i].key, "model.arch"))
            continue;
        if (preset_holds(s, i))
            return 0;
        names[n++] = spec_presets[i].value;
    }
    const char *near = text_nearest(s->model.arch, names, n);
    if (near)
        return spec_fail(s, "model.arch", "unknown architecture '%.60s' (did you mean '%s'?)", s->model.arch,
                         near);
    return spec_fail(s, "model.arch",
                     "unknown architecture '%.60s'; vit and convnext accept any size (jetcl help model.arch)",
                     s->model.arch);
}

/* ---- loading ------------------------------------------------------------------------------------------- */

static void spec_begin(struct spec *s, arena *a, const char *file)
{
    *s = (struct spec){ .file = arena_printf(a, "%s", file), .arena = a };
    s->origin = arena_array(a, struct spec_origin, spec_key_count);
    apply_defaults(s);
}

static int spec_finish(struct spec *s, const struct spec_set *sets, int n)
{
    if (apply_environment(s))
        return -1;
    for (int i = 0; i < n; i++)
        if (apply_set(s, &sets[i]))
            return -1;
    apply_presets(s);
    if (!s->name[0] && s->file[0]) {
        const char *slash = strrchr(s->file, '/'), *base = slash ? slash + 1 : s->file;
        const char *dot = strrchr(base, '.');
        s->name = arena_copy(s->arena, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
    }
    return check_arch(s) || spec_check(s) ? -1 : 0;
}

int spec_load(struct spec *s, arena *a, const char *path, const struct spec_set *sets, int n)
{
    spec_begin(s, a, path ? path : "");
    if (apply_user_file(s) || (path && apply_file(s, path, NULL, (struct place){ 0 })))
        return -1;
    return spec_finish(s, sets, n);
}

int spec_load_text(struct spec *s, arena *a, const char *name, const char *text, const struct spec_set *sets,
                   int n)
{
    spec_begin(s, a, "");
    struct yaml *root = yaml_parse(a, name, "", text, true);
    if (apply_user_file(s) || !root || spec_apply(s, root, "", (struct layer){ BY_WRITTEN }))
        return -1;
    return spec_finish(s, sets, n);
}

int spec_parse(struct spec *s, arena *a, const char *name, const char *text, const struct spec_set *sets,
               int n)
{
    spec_begin(s, a, name);
    struct yaml *root = yaml_parse(a, name, "", text, true);
    if (!root || apply_bases(s, root, NULL) || spec_apply(s, root, "", (struct layer){ BY_WRITTEN }))
        return -1;
    return spec_finish(s, sets, n);
}

int spec_fail(const struct spec *s, const char *key, const char *fmt, ...)
{
    const struct key *k = key_find(key);
    check(k, "spec_fail: no key %s", key);
    const struct spec_origin *o = &s->origin[key_index(k)];
    va_list ap;
    va_start(ap, fmt);
    const char *text = arena_vprintf(s->arena, fmt, ap);
    va_end(ap);
    if (o->rank > BY_PRESET)
        return place_fail(o->at, "%s", text);
    const char *why = o->rank == BY_PRESET ? o->preset : "the default";
    return fail(FAULT_USAGE, "%s%s%s: %s (%s is %s, from %s)", s->file, s->file[0] ? ": " : "", key, text,
                key_leaf(k), spec_value(s->arena, s, key), why);
}

bool spec_written(const struct spec *s, const char *key)
{
    const struct key *k = key_find(key);
    check(k, "spec_written: no key %s", key);
    return s->origin[key_index(k)].rank > BY_PRESET;
}

const char *spec_value(arena *a, const struct spec *s, const char *key)
{
    const struct key *k = key_find(key);
    return k ? value_text(a, k, key_field(k, s)) : NULL;
}
