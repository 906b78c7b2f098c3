/* scheme.c: the naming schemes of names/, matching of names against their rows, and finding out which scheme
 * a file follows. A scheme's first rows are its anchors: where the patch embedding's name is found, what
 * stands before it is what stands before every name of the model ("state_dict.module."); nothing needs a list
 * of wrappers.
 */
#include "ckpt/names.h"
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#define END { 0 } };
#define NAME(theirs, ours, as)             { theirs, ours, as, -1, false, NULL, NULL },
#define NAME_BESIDE(theirs, ours, as, too) { theirs, ours, as, -1, false, NULL, too },
#define FUSE(theirs, ours, as, i)          { theirs, ours, as, i, false, NULL, NULL },
#define PAIR(theirs, ours, as, i)          { theirs, ours, as, i, true, NULL, NULL },
#define DROP(theirs, why)                  { theirs, why, LEAVE, -1, false, NULL, NULL },
#define DROP_WITH(theirs, ours, why)       { theirs, why, LEAVE, -1, false, ours, NULL },
#define BAR(theirs, why)                   { theirs, why, REFUSE, -1, false, NULL, NULL },
#define UNDER(prefix, ours)                { prefix, ours, PREFIX, -1, false, NULL, NULL },
#define NOT_BOTH(ours, too, why)           { ours, why, APART, -1, false, NULL, too },
#define NEED(ours)                         { ours, ours, ALWAYS, -1, false, NULL, NULL },
#define NEED_BESIDE(ours, too)             { ours, ours, ALWAYS, -1, false, NULL, too },
#define ZEROS(ours, like, unless)          { ours, like, ZEROED, -1, false, NULL, unless },
#define FILL(theirs, like, unless)         { theirs, like, FILLED, -1, false, NULL, unless },
#define ALWAYS_SAYS(key, value)            { key, value, FIXED, -1, false, NULL, NULL },
#define SQUARES                            { "", "", SQUARE, -1, false, NULL, NULL },
#define SCHEME(id, title, own, eps) static const struct rule id##_rules[] = {
#include "ckpt/names/schemes.def"
#undef END
#undef NAME
#undef NAME_BESIDE
#undef UNDER
#undef NOT_BOTH
#undef NEED
#undef NEED_BESIDE
#undef ZEROS
#undef FILL
#undef ALWAYS_SAYS
#undef SQUARES
#undef FUSE
#undef PAIR
#undef DROP
#undef DROP_WITH
#undef BAR
#undef SCHEME

#define END
#define NAME(...)
#define NAME_BESIDE(...)
#define UNDER(...)
#define NOT_BOTH(...)
#define NEED(...)
#define NEED_BESIDE(...)
#define ZEROS(...)
#define FILL(...)
#define ALWAYS_SAYS(...)
#define SQUARES
#define FUSE(...)
#define PAIR(...)
#define DROP(...)
#define DROP_WITH(...)
#define BAR(...)
#define SCHEME(id, title, own, eps) { #id, title, own, eps, id##_rules },
static const struct scheme all_schemes[] = {
#include "ckpt/names/schemes.def"
};
enum { SCHEMES = countof(all_schemes) - 1 };         /* the last one is extras.def */
static const struct scheme *const extras = &all_schemes[SCHEMES];

const struct scheme *scheme_find(const char *id)
{
    char list[1024] = "";
    for (int i = 0; i < SCHEMES; i++) {
        if (!strcmp(all_schemes[i].id, id))
            return &all_schemes[i];
        size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", all_schemes[i].id);
    }
    fail(FAULT_USAGE, "unknown naming scheme '%s'; known: %s", id, list);
    return NULL;
}

/* ---- one name ------------------------------------------------------------------------------------------ */

static bool scheme_fits(const char *pattern, const char *name, struct match *m)
{
    int n = 0;
    if (*pattern == '*')
        return strstr(name, pattern + 1);
    for (; *pattern && *pattern != '*'; pattern++) {
        if (*pattern == '#' || *pattern == '?') {
            size_t digits = strspn(name, "0123456789");
            if (!digits || digits > 6)
                return false;
            if (*pattern == '#')
                m->number[n++] = (slice){ name, digits };
            name += digits;
        } else if (*pattern != *name++)
            return false;
    }
    m->rest = slice_of(name);
    return *pattern == '*' || !*name;
}

/* Where a name lies: in a file whose backbone has a prefix of its own, under
 * it or outside; or there is none. */
enum place { ANYWHERE, UNDER_OWN, OUTSIDE_OWN };

static bool scheme_first_fit(const struct rule *r, const char *name, enum place place, bool front_star,
                             struct match *m)
{
    for (; r->from; r++) {
        bool outside = *r->from == '^';
        if (r->how >= PREFIX || (*r->from == '*') != front_star
            || (outside ? place == UNDER_OWN : place == OUTSIDE_OWN))
            continue;
        if (scheme_fits(r->from + outside, name, m)) {
            m->rule = r;
            return true;
        }
    }
    return false;
}

