/* selftest.h: may a device be trusted? Every kernel that networks use against a reference, memory,
 * repeatability, random numbers.
 *
 *     struct selftest t;
 *     if (selftest_run(&t, arena, "gpu", NULL, "")) return -1;
 *     if (t.failed) return fail(FAULT_NUMBERS, "%s", t.failed);
 */
#ifndef JETCL_SELFTEST_H
#define JETCL_SELFTEST_H
#include "study/nodecheck.h"

struct check_line { const char *what, *detail; bool ok; };
struct selftest {
    int n_lines;
    struct check_line lines[24];
    struct kernel_checks kernels; /* of all networks, what failed and the worst over its bound first */
    const char *failed;                           /* the first failure in words, or NULL */
    f64 seconds;
};

/* ---- memcheck.c ---------------------------------------------------------------------------------------- */

/* Sub-buffers side by side; the largest single allocation, or a gigabyte. out: the result. 0, or -1 + fail: no
 * test was possible. */
int memcheck_ranges(struct check_line *out, arena *a, dev *d);
int memcheck_largest(struct check_line *out, arena *a, dev *d);

/* ---- selftest.c ---------------------------------------------------------------------------------------- */

/* device: as dev_open takes it; the reference are loops in float64 on the host. own: an experiment, whose
 * network is looked at; NULL: three small networks of odd and even sizes, memory, repeatability and random
 * numbers. Optimiser, statistics and batches either way. replaced: kernel files whose generic ones are
 * tested in their place. 0 also when something failed the test; -1 + fail: no test was possible. */
int selftest_run(struct selftest *t, arena *a, const char *device, const struct spec *own,
                 const char *replaced);
/* Builds the kernels of selftest_run ahead of another process: its last checks first, results dropped. own:
 * the network that it looks at, with no more blocks than are looked at, or NULL. 0, or -1 + fail. */
int selftest_ahead(arena *a, const char *device, const struct spec *own);
/* Before the first training of s's network on d with its driver and program; later calls find that on record
 * in the cache folder. Files whose kernels fail are replaced by the generic ones (dev_replace, with a
 * warning) where those pass. 0, or -1 + fail(FAULT_DEVICE) that names the kernel; train.check: off does
 * nothing. */
int selftest_before(const struct spec *s, dev *d);

#endif
