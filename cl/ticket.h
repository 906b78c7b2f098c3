/* ticket.h (CPU only): work that groups draw piece by piece, for CPUs. Where the runtime gives each core its
 * share of the groups in advance, all wait for a core that is slow or that other programs slow down; here such
 * a core draws fewer pieces. Which group computes a piece has no effect on its values.
 *
 *     tickets: two zeros (dev_tickets() of dev.h), zeros again once the last group has returned
 *
 *     for (int i = next_ticket(tickets); i < pieces; i = next_ticket(tickets)) ...
 *     return_tickets(tickets);
 */
static int next_ticket(volatile global int *tickets) { return atomic_inc(tickets); }

static void return_tickets(volatile global int *tickets)
{
    const int groups = get_num_groups(0) * get_num_groups(1) * get_num_groups(2);
    if (atomic_inc(tickets + 1) == groups - 1) {
        atomic_xchg(tickets, 0);
        atomic_xchg(tickets + 1, 0);
    }
}
