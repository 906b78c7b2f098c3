/* cmd_devices.c: the OpenCL devices of this machine, and which of them the settings take. */
#include "cli/cli.h"
#include "op/product.h"
#include "study/selftest.h"
#include <jansson.h>
#include <math.h>

static const char *devices_kind(const struct dev_info *i)
{
    return i->gpu_kind ? "gpu" : i->cpu_kind ? "cpu" : i->accelerator_kind ? "accelerator" : "other";
}

/* Marks what a setting "a,b" takes. -1 when a part of it is not a device. */
static int mark_chosen(struct cli *c, const char *setting, const struct dev_info *all, int n, bool *chosen)
{
    char *save = NULL, *list = arena_printf(c->arena, "%s", setting);
    for (char *spec = strtok_r(list, ",", &save); spec; spec = strtok_r(NULL, ",", &save)) {
        struct dev_info d;
        const char *name;
        int of = text_ends(spec, ":*") ? dev_of_rank(c->arena, spec, 0, &name) : 1;
        for (int r = 0; r < of; r++) {
            if (of > 1)
                dev_of_rank(c->arena, spec, r, &name);
            if (dev_find(text_ends(spec, ":*") ? name : spec, &d))
                return -1;
            for (int i = 0; i < n; i++)
                chosen[i] |= !strcmp(all[i].spec, d.spec);
        }
    }
    return 0;
}

/* How kernels of class cpu are shaped, and by which sizes. */
static void devices_print_cpu(const struct dev_info *i)
{
    char text[3][24];
    struct dev_host h;
    struct product_tile t = product_tile(i);
    struct product_fit plain = product_fit(i, false, false), transposed = product_fit(i, true, false);
    dev_host(&h);
    for (int k = 0; k < 3; k++)
        snprintf(text[k], sizeof text[k], "%llu KiB", (unsigned long long)i->cache[k] >> 10);
    printf("      host      %d processors, %d cores%s, %d node%s of memory\n", h.cpus, h.cores,
           h.two_speeds ? " of two speeds" : "", h.nodes, h.nodes > 1 ? "s" : "");
    printf("      caches    %s, %s a core%s%s (%s)\n", text[0], text[1], i->cache[2] ? ", last " : "",
           i->cache[2] ? text[2] : "", i->cache_from);
    printf("      products  %d x %d sums in %u of %u registers, k %lld (transposed %lld), B %lld K (%lld K)\n",
           t.rows, 16 * t.vectors, (u32)(t.rows * t.vectors) * MAX(16 / i->simd, 1), i->registers,
           (long long)plain.kb, (long long)transposed.kb, (long long)plain.pack >> 10,
           (long long)transposed.pack >> 10);
}

/* What its engine makes of fp32 values, or NULL. */
static const char *devices_floats(const struct dev_info *i)
{
    const char *floats = dev_matrix_floats(i->matrix);
    return !floats ? NULL : strcmp(floats, "F32") ? "tf32" : "fp32";
}

static void devices_print(const struct dev_info *i, bool chosen)
{
    char memory[24], piece[24], local[24];
    const char *floats = devices_floats(i);
    printf("%s%-5s %s%s   %s%s\n", say_bold(1), i->spec, i->name, say_plain(1), devices_kind(i),
           chosen ? ", chosen" : "");
    printf("      platform  %s\n      driver    %s, %s\n", i->platform, i->driver, i->version);
    if (*i->uuid)
        printf("      uuid      %s\n", i->uuid);
    if (*i->pci)
        printf("      pci       %s\n", i->pci);
    printf("      memory    %s, %s in one piece, %s local\n", text_bytes(memory, (f64)i->global_mem),
           text_bytes(piece, (f64)i->max_alloc), text_bytes(local, (f64)i->local_mem));
    printf("      compute   %u units of %u lanes, groups of %u items at most%s%s%s\n", i->compute_units,
           i->simd, i->max_group, i->fp16 ? ", fp16" : "", i->fp64 ? ", fp64" : "",
           i->subgroups ? ", sub-groups" : "");
    if (i->matrix)
        printf("      matrix    %s: bf16, fp16%s%s\n", dev_matrix_name(i->matrix), floats ? ", " : "",
               floats ? floats : "");
    if (i->cpu_kind)
        devices_print_cpu(i);
    puts("");
}

