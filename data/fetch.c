/* fetch.c: `jetcl data fetch`: files by libcurl, archives by libarchive. A download continues where it
 * stopped, is checked before anything is unpacked, and the archive is unpacked beside its place and renamed,
 * so a set is there whole or not at all. Entries must stay below the folder: no absolute paths, no "..", no
 * links, nothing but files and folders. */
#include "data/verify.h"

#if !defined HAVE_CURL || !defined HAVE_ARCHIVE

int data_fetch(const struct data_set *k, const char *root, const char *from, bool keep)
{
    (void)from, (void)keep;
    return fail(FAULT_USAGE, "this program was built without libcurl and libarchive (install "
                "libcurl4-openssl-dev and libarchive-dev, configure again); by hand: unpack %s into %s",
                k->sources[0].url ? k->sources[0].url : "the set", root);
}

#else
#include <archive.h>
#include <archive_entry.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int fetch_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static const char *file_name(const char *url) { return strrchr(url, '/') + 1; }

/* ---- download ------------------------------------------------------------------------------------------ */

struct download { const char *name; curl_off_t before; f64 start; };

static int fetch_show(void *context, curl_off_t all, curl_off_t now, curl_off_t up_all, curl_off_t up)
{
    const struct download *d = context;
    char bar[32], done[24], total[24], speed[24], left[24];
    f64 seconds = clock_now() - d->start, rate = seconds > 0 ? (f64)now / seconds : 0;
    (void)up_all, (void)up;
    progress("%s  %s/%s  %s  %s/s  ETA %s", d->name, text_bytes(done, (f64)(d->before + now)),
             text_bytes(total, (f64)(d->before + all)),
             say_bar(bar, 24, all > 0 ? (f64)(d->before + now) / (f64)(d->before + all) : 0),
             text_bytes(speed, rate), text_time(left, rate > 0 ? (f64)(all - now) / rate : 1e10));
    return 0;
}

static CURLcode fetch_transfer(CURL *c, const char *url, FILE *f, struct download *d, char why[CURL_ERROR_SIZE])
{
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(c, CURLOPT_RESUME_FROM_LARGE, d->before);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 30L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);         // a minute of silence ends it
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, fetch_show);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, d);
    CURLcode rc = curl_easy_perform(c);
    progress_done();
    return rc;
}

/* Can the server not continue after what is there? (It sent all again, or has no more to send. Any other
 * answer is trouble of its own, and what is there stays.) */
static bool fetch_stuck(CURL *c, CURLcode rc)
{
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    return rc == CURLE_BAD_DOWNLOAD_RESUME || (rc == CURLE_RANGE_ERROR && status <= 200) || status == 416;
}

/* url into the file at `part`, continuing after what is there. 0; 1 when that does not work; -1 + fail. */
static int get_part(const char *url, const char *part)
{
    FILE *f = fopen(part, "ab");
    if (!f)
        return fail(FAULT_RUN, "%s: cannot write: %s", part, strerror(errno));
    if (flock(fileno(f), LOCK_EX | LOCK_NB)) {
        fclose(f);
        return fail(FAULT_RUN, "%s: another program is writing it", part);
    }
    fseeko(f, 0, SEEK_END);
    struct download d = { file_name(url), ftello(f), clock_now() };
    CURL *c = curl_easy_init();
    char why[CURL_ERROR_SIZE] = "";
    CURLcode rc = c ? fetch_transfer(c, url, f, &d, why) : CURLE_FAILED_INIT;
    bool again = c && d.before && fetch_stuck(c, rc);
    curl_easy_cleanup(c);
    if (fclose(f) && rc == CURLE_OK)
        rc = CURLE_WRITE_ERROR;
    if (rc == CURLE_OK || again)
        return again;
    return fail(FAULT_RUN, "%s: %s (run it again to continue)", url, *why ? why : curl_easy_strerror(rc));
}

static int fetch_checked(const struct data_source *s, const char *path)
{
    char hex[65];
    const char *algorithm = s->sha256 ? "sha256" : "md5", *want = s->sha256 ? s->sha256 : s->md5;
    if (!want)
        return 0;
    say(SAY_NORMAL, "checking %s", path);
    if (file_digest(path, algorithm, hex))
        return -1;
    if (!strcmp(hex, want))
        return 0;
    return fail(FAULT_DATA, "%s: its %s is %s, but %s was published; removed", path, algorithm, hex, want);
}

/* The file, checked, at path. */
static int fetch_download(arena *a, const struct data_source *s, const char *url, const char *path)
{
    const char *part = arena_printf(a, "%s.part", path);
    if (file_exists(path))
        return fetch_checked(s, path) ? (unlink(path), -1) : 0;
    say(SAY_NORMAL, "fetching %s", url);
    int rc = get_part(url, part);
    // not complete either: from the start, once
    if (rc == 1 && ((!s->md5 && !s->sha256) || fetch_checked(s, part))) {
        unlink(part);
        rc = get_part(url, part);
    }
    if (rc < 0)
        return -1;
    fail_clear();
    if (fetch_checked(s, part)) {
        unlink(part);
        return -1;
    }
    return rename(part, path) ? fail(FAULT_RUN, "%s: %s", path, strerror(errno)) : 0;
}

/* ---- unpack -------------------------------------------------------------------------------------------- */

static bool safe_path(const char *p)
{
    if (!p || !*p || *p == '/')
        return false;
    for (const char *s = p; s; s = strchr(s, '/') ? strchr(s, '/') + 1 : NULL)
        if (!strncmp(s, "..", 2) && (s[2] == '/' || !s[2]))
            return false;
    return true;
}

