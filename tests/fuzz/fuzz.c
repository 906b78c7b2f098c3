/* fuzz.c: one libFuzzer program for all targets of targets.h; FUZZ_TARGET chooses one (make fuzz does). */
#include "targets.h"
#include <stdlib.h>

static const struct target *chosen;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const u8 *p, size_t n);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("FUZZ_TARGET");
    (void)argc, (void)argv;
    for (int i = 0; i < countof(targets); i++)
        if (name && !strcmp(name, targets[i].name))
            chosen = &targets[i];
    check(chosen, "FUZZ_TARGET must be one of targets.h");
    return 0;
}

int LLVMFuzzerTestOneInput(const u8 *p, size_t n)
{
    return n <= FUZZ_MAX ? chosen->run(p, n) : 0;
}
