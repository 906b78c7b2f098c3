/* blas.c: CLBlast's sgemm as one entry of a launch list. Its kernels are made for GPUs, so only that class wants it, and
 * only after a small product came out right: some versions are wrong on some devices. */
#include "dev/ocl.h"
#include <clblast_c.h>
#include <math.h>

int gemm_check(const struct gemm *g)
{
    check(g->batch >= 1 && g->m > 0 && g->n > 0 && g->k > 0, "gemm of %lld x %lld x %lld, batch %lld", (long long)g->m,
          (long long)g->n, (long long)g->k, (long long)g->batch);
    check(g->batch == 1 || g->sc, "gemm: %lld products into one result", (long long)g->batch);
    return 0;
}

int gemm_run(const struct gemm *g, cl_command_queue queue)
{
    CLBlastTranspose ta = g->ta ? CLBlastTransposeYes : CLBlastTransposeNo, tb = g->tb ? CLBlastTransposeYes : CLBlastTransposeNo;
    size_t m = (size_t)g->m, n = (size_t)g->n, k = (size_t)g->k;
    cl_mem a = g->a.mem->cl, b = g->b.mem->cl, c = g->c.mem->cl;
    size_t a0 = g->a.off / 4, b0 = g->b.off / 4, c0 = g->c.off / 4;
    size_t lda = (size_t)g->lda, ldb = (size_t)g->ldb, ldc = (size_t)g->ldc;
    CLBlastStatusCode s = g->batch == 1
        ? CLBlastSgemm(CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha, a, a0, lda, b, b0, ldb, g->beta, c, c0, ldc, &queue,
                       NULL)
        : CLBlastSgemmStridedBatched(CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha, a, a0, lda, (size_t)g->sa, b, b0, ldb,
                                     (size_t)g->sb, g->beta, c, c0, ldc, (size_t)g->sc, (size_t)g->batch, &queue, NULL);
    return s ? fail(FAULT_DEVICE, "gemm %zu x %zu x %zu: CLBlast: %s", m, n, k, ocl_name((cl_int)s)) : 0;
}

bool dev_blas(const dev *d)
{
    return d->queue && d->class == DEV_GPU && d->info.gpu_kind && !trace_on(TRACE_no_blas);
}
