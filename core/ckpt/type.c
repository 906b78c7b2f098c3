/* type.c: element types and their names in each format. */
#include "ckpt/format.h"

const struct type_row types[CKPT_TYPES] = {
#define CKPT_TYPE(name, ...) { #name, __VA_ARGS__ },
#include "ckpt/types.def"
#undef CKPT_TYPE
};

const char *ckpt_type_name(enum ckpt_type t)  { return types[t].name; }
int         ckpt_type_bytes(enum ckpt_type t) { return types[t].bytes; }

enum ckpt_type type_of(slice s, size_t column)
{
    int i = 0;
    while (i < CKPT_TYPES && !(s.n && slice_eq(s, *(const char *const *)((const char *)&types[i] + column))))
        i++;
    return (enum ckpt_type)i;
}
