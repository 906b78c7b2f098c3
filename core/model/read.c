/* read.c: which model a checkpoint holds: the experiment it was saved with, else what its tensors' names and
 * shapes say, as the text of an experiment file. */
#include "model/model.h"
#include <jansson.h>
#include <stdlib.h>

/* ---- what the metadata says ---------------------------------------------------------------------------- */

/* Where and how fast something is computed is the reader's choice, not the file's. */
static bool is_machines(const char *line, size_t n)
{
    static const char *const keys[] = { "device:", "threads:", "  workers:" };
    for (int i = 0; i < countof(keys); i++)
        if (n >= strlen(keys[i]) && !strncmp(line, keys[i], strlen(keys[i])))
            return true;
    return false;
}

static const char *saved_recipe(arena *a, const char *text)
{
    char *out = arena_copy(a, text, strlen(text)), *to = out;
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        n += line[n] == '\n';
        if (!is_machines(line, n)) {
            memmove(to, line, n);
            to += n;
        }
        line += n;
    }
    *to = 0;
    return out;
}

/* Three numbers of the metadata as a list; "" when it has none. */
static const char *meta_three(arena *a, const ckpt *c, const char *key)
{
    f64 v[3];
    const char *text = ckpt_meta(c, key);
    if (!text || sscanf(text, "%lf %lf %lf", &v[0], &v[1], &v[2]) != 3)
        return "";
    return arena_printf(a, "  %s: [%.9g, %.9g, %.9g]\n", key, v[0], v[1], v[2]);
}

/* ---- what the tensors say ------------------------------------------------------------------------------ */

const char *model_experiment_text(const ckpt *c, arena *a, bool *guessed, bool *heads_known)
{
    const char *saved = ckpt_meta(c, "recipe"), *path = ckpt_path(c), *mean, *std;
    const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    struct spec s;
    *guessed = !saved || !*saved;
    *heads_known = true;
    if (!*guessed)
        return saved_recipe(a, saved);
    if (spec_parse(&s, a, path, "", NULL, 0) || model_read(&s, c, a))
        return NULL;
    bool vit = !strcmp(s.model.family, "vit");
    *heads_known = !vit || s.model.heads;
    s.model.heads = MAX(s.model.heads, 1);
    mean = meta_three(a, c, "mean");
    std = meta_three(a, c, "std");
    if (!*mean && (strstr(file, "augreg") || text_ends(file, ".npz"))) {     // trained on [-1, 1]
        mean = "  mean: [127.5, 127.5, 127.5]\n";
        std = "  std: [127.5, 127.5, 127.5]\n";
    }
    *guessed = !*mean;
    return arena_printf(a, "model: {%s}\n%s%s%s", model_lines(a, &s), *mean || *std ? "data:\n" : "", mean,
                        std);
}

/* ---- classes ------------------------------------------------------------------------------------------- */

/* ImageNet's thousand as others write them, "tench, Tinca tinca" for tench: ours then,
 * which go by WordNet number as well. */
static bool is_imagenet(arena *a, const char *const *names, int n)
{
    const char *const *ours = n == 1000 ? imagenet_names(a, false) : NULL;
    int same = 0;
    for (int i = 0; ours && i < n; i++) {
        size_t len = strcspn(ours[i], ",(");
        len -= len && ours[i][len - 1] == ' ';
        same += !strncmp(names[i], ours[i], len) && strchr(", (", names[i][len]);
    }
    return same >= 900;                              // releases differ in a word here and there
}

int model_classes(const ckpt *c, arena *a, const char *const **names)
{
    const char *text = ckpt_meta(c, "classes");
    int head = model_head(c);
    *names = NULL;
    if (!text || !*text) {
        *names = head == 1000 ? imagenet_names(a, false) : NULL;
        return head;
    }
    json_t *list = json_loads(text, 0, NULL);
    int n = list && json_is_array(list) ? (int)json_array_size(list) : 0;
    const char **out = arena_array(a, const char *, n + 1);
    int nameless = -1;
    for (int i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(list, (size_t)i));
        out[i] = arena_printf(a, "%s", name ? name : "");
        nameless = nameless < 0 && !*out[i] ? i : nameless;
    }
    json_decref(list);
    if (nameless >= 0)
        return fail(FAULT_DATA, "%s: its metadata gives class %d no name", ckpt_path(c), nameless);
    if (!n || (head && head != n))
        return fail(FAULT_DATA, "%s: its metadata names %d classes, its head has %d", ckpt_path(c), n, head);
    *names = is_imagenet(a, out, n) ? imagenet_names(a, false) : out;
    return class_check(*names, n, ckpt_path(c)) ? -1 : n;
}
