/* energy.h: joules that a device uses, where the host tells.
 *
 *     struct energy e;
 *     energy_begin(&e, "/sys", dev_info(d));
 *     for (...) energy_tick(&e);                 now and then
 *     f64 joules = energy_end(&e);               0: the host does not tell
 *
 * Counters are read at both ends: RAPL packages of a CPU, a graphics card's energy1_input (hwmon).
 * Where there is only a meter (power1_average, power1_input, nvidia-smi), its power is summed over
 * time, between ticks a second apart.
 */
#ifndef JETCL_ENERGY_H
#define JETCL_ENERGY_H
#include "dev/dev.h"

enum { ENERGY_COUNTERS = 8 };
struct energy {
    const char *from;                             /* "RAPL", "hwmon", "nvidia-smi"; "": nothing tells */
    int   counters;
    char  path[ENERGY_COUNTERS][320];  /* of counters, in microjoules; path[0] also of a meter, in microwatts */
    f64   start[ENERGY_COUNTERS], range[ENERGY_COUNTERS];   /* where a counter begins again; 0: nowhere */
    bool  meter;
    char  command[160];                           /* of a meter that is a program: prints watts; "": none */
    f64   watts, time, joules;                    /* the meter so far */
};
/* root: "/sys". */
void energy_begin(struct energy *e, const char *root, const struct dev_info *d);
void energy_tick(struct energy *e);
f64  energy_end(struct energy *e);

#endif
