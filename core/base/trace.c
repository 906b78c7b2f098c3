/* trace.c: JETCL_TRACE=graph,no_plan,file:/tmp/log ; dashes and underscores are the same. */
#include "base/base.h"
#include <pthread.h>
#include <stdlib.h>

static const char *const names[] = {
#define TRACE(name, help) #name,
#include "base/trace.def"
#undef TRACE
};
static bool  on[TRACE_COUNT];
static FILE *out;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void trace_enable_word(char *word)
{
    if (text_starts(word, "file:")) {
        FILE *f = fopen(word + 5, "a");
        if (f)
            out = f;
        else
            warn("JETCL_TRACE: cannot write %s", word + 5);
        return;
    }
    for (char *p = word; *p; p++)
        if (*p == '-')
            *p = '_';
    for (int i = 0; i < countof(names); i++)
        if (!strcmp(names[i], word)) {
            on[i] = true;
            return;
        }
    char hint[96];
    warn("JETCL_TRACE: no channel '%s'%s", word, text_hint(hint, word, names, countof(names)));
}

void trace_set(const char *list)
{
    char text[512];
    snprintf(text, sizeof text, "%s", list);
    memset(on, 0, sizeof on);
    char *save = NULL;
    for (char *w = strtok_r(text, ",", &save); w; w = strtok_r(NULL, ",", &save))
        trace_enable_word(w);
}

static void trace_setup(void)
{
    const char *list = getenv("JETCL_TRACE");
    if (list)
        trace_set(list);
}

bool  trace_on(enum trace_channel c) { pthread_once(&once, trace_setup); return on[c]; }
FILE *trace_file(void)               { return out ? out : stderr; }

void trace(enum trace_channel c, const char *fmt, ...)
{
    if (!trace_on(c))
        return;
    va_list ap;
    va_start(ap, fmt);
    fprintf(trace_file(), "[%s] ", names[c]);
    vfprintf(trace_file(), fmt, ap);
    fputc('\n', trace_file());
    fflush(trace_file());
    va_end(ap);
}
