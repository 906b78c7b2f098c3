/* scores.c: what a model's class scores say of it beyond top-1: how its classes are confused, how sure it may
 * be. */
#include "train/learner.h"
#include <math.h>

void scores_open(struct scores *s, arena *a, int classes, int k, i64 keep, bool matrix)
{
    *s = (struct scores){ .classes = classes, .k = k };
    s->of = arena_bytes(a, sizeof *s->of * (size_t)classes, _Alignof(i64));
    if (matrix && classes <= CONFUSION_CLASSES)
        s->confusion = arena_array(a, i64, (i64)classes * classes);
    if (keep) {
        s->logits = arena_array(a, f32, keep * classes);
        s->labels = arena_array(a, i64, keep);
    }
}

/* Probability of the likeliest class. */
static f64 scores_confidence(const f32 *z, int classes, int best)
{
    f64 sum = 0;
    for (int k = 0; k < classes; k++)
        sum += exp((f64)z[k] - (f64)z[best]);
    return 1 / sum;
}

static void scores_count(struct scores *s, int label, int said)
{
    s->of[label].images++;
    s->of[said].said++;
    s->of[label].right += said == label;
    if (s->confusion)
        s->confusion[(i64)label * s->classes + said]++;
}

void scores_add(struct scores *s, const f32 *z, int label)
{
    int best = 0, above = 0;
    for (int k = 0; k < s->classes; k++) {
        best = z[k] > z[best] ? k : best;
        above += k != label && !(z[k] < z[label]);
    }
    scores_count(s, label, eval_predicted(z, s->classes, label));
    f64 p = scores_confidence(z, s->classes, best);
    int bin = MIN((int)(p * CALIBRATION_BINS), CALIBRATION_BINS - 1);
    s->bin[bin].n++;
    s->bin[bin].right += above == 0;
    s->bin[bin].confidence += p;
    s->in_top_k += above < s->k;
    if (s->logits) {
        memcpy(s->logits + s->n * s->classes, z, sizeof *z * (size_t)s->classes);
        s->labels[s->n] = label;
    }
    s->n++;
}

struct class_score scores_class(const struct scores *s, int k)
{
    struct class_score c = { s->of[k].images, s->of[k].said, s->of[k].right };
    c.recall = c.images ? (f64)c.right / (f64)c.images : 0;
    c.precision = c.said ? (f64)c.right / (f64)c.said : 0;
    c.f1 = c.images + c.said ? 2 * (f64)c.right / (f64)(c.images + c.said) : 0;
    return c;
}

struct class_score scores_mean(const struct scores *s)
{
    struct class_score mean = { 0 };
    int n = 0;
    for (int k = 0; k < s->classes; k++) {
        struct class_score c = scores_class(s, k);
        if (!c.images)
            continue;
        n++;
        mean.images += c.images;
        mean.right += c.right;
        mean.said += c.said;
        mean.recall += c.recall;
        mean.precision += c.precision;
        mean.f1 += c.f1;
    }
    mean.recall /= MAX(n, 1);
    mean.precision /= MAX(n, 1);
    mean.f1 /= MAX(n, 1);
    return mean;
}

f64 scores_calibration(const struct scores *s)
{
    f64 error = 0;
    for (int b = 0; b < CALIBRATION_BINS; b++)
        error += fabs((f64)s->bin[b].right - s->bin[b].confidence);
    return s->n ? error / (f64)s->n : 0;
}
