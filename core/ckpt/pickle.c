/* pickle.c: the machine. A pickle is a program for a stack of values; each opcode here either builds plain
 * data or hands to pickle_call.c what Python would have called. */
#include "ckpt/pickle.h"

static value of_int(enum kind kind, i64 i) { return (value){ kind, .i = i }; }

static int push_marked(struct pickle *p, enum kind kind)
{
    value *items;
    size_t n;
    if (pickle_pop_mark(p, &items, &n))
        return -1;
    if (kind == P_DICT && n % 2)
        return pickle_wrong(p, "dict of an odd number of values");
    return pickle_push_node(p, kind, items, n);
}

static int push_tuple(struct pickle *p, size_t n)
{
    if (p->nstack - pickle_bottom(p) < n)
        return pickle_wrong(p, "stack is empty");
    p->nstack -= n;
    return pickle_push_node(p, P_TUPLE, p->stack + p->nstack, n);
}

/* ---- the memo ------------------------------------------------------------------------------------------ */

static int pickle_remember(struct pickle *p, u64 i)
{
    value *v = pickle_top(p);
    if (!v)
        return -1;
    if (i >= (u64)(p->end - p->start))               // every entry took an opcode to make
        return pickle_wrong(p, "memo index out of range");
    while (i >= p->memo_cap)
        if (pickle_room(p, &p->memo, p->memo_cap, &p->memo_cap, sizeof *p->memo))
            return -1;
    p->memo[i] = *v;
    p->top_memo = MAX(p->top_memo, (size_t)i + 1);
    return 0;
}

static int pickle_recall(struct pickle *p, u64 i)
{
    if (i >= p->top_memo || p->memo[i].kind == P_UNSET)
        return pickle_wrong(p, "memo index out of range");
    return pickle_push(p, p->memo[i]);
}

/* ---- containers ---------------------------------------------------------------------------------------- */

static int pickle_append(struct pickle *p, const value *items, size_t n)
{
    value *list = pickle_top(p);
    if (!list)
        return -1;
    if (list->kind == P_OPAQUE)
        return 0;
    if (list->kind != P_LIST)
        return pickle_wrong(p, "append to something other than a list");
    for (size_t i = 0; i < n; i++)
        if (pickle_add(p, list->node, items[i]))
            return -1;
    return 0;
}

static int set_items(struct pickle *p, const value *items, size_t n)
{
    value *dict = pickle_top(p);
    if (!dict)
        return -1;
    if ((dict->kind != P_DICT && dict->kind != P_OPAQUE) || n % 2)
        return pickle_wrong(p, "an item set on something other than a dict");
    for (size_t i = 0; i < n; i++)
        if (pickle_add(p, dict->node, items[i]))
            return -1;
    return 0;
}

static int pickle_marked(struct pickle *p, int (*f)(struct pickle *, const value *, size_t))
{
    value *items;
    size_t n;
    return pickle_pop_mark(p, &items, &n) ? -1 : f(p, items, n);
}

/* ---- reading the program ------------------------------------------------------------------------------- */

static int pickle_take(struct pickle *p, u64 n, slice *out)
{
    *out = (slice){ 0 };
    if (n > (u64)(p->end - p->at))
        return pickle_wrong(p, "truncated");
    *out = (slice){ (const char *)p->at, n };
    p->at += n;
    return 0;
}

static int pickle_little(struct pickle *p, int width, u64 *v)
{
    slice s;
    *v = 0;
    if (pickle_take(p, (u64)width, &s))
        return -1;
    memcpy(v, s.p, (size_t)width);
    return 0;
}

static int pickle_line(struct pickle *p, slice *out)
{
    *out = (slice){ 0 };
    const u8 *nl = memchr(p->at, '\n', (size_t)(p->end - p->at));
    if (!nl)
        return pickle_wrong(p, "truncated");
    *out = (slice){ (const char *)p->at, (size_t)(nl - p->at) };
    p->at = nl + 1;
    return 0;
}

static int push_text(struct pickle *p, enum kind kind, int width)
{
    u64 n;
    slice s;
    if (pickle_little(p, width, &n) || pickle_take(p, n, &s))
        return -1;
    if (n > UINT32_MAX)
        return pickle_wrong(p, "text too long");
    return pickle_push(p, (value){ kind, (u32)s.n, .text = s.p });
}

static int push_u64(struct pickle *p, u64 i) { return pickle_push(p, of_int(P_INT, (i64)i)); }

static int push_i32(struct pickle *p)
{
    u64 v;
    return pickle_little(p, 4, &v) ? -1 : pickle_push(p, of_int(P_INT, (i32)(u32)v));
}

