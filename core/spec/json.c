/* json.c: the resolved experiment, and the key table, for other programs. A word that stands for a number
 * (auto, off) is text. */
#include "spec/key.h"
#include <jansson.h>
#include <stdlib.h>

static json_t *json_scalar(const struct key *k, const char *text)
{
    f64 real;
    i64 whole;
    if (k->type == TYPE_choice || !text_real(slice_of(text), &real))
        return json_string(text);
    return text_int(slice_of(text), &whole) ? json_integer(whole) : json_real(real);
}

static json_t *json_list(const struct key *k, const void *field)
{
    json_t *j = json_array();
    for (int i = 0; i < *(const int *)field; i++)           // n leads all three list types
        json_array_append_new(j, k->type == TYPE_texts  ? json_string(((const texts *)field)->v[i])
                               : k->type == TYPE_counts ? json_integer(((const counts *)field)->v[i])
                                                        : json_real(((const reals *)field)->v[i]));
    return j;
}

static json_t *json_value(arena *a, const struct key *k, const void *field)
{
    switch (k->type) {
    case TYPE_text: case TYPE_path: return json_string(*(const char *const *)field);
    case TYPE_flag: return json_boolean(*(const bool *)field);
    case TYPE_texts: case TYPE_counts: case TYPE_reals: return json_list(k, field);
    default: return json_scalar(k, value_text(a, k, field));
    }
}

static void json_print(FILE *f, json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(16));
    check(text, "an experiment that is not valid JSON");
    fprintf(f, "%s\n", text);
    free(text);
    json_decref(j);
}

void spec_write_json(FILE *f, const struct spec *s)
{
    json_t *stack[8] = { json_object() };
    int depth = 0;
    arena_mark mark = arena_save(s->arena);
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++) {
        if (k->type == TYPE_end)
            depth--;
        else if (k->type == TYPE_section) {
            json_t *below = json_object();
            json_object_set_new(stack[depth], k->path, below);
            stack[++depth] = below;
        } else
            json_object_set_new(stack[depth], depth ? key_leaf(k) : k->path,
                                json_value(s->arena, k, key_field(k, s)));
    }
    arena_restore(s->arena, mark);
    json_print(f, stack[0]);
}

void spec_list_json(FILE *f)
{
    arena *a = arena_open("help");
    json_t *rows = json_array();
    for (const struct key *k = spec_keys; k < spec_keys + spec_key_count; k++)
        if (k->type > TYPE_end)
            json_array_append_new(rows,
                                  json_pack("{s:s, s:s, s:s, s:s}", "key", k->path, "default", k->def,
                                            "value", value_expected(a, k), "meaning", k->help));
    json_print(f, rows);
    arena_close(a);
}
