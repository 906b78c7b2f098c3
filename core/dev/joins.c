/* joins.c: may groups of one launch add up each other's sums (cl/join.h)? OpenCL 1.2 promises nothing between
 * groups, so a GPU is asked: some launches in which the last group checks what all others wrote. Where one
 * value is stale, or the program does not build, sums take a second launch. */
#include "dev/ocl.h"

enum { ROUNDS = 16, GROUPS = 512, VALUES = 1024 };        // values of a group: cl/joins.cl

bool dev_joins_hold(dev *d, const char *defs)
{
    i32 result[2] = { 0 };
    mem *m = mem_new(d, 4 * GROUPS * VALUES + 2 * (u64)d->info.align, "joins");
    range parts = { m, 0, 4 * GROUPS * VALUES }, found = { m, parts.bytes, sizeof result };
    launches *l = launches_new(d, "joins");
    for (i32 seed = 1; m && seed <= ROUNDS; seed++)
        launch_add(l, &(launch){ .file = "joins", .kernel = "joins", .defs = defs, .global = { 64 * GROUPS },
                                 .local = { 64 },
            .args = { ARG_RANGE(parts), ARG_RANGE(dev_counters(d)), ARG_RANGE(found), ARG_INT(seed) } });
    bool hold = m && !mem_fill(d, (range){ m, 0, mem_bytes(m) }, 0) && !launches_compile(l) && !launches_run(l)
                && !mem_read(d, found, result) && result[0] == ROUNDS && !result[1];
    trace(TRACE_kernel, "joined sums: %d of %d launches ended in one group, %d stale values", result[0],
          ROUNDS, result[1]);
    if (!hold)
        fail_clear();
    launches_free(l);
    mem_free(m);
    return hold;
}
