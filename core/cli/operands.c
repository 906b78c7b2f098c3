/* operands.c: what the operands and --data of eval and predict mean: a checkpoint, a run's folder, or an
 * experiment with a checkpoint after it; and a folder of images. */
#include "cli/cli.h"
#include "train/learner.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* By its name, or by what is in it; or the name of one that comes with the program. */
static bool is_experiment(arena *a, const char *path)
{
    return text_ends(path, ".yaml") || text_ends(path, ".yml")
           || (file_exists(path) ? cli_kind(a, path) == FILE_EXPERIMENT : *path && spec_find(a, path, ""));
}

int cli_trained(struct cli *c, struct trained *t, int *used)
{
    struct spec s;
    *t = (struct trained){ 0 };
    *used = 1;
    if (!is_experiment(c->arena, c->operands[0]))
        return trained_open(t, c->arena, c->operands[0], NULL, c->sets, c->n_sets);
    if (cli_experiment(c, &s))
        return -1;
    *used = MIN(c->n, 2);
    const char *path = c->n > 1 ? c->operands[1] : s.model.init;
    if (!*path)
        return fail(FAULT_USAGE, "which checkpoint? jetcl %s", c->command->usage);
    return trained_open(t, c->arena, path, &s, c->sets, c->n_sets);
}

/* A folder inside `root` that holds what is evaluated on; NULL: none, so that root itself does. */
static const char *trained_find_split(struct cli *c, const char *root, const char *usual)
{
    const char *const names[] = { usual, "test", "val", "validation", "valid" };
    for (int i = 0; i < countof(names); i++)
        if (*names[i] && file_is_folder(arena_printf(c->arena, "%s/%s", root, names[i])))
            return names[i];
    return NULL;
}

int cli_data(struct cli *c, struct spec *s)
{
    const char *folder = cli_value(c, "data"), *split = cli_value(c, "split");
    char full[PATH_MAX];
    if (split)
        s->data.eval = split;
    if (!folder)
        return *s->data.set ? 0
                            : fail(FAULT_USAGE, "which images? --data FOLDER, with a folder for every class");
    if (!realpath(folder, full))
        return fail(FAULT_DATA, "%s: %s", folder, strerror(errno));
    if (!file_is_folder(full))
        return fail(FAULT_DATA, "%s: not a folder", folder);
    split = split ? split : trained_find_split(c, full, s->data.eval);
    char *slash = strrchr(full, '/');
    s->data.set = "folder";
    s->data.root = split ? arena_printf(c->arena, "%s", full)
                         : arena_printf(c->arena, "%.*s", MAX((int)(slash - full), 1), full);
    s->data.eval = split ? split : arena_printf(c->arena, "%s", slash + 1);
    bool chosen = false;
    for (int i = 0; i < c->n_sets; i++)
        chosen |= c->sets[i].text && text_starts(c->sets[i].text, "data.classes=");
    if (!chosen)
        s->data.classes = (texts){ 0 };           // the experiment chose among the classes of its own set
    return 0;
}
