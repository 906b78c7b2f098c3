/* value.c: one value between text and field, by the type and the check of its row in keys.def. */
#include "spec/key.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>

/* ---- the check column: `1..` `>0..` `0..1` `#1..2` `distinct` `off=0` ---------------------------------- */

struct limits { f64 lo, hi; bool above, distinct; int least, most; };

static slice next_word(const char **p)
{
    while (**p == ' ')
        ++*p;
    const char *from = *p;
    while (**p && **p != ' ')
        ++*p;
    return (slice){ from, (size_t)(*p - from) };
}

static void value_read_range(const char *p, size_t n, f64 *lo, f64 *hi)
{
    const char *dots = strstr(p, "..");
    check(dots && dots < p + n, "keys.def: %.*s is not a range", (int)n, p);
    if (dots > p)
        *lo = strtod(p, NULL);
    if (dots + 2 < p + n)
        *hi = strtod(dots + 2, NULL);
}

static struct limits read_limits(const struct key *k)
{
    bool whole = k->type == TYPE_count || k->type == TYPE_counts;
    struct limits l = { whole ? 0.0 : -INFINITY, whole ? (f64)INT_MAX : (f64)INFINITY, .most = 1 << 20 };
    const char *p = k->checks;
    for (slice w; (w = next_word(&p)).n;) {
        if (memchr(w.p, '=', w.n))
            continue;
        f64 least = 0, most = l.most;
        if (slice_eq(w, "distinct"))
            l.distinct = true;
        else if (w.p[0] == '#') {
            value_read_range(w.p + 1, w.n - 1, &least, &most);
            l.least = (int)least;
            l.most = (int)most;
        } else {
            l.above = w.p[0] == '>';
            value_read_range(w.p + l.above, w.n - l.above, &l.lo, &l.hi);
        }
    }
    return l;
}

/* What a word stands for (`auto=0`), or what word stands for a value; the text after or before `=`. */
static bool find_word(const struct key *k, slice want, bool by_value, slice *found)
{
    const char *p = k->checks;
    for (slice w; (w = next_word(&p)).n;) {
        const char *eq = memchr(w.p, '=', w.n);
        if (!eq)
            continue;
        slice word = { w.p, (size_t)(eq - w.p) }, value = { eq + 1, w.n - word.n - 1 };
        slice key = by_value ? value : word;
        if (key.n == want.n && !memcmp(key.p, want.p, key.n)) {
            *found = by_value ? word : value;
            return true;
        }
    }
    return false;
}

/* ---- what a key expects, in words ---------------------------------------------------------------------- */

static const char *const type_names[] = {
    [TYPE_count] = "an integer",   [TYPE_integer] = "an integer", [TYPE_real] = "a number",
    [TYPE_counts] = "integers",   [TYPE_reals] = "numbers",        [TYPE_text] = "text",
    [TYPE_texts] = "a list of words",  [TYPE_path] = "a path",
    [TYPE_flag] = "true, false, on or off",
};

static const char *choice_expected(arena *a, const struct key *k)
{
    const char *p = k->checks, *text = "";
    for (slice w = next_word(&p), next; w.n; w = next) {
        next = next_word(&p);
        text = arena_printf(a, "%s%s%.*s", text, !text[0] ? "" : next.n ? ", " : " or ", (int)w.n, w.p);
    }
    return text;
}

static const char *range_expected(arena *a, struct limits l)
{
    bool top = isfinite(l.hi) && l.hi < INT_MAX;
    if (isfinite(l.lo) && top)
        return arena_printf(a, l.above ? ", above %.10g and at most %.10g" : ", %.10g to %.10g", l.lo, l.hi);
    if (isfinite(l.lo))
        return arena_printf(a, l.above ? ", above %.10g" : ", at least %.10g", l.lo);
    return top ? arena_printf(a, ", at most %.10g", l.hi) : "";
}

static const char *items_expected(arena *a, struct limits l)
{
    if (l.least == l.most)
        return arena_printf(a, "%d ", l.least);
    return l.most < 1 << 20 ? arena_printf(a, "%d to %d ", l.least, l.most) : "a list of ";
}

const char *value_expected(arena *a, const struct key *k)
{
    if (k->type == TYPE_choice)
        return choice_expected(a, k);
    struct limits l = read_limits(k);
    bool list = k->type == TYPE_counts || k->type == TYPE_reals;
    const char *text = arena_printf(a, "%s%s%s", list ? items_expected(a, l) : "", type_names[k->type],
                                    range_expected(a, l));
    const char *p = k->checks;
    for (slice w; (w = next_word(&p)).n;) {
        const char *eq = memchr(w.p, '=', w.n);
        if (eq)
            text = arena_printf(a, "%s, or %.*s", text, (int)(eq - w.p), w.p);
    }
    return text;
}

