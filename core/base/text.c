/* text.c: slices, numbers, the nearest name, and sizes a person can read. */
#include "base/base.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

slice slice_of(const char *s)            { return (slice){ s, strlen(s) }; }
bool  slice_eq(slice a, const char *s)   { return strlen(s) == a.n && !memcmp(a.p, s, a.n); }
bool  text_starts(const char *s, const char *prefix) { return !strncmp(s, prefix, strlen(prefix)); }

bool text_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && !strcmp(s + n - m, suffix);
}

bool text_real(slice s, f64 *out)
{
    char buf[64], *end;
    if (!s.n || s.n >= sizeof buf || !(isdigit((u8)s.p[0]) || strchr("+-.", s.p[0])))
        return false;
    memcpy(buf, s.p, s.n);
    buf[s.n] = 0;
    if (strpbrk(buf, "xXnNiI"))                   // strtod also reads hex, nan and inf
        return false;
    errno = 0;
    *out = strtod(buf, &end);
    return end == buf + s.n && isfinite(*out) && !(errno == ERANGE && *out == 0);
}

bool text_int(slice s, i64 *out)
{
    char buf[32], *end;
    if (!s.n || s.n >= sizeof buf || !(isdigit((u8)s.p[0]) || strchr("+-", s.p[0])))
        return false;
    memcpy(buf, s.p, s.n);
    buf[s.n] = 0;
    errno = 0;
    *out = strtoll(buf, &end, 10);
    return end == buf + s.n && !errno;
}

/* Edit distance over one row of the table; names longer than that count as far away. */
static int text_distance(const char *a, const char *b)
{
    int row[65], n = (int)strlen(a), m = (int)strlen(b);
    if (n > 64 || m > 64)
        return 64;
    for (int j = 0; j <= m; j++)
        row[j] = j;
    for (int i = 1; i <= n; i++) {
        int diag = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int other = tolower((u8)a[i - 1]) != tolower((u8)b[j - 1]);
            int best = MIN(MIN(row[j], row[j - 1]) + 1, diag + other);
            diag = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

const char *text_nearest(const char *s, const char *const *names, int n)
{
    const char *best = NULL;
    int least = MAX(2, (int)strlen(s) / 3) + 1;
    for (int i = 0; i < n; i++) {
        int d = text_distance(s, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

const char *text_hint(char out[96], const char *s, const char *const *names, int n)
{
    const char *near = text_nearest(s, names, n);
    snprintf(out, 96, near ? " (did you mean '%.70s'?)" : "%s", near ? near : "");
    return out;
}

static const char *text_scaled(char out[24], f64 v, const char *const units[5])
{
    int i = 0;
    for (; i < 4 && v >= 999.5; i++)
        v /= 1000;
    snprintf(out, 24, "%.*f%s", i > 0, v, units[i]);
    return out;
}

void csv_text(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"')
            fputc('"', f);
        fputc(*s, f);
    }
    fputc('"', f);
}

const char *text_bytes(char out[24], f64 bytes)
{
    return text_scaled(out, bytes, (const char *const[5]){ " B", " kB", " MB", " GB", " TB" });
}

const char *text_count(char out[24], f64 n)
{
    return text_scaled(out, n, (const char *const[5]){ "", "k", "M", "G", "T" });
}

const char *text_time(char out[24], f64 seconds)
{
    if (!(seconds >= 0 && seconds < 1e9)) {
        snprintf(out, 24, "?");
        return out;
    }
    i64 s = (i64)(seconds + 0.5), d = s / 86400;
    if (d)
        snprintf(out, 24, "%dd %02d:%02d", (int)d, (int)(s / 3600 % 24), (int)(s / 60 % 60));
    else if (s >= 3600)
        snprintf(out, 24, "%d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
    else
        snprintf(out, 24, "%d:%02d", (int)(s / 60), (int)(s % 60));
    return out;
}

bool text_duration(const char *s, f64 *seconds)
{
    static const struct { char name; f64 seconds; } units[] = {
        { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 }
    };
    f64 sum = 0;
    const char *at = s;
    for (int i = 0; i < countof(units); i++) {
        size_t digits = strspn(at, "0123456789.");
        f64 n;
        if (at[digits] != units[i].name)
            continue;
        if (!text_real((slice){ at, digits }, &n))
            return false;
        sum += n * units[i].seconds;
        at += digits + 1;
    }
    *seconds = sum;
    return *s && !*at;
}
