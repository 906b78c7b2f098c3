/* parsed.h: an arena for every test of a file, and experiments in it from text. */
#ifndef JETCL_PARSED_H
#define JETCL_PARSED_H
#include "unit.h"
#include "spec/spec.h"

static arena *a;

static struct spec parsed(const char *text)
{
    struct spec s;
    if (spec_parse(&s, a, "test", text, NULL, 0))
        fail_msg("%s", fail_message());
    return s;
}

static int test_begin(void **state) { (void)state; a = arena_open("test"); return 0; }
static int test_end(void **state)   { (void)state; arena_close(a); return 0; }
#endif