static json_t *devices_json(const struct dev_info *i, bool chosen)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:i, s:i,"
                     " s:b, s:b, s:b, s:b, s:[I,I,I], s:s, s:s, s:s?}",
                     "device", i->spec, "name", i->name, "vendor", i->vendor, "platform", i->platform,
                     "driver", i->driver, "version", i->version, "kind", devices_kind(i),
                     "uuid", i->uuid, "pci", i->pci,
                     "memory", (json_int_t)i->global_mem, "max_alloc", (json_int_t)i->max_alloc,
                     "local_memory", (json_int_t)i->local_mem, "compute_units", (int)i->compute_units,
                     "lanes", (int)i->simd, "max_group", (int)i->max_group, "alignment", (int)i->align,
                     "fp16", i->fp16, "fp64", i->fp64, "subgroups", i->subgroups, "chosen", chosen,
                     "caches", (json_int_t)i->cache[0], (json_int_t)i->cache[1], (json_int_t)i->cache[2],
                     "caches_from", i->cache_from, "matrix", dev_matrix_name(i->matrix),
                     "matrix_fp32", devices_floats(i));
}

/* ---- --check ------------------------------------------------------------------------------------------- */

static void check_print(const struct selftest *t, const char *device)
{
    printf("%s%s%s: %s in %.1f s\n", say_bold(1), device, say_plain(1), t->failed ? "FAILED" : "passed",
           t->seconds);
    for (int i = 0; i < t->n_lines; i++)
        printf("  %-28s %-6s  %s\n", t->lines[i].what, t->lines[i].ok ? "ok" : "FAILED", t->lines[i].detail);
    printf("\n  %-44s %6s %9s %9s %9s %9s\n", "kernel (the worst first)", "values", "error", "bound", "ulps",
           "ms");
    for (int i = 0; i < t->kernels.n; i++) {
        const struct kernel_check *k = &t->kernels.list[i];
        printf("  %-44s %6d %9.2g %9.2g %9.3g %9.3g%s%s%s\n", k->name, k->nodes, k->error, k->bound, k->ulps,
               k->ms, k->failed ? "  FAILED in " : "", k->failed ? k->where : "",
               k->unsteady ? ": other bits each time" : "");
    }
    putchar('\n');
}

static json_t *devices_real(f64 v) { return isfinite(v) ? json_real(v) : json_null(); }

static json_t *check_json(const struct selftest *t, const char *device)
{
    json_t *lines = json_array(), *kernels = json_array();
    for (int i = 0; i < t->n_lines; i++)
        json_array_append_new(lines, json_pack("{s:s, s:b, s:s}", "check", t->lines[i].what, "ok",
                                               (int)t->lines[i].ok, "detail", t->lines[i].detail));
    for (int i = 0; i < t->kernels.n; i++) {
        const struct kernel_check *k = &t->kernels.list[i];
        json_array_append_new(kernels,
                              json_pack("{s:s, s:i, s:o, s:o, s:o, s:f, s:f, s:b, s:b, s:b, s:s}", "kernel",
                                        k->name, "values", k->nodes, "error", devices_real(k->error), "bound",
                                        devices_real(k->bound), "ulps", devices_real(k->ulps), "largest",
                                        k->largest, "ms", k->ms, "equal", (int)k->equal, "failed",
                                        (int)k->failed, "unsteady", (int)k->unsteady, "worst_in", k->where));
    }
    return json_pack("{s:s, s:b, s:f, s:o, s:o}", "device", device, "passed", t->failed == NULL, "seconds",
                     t->seconds, "checks", lines, "kernels", kernels);
}

