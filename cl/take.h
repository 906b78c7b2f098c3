/* take.h: work that groups take piece by piece, for CPUs. Where the runtime hands a core its share of the
 * groups beforehand, all wait for a core that other programs slow down, or that is a slow one; here it takes
 * fewer pieces. Which group computes a piece has no effect on its values.
 *
 *     turns: two zeros (dev_turns() of dev.h), left as zeros by the group that leaves last
 *
 *     for (int i = take(turns); i < pieces; i = take(turns)) ...
 *     leave(turns);
 */
static int take(volatile global int *turns) { return atomic_inc(turns); }

static void leave(volatile global int *turns)
{
    const int groups = get_num_groups(0) * get_num_groups(1) * get_num_groups(2);
    if (atomic_inc(turns + 1) == groups - 1) {
        atomic_xchg(turns, 0);
        atomic_xchg(turns + 1, 0);
    }
}
