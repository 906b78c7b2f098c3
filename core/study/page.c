/* page.c: the document around the parts. */
#include "study/page.h"
#include <sys/stat.h>
#include <time.h>

/* Okabe and Ito's colours, which people with any colour vision tell apart; dashes tell lines apart without colour. */
static const char style[] =
    ":root{color-scheme:light dark;--fg:#1a1a1a;--bg:#fff;--soft:#666;--rule:#ddd;--card:#f6f6f6}\n"
    "@media(prefers-color-scheme:dark){:root{--fg:#e8e8e8;--bg:#151515;--soft:#a5a5a5;--rule:#3a3a3a;--card:#202020}}\n"
    "body{font:16px/1.45 system-ui,sans-serif;color:var(--fg);background:var(--bg);margin:0 auto;padding:1rem;max-width:1240px}\n"
    "h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.2rem;margin:1.6rem 0 .4rem}h3{font-size:1rem;margin:1rem 0 .2rem}\n"
    "nav a{margin-right:1rem}a{color:#0072b2}@media(prefers-color-scheme:dark){a{color:#56b4e9}}\n"
    ".verdict{font-size:1.1rem;font-weight:600;border-left:4px solid #0072b2;padding-left:.7rem;overflow-wrap:anywhere}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:.5rem 1.5rem}\n"
    "figure{margin:.6rem 0;min-width:0;max-width:640px}figcaption{font-weight:600}svg{width:100%;height:auto;font:13px system-ui,sans-serif}\n"
    ".legend svg{width:26px}.legend span{margin-right:1rem;white-space:nowrap}.legend{font-size:.85rem}\n"
    "svg text{fill:var(--fg)}svg .small{font-size:10px}.small{font-size:.85rem;color:var(--soft)}\n"
    ".axes path{stroke:var(--soft);fill:none}.axes .grid{stroke:var(--rule)}\n"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.band{stroke:none!important;opacity:.22}.ring{fill:none!important;stroke-width:2}\n"
    ".c0{stroke:#0072b2;fill:#0072b2}.c1{stroke:#d55e00;fill:#d55e00}.c2{stroke:#009e73;fill:#009e73}.c3{stroke:#cc79a7;fill:#cc79a7}\n"
    ".c4{stroke:#e69f00;fill:#e69f00}.c5{stroke:#56b4e9;fill:#56b4e9}.c6{stroke:var(--fg);fill:var(--fg)}\n"
    "@media(prefers-color-scheme:dark){.c0{stroke:#4fa8e8;fill:#4fa8e8}}\n"
    ".line.c0,.line.c1,.line.c2,.line.c3,.line.c4,.line.c5,.line.c6{fill:none}.bar{stroke:none!important}\n"
    ".line.c1{stroke-dasharray:7 3}.line.c2{stroke-dasharray:2 3}.line.c3{stroke-dasharray:9 3 2 3}.line.c4{stroke-dasharray:4 2}\n"
    ".line.c5{stroke-dasharray:12 4}.line.c6{stroke-dasharray:1 2}\n"
    ".wide{overflow-x:auto;max-width:100%}details .wide{max-height:24rem;overflow:auto}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}\n"
    "th,td{text-align:right;padding:.2rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top}td:first-child,th:first-child{text-align:left}\n"
    "td small{color:var(--soft)}pre{overflow:auto;background:var(--card);padding:.6rem;max-height:24rem}code{overflow-wrap:anywhere}\n"
    ".strip td{white-space:nowrap}.e0,.e1,.e2,.e3{background:rgba(0,114,178,.08)}.e2{background:rgba(0,114,178,.2)}\n"
    ".e3{background:rgba(0,114,178,.38)}.e4{background:rgba(213,94,0,.45)}.e5{background:rgba(213,94,0,.85);font-weight:700}\n"
    ".maps{display:flex;flex-wrap:wrap;gap:1rem}.maps img{max-width:100%;image-rendering:pixelated}\n"
    "summary{cursor:pointer;color:var(--soft);font-size:.85rem}\n"
    "@media print{body{background:#fff;color:#000;max-width:none}nav{display:none}.plots{grid-template-columns:1fr 1fr}}\n";

enum part { PART_RUN, PART_TABLE, PART_COMPARISON };

static bool page_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* What a path is; *path becomes the file to read where it is a folder with one. -1 + fail for none of them. */
static int page_part(arena *a, const char **path)
{
    const char *inside = arena_printf(a, "%s/comparison.json", *path);
    if (page_folder(*path)) {
        if (!file_exists(inside))
            return PART_RUN;
        *path = inside;
        return PART_COMPARISON;
    }
    if (!file_exists(*path))
        return fail(FAULT_DATA, "%s: no such file or folder", *path);
    return text_ends(*path, ".json") ? PART_COMPARISON : text_ends(*path, ".yaml") ? PART_TABLE
         : fail(FAULT_USAGE, "%s: a report is made of run folders, tables (.yaml) and comparisons (comparison.json)", *path);
}

static int page_parts(FILE *f, arena *a, const char *const *paths, int n)
{
    const char **runs = arena_array(a, const char *, n + 1);
    int n_runs = 0, rc = 0;
    for (int i = 0; i < n && !rc; i++) {
        const char *path = paths[i];
        int part = page_part(a, &path);
        rc = part < 0 ? -1 : part == PART_TABLE ? page_table(f, a, path)
           : part == PART_COMPARISON ? page_comparison(f, a, path) : 0;
        if (part == PART_RUN)
            runs[n_runs++] = path;
    }
    return rc || (n_runs && page_runs(f, a, runs, n_runs)) ? -1 : 0;
}

static void page_head(FILE *f, const char *const *paths, int n)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
          "<title>", f);
    html_printf(f, "jetcl: %s%s", paths[0], n > 1 ? " and others" : "");
    fputs("</title><style>\n", f);
    fputs(style, f);
    fputs("</style></head><body>\n<h1>", f);
    for (int i = 0; i < n && i < 3; i++)
        html_printf(f, "%s%s", i ? ", " : "", paths[i]);
    fputs(n > 3 ? ", ..." : "", f);
    fputs("</h1>\n", f);
}

int page_write(const char *out, arena *a, const char *const *paths, int n)
{
    struct file_out o;
    char stamp[64];
    time_t now = time(NULL);
    struct tm tm;
    if (file_begin(&o, out))
        return -1;
    page_head(o.f, paths, n);
    if (page_parts(o.f, a, paths, n)) {
        file_abort(&o);
        return -1;
    }
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &tm));
    fprintf(o.f, "<footer><p class=\"small\">jetcl %s, %s</p></footer></body></html>\n", JETCL_VERSION, stamp);
    return file_commit(&o);
}