/* Every device of the setting, one after the other; a failure does not keep the others from being looked at. */
static int devices_check(struct cli *c, const char *setting)
{
    char *save = NULL, *list = arena_printf(c->arena, "%s", setting);
    const char *failed = NULL, *of = NULL;
    json_t *all = json_array();
    for (char *spec = strtok_r(list, ",", &save); spec; spec = strtok_r(NULL, ",", &save)) {
        struct selftest t;
        if (selftest_run(&t, c->arena, spec, NULL, "")) {
            json_decref(all);
            return fail_in("%s", spec);
        }
        if (c->json)
            json_array_append_new(all, check_json(&t, spec));
        else
            check_print(&t, spec);
        if (t.failed && !failed)
            failed = t.failed, of = spec;
    }
    if (c->json) {
        json_dumpf(all, stdout, JSON_INDENT(1));
        puts("");
    }
    json_decref(all);
    return failed ? fail(FAULT_NUMBERS, "%s: %s", of, failed) : 0;
}

/* Which device each rank on this machine takes. */
static int print_ranks(struct cli *c, const char *setting)
{
    const char *first;
    i64 n = dev_of_rank(c->arena, setting, 0, &first);
    if (*cli_value(c, "ranks") && cli_count(c, "ranks", 1, 4096, &n))
        return -1;
    for (int r = 0; r < n; r++) {
        struct dev_info d;
        const char *name;
        int all = dev_of_rank(c->arena, setting, r, &name);
        if (dev_find(name, &d))
            return -1;
        printf("rank %d   %-5s %s%s\n", r, d.spec, d.name,
               (d.gpu_kind || d.emulated) && r >= all ? "   shared with another rank: slower than alone" : "");
    }
    return 0;
}

/* What another process needs soon. */
static int devices_ahead(struct cli *c, const char *device)
{
    const char *experiment = cli_value(c, "ahead");
    struct spec own;
    process_follow();
    if (*experiment && cli_spec(c, experiment, &own))
        return -1;
    if (*experiment && !own.model.classes)
        return spec_fail(&own, "model.classes", "must be a number here: no data are read");
    return selftest_ahead(c->arena, device, *experiment ? &own : NULL);
}

static int devices_run(struct cli *c)
{
    struct spec s;
    struct dev_info *all;
    if (cli_operands(c, 0, 0) || cli_spec(c, NULL, &s))
        return -1;
    if (cli_given(c, "ahead"))
        return devices_ahead(c, s.device);
    if (cli_given(c, "check"))
        return devices_check(c, s.device);
    if (cli_given(c, "ranks"))
        return print_ranks(c, s.device);
    int n = dev_list(c->arena, &all);
    bool *chosen = arena_array(c->arena, bool, n + 1);
    int rc = mark_chosen(c, s.device, all, n, chosen);       // a wrong setting is told after the list
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        if (c->json)
            json_array_append_new(list, devices_json(&all[i], chosen[i]));
        else
            devices_print(&all[i], chosen[i]);
    if (c->json) {
        json_dumpf(list, stdout, JSON_INDENT(1));
        puts("");
    }
    json_decref(list);
    return rc;
}

static const struct cli_option options[] = {
    { "check", NULL, "test kernels, memory, repeatability and random numbers of the chosen device; 5: "
                     "something failed" },
    { "ahead", "[EXP]", "with --check: only build its kernels, or those for the network of an experiment, the "
                        "last ones first, as a second process does for one that checks" },
    { "ranks", "[N]", "which device each of N ranks on this machine takes; default: one each" },
    { 0 },
};
const struct command devices_cmd = {
    "devices", "list the OpenCL devices of this machine, or test them", "devices [options]",
    { "jetcl devices", "jetcl devices --device gpu --json", "jetcl devices --check --device gpu" },
    options, TAKES_JSON, devices_run };
