/* cmd_compare.c: one experiment on several devices, or with other settings, number by number. */
#include "cli/cli.h"
#include "log/log.h"
#include "study/compare.h"
#include "study/selftest.h"
#include <stdlib.h>

enum { MOST_DEVICES = 8, MOST_VALUES = 1 << 22, FILE_VALUES = 1 << 14 };

struct comparing {
    struct cli *c;
    i64 steps, seeds;
    f64 tolerance;
    struct record *r[MOST_DEVICES + 1];
    struct spec *s[MOST_DEVICES + 1];             /* what was run; none of records from files */
    int n;
};

/* A further record: `device`, or NULL for the experiment's own, with the settings `over` besides. */
static int compare_record(struct comparing *x, const char *device, const char *label,
                          const struct spec_set *over, int n_over)
{
    struct cli *c = x->c;
    struct spec s = { 0 };
    struct spec_set *sets = arena_array(c->arena, struct spec_set, c->n_sets + n_over + 1);
    char *settings = "";
    memcpy(sets, c->sets, sizeof *sets * (size_t)c->n_sets);
    for (int i = 0; i < n_over; i++) {
        sets[c->n_sets + i] = over[i];
        settings = arena_printf(c->arena, "%s%s%s", settings, i ? " " : "", over[i].text);
    }
    if (device)
        sets[c->n_sets + n_over] = (struct spec_set){ .by = "--device",
                                                      .text = arena_printf(c->arena, "device=%s", device) };
    if (spec_load(&s, c->arena, cli_find_file(c, c->operands[0], ""), sets,
                  c->n_sets + n_over + (device != NULL)))
        return -1;
    if (s.recycle.from.experts[0] && !s.model.init[0])
        say(SAY_NORMAL, "%s: recycling is left out, weights are random (--set model.init=FILE for others)",
            label);
    struct record_options o = { .label = label, .settings = settings, .steps = x->steps, .yardsticks = !x->n,
                                .seeds = (int)x->seeds,
                                .keep = cli_given(c, "record") ? FILE_VALUES : MOST_VALUES };
    struct record *r = arena_one(c->arena, struct record);
    if (record_make(r, c->arena, &s, &o))
        return fail_in("%s", label);
    if (!s.model.classes)
        s.model.classes = 10;
    x->s[x->n] = arena_one(c->arena, struct spec);
    *x->s[x->n] = s;
    x->r[x->n++] = r;
    return 0;
}

/* Which of the two is off, and by which kernel: each against float64 loops on the host. */
static int compare_blame(struct comparing *x, int other)
{
    const int both[] = { 0, other };
    for (int i = 0; i < 2; i++) {
        struct selftest t;
        const struct record *r = x->r[both[i]];
        const struct spec *s = x->s[both[i]];
        if (selftest_run(&t, x->c->arena, s->device, s, ""))
            return -1;
        FILE *f = x->c->json ? stderr : stdout;
        fprintf(f, t.failed ? "%s is off: %s\n" : "%s agrees with float64 loops\n", r->label, t.failed);
    }
    return 0;
}

/* Every value of --device, then --set-b over the first of them. */
static int compare_make(struct comparing *x)
{
    struct cli *c = x->c;
    struct spec s;
    struct spec_set *over = arena_array(c->arena, struct spec_set, c->n_given + 1);
    int n_over = 0;
    if (cli_spec(c, c->operands[0], &s))
        return -1;
    for (int i = 0; i < c->n_given; i++)
        if (!strcmp(c->given[i].name, "set-b"))
            over[n_over++] = (struct spec_set){ .by = "--set-b", .text = c->given[i].value };
    char *list = arena_printf(c->arena, "%s", s.device), *save = NULL;
    int devices = 1;
    for (const char *p = list; *p; p++)
        devices += *p == ',';
    if (devices > MOST_DEVICES)
        return fail(FAULT_USAGE, "at most %d devices at once", MOST_DEVICES);
    if (devices + (n_over > 0) < 2 && !cli_given(c, "record"))
        return fail(FAULT_USAGE, "compare needs two devices (--device A,B) or settings of one (--set-b "
                                 "KEY=VALUE)");
    const char *first = NULL;
    for (char *d = strtok_r(list, ",", &save); d; d = strtok_r(NULL, ",", &save)) {
        first = first ? first : d;
        if (compare_record(x, d, d, NULL, 0))
            return -1;
    }
    const char *text = "";
    for (int i = 0; i < n_over; i++)
        text = arena_printf(c->arena, "%s%s%s", text, i ? " " : "", over[i].text);
    return n_over ? compare_record(x, first, text, over, n_over) : 0;
}

