/* metis.c: METIS on a dense co-activation matrix. Its weights are 32-bit integers whose sums must stay in range, and a
 * weight of zero makes it hang or crash; so the matrix is scaled to a fixed sum and every existing edge is at least 1. */
#include "recycle/recycle.h"
#include <math.h>
#include <metis.h>

static int run(idx_t n, idx_t *start, idx_t *to, idx_t *weight, idx_t parts, u64 seed, idx_t *part)
{
    idx_t options[METIS_NOPTIONS], one = 1, edgecut;
    METIS_SetDefaultOptions(options);
    options[METIS_OPTION_SEED] = (idx_t)(seed % INT32_MAX);
    options[METIS_OPTION_NUMBERING] = 0;
    // Recursive bisection cuts better for few parts; the manual's own limit is eight.
    int rc = (parts <= 8 ? METIS_PartGraphRecursive : METIS_PartGraphKway)(&n, &one, start, to, NULL, NULL, weight, &parts,
                                                                           NULL, NULL, options, &edgecut, part);
    return rc == METIS_OK ? 0 : fail(FAULT_RUN, "METIS gave up on %d units in %d parts (its code %d)", (int)n, (int)parts, rc);
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
        return fail(FAULT_RUN, "a graph of %d units is too large for METIS's 32-bit indices; use graph: louvain", n);
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
    return run(n, start, to, weight, parts, seed, part);
}
