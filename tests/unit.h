/* unit.h: what every test_*.c includes first: cmocka, whose fail() gives way to ours, and base.h. */
#ifndef JETCL_UNIT_H
#define JETCL_UNIT_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail
#undef fail_msg                                    /* uses the fail that went */
#define fail_msg(...) \
    (print_error("ERROR: " __VA_ARGS__), print_error("\n"), _fail(__FILE__, __LINE__), __builtin_unreachable())
#include "base/base.h"
/* The folder of the reference implementation's own tensors; its README says what each file holds. Tests run
 * from the root of the tree. */
#define REFERENCE "tests/golden/reference/"
#define LOOP(i, n) for (i64 i = 0; i < (n); i++)
#endif
