/* random.c: a random subset for each expert. */
#include "recycle/recycle.h"

static int random_choose(const struct choice *c, i32 *out)
{
    i32 *deck = arena_array(c->scratch, i32, c->total);
    for (int set = 0; set < c->sets; set++, out += c->subset) {
        rng r = rng_at(c->seed, RNG_RECYCLE, c->place, (u32)set);
        for (int i = 0; i < c->total; i++)
            deck[i] = i;
        rng_shuffle(&r, deck, c->total);
        memcpy(out, deck, sizeof *out * (size_t)c->subset);
        sample_sort(out, c->subset, c->total, c->scratch);
    }
    return 0;
}

const strategy random_strategy = { "random", "a random subset for each expert", 0, random_choose };