static bool scheme_match_theirs(const struct scheme *s, const char *name, enum place place, struct match *m)
{
    return scheme_first_fit(extras->rule, name, ANYWHERE, true, m)
           || scheme_first_fit(s->rule, name, place, false, m)
           || scheme_first_fit(extras->rule, name, ANYWHERE, false, m);
}

const char *scheme_rewrite(arena *a, const char *pattern, const struct match *m)
{
    char out[2 * MAX_NAME] = "";
    int n = 0, at = 0;
    for (pattern += *pattern == '^'; *pattern; pattern++) {
        slice s = *pattern == '#' ? m->number[n++] : *pattern == '*' ? m->rest : (slice){ pattern, 1 };
        at += snprintf(out + at, sizeof out - (size_t)at, "%.*s", (int)s.n, s.p);
    }
    return arena_copy(a, out, (size_t)at);
}

/* "x": has the model this tensor of ours; "!x": has it not. */
static bool scheme_has(const ckpt *c, const char *ours)
{
    return *ours == '!' ? !ckpt_find(c, ours + 1) : ckpt_find(c, ours) != NULL;
}

bool scheme_match_ours(const struct scheme *s, const ckpt *c, const char *name, struct match *m)
{
    for (const struct rule *r = s->rule; r->from; r++)
        if (r->how < FROM_HEADS && !strchr(r->from, '?') && !r->pair && (!r->beside || scheme_has(c, r->beside))
            && scheme_fits(r->to, name, m)) {
            m->rule = r;
            return true;
        }
    return false;
}

bool scheme_fill(const struct scheme *s, const ckpt *c, const char *name, struct match *m)
{
    for (const struct rule *r = m->rule ? m->rule + 1 : s->rule; r->from; r++)
        if (r->how == FILLED && !ckpt_find(c, r->beside) && scheme_fits(r->to, name, m)) {
            m->rule = r;
            return true;
        }
    return false;
}

const char *scheme_foreign(const struct scheme *s, const ckpt *c)
{
    for (const struct rule *r = s->rule; r->from; r++)
        if (r->how == APART && ckpt_find(c, r->from) && ckpt_find(c, r->beside))
            return r->to;
    return NULL;
}

const char *scheme_lacks(const struct scheme *s, const ckpt *c)
{
    for (const struct rule *r = s->rule; r->from; r++)
        if (r->how == ALWAYS && !ckpt_find(c, r->from) && (!r->beside || ckpt_find(c, r->beside)))
            return r->from;
    return NULL;
}

const char *scheme_prefix(arena *a, const struct scheme *s, const ckpt *c)
{
    for (const struct rule *r = s->rule; r->from; r++)
        if (r->how == PREFIX && scheme_has(c, r->to))
            return r->from;
    return arena_copy(a, s->own, strcspn(s->own, "|"));
}

/* ---- a file's names ------------------------------------------------------------------------------------ */

/* Which of the prefixes "a.|b." text starts with (or ends with, when `at_end`): its length; 0 for none. */
static size_t scheme_own_prefix(const char *own, const char *text, size_t n, bool at_end)
{
    size_t best = 0;
    for (const char *p = own; *p; p += strcspn(p, "|"), p += *p == '|') {
        size_t len = strcspn(p, "|");
        if (len <= n && len > best && !memcmp(at_end ? text + n - len : text, p, len))
            best = len;
    }
    return best;
}

enum verdict reading_judge(const struct reading *r, const char *name, struct match *m)
{
    if (!text_starts(name, r->under) || !name[strlen(r->under)])
        return NAME_BESIDE;
    name += strlen(r->under);
    bool own = *r->own && text_starts(name, r->own);
    enum place place = own ? UNDER_OWN : *r->own ? OUTSIDE_OWN : ANYWHERE;
    return scheme_match_theirs(r->scheme, own ? name + strlen(r->own) : name, place, m) ? NAME_KNOWN
                                                                                        : NAME_STRANGE;
}

static void scheme_judge(struct reading *r, const char *const *name, int n)
{
    struct match m;
    for (int i = 0; i < n; i++)
        switch (reading_judge(r, name[i], &m)) {
        case NAME_BESIDE:  break;
        case NAME_STRANGE: r->strange++; break;
        case NAME_KNOWN:   r->fit += m.rule->how != LEAVE; break;
        }
}

bool path_says(const char *path, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = path; *p; p++)
        if (!strncasecmp(p, word, n) && (p == path || !isalnum((u8)p[-1])) && !isalnum((u8)p[n]))
            return true;
    return false;
}

/* 0: the model that is meant; 1: a student, which its teacher comes before; 2: a copy, averaged or an
 * optimiser's. With --ema the averaged ones are meant. */
static int scheme_copy(const char *under, bool ema)
{
    static const char *const words[] = { "ema", "momentum", "optimizer", "exp_avg", "opt" };
    if (ema)
        return path_says(under, "ema") ? 0 : 2;
    for (int i = 0; i < countof(words); i++)
        if (path_says(under, words[i]))
            return 2;
    return path_says(under, "student");
}

