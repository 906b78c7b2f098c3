/* act.h: the activations of act.def by number, as functions of ACT_REAL. A file that includes this defines
 * before it ACT_REAL, gelu and gelu_grad for its width. */
enum {
    ACT_NONE,
#define ACT(name, value, slope) ACT_##name,
#include "act.def"
#undef ACT
};

static inline ACT_REAL act_value(const int act, const ACT_REAL x)
{
    switch (act) {
#define ACT(name, value, slope) case ACT_##name: return value;
#include "act.def"
#undef ACT
    }
    return x;
}

static inline ACT_REAL act_slope(const int act, const ACT_REAL x)
{
    switch (act) {
#define ACT(name, value, slope) case ACT_##name: return slope;
#include "act.def"
#undef ACT
    }
    return 1;
}
