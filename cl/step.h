/* step.h: the step buffer, which is written once per step, by the names that the host has for its words. */
#ifndef STEP_H
#define STEP_H

enum {
#define WORD(name) STEP_##name,
#include "step_words.def"
#undef WORD
};
#define STEP_SEED(step) ((ulong)(step)[STEP_SEED_HI] << 32 | (step)[STEP_SEED_LO])

#endif