/* ---- text -> field ------------------------------------------------------------------------------------- */

static int value_wrong(arena *a, const struct key *k, const struct yaml *y)
{
    const char *expected = value_expected(a, k);
    return y->kind == YAML_TEXT ? yaml_fail(y, "%s: '%.60s' is not %s", k->path, y->text, expected)
                                : yaml_fail(y, "%s must be %s", k->path, expected);
}

/* One number, or a word that stands for one. */
static int value_read_number(arena *a, const struct key *k, const struct yaml *y, f64 *out)
{
    slice text = slice_of(y->text), value;
    bool whole = k->type == TYPE_count || k->type == TYPE_counts;
    i64 i = 0;
    if (y->kind != YAML_TEXT)
        return value_wrong(a, k, y);
    if (find_word(k, text, false, &value)) {
        check(text_real(value, out), "keys.def: %s: %.*s", k->path, (int)value.n, value.p);
        return 0;
    }
    struct limits l = read_limits(k);
    if (whole ? !text_int(text, &i) : !text_real(text, out))
        return value_wrong(a, k, y);
    if (whole)
        *out = (f64)i;
    bool inside = (l.above ? *out > l.lo : *out >= l.lo) && *out <= l.hi;
    return inside ? 0 : value_wrong(a, k, y);
}

static int read_integer(arena *a, const struct key *k, const struct yaml *y, i64 *out)
{
    struct limits l = read_limits(k);
    if (y->kind != YAML_TEXT || !text_int(slice_of(y->text), out) || (f64)*out < l.lo)
        return value_wrong(a, k, y);
    return 0;
}

static int read_flag(arena *a, const struct key *k, const struct yaml *y, bool *out)
{
    *out = !strcmp(y->text ? y->text : "", "true") || !strcmp(y->text ? y->text : "", "on");
    if (y->kind == YAML_TEXT && (*out || !strcmp(y->text, "false") || !strcmp(y->text, "off")))
        return 0;
    return value_wrong(a, k, y);
}

static int read_choice(arena *a, const struct key *k, const struct yaml *y, int *out)
{
    const char *p = k->checks, *words[8];
    int n = 0;
    for (slice w; (w = next_word(&p)).n; n++) {
        words[n] = arena_copy(a, w.p, w.n);
        if (y->kind == YAML_TEXT && slice_eq(w, y->text)) {
            *out = n;
            return 0;
        }
    }
    const char *near = y->kind == YAML_TEXT ? text_nearest(y->text, words, n) : NULL;
    if (!near)
        return value_wrong(a, k, y);
    return yaml_fail(y, "%s: '%.60s' is not %s (did you mean '%s'?)", k->path, y->text, value_expected(a, k),
                     near);
}

/* A single value stands for a list of one; `off=[]` is a word for the empty list. */
static int list_items(const struct key *k, const struct yaml *y, const struct yaml **items, int *n)
{
    slice value;
    *items = y->kind == YAML_LIST ? y->items : y;
    *n = y->kind == YAML_LIST ? y->n : 1;
    if (y->kind == YAML_TEXT && find_word(k, slice_of(y->text), false, &value) && slice_eq(value, "[]"))
        *n = 0;
    struct limits l = read_limits(k);
    return *n < l.least || *n > l.most ? -1 : 0;
}

static int read_numbers(arena *a, const struct key *k, const struct yaml *y, void *field)
{
    const struct yaml *items;
    int n;
    if (list_items(k, y, &items, &n))
        return value_wrong(a, k, y);
    f64 *v = arena_array(a, f64, MAX(1, n));
    int *whole = arena_array(a, int, MAX(1, n));
    bool distinct = read_limits(k).distinct;
    for (int i = 0; i < n; i++) {
        if (value_read_number(a, k, &items[i], &v[i]))
            return -1;
        whole[i] = k->type == TYPE_counts ? (int)v[i] : 0;
        for (int j = 0; distinct && j < i; j++)
            if (v[j] == v[i])
                return yaml_fail(&items[i], "%s: %s is given twice", k->path, items[i].text);
    }
    if (k->type == TYPE_counts)
        *(counts *)field = (counts){ n, whole };
    else
        *(reals *)field = (reals){ n, v };
    return 0;
}

static int read_texts(arena *a, const struct key *k, const struct yaml *y, texts *field)
{
    const struct yaml *items;
    int n;
    if (list_items(k, y, &items, &n))
        return value_wrong(a, k, y);
    const char **v = arena_array(a, const char *, MAX(1, n));
    bool distinct = read_limits(k).distinct;
    for (int i = 0; i < n; i++) {
        if (items[i].kind != YAML_TEXT || !items[i].text[0])
            return value_wrong(a, k, &items[i]);
        v[i] = items[i].text;
        for (int j = 0; distinct && j < i; j++)
            if (!strcmp(v[j], v[i]))
                return yaml_fail(&items[i], "%s: '%s' is given twice", k->path, v[i]);
    }
    *field = (texts){ n, v };
    return 0;
}

