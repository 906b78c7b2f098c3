/* grid.c: how many groups, of how many items. */
#include "op/grid.h"

int grid_operands(const node *n, launch *k)
{
    int c = 0;
    for (; c < n->n_in; c++)
        k->args[c] = (arg)ARG_NODE(n->in[c]);
    k->args[c] = (arg)ARG_NODE(n);
    return c + 1;
}

static struct dev_team grid_team(const launches *l, const launch *k)
{
    return dev_team(launches_dev(l), k->file);
}

/* Items of a group: TEAM * TEAMS of cl/tune.def's rows for k->file; 1 on CPUs. */
static i64 grid_items(const launches *l, const launch *k)
{
    return grid_team(l, k).team * grid_team(l, k).teams;
}

void grid_groups(const launches *l, launch *k, i64 x, i64 y, i64 z)
{
    static _Thread_local char defs[64];           // launch_add copies it
    snprintf(defs, sizeof defs, "-DTEAM=%d -DTEAMS=%d", grid_team(l, k).team, grid_team(l, k).teams);
    k->defs = grid_items(l, k) > 1 ? defs : NULL;
    k->local[0] = (u64)grid_items(l, k);
    k->local[1] = k->local[2] = 1;
    k->global[0] = (u64)x * k->local[0];
    k->global[1] = (u64)y;
    k->global[2] = (u64)z;
}

/* Rows worth a group of their own: a few thousand values where one item takes them, one a team on GPUs. */
i64 grid_rows(const launches *l, const launch *k, i64 rows, i64 cols)
{
    const dev *d = launches_dev(l);
    i64 share = dev_tune(d, "rows", "SHARE"), groups = dev_tune(d, "rows", "GROUPS");
    return ROUND_UP(MAX(CEIL_DIV(rows, groups), MAX(1, share / MAX(1, cols))), (i64)grid_team(l, k).teams);
}