static int compare_read(struct comparing *x)
{
    if (x->c->n > MOST_DEVICES)
        return fail(FAULT_USAGE, "at most %d records at once", MOST_DEVICES);
    for (int i = 0; i < x->c->n; i++) {
        struct record *r = arena_one(x->c->arena, struct record);
        if (record_load(r, x->c->arena, x->c->operands[i]))
            return -1;
        x->r[x->n++] = r;
    }
    return 0;
}

/* --out: comparison.json and every record, for `jetcl report` and for comparing again. */
static int compare_save(struct comparing *x, const struct comparison *all)
{
    struct file_out o;
    const char *dir = x->c->out;
    if (!dir)
        return 0;
    if (file_mkdirs(dir))
        return -1;
    for (int i = 0; i < x->n; i++)
        if (record_save(x->r[i], arena_printf(x->c->arena, "%s/%c.jetcmp", dir, 'a' + i)))
            return -1;
    if (file_begin(&o, arena_printf(x->c->arena, "%s/comparison.json", dir)))
        return -1;
    if (compare_json(o.f, (const struct record *const *)x->r, x->n, all, x->n - 1)) {
        file_abort(&o);
        return -1;
    }
    return file_commit(&o);
}

/* The first against each of the others. */
static int compare_tell(struct comparing *x)
{
    struct comparison *all = arena_array(x->c->arena, struct comparison, x->n);
    int apart = 0, which = 0;
    for (int i = 1; i < x->n; i++) {
        compare_records(&all[i - 1], x->c->arena, x->r[0], x->r[i], x->tolerance);
        apart += !all[i - 1].agree;
        which = !all[i - 1].agree && apart == 1 ? i - 1 : which;
        if (!x->c->json)
            compare_print(stdout, &all[i - 1]);
        const struct compared *first = all[i - 1].first;
        if (x->s[0] && first && (first->a->kind == RECORD_FORWARD || first->a->kind == RECORD_GRADIENT)
            && compare_blame(x, i))
            return -1;
    }
    if (x->c->json && compare_json(stdout, (const struct record *const *)x->r, x->n, all, x->n - 1))
        return -1;
    if (compare_save(x, all))
        return -1;
    return apart ? fail(FAULT_NUMBERS, "%s and %s: %s", x->r[0]->label, all[which].b->label,
                        all[which].verdict) : 0;
}

static int compare_run(struct cli *c)
{
    struct comparing x = { .c = c, .steps = 200, .seeds = 1 };
    const char *text = cli_value(c, "tolerance"), *record = cli_value(c, "record");
    static const char *const signals[] = { "INT", "TERM" };
    if (cli_operands(c, 1, INT32_MAX) || cli_count(c, "steps", 1, 1000000, &x.steps)
        || cli_count(c, "seeds", 1, 1000, &x.seeds))
        return -1;
    if (text && (!text_real(slice_of(text), &x.tolerance) || !(x.tolerance > 0)))
        return fail(FAULT_USAGE, "--tolerance must be a number above 0, not '%s'", text);
    if ((c->out && file_can_fill(c->out)) || (record && file_can_replace(record, ".jetcmp")))
        return -1;
    if (text_ends(c->operands[0], ".jetcmp"))
        return c->n < 2 ? fail(FAULT_USAGE, "two records are needed: compare a.jetcmp b.jetcmp")
               : compare_read(&x) || compare_tell(&x) ? -1 : 0;
    if (cli_operands(c, 1, 1))
        return -1;
    stop_catch(signals, 2);
    if (compare_make(&x))
        return -1;
    if (record && x.n > 1)
        return fail(FAULT_USAGE, "--record is for one device; --out DIR keeps the records of several");
    return record ? record_save(x.r[0], record) : compare_tell(&x);
}

static const struct cli_option options[] = {
    { "steps", "N", "number of training steps (200)" },
    { "seeds", "N", "train with N seeds on each device, and say what they show of loss and accuracy (1)" },
    { "set-b", "KEY=VALUE", "compare with this setting on the first device; may be repeated", true },
    { "record", "FILE", "only write what this device computes to FILE.jetcmp, for another machine" },
    { "tolerance", "X",
      "allowed relative error of activations and gradients; default: what rounding explains" },
    { 0 },
};
const struct command compare_cmd = {
    "compare", "an experiment on several devices, or with other settings, number by number",
    "compare EXP.yaml --device A,B | compare FILE.jetcmp FILE.jetcmp [options]",
    { "jetcl compare experiments/demo.yaml --device cpu,gpu --out runs/compared",
      "jetcl compare experiments/demo.yaml --set-b train.recompute=blocks",
      "jetcl compare experiments/demo.yaml --device auto@plain --record here.jetcmp" },
    options, TAKES_JSON | TAKES_OUT, compare_run };
