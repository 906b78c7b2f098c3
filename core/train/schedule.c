/* schedule.c: the learning rate over time, as mmengine's LinearLR and CosineAnnealingLR compose. */
#include "train/learner.h"
#include <math.h>

f64 schedule_factor(const struct spec *s, i64 step, i64 per_epoch)
{
    f64 warm = s->schedule.warmup_epochs, start = s->schedule.warmup_start, least = s->schedule.min_ratio;
    i64 rise = (i64)floor(warm * (f64)per_epoch + 0.5);
    if (step < rise)
        return start + (1 - start) * (f64)step / (f64)MAX(1, rise - 1);
    if (s->schedule.name == SCHEDULE_constant)
        return 1;
    f64 length = s->train.epochs - warm, at = (f64)step / (f64)per_epoch - warm;
    if (s->schedule.by == BY_epoch)
        at = floor((f64)step / (f64)per_epoch) - warm;
    return length > 0 ? least + (1 - least) / 2 * (1 + cos(M_PI * MIN(MAX(at, 0) / length, 1))) : 1;
}
