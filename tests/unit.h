/* unit.h: what every test_*.c includes first: cmocka, whose fail() gives way to ours, and base.h. */
#ifndef JETCL_UNIT_H
#define JETCL_UNIT_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail
#include "base/base.h"
#endif
