/* metis.c: METIS on a dense co-activation matrix. Its weights are 32-bit integers whose sums must stay in
 * range, and a weight of zero makes it hang or crash; so the matrix is scaled to a fixed sum and every
 * existing edge is at least 1.
 *
 * Recursive bisection, the best of several seeds: on these dense graphs it cuts less than METIS's k-way
 * method (32 parts of 256 units: it saves half as much again), and takes a tenth of a second where statistics
 * take minutes. */
#include "recycle/recycle.h"
#include <math.h>
#include <metis.h>

#define RUNS 8

static int metis_run(idx_t n, idx_t *start, idx_t *to, idx_t *weight, idx_t parts, u64 seed, idx_t *part,
                     arena *scratch)
{
    idx_t options[METIS_NOPTIONS], one = 1, *mine = arena_array(scratch, idx_t, n);
    METIS_SetDefaultOptions(options);
    for (idx_t i = 0, cut, least = -1; i < RUNS; i++) {
        options[METIS_OPTION_SEED] = (idx_t)((seed + (u64)i) % INT32_MAX);
        int rc = METIS_PartGraphRecursive(&n, &one, start, to, NULL, NULL, weight, &parts, NULL, NULL,
                                          options, &cut, mine);
        if (rc != METIS_OK)
            return fail(FAULT_RUN, "METIS failed on %d units in %d parts (code %d)",
                        (int)n, (int)parts, rc);
        if (least >= 0 && cut >= least)
            continue;
        least = cut;
        memcpy(part, mine, sizeof *part * (size_t)n);
    }
    return 0;
}

int metis_cut(const f32 *together, int n, int parts, bool unweighted, u64 seed, i32 *part, arena *scratch)
{
    if (parts <= 1 || parts >= n) {               // nothing to optimise, and METIS does not take these
        for (int i = 0; i < n; i++)
            part[i] = parts <= 1 ? 0 : i;
        return 0;
    }
    i64 edges = 0;
    f64 sum = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            if (i != j && together[(size_t)i * n + j] > 0) {
                edges++;
                sum += together[(size_t)i * n + j];
            }
    if (edges > INT32_MAX / 4)
        return fail(FAULT_RUN, "a graph of %d units is too large for METIS's 32-bit indices; use graph: "
                    "louvain", n);
    f64 scale = (0x1p30 - (f64)edges) / (sum > 0 ? sum : 1);
    idx_t *start = arena_array(scratch, idx_t, n + 1), *to = arena_array(scratch, idx_t, edges + 1);
    idx_t *weight = arena_array(scratch, idx_t, edges + 1), at = 0;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            f32 w = together[(size_t)i * n + j];
            if (i == j || !(w > 0))
                continue;
            to[at] = j;
            weight[at++] = unweighted ? 1 : (idx_t)MAX(rint(w * scale), 1);
        }
        start[i + 1] = at;
    }
    return metis_run(n, start, to, weight, parts, seed, part, scratch);
}
