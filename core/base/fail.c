/* fail.c: one message per thread, recorded where the cause is known and printed by main. */
#include "base/base.h"
#include <stdlib.h>

static _Thread_local char message[2048];
static _Thread_local enum fault fault_now;

int fail(enum fault fault, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char text[sizeof message];                    // fmt's values may point into message
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(message, text, sizeof message);
    fault_now = fault;
    return -1;
}

int fail_in(const char *fmt, ...)
{
    char text[sizeof message];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    n = MIN(n, (int)sizeof text - 1);
    snprintf(text + n, sizeof text - (size_t)n, ": %s", message);
    memcpy(message, text, sizeof message);
    return -1;
}

const char *fail_message(void) { return message; }
enum fault  fail_fault(void)   { return fault_now; }
void        fail_clear(void)   { message[0] = 0; fault_now = FAULT_NONE; }

_Noreturn void check_failed(const char *file, int line, const char *cond, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "\njetcl: internal error at %s:%d: %s: ", file, line, cond);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    abort();
}
