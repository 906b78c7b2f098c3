/* verify.c: is this the data set that was published, whole and undamaged? And what are its colours on
 * average? */
#include "data/verify.h"
#include "data/set.h"
#include <dirent.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- files with known checksums ------------------------------------------------------------------------ */

int file_digest(const char *path, const char *algorithm, char hex[65])
{
    FILE *f = fopen(path, "rb");
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    const EVP_MD *md = EVP_get_digestbyname(algorithm);
    u8 hash[EVP_MAX_MD_SIZE], buffer[1 << 16];
    unsigned n = 0;
    if (!f || !c || !md || EVP_DigestInit_ex(c, md, NULL) != 1) {
        if (f)
            fclose(f);
        EVP_MD_CTX_free(c);
        return f ? fail(FAULT_RUN, "libcrypto has no %s", algorithm)
                 : fail(FAULT_DATA, "%s: cannot be read", path);
    }
    for (size_t got; (got = fread(buffer, 1, sizeof buffer, f));)
        EVP_DigestUpdate(c, buffer, got);
    bool bad = ferror(f);
    EVP_DigestFinal_ex(c, hash, &n);
    EVP_MD_CTX_free(c);
    fclose(f);
    hash_hex(hex, hash, n);
    return bad ? fail(FAULT_DATA, "%s: cannot be read", path) : 0;
}

static int check_files(arena *a, const dataset *d, struct verify_report *r)
{
    const struct data_file *f = d->kind->files;
    for (int i = 0; i < countof(d->kind->files) && f[i].name; i++) {
        const char *path = arena_printf(a, "%s/%s", d->root, f[i].name);
        char hex[65];
        if (!file_exists(path))
            continue;
        if (file_digest(path, "md5", hex))
            return -1;
        r->files[r->n_files++] = (struct verify_file){ f[i].name, !strcmp(hex, f[i].md5) };
        r->problems += strcmp(hex, f[i].md5) != 0;
    }
    return 0;
}

/* ---- every sample -------------------------------------------------------------------------------------- */

struct print { u8 hash[16]; i32 split; i32 sample; };       /* a sample's fingerprint */
struct look  { const dataset *d; bool exif; struct print *print; };

static int look_at(void *context, struct worker_space *w, i64 i)
{
    struct look *l = context;
    u8 hash[32];
    if (sample_whole(w, l->d, l->exif, i, &w->stored, hash))
        return -1;
    memcpy(l->print[i].hash, hash, sizeof l->print[i].hash);
    l->print[i].sample = (i32)i;
    return 0;
}

struct prints { struct print *v; size_t n, cap; };

static int verify_check_split(arena *a, dataset *d, const struct data_options *o, bool joint,
                              struct verify_report *r, struct prints *all)
{
    struct verify_split *s = &r->splits[r->n_splits];
    s->images = data_count(d);
    s->classes = data_classes(d);
    s->passed = data_passed_over(a, d);
    r->passed += *s->passed != 0;
    for (const struct data_split *p = d->kind->splits; p->name; p++)
        s->published = strcmp(p->name, s->name) ? s->published : p->images;
    s->published_classes = d->kind->classes;
    r->problems += (s->published && s->published != s->images)
                   + (s->published_classes && s->published_classes != s->classes);
    if (joint)
        return 0;
    struct look l = { d, o->exif, arena_array(a, struct print, s->images) };
    for (i64 i = 0; i < s->images; i++)
        l.print[i] = (struct print){ .split = r->n_splits, .sample = -1 };
    if (data_sweep(a, d, o->workers, arena_printf(a, "%s: decoding", s->name), look_at, &l, &s->sweep))
        return -1;
    r->problems += (int)MIN(s->sweep.damaged, 1 << 20);
    for (i64 i = 0; i < s->images; i++)
        if (l.print[i].sample >= 0)
            *arena_push(a, all->v, all->n, all->cap) = l.print[i];
    return 0;
}

