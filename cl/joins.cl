/* joins.cl: does this device keep join.h's promise? GROUPS groups write parts that follow from `seed`,
 * count themselves, and the last one looks at all parts: result[0] counts the groups that found
 * themselves last, result[1] the values that were not the others' of this launch. BROKEN: the first group
 * looks, when others have not come by. */
#include "join.h"
#define ITEMS 64
#define EACH_ITEM 16

static uint joins_value(const uint seed, const int i) { return (seed + i) * 2654435761u; }

__attribute__((reqd_work_group_size(ITEMS, 1, 1)))
kernel void joins(volatile global uint *parts, volatile global int *counter, global int *result, const int seed)
{
    local int before;
    const int id = get_local_id(0), groups = get_num_groups(0), part = ITEMS * EACH_ITEM;
    for (int i = id; i < part; i += ITEMS)
        parts[get_group_id(0) * part + i] = joins_value(seed, get_group_id(0) * part + i);
    bool last = last_to_come(counter, groups, &before, id);
#ifdef BROKEN
    last = before == 0;
#endif
    int wrong = 0;
    for (int i = id; i < (last ? groups * part : 0); i += ITEMS)
        wrong += parts[i] != joins_value(seed, i);
    if (last)
        atomic_add(result + 1, wrong);
    if (last && id == 0)
        atomic_inc(result);
}