/* LONG1, LONG4: two's complement of any length; what exceeds 64 bits stays as bytes */
static int push_long(struct pickle *p, int width)
{
    u64 n;
    slice s;
    if (pickle_little(p, width, &n) || pickle_take(p, n, &s))
        return -1;
    if (n > 8)
        return pickle_push(p, (value){ P_BIG, (u32)n, .text = s.p });
    u64 v = n && (s.p[n - 1] & 0x80) ? ~(u64)0 : 0;
    memcpy(&v, s.p, n);
    return pickle_push(p, of_int(P_INT, (i64)v));
}

static int push_double(struct pickle *p)             /* BINFLOAT is big-endian */
{
    u64 bits;
    f64 v;
    if (pickle_little(p, 8, &bits))
        return -1;
    bits = __builtin_bswap64(bits);
    memcpy(&v, &bits, 8);
    return pickle_push(p, (value){ P_FLOAT, .f = v });
}

/* Protocol 0: numbers and text as lines */
static int push_line(struct pickle *p, int op)
{
    slice s;
    i64 i;
    f64 f;
    if (pickle_line(p, &s))
        return -1;
    if (op == 'I' && s.n == 2 && s.p[0] == '0' && (s.p[1] == '0' || s.p[1] == '1'))
        return pickle_push(p, of_int(P_BOOL, s.p[1] == '1'));
    if (op == 'L' && s.n && s.p[s.n - 1] == 'L')
        s.n--;
    if (op == 'I' || op == 'L')
        return text_int(s, &i) ? pickle_push(p, of_int(P_INT, i)) : pickle_wrong(p, "not an integer");
    if (op == 'F')
        return text_real(s, &f) ? pickle_push(p, (value){ P_FLOAT, .f = f })
                                : pickle_wrong(p, "not a number");
    if (op == 'S' && s.n >= 2 && (s.p[0] == '\'' || s.p[0] == '"') && s.p[s.n - 1] == s.p[0])
        s = (slice){ s.p + 1, s.n - 2 };
    return pickle_push(p, (value){ P_TEXT, (u32)MIN(s.n, UINT32_MAX), .text = s.p });
}

static int global_of_lines(struct pickle *p)
{
    slice module, name;
    return pickle_line(p, &module) || pickle_line(p, &name) ? -1 : pickle_global(p, module, name);
}

static int global_of_stack(struct pickle *p)
{
    value module, name;
    if (pickle_pop(p, &name) || pickle_pop(p, &module))
        return -1;
    if (module.kind != P_TEXT || name.kind != P_TEXT)
        return pickle_wrong(p, "a class named by something other than text");
    return pickle_global(p, pickle_text(&module), pickle_text(&name));
}

/* INST: the class by name, its arguments above a mark. OBJ: the class is the first of them. */
static int pickle_instance(struct pickle *p, bool named)
{
    value *items, class = { P_NONE };
    size_t n;
    if (named && (global_of_lines(p) || pickle_pop(p, &class)))
        return -1;
    if (pickle_pop_mark(p, &items, &n))
        return -1;
    if (!named && n)
        class = items[0];
    return pickle_opaque(p, class.kind == P_GLOBAL ? class.global : NULL);
}

static int number_line(struct pickle *p, int (*f)(struct pickle *, u64))
{
    slice s;
    i64 i;
    if (pickle_line(p, &s))
        return -1;
    return text_int(s, &i) && i >= 0 ? f(p, (u64)i) : pickle_wrong(p, "not a memo index");
}

static int pickle_indexed(struct pickle *p, int width, int (*f)(struct pickle *, u64))
{
    u64 i;
    return pickle_little(p, width, &i) ? -1 : f(p, i);
}

static int pickle_skip(struct pickle *p, u64 n)
{
    slice s;
    return pickle_take(p, n, &s);
}

static int drop_one(struct pickle *p)                /* POP takes a mark off too */
{
    value v;
    if (p->nmarks && p->nstack == pickle_bottom(p)) {
        p->nmarks--;
        return 0;
    }
    return pickle_pop(p, &v);
}

static int keep_none(struct pickle *p, const value *items, size_t n)
{
    (void)p, (void)items, (void)n;
    return 0;
}

static int one_item(struct pickle *p, size_t n, int (*f)(struct pickle *, const value *, size_t))
{
    value v[2];
    for (size_t i = n; i--;)
        if (pickle_pop(p, &v[i]))
            return -1;
    return f(p, v, n);
}

