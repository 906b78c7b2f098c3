/* blas.c: CLBlast's sgemm as one entry of a launch list. Its kernels are made for GPUs, so only that class
 * uses it, and only after a few small products were correct: some versions are wrong on some devices. */
#include "dev/list.h"
#include <clblast_c.h>
#include <math.h>

/* The last element a matrix of rows x cols reaches, in elements after the range's start. */
static i64 blas_extent(i64 rows, i64 cols, i64 ld, i64 batch, i64 stride)
{
    return (rows - 1) * ld + cols + (batch - 1) * stride;
}

static void check_matrix(char name, range r, i64 rows, i64 cols, i64 ld, i64 batch, i64 stride)
{
    i64 n = blas_extent(rows, cols, ld, batch, stride), has = (i64)(r.bytes / sizeof(f32));
    check(r.mem && r.off % sizeof(f32) == 0 && ld >= cols && stride >= 0 && n <= has,
          "gemm: %c is %lld x %lld, row step %lld, batch %lld by %lld: %lld elements of %lld", name,
          (long long)rows, (long long)cols, (long long)ld, (long long)batch, (long long)stride, (long long)n,
          (long long)has);
}

static void gemm_check(const struct gemm *g)
{
    check(g->batch >= 1 && g->m >= 1 && g->n >= 1 && g->k >= 1, "gemm of %lld x %lld x %lld, batch %lld",
          (long long)g->m, (long long)g->n, (long long)g->k, (long long)g->batch);
    check(g->batch == 1 || g->sc, "gemm: %lld products into one result", (long long)g->batch);
    check_matrix('A', g->a, g->ta ? g->k : g->m, g->ta ? g->m : g->k, g->lda, g->batch, g->sa);
    check_matrix('B', g->b, g->tb ? g->n : g->k, g->tb ? g->k : g->n, g->ldb, g->batch, g->sb);
    check_matrix('C', g->c, g->m, g->n, g->ldc, g->batch, g->sc);
}

static int gemm_run(const void *what, cl_command_queue queue)
{
    const struct gemm *g = what;
    CLBlastTranspose ta = g->ta ? CLBlastTransposeYes : CLBlastTransposeNo;
    CLBlastTranspose tb = g->tb ? CLBlastTransposeYes : CLBlastTransposeNo;
    size_t m = (size_t)g->m, n = (size_t)g->n, k = (size_t)g->k;
    size_t lda = (size_t)g->lda, ldb = (size_t)g->ldb, ldc = (size_t)g->ldc;
    size_t a0 = g->a.off / sizeof(f32), b0 = g->b.off / sizeof(f32), c0 = g->c.off / sizeof(f32);
    cl_mem a = g->a.mem->cl, b = g->b.mem->cl, c = g->c.mem->cl;
    CLBlastStatusCode s = g->batch == 1
        ? CLBlastSgemm(CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha, a, a0, lda, b, b0, ldb,
                       g->beta, c, c0, ldc, &queue, NULL)
        : CLBlastSgemmStridedBatched(CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha,
                                     a, a0, lda, (size_t)g->sa, b, b0, ldb, (size_t)g->sb,
                                     g->beta, c, c0, ldc, (size_t)g->sc, (size_t)g->batch, &queue, NULL);
    return s ? fail(FAULT_DEVICE, "gemm %zu x %zu x %zu: CLBlast: %s", m, n, k, ocl_name((cl_int)s)) : 0;
}

/* ---- self-check ---------------------------------------------------------------------------------------- */

/* Small integers, whose sums are exact. */
static f32 blas_value(int which, i64 i) { return (f32)((i * 37 + which * 11) % 17 - 8); }

