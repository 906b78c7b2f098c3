/* table_run.c: runs the experiments of a table that are not done, and lists how far each one is. */
#include "study/table.h"

/* Cells that `only` asks for and that are not done, and what they need. Prepared runs come first in the list,
 * each before those that use it. Returns how many. */
static int mark_wanted(struct table *t, const char *only)
{
    int n = 0;
    for (size_t i = t->n_runs; i-- > 0;) {
        struct table_run *r = &t->runs[i];
        bool asked = !r->prepared && !r->counts_only && strstr(r->name, only);
        r->wanted = r->state != CELL_DONE && (r->wanted || asked);
        n += r->wanted;
        for (int j = 0; r->wanted && j < r->n_uses; j++)
            t->runs[r->uses[j]].wanted = true;
    }
    return n;
}

/* 0, or the fault; then r->why tells. */
static enum fault table_run_cell(struct table *t, struct table_run *r, int number, int of, int argc,
                                 char **argv)
{
    struct run_options o = { .out = r->dir, .resume = "", .argc = argc, .argv = argv };
    say(SAY_NORMAL, "%s[%d/%d] %s, seed %lld%s  (%s)", say_bold(2), number, of, r->name,
        (long long)r->spec.seed, say_plain(2), r->dir);
    progress_label(arena_printf(t->arena, "[%d/%d] ", number, of));
    int rc = run_experiment(&r->spec, &o, t->arena, &r->result);
    progress_label("");
    r->state = rc ? CELL_FAILED : CELL_DONE;
    r->why = !rc ? "" : arena_printf(t->arena, "%s, seed %lld: %s", r->name, (long long)r->spec.seed,
                                     fail_message());
    return rc ? fail_fault() : FAULT_NONE;
}

bool table_has(const struct table *t, const char *only)
{
    for (size_t i = 0; i < t->n_runs; i++)
        if (!t->runs[i].prepared && !t->runs[i].counts_only && strstr(t->runs[i].name, only))
            return true;
    return false;
}

int table_run(struct table *t, const char *only, int argc, char **argv)
{
    int todo = mark_wanted(t, only), tried = 0, failed = 0;
    const char *why = "";
    char took[24], left[24];
    f64 began = clock_now();
    enum fault first = FAULT_NONE;
    for (size_t i = 0; i < t->n_runs; i++) {
        struct table_run *r = &t->runs[i];
        if (!r->wanted)
            continue;
        enum fault fault = table_run_cell(t, r, ++tried, todo, argc, argv);
        if (fault == FAULT_STOPPED)
            return -1;
        if (fault) {
            warn("%s", r->why);
            why = failed++ ? why : r->why;
            first = first ? first : fault;
        } else
            say(SAY_NORMAL, "[%d/%d] top1 %.2f after %s; about %s left", tried, todo, r->result.top1,
                text_time(took, r->result.seconds),
                text_time(left, (clock_now() - began) / tried * (todo - tried)));
    }
    return failed ? fail(first, "%d of %d experiments failed; the first: %s", failed, todo, why) : 0;
}

void table_list(FILE *f, const struct table *t)
{
    static const char *const words[] = { "to do", "started", "done", "failed" };
    for (size_t i = 0; i < t->n_runs; i++) {
        const struct table_run *r = &t->runs[i];
        if (!r->counts_only || r->prepared)
            fprintf(f, "%-6s  %-55s  %s, seed %lld\n", words[r->state], r->dir, r->name,
                    (long long)r->spec.seed);
    }
}
