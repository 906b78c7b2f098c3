/* keys.c: the table of keys and presets, made of keys.def and presets.def; finding a key, and what is said of
 * one that is not there. */
#include "spec/key.h"

/* ---- the table ----------------------------------------------------------------------------------------- */

static const char mlp_act_words[] =
#define ACT(name, value, slope) #name " "
#include "cl/act.def"
#undef ACT
    ;

#define WORD_TEXT(p, w) #w " "
const struct key spec_keys[] = {
#define SECTION(name, help) { TYPE_section, #name, "", "", help, 0 },
#define END(name) { TYPE_end, #name, "", "", "", 0 },
#define KEY(section, type, name, def, checks, help) \
    { TYPE_##type, #section #name, def, checks, help, offsetof(struct spec, section name) },
#define CHOICE(section, prefix, name, def, help, ...) \
    { TYPE_choice, #section #name, #def, WORDS(WORD_TEXT, prefix, __VA_ARGS__), help, \
      offsetof(struct spec, section name) },
#define LISTED(section, list, name, def, help) \
    { TYPE_choice, #section #name, #def, list##_words, help, offsetof(struct spec, section name) },
#define OPTION(key, prefix, name, def, help, ...) \
    { TYPE_choice, #key "." #name, #def, WORDS(WORD_TEXT, prefix, __VA_ARGS__), help, \
      offsetof(struct spec, key##_##name) },
#include "spec/keys.def"
};
const int spec_key_count = countof(spec_keys);

const struct preset spec_presets[] = {
#define PRESET(key, value, text) { #key, #value, "{" text "}" },
#include "spec/presets.def"
#undef PRESET
};
const int spec_preset_count = countof(spec_presets);

int key_index(const struct key *k) { return (int)(k - spec_keys); }

const char *key_leaf(const struct key *k)
{
    const char *dot = strrchr(k->path, '.');
    return dot ? dot + 1 : k->path;
}

const struct key *key_find(const char *path)
{
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++)
        if (k->type > TYPE_end && !strcmp(k->path, path))
            return k;
    return NULL;
}

bool spec_is_section(const char *path)
{
    size_t n = strlen(path);
    for (const struct key *k = spec_keys; n && k < spec_keys + spec_key_count; k++)
        if (k->type > TYPE_end && !strncmp(k->path, path, n) && k->path[n] == '.')
            return true;
    return false;
}

/* ---- unknown keys -------------------------------------------------------------------------------------- */

/* Names that exist in a section ("" for the top): its keys and the sections directly in it. */
static int keys_in(arena *a, const char *section, const char **names, int room)
{
    size_t skip = strlen(section) + (section[0] != 0);
    int n = 0;
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++) {
        if (k->type <= TYPE_end ||
            (skip && (strncmp(k->path, section, skip - 1) || k->path[skip - 1] != '.')))
            continue;
        const char *name = arena_copy(a, k->path + skip, strcspn(k->path + skip, "."));
        if ((!n || strcmp(names[n - 1], name)) && n < room)
            names[n++] = name;
    }
    return n;
}

/* The code of a character in s that looks like a blank or like nothing, as copied from a web page; 0: none. */
static int keys_invisible(const char *s)
{
    static const struct { const char *bytes; int code; } odd[] = {
        { "\xc2\xa0", 0xa0 }, { "\xc2\xad", 0xad }, { "\xe2\x80\x83", 0x2003 }, { "\xe2\x80\x89", 0x2009 },
        { "\xe2\x80\x8b", 0x200b }, { "\xe2\x80\x8e", 0x200e }, { "\xe2\x80\xaf", 0x202f },
        { "\xe3\x80\x80", 0x3000 }, { "\xef\xbb\xbf", 0xfeff } };
    for (int i = 0; i < countof(odd); i++)
        if (strstr(s, odd[i].bytes))
            return odd[i].code;
    return 0;
}

int key_unknown(arena *a, const char *section, const struct yaml *y)
{
    const char *names[64], *list = "", *in = section[0] ? arena_printf(a, " in %s", section) : "";
    int n = keys_in(a, section, names, countof(names));
    if (!strcmp(y->key, "base"))
        return place_fail(y->key_at, "`base` belongs at the top of a file");
    if (keys_invisible(y->key))
        return place_fail(y->key_at, "unknown key '%.60s'%s: it holds U+%04X, which looks like a blank but is "
                          "not one", y->key, in, keys_invisible(y->key));
    const char *near = NULL;                      // `lr` in train means optim.lr, not another key of train
    for (const struct key *k = spec_keys; !near && k < spec_keys + spec_key_count; k++)
        if (k->type > TYPE_end && !strcmp(key_leaf(k), y->key))
            near = k->path;
    if (!near)
        near = text_nearest(y->key, names, n);
    if (near)
        return place_fail(y->key_at, "unknown key '%.60s'%s (did you mean '%s'?)", y->key, in, near);
    for (int i = 0; i < n; i++)
        list = arena_printf(a, "%s%s%s", list, i ? ", " : "", names[i]);
    return place_fail(y->key_at, "unknown key '%.60s'%s; there are: %s", y->key, in, list);
}