static int by_hash(const void *a, const void *b)
{
    const struct print *x = a, *y = b;
    int c = memcmp(x->hash, y->hash, sizeof x->hash);
    if (c)
        return c;
    if (x->split != y->split)
        return x->split < y->split ? -1 : 1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

static const char *verify_name_of(arena *a, dataset *const *sets, struct print p)
{
    char path[4096], shown[512];
    size_t root = strlen(sets[p.split]->root) + 1;
    return arena_printf(a, "%s", path_shown(shown, data_path(sets[p.split], p.sample, path) + root));
}

/* Equal pictures in different splits: each later one against the first. */
static void find_doubles(arena *a, dataset *const *sets, struct prints *all, struct verify_report *r)
{
    if (all->n)
        qsort(all->v, all->n, sizeof *all->v, by_hash);
    for (size_t i = 1, first = 0; i < all->n; i++) {
        if (memcmp(all->v[i].hash, all->v[first].hash, sizeof all->v[i].hash))
            first = i;
        if (all->v[i].split == all->v[first].split)
            continue;
        if (r->n_doubles < countof(r->doubles)) {
            struct verify_double *d = &r->doubles[r->n_doubles++];
            d->a = verify_name_of(a, sets, all->v[first]);
            d->b = verify_name_of(a, sets, all->v[i]);
        }
        r->all_doubles++;
    }
}

/* ---- which splits -------------------------------------------------------------------------------------- */

/* A plain folder's splits: its folders that hold folders. */
static int folder_splits(arena *a, const char *root, struct names *out)
{
    DIR *dir = opendir(root);
    struct stat st;
    if (!dir)
        return fail(FAULT_DATA, "%s: cannot be read", root);
    for (const struct dirent *e; (e = readdir(dir));)
        if (*e->d_name != '.' && !folder_left_behind(e->d_name)
            && !stat(arena_printf(a, "%s/%s", root, e->d_name), &st) && S_ISDIR(st.st_mode))
            names_add(a, out, slice_of(e->d_name));
    closedir(dir);
    names_sort(out);
    return 0;
}

static int list_splits(arena *a, const struct data_set *k, const struct data_options *o, struct names *out,
                       bool joint[])
{
    if (!k->splits[0].name)
        return folder_splits(a, data_default_root(a, o->root), out);
    for (const struct data_split *s = k->splits; s->name; s++) {
        joint[out->n] = s->joint;
        names_add(a, out, slice_of(s->name));
    }
    return 0;
}

/* A plain folder's splits have their classes from their own folders: those of
 * the others must be train's too. */
static void compare_classes(arena *a, dataset *const *sets, struct verify_report *r)
{
    const dataset *train = NULL;
    for (int i = 0; i < r->n_splits; i++)
        if (sets[i] && !strcmp(r->splits[i].name, "train"))
            train = sets[i];
    for (int i = 0; train && i < r->n_splits; i++) {
        if (!sets[i] || !data_follow(sets[i], train->class_name, train->classes, "train"))
            continue;
        r->splits[i].error = arena_printf(a, "%s", fail_message());
        r->problems++;
    }
    fail_clear();
}

int data_verify(arena *a, const struct data_options *options, struct verify_report *r)
{
    const struct data_set *k = data_set_named(options->set);
    struct names splits = { 0 };
    struct prints all = { 0 };
    dataset *sets[VERIFY_SPLITS] = { 0 };
    bool joint[VERIFY_SPLITS] = { 0 };
    *r = (struct verify_report){ 0 };
    if (!k || list_splits(a, k, options, &splits, joint))
        return -1;
    if (!splits.n)
        return fail(FAULT_DATA, "%s: no split there; the root holds one folder per split, which holds one per "
                                "class",
                    data_default_root(a, options->root));
    if (splits.n > VERIFY_SPLITS)
        return fail(FAULT_USAGE, "%d folders are too many splits; the root holds one folder per split, "
                    "which holds one per class", (int)splits.n);
    int rc = 0;
    for (size_t i = 0; i < splits.n && !rc; i++) {
        struct data_options o = *options;
        struct verify_split *s = &r->splits[r->n_splits];
        s->name = o.split = splits.v[i];
        o.n_only = 0;
        o.keep_decoded = false;
        sets[r->n_splits] = data_open(&o);
        if (sets[r->n_splits])
            rc = verify_check_split(a, sets[r->n_splits], &o, joint[i], r, &all);
        else {
            s->error = arena_printf(a, "%s", fail_message());
            r->problems++;
        }
        r->n_splits++;
    }
    for (int i = 0; i < r->n_splits && !rc && !r->root; i++)
        if (sets[i]) {
            r->root = arena_printf(a, "%s", sets[i]->root);
            rc = check_files(a, sets[i], r);
        }
    if (!rc && !k->splits[0].name)
        compare_classes(a, sets, r);
    if (!rc)
        find_doubles(a, sets, &all, r);
    for (int i = 0; i < VERIFY_SPLITS; i++)
        data_close(sets[i]);
    return rc;
}

/* ---- colours on average -------------------------------------------------------------------------------- */

struct sums { u64 n, sum[3], square[3]; };
struct tally { const dataset *d; bool exif; struct sums *of; };

static int add_up(void *context, struct worker_space *w, i64 i)
{
    struct tally *t = context;
    if (sample_whole(w, t->d, t->exif, i, &w->stored, NULL))
        return -1;
    struct sums s = { .n = image_bytes(&w->stored) / 3 };
    for (const u8 *p = w->stored.rgb, *end = p + 3 * s.n; p < end; p += 3)
        for (int c = 0; c < 3; c++) {
            s.sum[c] += p[c];
            s.square[c] += (u32)p[c] * p[c];
        }
    t->of[i] = s;
    return 0;
}

int data_stats(arena *a, const struct data_options *options, struct stats_report *r)
{
    struct data_options o = *options;
    o.keep_decoded = false;
    dataset *d = data_open(&o);
    if (!d)
        return -1;
    struct tally t = { d, o.exif, arena_array(a, struct sums, data_count(d)) };
    *r = (struct stats_report){ .images = data_count(d), .split = arena_printf(a, "%s", d->split) };
    int rc = data_sweep(a, d, o.workers, "adding up", add_up, &t, &r->sweep);
    struct sums all = { 0 };
    for (i64 i = 0; i < r->images && !rc; i++)
        for (int c = 0; c < 3; c++) {
            struct sums *s = &t.of[i];
            f64 mean = s->n ? (f64)s->sum[c] / (f64)s->n : 0;
            r->std_within[c] += s->n ? sqrt(MAX(0, (f64)s->square[c] / (f64)s->n - mean * mean)) : 0;
            all.sum[c] += s->sum[c];
            all.square[c] += s->square[c];
            all.n += c ? 0 : s->n;
        }
    f64 good = (f64)(r->images - r->sweep.damaged), pixels = (f64)MAX(1, all.n);
    r->pixels = (i64)all.n;
    for (int c = 0; c < 3; c++) {
        r->mean[c] = (f64)all.sum[c] / pixels;
        r->std[c] = sqrt(MAX(0, (f64)all.square[c] / pixels - r->mean[c] * r->mean[c]));
        r->std_within[c] /= MAX(1, good);
    }
    data_close(d);
    return rc;
}
