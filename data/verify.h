/* verify.h: what can be said about a data set as a whole, for `jetcl data`.
 *
 *     struct verify_report r;
 *     if (data_verify(a, &options, &r)) return -1;                 // could not look at all
 *     printf("%d problems\n", r.problems);
 */
#ifndef JETCL_DATA_VERIFY_H
#define JETCL_DATA_VERIFY_H

#include "data/set.h"

enum { VERIFY_SPLITS = 16 };

/* error: why it could not be opened, the rest is 0 then. published, published_classes: 0 where any number is
 * right. */
struct verify_split {
    const char *name, *error, *passed;            /* passed: data_passed_over */
    i64 images, published;
    int classes, published_classes;
    struct sweep sweep;
};
struct verify_file   { const char *name; bool as_published; };
struct verify_double { const char *a, *b; };      /* equal pictures in two splits */
struct verify_report {
    const char *root;                             /* the folder that holds the set; NULL when none opened */
    int n_splits, n_files, n_doubles, problems;   /* doubles are not a problem of the copy */
    int passed;                                   /* splits in which something was passed over */
    i64 all_doubles;
    struct verify_split  splits[VERIFY_SPLITS];
    struct verify_file   files[5];
    struct verify_double doubles[20];
};
/* Every split of o->set: layout, counts, known checksums, every picture decoded, equal pictures across
 * splits. */
int data_verify(arena *a, const struct data_options *o, struct verify_report *r);

/* Over all pixels of the split, in 0..255; std_within: of each picture, on average (what CIFAR's customary
 * numbers are). */
struct stats_report {
    const char *split;
    i64 images, pixels;
    f64 mean[3], std[3], std_within[3];
    struct sweep sweep;
};
int data_stats(arena *a, const struct data_options *o, struct stats_report *r);

/* Every tile of images (n 3 side side, normalised) as a sheet of `columns`, light lines between them; small
 * ones are magnified. */
int sheet_draw(arena *a, const f32 *images, int n, int side, int columns, const f32 mean[3],
               const f32 std[3], struct image *out);

/* Downloads and unpacks what is not yet there, below root; `from` replaces the publishers' addresses (a
 * folder or URL that holds the files). keep: the archives stay. 0, or -1 + fail(FAULT_DATA: wrong checksum or
 * archive; FAULT_RUN: network, disk). */
int data_fetch(const struct data_set *k, const char *root, const char *from, bool keep);

/* md5 or sha256 of a file, in hex. */
int file_digest(const char *path, const char *algorithm, char hex[65]);

/* dataset.c */
const struct data_set *data_set_named(const char *name);     /* NULL + fail(FAULT_USAGE) */
/* root, ~ resolved, or where sets are when none is given */
const char *data_default_root(arena *a, const char *root);

#endif