static int pickle_unsupported(struct pickle *p, int op)
{
    return fail(FAULT_DATA, "pickle byte %td: opcode 0x%02x does not occur in checkpoints",
                p->at - p->start - 1, op);
}

static int pickle_step(struct pickle *p, int op)
{
    value *v;
    switch (op) {
    case 0x80: return pickle_skip(p, 1);                            // PROTO
    case 0x95: return pickle_skip(p, 8);                            // FRAME
    case '(':  return pickle_push_mark(p);
    case '0':  return drop_one(p);
    case '1':  return pickle_marked(p, keep_none);
    case '2':  return (v = pickle_top(p)) ? pickle_push(p, *v) : -1;
    case 'N':  return pickle_push(p, of_int(P_NONE, 0));
    case 0x88: return pickle_push(p, of_int(P_BOOL, 1));
    case 0x89: return pickle_push(p, of_int(P_BOOL, 0));
    case 'K':  return pickle_indexed(p, 1, push_u64);
    case 'M':  return pickle_indexed(p, 2, push_u64);
    case 'J':  return push_i32(p);
    case 0x8a: return push_long(p, 1);
    case 0x8b: return push_long(p, 4);
    case 'G':  return push_double(p);
    case 'I': case 'L': case 'F': case 'S': case 'V': return push_line(p, op);
    case 'U':  return push_text(p, P_TEXT, 1);                      // SHORT_BINSTRING: Python 2's text
    case 'T':  return push_text(p, P_TEXT, 4);
    case 0x8c: return push_text(p, P_TEXT, 1);
    case 'X':  return push_text(p, P_TEXT, 4);
    case 0x8d: return push_text(p, P_TEXT, 8);
    case 'C':  return push_text(p, P_BYTES, 1);
    case 'B':  return push_text(p, P_BYTES, 4);
    case 0x8e: case 0x96: return push_text(p, P_BYTES, 8);
    case ')':  return pickle_push_node(p, P_TUPLE, NULL, 0);
    case 0x85: return push_tuple(p, 1);
    case 0x86: return push_tuple(p, 2);
    case 0x87: return push_tuple(p, 3);
    case 't':  return push_marked(p, P_TUPLE);
    case ']':  return pickle_push_node(p, P_LIST, NULL, 0);
    case 'l':  return push_marked(p, P_LIST);
    case '}':  return pickle_push_node(p, P_DICT, NULL, 0);
    case 'd':  return push_marked(p, P_DICT);
    case 0x8f: return pickle_opaque(p, NULL);                         // a set
    case 0x91: return pickle_marked(p, keep_none) ? -1 : pickle_opaque(p, NULL);
    case 0x90: return pickle_marked(p, keep_none);
    case 'a':  return one_item(p, 1, pickle_append);
    case 'e':  return pickle_marked(p, pickle_append);
    case 's':  return one_item(p, 2, set_items);
    case 'u':  return pickle_marked(p, set_items);
    case 'c':  return global_of_lines(p);
    case 0x93: return global_of_stack(p);
    case 'R':  return pickle_call(p);
    case 0x81: return pickle_object(p, false);
    case 0x92: return pickle_object(p, true);
    case 'i':  return pickle_instance(p, true);
    case 'o':  return pickle_instance(p, false);
    case 'b':  return pickle_build(p);
    case 'Q':  return pickle_persistent(p);
    case 'p':  return number_line(p, pickle_remember);
    case 'q':  return pickle_indexed(p, 1, pickle_remember);
    case 'r':  return pickle_indexed(p, 4, pickle_remember);
    case 0x94: return pickle_remember(p, p->top_memo);
    case 'g':  return number_line(p, pickle_recall);
    case 'h':  return pickle_indexed(p, 1, pickle_recall);
    case 'j':  return pickle_indexed(p, 4, pickle_recall);
    default:   return pickle_unsupported(p, op);
    }
}

void pickle_init(struct pickle *p, const void *bytes, u64 n)
{
    *p = (struct pickle){ arena_open("pickle"), bytes, bytes, (const u8 *)bytes + n };
    p->stack = arena_array(p->mem, value, p->stack_cap = 64);
}

int pickle_read(struct pickle *p, value *root)
{
    p->nstack = p->nmarks = p->top_memo = 0;
    if (p->memo_cap)
        memset(p->memo, 0, p->memo_cap * sizeof *p->memo);
    while (p->at < p->end) {
        int op = *p->at++;
        if (op == '.')
            return pickle_pop(p, root);
        if (pickle_step(p, op))
            return -1;
    }
    return pickle_wrong(p, "truncated");
}

void pickle_close(struct pickle *p) { arena_close(p->mem); }