static f64 blas_element(const struct gemm *g, i64 batch, i64 i, i64 j)
{
    f64 sum = 0;
    for (i64 k = 0; k < g->k; k++)
        sum += (f64)blas_value(0, batch * g->sa + (g->ta ? k * g->lda + i : i * g->lda + k)) *
               (f64)blas_value(1, batch * g->sb + (g->tb ? j * g->ldb + k : k * g->ldb + j));
    return g->alpha * sum + (g->beta != 0 ? g->beta * (f64)blas_value(2, batch * g->sc + i * g->ldc + j) : 0);
}

/* One product on the device against the loop above, at a thousand places. C starts as NaN where it must not
 * be read. */
static bool is_correct(dev *d, const struct gemm *g, f32 *host)
{
    i64 n = (i64)(g->c.bytes / sizeof(f32)), cells = g->m * g->n * g->batch, step = cells / 1000 + 1;
    int rc = 0;
    for (int which = 0; which < 3; which++) {
        for (i64 i = 0; i < n; i++)
            host[i] = which == 2 && g->beta == 0 ? NAN : blas_value(which, i);
        rc |= mem_write(d, which == 0 ? g->a : which == 1 ? g->b : g->c, host);
    }
    if (rc || gemm_run(g, d->queue) || mem_read(d, g->c, host))
        return false;
    for (i64 at = 0; at < cells; at += step) {
        i64 batch = at / (g->m * g->n), i = at / g->n % g->m, j = at % g->n;
        if (!(fabs(host[batch * g->sc + i * g->ldc + j] - blas_element(g, batch, i, j)) < 0.5))
            return false;
    }
    return true;
}

/* Every transpose, with and without batch and beta. CLBlast has other kernels for large matrices than
 * for small ones; those are tried where its products are meant to run (building them for a CPU takes
 * ten seconds). */
static bool self_check(dev *d)
{
    const i64 sizes[2][3] = { { 19, 33, 21 }, { 1030, 1040, 1050 } };
    bool right = true;
    for (int t = 0; t < (d->info.gpu_kind ? 16 : 4) && right; t++) {
        bool ta = t & 1, tb = t & 2, batched = t & 4;
        const i64 m = sizes[t / 8][0], n = sizes[t / 8][1], k = sizes[t / 8][2], batch = batched ? 2 : 1;
        u64 bytes = sizeof(f32) * (u64)(batch * n * k);          // of B, the largest
        arena *a = arena_open("gemm check");
        mem *all = mem_new(d, 3 * bytes, "gemm check");
        struct gemm g = { .ta = ta, .tb = tb, .m = m, .n = n, .k = k, .alpha = 2, .beta = ta ? 1 : 0,
                          .lda = ta ? m : k, .ldb = tb ? k : n, .ldc = n,
                          .batch = batch, .sa = ta ? 0 : m * k, .sb = n * k, .sc = m * n,
                          .a = { all, 0, bytes }, .b = { all, bytes, bytes },
                          .c = { all, 2 * bytes, bytes } };
        right = all && is_correct(d, &g, arena_array(a, f32, bytes / sizeof(f32)));
        mem_free(all);
        arena_close(a);
    }
    return right;
}

bool dev_blas(dev *d)
{
    bool wanted = (d->class == DEV_GPU && d->info.gpu_kind) || d->blas_anywhere;
    if (!d->queue || !wanted || trace_on(TRACE_no_blas))
        return false;
    if (d->blas == BLAS_UNKNOWN) {
        d->blas = self_check(d) ? BLAS_RIGHT : BLAS_WRONG;
        if (d->blas == BLAS_WRONG)
            say(SAY_NORMAL, "CLBlast computes wrong products on %s; using the built-in kernels instead",
                d->info.name);
        fail_clear();
    }
    return d->blas == BLAS_RIGHT;
}

void launch_gemm(launches *l, const struct gemm *g, const char *label)
{
    gemm_check(g);
    f64 mnk = (f64)g->m * (f64)g->n * (f64)g->k * (f64)g->batch;
    launch k = { .file = "clblast", .kernel = "gemm", .label = label, .flops = 2 * mnk };
    launch_other(l, &k, gemm_run, g, sizeof *g);
}
