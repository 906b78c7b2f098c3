/* page.c: the document around the parts. */
#include "study/page.h"
#include <stdlib.h>
#include <time.h>

/* Okabe and Ito's colours, which people with any colour vision tell apart; dashes
 * tell lines apart without colour. */
static const char style[] =
    ":root{color-scheme:light dark;--fg:#1a1a1a;--bg:#fff;--soft:#666;--rule:#ddd;--card:#f6f6f6}\n"
    "@media(prefers-color-scheme:dark){:root{--fg:#e8e8e8;--bg:#151515;--soft:#a5a5a5;"
     "--rule:#3a3a3a;--card:#202020}}\n"
    "body{font:16px/1.45 system-ui,sans-serif;color:var(--fg);background:var(--bg);margin:0 "
    "auto;padding:1rem;max-width:1240px}\nh1{font-size:1.5rem;margin:.2rem 0}"
    "h2{font-size:1.2rem;margin:1.6rem 0 .4rem}h3{font-size:1rem;margin:1rem 0 .2rem}"
    "\nnav a{margin-right:1rem;display:inline-block}a{color:#0072b2}"
    "@media(prefers-color-scheme:dark){a{color:#56b4e9}}"
    "\n.verdict{font-size:1.1rem;font-weight:600;border-left:4px solid "
    "#0072b2;padding-left:.7rem;overflow-wrap:anywhere}"
    "\n.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:.5rem "
    "1.5rem}\nfigure{margin:.6rem 0;min-width:0;max-width:640px}figcaption{font-weight:600}"
    "svg{width:100%;height:auto;font:13px system-ui,sans-serif}\n.legend svg{width:26px}"
    ".legend span{margin-right:1rem;white-space:nowrap}.legend{font-size:.85rem}\nsvg text{fill:var(--fg)}"
    "svg .small{font-size:10px}.small{font-size:.85rem;color:var(--soft)}"
    "\n.axes path{stroke:var(--soft);fill:none}.axes .grid{stroke:var(--rule)}"
    "\n.line{fill:none;stroke-width:2;stroke-linejoin:round}.band{stroke:none!important;opacity:.22}"
    ".ring{fill:none!important;stroke-width:2}\n.c0{stroke:#0072b2;fill:#0072b2}"
    ".c1{stroke:#d55e00;fill:#d55e00}.c2{stroke:#009e73;fill:#009e73}.c3{stroke:#cc79a7;fill:#cc79a7}"
    "\n.c4{stroke:#e69f00;fill:#e69f00}.c5{stroke:#56b4e9;fill:#56b4e9}.c6{stroke:var(--fg);fill:var(--fg)}"
    "\n@media(prefers-color-scheme:dark){.c0{stroke:#4fa8e8;fill:#4fa8e8}}"
    "\n.line.c0,.line.c1,.line.c2,.line.c3,.line.c4,.line.c5,.line.c6{fill:none}.bar{stroke:none!important}"
    "\n.line.d1{stroke-dasharray:7 3}.line.d2{stroke-dasharray:2 3}.line.d3{stroke-dasharray:9 3 2 3}"
    ".line.d4{stroke-dasharray:4 2}\n.line.d5{stroke-dasharray:12 4}.line.d6{stroke-dasharray:1 2}\n"
    ".target{stroke:var(--fg);stroke-dasharray:3 4;fill:none}\n"
    ".by-hours,#over-hours:checked~.plots .by-count{display:none}"
    "#over-hours:checked~.plots .by-hours{display:block}\nlabel{margin-right:1rem}input{margin:0 .4rem 0 0}\n"
    ".wide{overflow-x:auto;max-width:100%}details .wide{max-height:24rem;overflow:auto}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}\n"
    "th,td{text-align:right;padding:.2rem .6rem;border-bottom:1px solid "
    "var(--rule);vertical-align:top;white-space:nowrap}td:first-child,th:first-child{text-align:left}"
    "\ntd small{color:var(--soft)}th.words,td.words{text-align:left;min-width:8rem;white-space:normal}"
    "pre{overflow:auto;background:var(--card);padding:.6rem;max-height:24rem}code{overflow-wrap:anywhere}"
    "\n.strip td{white-space:nowrap}.e0,.e1,.e2,.e3{background:rgba(0,114,178,.08)}"
    ".e2{background:rgba(0,114,178,.2)}\n.e3{background:rgba(0,114,178,.38)}.e4{background:rgba(213,94,0,.45)}"
    ".e5{background:rgba(213,94,0,.85);font-weight:700}\n.maps{display:flex;flex-wrap:wrap;gap:1rem}"
    ".maps img{max-width:100%;image-rendering:pixelated}"
    "\nsummary{cursor:pointer;color:var(--soft);font-size:.85rem}"
    "\n@media(max-width:520px){figure svg{font-size:16px}svg .small{font-size:13px}}"
    "\n@media print{:root{--fg:#000;--bg:#fff;--soft:#444;--rule:#bbb;--card:#fff}body{max-width:none}"
    "nav,input,label,summary{display:none}\nfigure,tr,.verdict{break-inside:avoid}h2,h3{break-after:avoid}"
    ".plots{grid-template-columns:1fr 1fr}figure svg{font-size:16px}svg .small{font-size:13px}"
    "\n.maps{display:block}.maps img{max-height:9cm}"
    ".wide,pre{max-height:none;overflow:visible}table{font-size:.72rem}"
    "th,td{padding:.15rem .3rem;white-space:normal}th.words,td.words{min-width:0}}\n";