/* Is a the better reading? No copy first, then more names, then fewer strange ones. */
static bool scheme_better(const struct reading *a, const struct reading *b, bool ema)
{
    if (!b->scheme)
        return true;
    int copy[2] = { scheme_copy(a->under, ema), scheme_copy(b->under, ema) };
    if (copy[0] != copy[1])
        return copy[0] < copy[1];
    return a->fit != b->fit ? a->fit > b->fit : a->strange < b->strange;
}

enum { ANCHORS = 3, PLACES = 12 };

/* The places where the scheme's anchor `row` stands in a name: what is before it, split into under and own. */
static int scheme_find_places(arena *a, const struct scheme *s, const struct rule *row,
                              const char *const *name, int n, struct reading out[PLACES])
{
    int found = 0;
    struct match m;
    for (int i = 0; i < n && found < PLACES; i++)
        for (const char *p = name[i]; p; p = strpbrk(p, "./"), p = p ? p + 1 : NULL) {
            if (!scheme_fits(row->from, p, &m))
                continue;
            size_t before = (size_t)(p - name[i]), own = scheme_own_prefix(s->own, name[i], before, true);
            if (own && own < before && !strchr("./", name[i][before - own - 1]))
                own = 0;
            int k = 0;
            while (k < found && !(strlen(out[k].under) + strlen(out[k].own) == before &&
                                  !strncmp(name[i], out[k].under, strlen(out[k].under))))
                k++;
            if (k == found)
                out[found++] = (struct reading){ s, arena_copy(a, name[i], before - own),
                                                 arena_copy(a, p - own, own), 0, 0 };
            break;
        }
    return found;
}

/* Is b a whole model too, which nothing says to be a copy of the best one, a? A student of as
 * many tensors is its teacher's. */
static bool scheme_rivals(const struct reading *a, const struct reading *b, bool ema)
{
    int copy = scheme_copy(b->under, ema);
    bool other = strcmp(a->under, b->under) || strcmp(a->own, b->own);
    bool student = copy == 1 && scheme_copy(a->under, ema) == 0 && a->fit == b->fit;
    bool whole = b->fit > b->strange || b->fit >= a->fit;  // what is a's is strange to one around it
    return other && b->fit > 2 && whole && copy < 2 && !student;
}

static struct reading scheme_best_reading(arena *a, const struct scheme *s, const char *const *name, int n,
                                          bool ema)
{
    struct reading best = { 0 }, place[PLACES];
    int found = 0;
    for (int row = 0; row < ANCHORS && !found; row++)
        found = scheme_find_places(a, s, &s->rule[row], name, n, place);
    if (!found)
        place[found++] = (struct reading){ s, "", "", 0, 0 };
    for (int i = 0; i < found; i++) {
        scheme_judge(&place[i], name, n);
        if (scheme_better(&place[i], &best, ema))
            best = place[i];
    }
    for (int i = 0; i < found && !best.rival; i++)
        if (scheme_rivals(&best, &place[i], ema))
            best.rival = place[i].under;
    return best;
}

static int scheme_by_fit(const void *a, const void *b)
{
    const struct reading *x = a, *y = b;
    return x->fit != y->fit ? y->fit - x->fit : x->strange != y->strange ? x->strange - y->strange
                                                                        : x->scheme < y->scheme ? -1 : 1;
}

/* "timm ViT (3 of 40 names), ...; 'x', 'y' are not among its names" */
static const char *scheme_say_nearest(arena *a, const struct reading *r, int known, const char *const *name,
                                      int n)
{
    const char *text = "nearest are ", *odd = "";
    struct match m;
    int shown = 0;
    for (int i = 0; i < MIN(known, 3); i++)
        text = arena_printf(a, "%s%s%s (%d of %d)", text, i ? ", " : "", r[i].scheme->title, r[i].fit, n);
    for (int i = 0; i < n && shown < 3; i++)
        if (reading_judge(&r[0], name[i], &m) != NAME_KNOWN)
            odd = arena_printf(a, "%s%s%s", odd, shown++ ? ", " : "", ckpt_quote(slice_of(name[i])));
    return arena_printf(a, "%s; the first that %s does not know: %s", text, r[0].scheme->title, odd);
}

/* Accepted with its patch embedding and more names that fit than do not: so never half a wrong scheme. */
struct reading scheme_of(arena *a, const char *const *name, int n, bool ema, const char **nearest)
{
    struct reading r[SCHEMES], best = { 0 };
    struct match m;
    for (int i = 0; i < SCHEMES; i++)
        r[i] = scheme_best_reading(a, &all_schemes[i], name, n, ema);
    qsort(r, SCHEMES, sizeof *r, scheme_by_fit);
    for (int i = 0; i < SCHEMES; i++) {
        bool anchored = false;
        for (int k = 0; k < n && !anchored; k++)
            anchored = reading_judge(&r[i], name[k], &m) == NAME_KNOWN && m.rule == r[i].scheme->rule;
        if (anchored && r[i].fit > 2 && r[i].fit > r[i].strange && scheme_better(&r[i], &best, ema))
            best = r[i];
    }
    if (!best.scheme)
        *nearest = scheme_say_nearest(a, r, SCHEMES, name, n);
    return best;
}
