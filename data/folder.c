/* folder.c: <split>/<class>/NAME.jpg: any pictures in one folder per class (or below it), classes sorted by
 * their bytes. A name that ends like a picture's is taken without opening it (a million files); any other
 * file is taken if its first bytes say so. Links are followed, except back into a folder that is being
 * listed. */
#include "data/set.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_DEPTH = 16 };

struct level { dev_t dev; ino_t ino; };
struct walk  { dataset *d; struct names files; struct level above[MOST_DEPTH]; };

static bool looks_like_image(const char *name)
{
    static const char *const ends[] = { ".jpg", ".jpeg", ".png", ".gif" };
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && i < countof(ends); i++)
        if (!strcasecmp(dot, ends[i]))
            return true;
    return false;
}

static bool starts_like_image(int folder, const char *name)
{
    u8 head[8] = { 0 };
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? 0 : read(fd, head, sizeof head);
    if (fd >= 0)
        close(fd);
    return n >= 4
           && (!memcmp(head, "\xFF\xD8\xFF", 3) || !memcmp(head, "\x89PNG", 4) || !memcmp(head, "GIF8", 4));
}

enum sort { OTHER, FILE_ENTRY, FOLDER_ENTRY };

static enum sort entry_sort(int folder, const struct dirent *e)
{
    if (e->d_name[0] == '.')
        return OTHER;                             // ".", "..", and what desktops leave behind
    struct stat st;
    if (e->d_type == DT_REG)
        return FILE_ENTRY;
    if (e->d_type == DT_DIR)
        return FOLDER_ENTRY;
    if ((e->d_type != DT_LNK && e->d_type != DT_UNKNOWN) || fstatat(folder, e->d_name, &st, 0))
        return OTHER;
    return S_ISREG(st.st_mode) ? FILE_ENTRY : S_ISDIR(st.st_mode) ? FOLDER_ENTRY : OTHER;
}

static int walk_folder(struct walk *w, const char *path, int depth);

static int walk_entry(struct walk *w, DIR *dir, const struct dirent *e, const char *path, int depth)
{
    enum sort s = entry_sort(dirfd(dir), e);
    if (s == FILE_ENTRY && (looks_like_image(e->d_name) || starts_like_image(dirfd(dir), e->d_name)))
        names_add(w->d->a, &w->files, slice_of(arena_printf(w->d->a, "%s/%s", path, e->d_name)));
    if (s != FOLDER_ENTRY)
        return 0;
    return walk_folder(w, arena_printf(w->d->a, "%s/%s", path, e->d_name), depth + 1);
}

static int walk_open(struct walk *w, DIR *dir, const char *path, int depth)
{
    struct stat st;
    char shown[512];
    if (fstat(dirfd(dir), &st))
        return fail(FAULT_DATA, "%s: %s", path_shown(shown, path), strerror(errno));
    for (int i = 0; i < depth; i++)
        if (w->above[i].dev == st.st_dev && w->above[i].ino == st.st_ino) {
            warn("%s/%s: a link back into a folder above it, not followed", w->d->root,
                 path_shown(shown, path));
            return 0;
        }
    if (depth == MOST_DEPTH - 1)
        return fail(FAULT_DATA, "%s/%s: folders nested more than %d deep", w->d->root,
                    path_shown(shown, path), MOST_DEPTH);
    w->above[depth] = (struct level){ st.st_dev, st.st_ino };
    errno = 0;
    for (const struct dirent *e; (e = readdir(dir)); errno = 0)
        if (walk_entry(w, dir, e, path, depth))
            return -1;
    return errno ? fail(FAULT_DATA, "%s/%s: %s", w->d->root, path_shown(shown, path), strerror(errno)) : 0;
}

/* Appends the images below root/path, as paths below root. */
static int walk_folder(struct walk *w, const char *path, int depth)
{
    char full[4096], shown[512];
    if (snprintf(full, sizeof full, "%s/%s", w->d->root, path) >= (int)sizeof full)
        return fail(FAULT_DATA, "%s: path too long", path_shown(shown, path));
    DIR *dir = opendir(full);
    if (!dir)
        return fail(FAULT_DATA, "%s: %s", path_shown(shown, full), strerror(errno));
    int rc = walk_open(w, dir, path, depth);
    closedir(dir);
    return rc;
}

