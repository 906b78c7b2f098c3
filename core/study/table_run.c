/* table_run.c: runs the experiments of a table that are not done, and lists how far each one is. */
#include "study/table.h"
#include <unistd.h>

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

bool table_has(const struct table *t, const char *only)
{
    for (size_t i = 0; i < t->n_runs; i++)
        if (!t->runs[i].prepared && !t->runs[i].counts_only && strstr(t->runs[i].name, only))
            return true;
    return false;
}

/* Set over all passes of table_run. */
struct progress_of {
    int todo, tried, failed, argc;
    char **argv;
    f64 began;
    const char *why;
    enum fault first;
};

static int runs_needed(const struct table *t, const struct table_run *r)
{
    int n = 0;
    for (int i = 0; i < r->n_uses; i++)
        n += t->runs[r->uses[i]].waits;
    return n;
}

/* 0; 1 when another process works on it, or on what it needs; -1 when it was stopped by a signal. */
static int table_run_cell(struct table *t, struct table_run *r, struct progress_of *p)
{
    struct run_options o = { .out = r->dir, .resume = "", .argc = p->argc, .argv = p->argv,
                             .latest = r->prepared ? LATEST_IF_NONE : LATEST_STAYS };
    struct lock_owner owner;
    char took[24], left[24];
    r->waits = runs_needed(t, r) || (!lock_look(r->dir, &owner) && owner.alive);
    if (r->waits)
        return 1;
    say(SAY_NORMAL, "%s[%d/%d] %s, seed %lld%s  (%s)", say_bold(2), p->tried + 1, p->todo, r->name,
        (long long)r->spec.seed, say_plain(2), r->dir);
    progress_label(arena_printf(t->arena, "[%d/%d] ", p->tried + 1, p->todo));
    int rc = run_experiment(&r->spec, &o, t->arena, &r->result);
    progress_label("");
    if ((r->waits = rc > 0))
        return 1;
    p->tried++;
    r->wanted = false;
    r->state = rc ? CELL_FAILED : CELL_DONE;
    if (!rc) {
        stop_kept();
        say(SAY_NORMAL, "[%d/%d] top1 %.2f after %s; about %s left", p->tried, p->todo, r->result.top1,
            text_time(took, r->result.seconds),
            text_time(left, (clock_now() - p->began) / p->tried * (p->todo - p->tried)));
        return 0;
    }
    if (fail_fault() == FAULT_STOPPED || stop_requested())
        return -1;
    r->why = arena_printf(t->arena, "%s, seed %lld: %s", r->name, (long long)r->spec.seed, fail_message());
    warn("%s", r->why);
    p->why = p->failed++ ? p->why : r->why;
    p->first = p->first ? p->first : fail_fault();
    return 0;
}

/* Until the others have got further: a second, then longer. -1 when stopped. */
static int wait_for_others(int waiting, int *seconds)
{
    for (f64 until = clock_now() + *seconds; clock_now() < until; usleep(100000)) {
        if (stop_requested())
            return fail(stop_fault(), "stopped by a signal while other processes work on the rest");
        progress("waiting for %d experiment%s of other processes", waiting, waiting == 1 ? "" : "s");
    }
    *seconds = MIN(20, 2 * *seconds);
    return 0;
}

int table_run(struct table *t, const char *only, int argc, char **argv)
{
    struct progress_of p = { .todo = mark_wanted(t, only), .argc = argc, .argv = argv, .began = clock_now(),
                             .why = "" };
    int seconds = 1;
    for (int waiting = 1, told = 0; waiting;) {
        int before = p.tried;
        waiting = 0;
        for (size_t i = 0; i < t->n_runs; i++) {
            int rc = t->runs[i].wanted ? table_run_cell(t, &t->runs[i], &p) : 0;
            if (rc < 0)
                return -1;
            waiting += rc;
        }
        if (p.tried > before)
            seconds = 1;
        else if (waiting && !told++)
            say(SAY_NORMAL, "%d experiment%s run by other processes: waiting (table --status shows whose)",
                waiting, waiting == 1 ? " is" : "s are");
        if (waiting && p.tried == before && wait_for_others(waiting, &seconds))
            return -1;
    }
    progress_done();
    return p.failed ? fail(p.first, "%d of %d experiments failed; the first: %s", p.failed, p.todo, p.why)
                    : 0;
}

bool table_asks(const struct table *t, const struct table_run *r, const char *only)
{
    bool asked = !r->prepared && !r->counts_only && strstr(r->name, only);
    for (size_t i = 0; i < t->n_runs && r->prepared && !asked; i++)
        for (int j = 0; j < t->runs[i].n_uses; j++)
            asked |= &t->runs[t->runs[i].uses[j]] == r && table_asks(t, &t->runs[i], only);
    return asked;
}

void table_list(FILE *f, const struct table *t, const char *only, bool who)
{
    static const char *const words[] = { "to do", "started", "done", "failed" };
    for (size_t i = 0; i < t->n_runs; i++) {
        const struct table_run *r = &t->runs[i];
        struct lock_owner o;
        if (!table_asks(t, r, only))
            continue;
        bool held = who && r->state != CELL_DONE && !lock_look(r->dir, &o);
        fprintf(f, "%-7s  %-55s  %s, seed %lld", held && o.alive ? "running" : words[r->state], r->dir,
                r->name, (long long)r->spec.seed);
        if (held)
            fprintf(f, "  (process %ld on %s since %s%s)", o.who.pid, o.who.host, o.since,
                    o.alive ? "" : ", which is gone: the next one takes over");
        fputc('\n', f);
    }
    fail_clear();
}
