/* balance.c: dist.shares: auto. Each rank takes a few steps on made-up images, and gets as large a part of
 * every batch as it was fast: a fast and a slow device finish together. */
#include "train/learner.h"
#include <math.h>

enum { SHARES_STEPS = 3, SHARES_IMAGES = 16 };

bool shares_auto(const struct spec *s) { return s->dist.shares.n == 1 && s->dist.shares.v[0] < 0; }

/* Seconds of a step of n images here, without waiting for others. Together, as steps are. */
static int shares_time(const struct session *e, int n, f64 *seconds)
{
    arena *a = arena_open("shares");
    struct learner l;
    struct batch b = feed_noise(a, &e->s, n, (u64)e->s.seed);
    f64 loss, norm, start = 0, waited = 0;
    int rc = dist_agree(learner_open(&l, &e->s, e->d, e->p));
    for (int i = 0; i <= SHARES_STEPS && !rc; i++) {
        rc = learner_step(&l, &b, 0) || learner_read(&l, &loss, &norm) ? -1 : 0;
        if (!i) {                                     // the first one also compiles
            start = clock_now();
            waited = dist_seconds();
        }
    }
    *seconds = fmax(clock_now() - start - (dist_seconds() - waited), 1e-6) / SHARES_STEPS;
    learner_close(&l);
    arena_close(a);
    return rc;
}

/* A network of this size on this rank's device; its weights and its head do not matter. */
static int shares_open(struct session *e, const struct spec *s, int n)
{
    *e = (struct session){ .s = *s };
    e->s.dist.shares = (reals){ 0 };
    e->s.dist.overlap = false;                        // so that waiting is for others alone
    e->s.train.batch = n * dist_size();
    e->s.train.accumulate = 1;
    e->s.train.ema = 0;
    e->s.model.init = "";
    e->s.model.classes = e->s.model.classes ? e->s.model.classes : 1000;
    return (e->d = dev_open_rank(s->device, dist_local())) && (e->p = model_open(e->d, &e->s, PARAMS_TRAIN))
           ? 0 : -1;
}

int shares_measure(struct spec *s, arena *a)
{
    struct session e;
    f64 *seconds = arena_array(a, f64, dist_size()), *shares = arena_array(a, f64, dist_size());
    int n = MAX(1, MIN(SHARES_IMAGES, s->train.batch / dist_size()));
    if (!shares_auto(s))
        return 0;
    s->dist.shares = (reals){ 0 };
    if (dist_size() == 1)
        return 0;
    int rc = dist_agree(shares_open(&e, s, n)) || shares_time(&e, n, &seconds[dist_rank()]) ? -1 : 0;
    session_close(&e);
    if (rc || dist_sum(seconds, dist_size()))
        return -1;
    share_by_time(seconds, dist_size(), shares);
    for (int r = 0; r < dist_size(); r++)
        say(SAY_NORMAL, "%s computes %.1f %% of every batch (dist.shares: auto)", dist_name(r),
            100 * shares[r]);
    s->dist.shares = (reals){ dist_size(), shares };
    return 0;
}
