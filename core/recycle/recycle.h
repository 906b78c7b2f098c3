/* recycle.h: a dense predecessor is cut into the experts of a successor (Zhu et al. 2024, "MoE Jetpack").
 *
 *     images -> statistics -> strategy -> picks (which units go where) -> graft (cut the tensors) -> checkpoint
 *
 *     i32 *out = arena_array(a, i32, c.sets * c.subset);                   // c: a layer's units and what is known of them
 *     if (recycle_choose(strategy_find("importance"), &c, out)) return -1; // c.sets ascending lists of c.subset indices
 */
#ifndef JETCL_RECYCLE_H
#define JETCL_RECYCLE_H
#include "base/base.h"

/* ---- strategies: which of a layer's units a smaller layer keeps ------------------------------------------------- */

/* Uniform spacing of k indices in n: the paper's floor(i n/k); the scripts' linspace(0, n-1, k), rounded half to even
 * in the released one and truncated in the simplified one. */
enum spacing { SPACING_FLOOR, SPACING_ROUND, SPACING_TRUNCATE };

enum graph_cutter { GRAPH_METIS, GRAPH_LOUVAIN };

struct choice {
    const char *what;                   /* "mlp.act of block 7": for messages */
    int         total, subset, sets;    /* wanted: `sets` lists of `subset` among `total` units */
    bool        best;                   /* the one list that everything shares: the strongest units, nothing is drawn */
    u64         seed, place;            /* list i draws from rng_at(seed, RNG_RECYCLE, place, i) */
    const f64  *score;                  /* [total] how active each unit is; NULL: not measured */
    const f32  *together;               /* [total][total] how often two units fire together; NULL: not measured.
                                           Symmetric; the diagonal is not read */
    enum spacing spacing;
    enum graph_cutter cutter;
    int         parts;                  /* METIS: how many */
    f64         resolution;             /* Louvain: weight of inner edges; more gives larger parts, as python-louvain */
    bool        unweighted;             /* METIS sees which units fire together, but not how often */
    bool        prefix;                 /* graph: the last part of an expert is cut in index order, not by co-activation */
    i32        *part;                   /* [total] or NULL: graph strategies leave each unit's part here */
    arena      *scratch;
};

enum { NEEDS_SCORE = 1, NEEDS_TOGETHER = 2 };

typedef struct strategy {
    const char *name, *help;
    int         needs;                                      /* NEEDS_* */
    int       (*choose)(const struct choice *c, i32 *out);  /* out[sets][subset], each list ascending; 0 or -1 + fail */
} strategy;

extern const strategy *const strategies[];                  /* ends in NULL */
const strategy *strategy_find(const char *name);            /* NULL + fail(FAULT_USAGE) naming the nearest */

/* Checks what the strategy relies on (enough units, finite statistics) and lets it choose. Lists are ascending and
 * without repeats; the same choice gives the same lists on every machine. 0, or -1 + fail. */
int recycle_choose(const strategy *s, const struct choice *c, i32 *out);

/* ---- sample.c: exact draws without replacement ------------------------------------------------------------------- */

/* Integers proportional to score, at least 1 where score > 0: draws then need no floating point. 0, or -1 + fail when a
 * score is negative or not finite, or when all are zero. */
int  sample_weights(const char *what, const f64 *score, int n, u64 *weight);
/* Draws k of n one after the other, each with probability weight / (weight of those left); out in the order drawn.
 * Returns how many it drew: less than k when no weight is left. */
int  sample_draw(rng *r, const u64 *weight, int n, int k, i32 *out, arena *scratch);
void sample_sort(i32 *v, int n);

/* ---- uniform.c --------------------------------------------------------------------------------------------------- */

void uniform_fill(int total, int subset, enum spacing spacing, i32 *out);

/* ---- metis.c, louvain.c: cut a co-activation graph, together[n][n], into part[n] -------------------------------- */

/* Parts of about equal size with little weight between them (Karypis and Kumar 1998). 0, or -1 + fail. */
int metis_cut(const f32 *together, int n, int parts, bool unweighted, u64 seed, i32 *part, arena *scratch);
/* Parts of any number and size with high modularity (Blondel et al. 2008). Isolated units stay alone. */
void louvain_cut(const f32 *together, int n, f64 resolution, u64 seed, i32 *part, arena *scratch);

/* ---- graph.c ------------------------------------------------------------------------------------------------------ */

/* Parts numbered by their first unit, and the co-activation inside each (every pair counted twice). */
struct parts { int n, count; i32 *of; f64 *inside; };
struct parts parts_read(const f32 *together, int n, const i32 *part, arena *a);
/* The units of the drawn parts, part after part, until `subset` are found; ascending in the end. Of the part that does not
 * fit, its first units (r == NULL), or units drawn by their co-activation inside the part. Returns how many there were. */
int parts_fill(const struct parts *p, const f32 *together, const i32 *drawn, int count, int subset, rng *r, i32 *out,
               arena *scratch);

/* Quality of a cut: weight between parts, weight of all edges (each once), and Newman's modularity at resolution 1. */
struct cut_quality { f64 cut, total, modularity; };
struct cut_quality cut_measure(const f32 *together, int n, const i32 *part, arena *scratch);

#endif