int value_read(arena *a, const struct key *k, const struct yaml *y, void *field)
{
    f64 number;
    switch (k->type) {
    case TYPE_choice: return read_choice(a, k, y, field);
    case TYPE_integer:  return read_integer(a, k, y, field);
    case TYPE_flag:   return read_flag(a, k, y, field);
    case TYPE_texts:  return read_texts(a, k, y, field);
    case TYPE_counts: case TYPE_reals: return read_numbers(a, k, y, field);
    case TYPE_count:
        if (value_read_number(a, k, y, &number))
            return -1;
        *(int *)field = (int)number;
        return 0;
    case TYPE_real: return value_read_number(a, k, y, field);
    case TYPE_text: case TYPE_path:
        if (y->kind != YAML_TEXT)
            return value_wrong(a, k, y);
        *(const char **)field = y->text;
        if (k->type == TYPE_path)                 // a file called none is ./none
            *(const char **)field = strcmp(y->text, "none") && strcmp(y->text, "off")
                                    ? place_path(a, y->at, y->text) : "";
        return 0;
    default: check(0, "%s has no value", k->path);
    }
}

/* ---- field -> text ------------------------------------------------------------------------------------- */

static const char *number_text(arena *a, const struct key *k, f64 v)
{
    char text[40];
    slice word;
    for (int digits = 6; digits <= 17; digits++) {        // the fewest that read back equal
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    struct limits l = read_limits(k);
    bool odd = (l.above ? v <= l.lo : v < l.lo) || v > l.hi;
    if ((odd || v == 0) && find_word(k, slice_of(text), true, &word))
        return arena_copy(a, word.p, word.n);
    return arena_printf(a, "%s", text);
}

static bool value_plain(const char *s)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    return *s && *s != '-' && strspn(s, safe) == strlen(s) && strcmp(s, "null");
}

static const char *value_quoted(arena *a, const char *s)
{
    if (value_plain(s))
        return arena_printf(a, "%s", s);
    char *out = arena_bytes(a, strlen(s) * 4 + 3, 1), *p = out;
    *p++ = '"';
    for (; *s; s++) {
        if ((u8)*s < ' ' || *s == 127)
            p += sprintf(p, "\\x%02x", (unsigned)(u8)*s);
        else {
            if (*s == '"' || *s == '\\')
                *p++ = '\\';
            *p++ = *s;
        }
    }
    *p = '"';
    return out;
}

static const char *item_text(arena *a, const struct key *k, const void *field, int i)
{
    if (k->type == TYPE_texts)
        return value_quoted(a, ((const texts *)field)->v[i]);
    return number_text(a, k, k->type == TYPE_counts ? ((const counts *)field)->v[i]
                                                    : ((const reals *)field)->v[i]);
}

static const char *value_list_text(arena *a, const struct key *k, const void *field)
{
    int n = *(const int *)field;                          // n leads all three list types
    if (n == 1 && k->type == TYPE_counts)
        return item_text(a, k, field, 0);
    const char *text = "[";
    for (int i = 0; i < n; i++)
        text = arena_printf(a, "%s%s%s", text, i ? ", " : "", item_text(a, k, field, i));
    return arena_printf(a, "%s]", text);
}

const char *spec_word(arena *a, const struct spec *s, const char *key)
{
    const struct key *k = key_find(key);
    return value_text(a, k, key_field(k, s));
}

int spec_word_index(const char *key, const char *word)
{
    const char *p = key_find(key)->checks;
    int i = 0;
    for (slice w; (w = next_word(&p)).n; i++)
        if (slice_eq(w, word))
            return i;
    return -1;
}

const char *value_text(arena *a, const struct key *k, const void *field)
{
    const char *p = k->checks;
    slice w = { 0 };
    switch (k->type) {
    case TYPE_choice:
        for (int i = 0; i <= *(const int *)field; i++)
            w = next_word(&p);
        return arena_copy(a, w.p, w.n);
    case TYPE_count: return number_text(a, k, *(const int *)field);
    case TYPE_integer: return arena_printf(a, "%lld", (long long)*(const i64 *)field);
    case TYPE_real:  return number_text(a, k, *(const f64 *)field);
    case TYPE_flag:  return *(const bool *)field ? "on" : "off";
    case TYPE_text: case TYPE_path: return value_quoted(a, *(const char *const *)field);
    default: return value_list_text(a, k, field);
    }
}