static int write_entry(struct archive *in, const char *path)
{
    FILE *f = fopen(path, "wbx");
    if (!f)
        return fail(errno == EEXIST ? FAULT_DATA : FAULT_RUN, "%s: %s", path, strerror(errno));
    const void *p;
    size_t n;
    la_int64_t at;
    int rc;
    while ((rc = archive_read_data_block(in, &p, &n, &at)) == ARCHIVE_OK)
        if (fseeko(f, at, SEEK_SET) || fwrite(p, 1, n, f) != n)
            break;
    bool full = rc == ARCHIVE_OK;
    if (fclose(f) || full)
        return fail(FAULT_RUN, "%s: cannot write: %s", path, strerror(errno));
    return rc == ARCHIVE_EOF ? 0 : fail(FAULT_DATA, "%s", archive_error_string(in));
}

static int unpack_entry(struct archive *in, struct archive_entry *e, const char *into)
{
    char path[4096], *slash;
    const char *name = archive_entry_pathname(e);
    int type = archive_entry_filetype(e);
    while (name && !strncmp(name, "./", 2))
        name += 2;
    if (name && !*name)
        return 0;
    if (!safe_path(name))
        return fail(FAULT_DATA, "entry '%s' leads out of the folder", name ? name : "");
    if ((type != AE_IFREG && type != AE_IFDIR) || archive_entry_hardlink(e) || archive_entry_symlink(e))
        return fail(FAULT_DATA, "entry '%s' is neither file nor folder", name);
    if (snprintf(path, sizeof path, "%s/%s", into, name) >= (int)sizeof path)
        return fail(FAULT_DATA, "entry '%.60s...': path too long", name);
    if (type == AE_IFDIR)
        return file_mkdirs(path);
    slash = strrchr(path, '/');
    *slash = 0;
    if (file_mkdirs(path))
        return -1;
    *slash = '/';
    return write_entry(in, path);
}

static int fetch_unpack(const char *archive_path, const char *into)
{
    struct archive *in = archive_read_new();
    struct archive_entry *e;
    archive_read_support_filter_all(in);
    archive_read_support_format_tar(in);
    archive_read_support_format_zip(in);
    int rc = archive_read_open_filename(in, archive_path, 1 << 16), bad = 0;
    i64 n = 0;
    while (rc == ARCHIVE_OK && !bad && (rc = archive_read_next_header(in, &e)) == ARCHIVE_OK) {
        bad = unpack_entry(in, e, into);
        progress("unpacking %s  %ld entries", archive_path, (long)++n);
    }
    progress_done();
    if (!bad && rc != ARCHIVE_EOF)
        bad = fail(FAULT_DATA, "%s", archive_error_string(in));
    archive_read_free(in);
    return bad ? fail_in("%s", archive_path) : 0;
}

/* Moves what is in `from` into `to`. What is there already stays. */
static int move_in(arena *a, const char *from, const char *to)
{
    DIR *dir = opendir(from);
    int rc = dir ? 0 : fail(FAULT_RUN, "%s: %s", from, strerror(errno));
    for (const struct dirent *e; dir && !rc && (e = readdir(dir));) {
        const char *there = arena_printf(a, "%s/%s", to, e->d_name);
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && !file_exists(there)
            && rename(arena_printf(a, "%s/%s", from, e->d_name), there))
            rc = fail(FAULT_RUN, "%s: %s", there, strerror(errno));
    }
    if (dir)
        closedir(dir);
    return rc;
}

static bool is_archive(const char *name)
{
    return text_ends(name, ".tar.gz") || text_ends(name, ".tgz") || text_ends(name, ".tar");
}

static int unpack_beside(arena *a, const char *path, const char *into)
{
    const char *fresh = arena_printf(a, "%s.%d.tmp", path, (int)getpid());
    int rc = file_mkdirs(fresh) || fetch_unpack(path, fresh) ? -1 : 0;
    rc = rc || file_mkdirs(into) || move_in(a, fresh, into) ? -1 : 0;
    nftw(fresh, fetch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return rc;
}

static int fetch_one(arena *a, const struct data_source *s, const char *root, const char *from, bool keep)
{
    const char *name = file_name(s->url), *into = *s->into ? arena_printf(a, "%s/%s", root, s->into) : root;
    const char *base = !from ? NULL : strstr(from, "://") ? from : arena_printf(a, "file://%s", from);
    const char *url = from ? arena_printf(a, "%s/%s", base, name) : s->url;
    const char *path = arena_printf(a, "%s/%s", is_archive(name) ? root : into, name);
    if (file_exists(arena_printf(a, "%s/%s", root, s->gives))) {
        say(SAY_NORMAL, "%s/%s is there", root, s->gives);
        return 0;
    }
    if (file_mkdirs(root) || file_mkdirs(into) || fetch_download(a, s, url, path))
        return -1;
    if (!is_archive(name))
        return 0;
    if (unpack_beside(a, path, into))
        return -1;
    if (!keep)
        unlink(path);
    if (!file_exists(arena_printf(a, "%s/%s", root, s->gives)))
        return fail(FAULT_DATA, "%s: has no %s in it", url, s->gives);
    return 0;
}

int data_fetch(const struct data_set *k, const char *root, const char *from, bool keep)
{
    if (!k->sources[0].url)
        return fail(FAULT_USAGE, "%s is not fetched: %s", k->name, k->help);
    arena *a = arena_open("fetch");
    char full[4096];
    int rc = 0;
    if (from && !strstr(from, "://"))
        rc = (from = realpath(from, full)) ? 0 : fail(FAULT_USAGE, "the folder to fetch from is not there");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    for (const struct data_source *s = k->sources; s->url && !rc; s++)
        rc = fetch_one(a, s, root, from, keep);
    curl_global_cleanup();
    arena_close(a);
    return rc;
}
#endif