int set_folders_in(dataset *d, const char *path, struct names *out)
{
    char full[4096], shown[512];
    snprintf(full, sizeof full, "%s/%s", d->root, path);
    DIR *dir = opendir(full);
    if (!dir)
        return fail(FAULT_DATA, "%s: %s", path_shown(shown, full), strerror(errno));
    for (const struct dirent *e; (e = readdir(dir));)
        if (entry_sort(dirfd(dir), e) == FOLDER_ENTRY)
            names_add(d->a, out, slice_of(e->d_name));
    closedir(dir);
    names_sort(out);
    return 0;
}

/* The folder beside the split whose classes set the numbering: "train", where there is one. */
static const char *numbering_split(dataset *d)
{
    const char *slash = strrchr(d->split, '/');
    int n = slash ? (int)(slash - d->split) + 1 : 0;
    const char *train = arena_printf(d->a, "%.*strain", n, d->split);
    struct stat st;
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", d->root, train);
    return !stat(full, &st) && S_ISDIR(st.st_mode) ? train : d->split;
}

static int add_class(dataset *d, const struct names *classes, const char *name, bool skip_errors)
{
    struct walk w = { .d = d };
    int label = names_find(classes, slice_of(name));
    char shown[512];
    const char *path = arena_printf(d->a, "%s/%s", d->split, name);
    if (label < 0)
        return fail(FAULT_DATA, "%s/%s: the train split has no such class", d->root, path_shown(shown, path));
    if (walk_folder(&w, path, 0))
        return -1;
    if (!w.files.n && !skip_errors)
        return fail(FAULT_DATA,
                    "%s/%s: a class without any image (remove the folder, or set data.on_error: skip)",
                    d->root, path_shown(shown, path));
    if (!w.files.n)
        warn("%s/%s: a class without any image", d->root, path_shown(shown, path));
    names_sort(&w.files);
    for (size_t i = 0; i < w.files.n; i++)
        set_add(d, w.files.v[i], label);
    return 0;
}

int set_add_below(dataset *d, const char *path)
{
    struct walk w = { .d = d };
    struct stat st;
    if (stat(arena_printf(d->a, "%s/%s", d->root, path), &st))
        return fail(FAULT_DATA, "%s/%s: %s", d->root, path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return set_add(d, path, 0), 0;
    if (walk_folder(&w, path, 0))
        return -1;
    names_sort(&w.files);
    for (size_t i = 0; i < w.files.n; i++)
        set_add(d, w.files.v[i], 0);
    return 0;
}

/* A wrong root and a wrong name of a split are different mistakes. */
static int check_split(dataset *d)
{
    enum { MOST = 12 };
    struct names there = { 0 };
    struct stat st;
    const char *list = "";
    if (!stat(arena_printf(d->a, "%s/%s", d->root, d->split), &st))
        return 0;
    if (stat(d->root, &st))
        return fail(FAULT_DATA, "%s: %s (data.root)", d->root, strerror(errno));
    if (set_folders_in(d, "", &there))
        return -1;
    for (int i = 0; i < (int)there.n && i < MOST; i++)
        list = arena_printf(d->a, "%s%s%s", list, i ? ", " : "", i + 1 < MOST ? there.v[i] : "...");
    return fail(FAULT_DATA, "%s: no split '%s' there; its folders: %s", d->root, d->split,
                list[0] ? list : "none");
}

int set_open_folder(dataset *d, const struct data_options *o)
{
    struct names classes = { 0 }, here = { 0 };
    if (check_split(d))
        return -1;
    const char *numbering = numbering_split(d);
    if (set_folders_in(d, d->split, &here) || set_folders_in(d, numbering, &classes))
        return -1;
    if (!here.n)
        return fail(FAULT_DATA, "%s/%s: no class folders in it (images belong in <split>/<class>/)", d->root,
                    d->split);
    set_classes(d, classes.v, (int)classes.n);
    for (size_t i = 0; i < here.n; i++)
        if (add_class(d, &classes, here.v[i], o->skip_errors))
            return -1;
    return 0;
}

const struct data_set folder_set = {
    .name = "folder", .help = "any <split>/<class>/<image>, JPEG, PNG or GIF", .open = set_open_folder,
    IMAGENET_PIXELS,
};