enum part { PART_RUN, PART_TABLE, PART_COMPARISON };

/* What a path is; *path becomes the file to read where it is a folder with one. -1 + fail for none of them. */
static int page_part(arena *a, const char **path)
{
    const char *inside = arena_printf(a, "%s/comparison.json", *path);
    if (file_is_folder(*path)) {
        if (!file_exists(inside))
            return PART_RUN;
        *path = inside;
        return PART_COMPARISON;
    }
    if (!file_exists(*path))
        return fail(FAULT_DATA, "%s: no such file or folder", *path);
    return text_ends(*path, ".json") ? PART_COMPARISON : text_ends(*path, ".yaml") ? PART_TABLE
         : fail(FAULT_USAGE, "%s: a report is made of run folders, tables (.yaml) and comparisons "
                             "(comparison.json)", *path);
}

static int page_parts(FILE *f, arena *a, const char *const *paths, int n, f64 target)
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
    if (n_runs && n_runs < n)
        fputs("<h2>Runs</h2>\n", f);
    return rc || (n_runs && page_runs(f, a, runs, n_runs, target)) ? -1 : 0;
}

static void page_head(FILE *f, const char *const *paths, int n)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
          "'unsafe-inline'; img-src data:\"><title>", f);
    html_printf(f, "jetcl: %s%s", paths[0], n > 1 ? " and others" : "");
    fputs("</title><style>\n", f);
    fputs(style, f);
    fputs("</style></head><body>\n<h1>", f);
    for (int i = 0; i < n && i < 3; i++)
        html_printf(f, "%s%s", i ? ", " : "", paths[i]);
    fputs(n > 3 ? ", ..." : "", f);
    fputs("</h1>\n", f);
}

/* The parts after a table of contents. Headings get the places that it leads to;
 * text cannot be one, it is escaped. */
static void page_body(FILE *f, const char *body)
{
    static const char head[] = "<h2>", end[] = "</h2>";
    int n = 0;
    fputs("<nav>", f);
    for (const char *h = body; (h = strstr(h, head)); n++) {
        const char *title = h + strlen(head), *stop = strstr(title, end);
        check(stop, "a heading of the page without an end");
        fprintf(f, "<a href=\"#part-%d\">%.*s</a>", n, (int)(stop - title), title);
        h = stop;
    }
    fputs("</nav>\n", f);
    n = 0;
    for (const char *h; (h = strstr(body, head)); n++) {
        fwrite(body, 1, (size_t)(h - body), f);
        fprintf(f, "<h2 id=\"part-%d\">", n);
        body = h + strlen(head);
    }
    fputs(body, f);
}

int page_write(const char *out, arena *a, const char *const *paths, int n, f64 target)
{
    struct file_out o;
    char stamp[64], *body = NULL;
    size_t size;
    time_t now = time(NULL);
    struct tm tm;
    FILE *parts = open_memstream(&body, &size);
    check(parts, "open_memstream failed");
    int rc = page_parts(parts, a, paths, n, target);
    fclose(parts);
    if (!rc && !(rc = file_begin(&o, out))) {
        page_head(o.f, paths, n);
        page_body(o.f, body);
        strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &tm));
        fprintf(o.f, "<footer><p class=\"small\">jetcl %s, %s</p></footer></body></html>\n", JETCL_VERSION,
                stamp);
        rc = file_commit(&o);
    }
    free(body);
    return rc;
}
