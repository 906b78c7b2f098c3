/* speed.c: the speed of a run and the line that shows it. Speed is always that of the last few seconds,
 * waiting included; the first steps (drivers build kernels at their first use) and evaluations do not count. */
#include "log/files.h"
#include <math.h>

enum { START = 6 };                 /* steps until everything was used once, those run ahead included */

/* ---- speed --------------------------------------------------------------------------------------------- */

static void add_sample(struct speed *s, const struct report_tick *t)
{
    if (++s->ticks < START)
        return;
    struct sample now = { clock_now(), t->data_s, t->images, (i64)(t->epoch - 1) * t->of + t->at };
    if (s->last.time > 0) {
        s->train_seconds += now.time - s->last.time;
        s->train_images += now.images - s->last.images;
    }
    s->last = now;
    if (!s->samples || now.time - s->window[(s->samples - 1) % WINDOW].time >= 0.25)
        s->window[s->samples++ % WINDOW] = now;
}

static f64 evals_left(const struct speed *s)
{
    return s->eval_every ? MAX(1, (f64)(s->epochs / s->eval_every - (s->tick.epoch - 1) / s->eval_every)) : 1;
}

struct pace speed_pace(const struct speed *s)
{
    struct pace p = { NAN, NAN, NAN, NAN, NAN };
    if (!s->samples)
        return p;
    const struct sample *from = &s->window[s->samples > WINDOW ? s->samples % WINDOW : 0];
    f64 seconds = s->last.time - from->time, steps = (f64)(s->last.steps - from->steps);
    if (seconds <= 0 || steps <= 0)
        return p;
    i64 all = (i64)s->epochs * s->tick.of, total = s->step_limit && s->step_limit < all ? s->step_limit : all;
    p.img_s = (f64)(s->last.images - from->images) / seconds;
    p.data_share = MIN(1, (s->last.data_s - from->data_s) / seconds);
    p.data_s = (s->last.data_s - from->data_s) / steps;
    p.epoch_left = seconds / steps * (f64)(s->tick.of - s->tick.at);
    p.run_left = seconds / steps * (f64)(total - s->last.steps);
    if (s->n_timed)
        p.run_left += evals_left(s) * s->eval_seconds / s->n_timed;
    return p;
}

void speed_eval(struct speed *s, f64 seconds)
{
    s->eval_seconds += seconds;
    s->n_timed++;
    s->samples = 0;                               // the window starts again: this time was not training
    s->last.time = 0;
}

/* ---- the progress line --------------------------------------------------------------------------------- */

/* 0.0021 -> "2.1e-3" */
static const char *short_real(char out[24], f64 v)
{
    int exponent = 0;
    char digits[24];
    snprintf(digits, sizeof digits, "%.1e", v);
    char *e = strchr(digits, 'e');
    if (!e || sscanf(e + 1, "%d", &exponent) != 1)
        return "-";
    snprintf(out, 24, "%.*se%d", (int)(e - digits), digits, exponent);
    return out;
}

struct line { char text[512]; int n; };

static void PRINTF(2, 3) line_put(struct line *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(l->text + l->n, sizeof l->text - (size_t)l->n, fmt, ap);
    va_end(ap);
    l->n = MIN((int)sizeof l->text - 1, l->n + n);
}

/* What there is room for: a bar, the learning rate and the share of data go first. */
enum { WITH_BAR = 1, WITH_LR = 2, WITH_DATA = 4 };

static struct line progress_line(const struct speed *s, int with)
{
    struct line l = { .n = 0 };
    char bar[16], a[24], b[24];
    const struct report_tick *t = &s->tick;
    struct pace p = speed_pace(s);
    line_put(&l, "epoch %d/%d  %d/%d", t->epoch, s->epochs, t->at, t->of);
    if (with & WITH_BAR)
        line_put(&l, " %s", say_bar(bar, 12, (f64)t->at / MAX(1, t->of)));
    if (!isnan(t->loss) || s->step.step)
        line_put(&l, "  loss %.3f", t->loss);
    if ((with & WITH_LR) && s->step.step)
        line_put(&l, "  lr %s", short_real(a, s->step.lr));
    if (!isnan(p.img_s))
        line_put(&l, "  %.*f img/s", p.img_s < 10, p.img_s);
    if ((with & WITH_DATA) && !isnan(p.img_s))
        line_put(&l, "  data %.0f%%", 100 * p.data_share);
    if (!isnan(p.run_left))
        line_put(&l, "  ETA %s (run %s)", text_time(a, p.epoch_left), text_time(b, p.run_left));
    return l;
}

void speed_tick(struct speed *s, const struct report_tick *t)
{
    static const int levels[] = { WITH_BAR | WITH_LR | WITH_DATA, WITH_LR | WITH_DATA, WITH_DATA, 0 };
    f64 before = s->tick.loss;
    s->tick = *t;
    s->tick.loss = isnan(t->loss) ? before : t->loss;
    add_sample(s, t);
    if (!say_live() || isnan(s->tick.loss))
        return;
    int i = 0;
    struct line l = progress_line(s, levels[0]);
    while (l.n >= say_width() && i + 1 < countof(levels))
        l = progress_line(s, levels[++i]);
    progress("%s", l.text);
}

void speed_say(const struct speed *s)
{
    if (!say_live())
        say(SAY_NORMAL, "%s", progress_line(s, WITH_LR | WITH_DATA).text);
}
