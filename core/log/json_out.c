/* json_out.c: JSON as this program writes it: finite numbers, UTF-8, whole files at once. */
#include "log/files.h"
#include <stdlib.h>

json_t *json_number(f64 v) { return __builtin_isfinite(v) ? json_real(v) : json_null(); }

static int json_write(FILE *f, json_t *j, size_t flags)
{
    char *text = json_dumps(j, flags);
    json_decref(j);
    if (!text)
        return fail(FAULT_RUN, "a result with text that is not UTF-8");
    fprintf(f, "%s\n", text);
    free(text);
    return 0;
}

int json_line(FILE *f, json_t *j) { return json_write(f, j, JSON_COMPACT | JSON_REAL_PRECISION(7)); }

int json_lines(FILE *f, json_t *j, int digits)
{
    return json_write(f, j, JSON_INDENT(2) | JSON_REAL_PRECISION(digits));
}

int json_save(const char *path, json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(j);
    if (!text)
        return fail(FAULT_RUN, "%s: text that is not UTF-8", path);
    size_t n = strlen(text);
    text[n] = '\n';                                        // in place of the NUL
    int rc = file_save(path, text, n + 1);
    free(text);
    return rc;
}

/* File names can hold any bytes; jansson refuses what is not UTF-8. */
json_t *json_text(const char *s)
{
    json_t *j = json_string(s);
    if (j)
        return j;
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", s);
    for (char *p = copy; *p; p++)
        if ((u8)*p >= 0x80)
            *p = '?';
    return json_string(copy);
}
