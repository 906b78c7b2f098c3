/* html.c: text, numbers and files inside a page. */
#include "study/page.h"
#include <math.h>
#include <stdlib.h>

/* Bytes of the character at s; 0: it is not UTF-8, or none that XML allows
 * (controls, halves of pairs, U+FFFE). */
static int html_length(const u8 *s)
{
    static const u32 least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    int n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
          : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    u32 c = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    bool none = c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || (c & 0xfffe) == 0xfffe
                || (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0);
    return none ? 0 : n;
}

void html_text(FILE *f, const char *s)
{
    for (const u8 *p = (const u8 *)s; *p;) {
        int n = html_length(p);
        switch (*p) {
        case '&':  fputs("&amp;", f); break;
        case '<':  fputs("&lt;", f); break;
        case '>':  fputs("&gt;", f); break;
        case '"':  fputs("&quot;", f); break;
        case '\'': fputs("&#39;", f); break;
        default:
            n ? (void)fwrite(p, 1, (size_t)n, f) : (void)fputc('?', f);
        }
        p += MAX(n, 1);
    }
}

void html_printf(FILE *f, const char *fmt, ...)
{
    arena *a = arena_open("page");
    va_list ap;
    va_start(ap, fmt);
    html_text(f, arena_vprintf(a, fmt, ap));
    va_end(ap);
    arena_close(a);
}

static void html_base64(FILE *f, const u8 *p, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        u32 v = (u32)p[i] << 16 | (i + 1 < n ? (u32)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
        fputc(digit[v >> 18], f);
        fputc(digit[v >> 12 & 63], f);
        fputc(i + 1 < n ? digit[v >> 6 & 63] : '=', f);
        fputc(i + 2 < n ? digit[v & 63] : '=', f);
    }
}

void html_download(FILE *f, const char *name, const char *type, const char *text, size_t n)
{
    fputs("<a download=\"", f);
    html_text(f, name);
    fprintf(f, "\" href=\"data:%s;base64,", type);
    html_base64(f, (const u8 *)text, n);
    fputs("\">", f);
    html_text(f, name);
    fputs("</a>\n", f);
}

void html_png(FILE *f, const char *path, const char *caption)
{
    struct file_map m;
    if (file_map(path, &m)) {
        fail_clear();
        return;
    }
    if (m.n > 8 && m.n <= 4u << 20 && !memcmp(m.p, "\x89PNG\r\n\x1a\n", 8)) {
        fputs("<figure><img src=\"data:image/png;base64,", f);
        html_base64(f, m.p, m.n);
        fputs("\" alt=\"", f);
        html_text(f, caption);
        fputs("\"><figcaption>", f);
        html_text(f, caption);
        fputs("</figcaption></figure>\n", f);
    }
    file_unmap(&m);
}

const char *html_number(char out[32], f64 v)
{
    f64 size = fabs(v);
    if (isnan(v))
        snprintf(out, 32, "-");
    else if (isinf(v))
        snprintf(out, 32, v > 0 ? "inf" : "-inf");
    else if (size && (size < 1e-3 || size >= 1e6))
        snprintf(out, 32, "%.2e", v);
    else
        snprintf(out, 32, v == rint(v) ? "%.0f" : "%.4g", v);
    return out;
}
