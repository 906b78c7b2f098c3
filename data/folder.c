/* folder.c: <split>/<class>/NAME.jpg: any pictures in one folder per class (or below it), classes sorted by
 * their bytes. A name that ends like a picture's is taken without opening it (a million files); any other
 * file is taken if its first bytes say so. Links are followed, except back into a folder that is being
 * listed. What is passed over (other files, hidden ones, folders that systems leave, classes without
 * a file) is counted in d->passed, for messages. */
#include "data/set.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_DEPTH = 16 };

struct level { dev_t dev; ino_t ino; };
struct walk  {
    dataset           *d;
    const char        *base;                  /* the real path of what holds all that is walked through */
    struct names       files;
    struct passed_over passed;
    struct level       above[MOST_DEPTH];
};

static bool ends_like_image(const char *name)
{
    static const char *const ends[] = { ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp" };
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && i < countof(ends); i++)
        if (!strcasecmp(dot, ends[i]))
            return true;
    return false;
}

static bool starts_like_image(int folder, const char *name)
{
    u8 head[IMAGE_STARTS];
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? 0 : read(fd, head, sizeof head);
    if (fd >= 0)
        close(fd);
    return n > 0 && image_kind_of(head, (size_t)n) != IMAGE_UNKNOWN;
}

/* ---- what is passed over ------------------------------------------------------------------------------- */

static void pass_suffix(struct passed_over *p, const char *suffix, i64 n)
{
    int i = 0;
    while (i < p->n && strcmp(p->suffix[i].name, suffix))
        i++;
    if (i == p->n && i == MOST_SUFFIXES)
        suffix = p->suffix[--i].name;             // the last one stands for all that follow
    if (i == p->n)
        p->n++;
    snprintf(p->suffix[i].name, sizeof p->suffix[i].name, "%s", suffix);
    p->suffix[i].n += n;
}

static void pass_file(struct passed_over *p, const char *name)
{
    const char *dot = strrchr(name, '.');
    char shown[512];
    bool given = dot && dot > name && strlen(dot) < 12;
    path_shown(shown, given ? dot : "without a suffix");
    for (char *s = shown; given && *s; s++)
        *s = (char)tolower((u8)*s);
    pass_suffix(p, shown, 1);
}

static void folder_pass_on(struct passed_over *to, const struct passed_over *from)
{
    for (int i = 0; i < from->n; i++)
        pass_suffix(to, from->suffix[i].name, from->suffix[i].n);
    to->hidden += from->hidden;
    to->folders += from->folders;
}

/* "3 .tif, 1 .txt, 2 hidden files"; "" for nothing. */
static const char *passed_text(arena *a, const struct passed_over *p)
{
    const char *text = "";
    for (int i = 0; i < p->n; i++)
        text = arena_printf(a, "%s%s%lld %s", text, *text ? ", " : "", (long long)p->suffix[i].n,
                            p->suffix[i].name);
    if (p->hidden)
        text = arena_printf(a, "%s%s%lld hidden file%s or folder%s", text, *text ? ", " : "",
                            (long long)p->hidden, p->hidden > 1 ? "s" : "", p->hidden > 1 ? "s" : "");
    if (p->folders)
        text = arena_printf(a, "%s%s%lld folder%s of thumbnails or archivers", text, *text ? ", " : "",
                            (long long)p->folders, p->folders > 1 ? "s" : "");
    return text;
}

const char *data_passed_over(arena *a, const dataset *d)
{
    enum { MOST = 6 };
    const char *text = passed_text(a, &d->passed);
    for (size_t i = 0; i < d->empty.n && i <= MOST; i++) {
        const char *join = !*text ? "" : i ? ", " : "; ", *what = i ? "" : "classes without a file: ";
        char shown[512];
        text = arena_printf(a, "%s%s%s%s", text, join, what,
                            i < MOST ? path_shown(shown, d->empty.v[i]) : "...");
    }
    return text;
}

/* Folders that systems and archivers leave in a tree of pictures: thumbnails and resource forks. */
bool folder_left_behind(const char *name)
{
    static const char *const known[] = { "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found",
                                         "System Volume Information" };
    for (int i = 0; i < countof(known); i++)
        if (!strcmp(name, known[i]))
            return true;
    return false;
}

enum sort { OTHER, HIDDEN, LEFT_BEHIND, DANGLING, FILE_ENTRY, FOLDER_ENTRY };

static enum sort entry_sort(int folder, const struct dirent *e)
{
    if (e->d_name[0] == '.')
        return !e->d_name[1] || !strcmp(e->d_name, "..") ? OTHER : HIDDEN;
    struct stat st;
    if (e->d_type == DT_REG)
        return FILE_ENTRY;
    if (e->d_type == DT_DIR)
        return folder_left_behind(e->d_name) ? LEFT_BEHIND : FOLDER_ENTRY;
    if (e->d_type != DT_LNK && e->d_type != DT_UNKNOWN)
        return OTHER;
    if (fstatat(folder, e->d_name, &st, 0))
        return DANGLING;
    return S_ISREG(st.st_mode) ? FILE_ENTRY : S_ISDIR(st.st_mode) ? FOLDER_ENTRY : OTHER;
}

static const char dangling[] = "links to nothing";

static int walk_folder(struct walk *w, const char *path, int depth);

static int walk_entry(struct walk *w, DIR *dir, const struct dirent *e, const char *path, int depth)
{
    switch (entry_sort(dirfd(dir), e)) {
    case FOLDER_ENTRY:
        return walk_folder(w, arena_printf(w->d->a, "%s/%s", path, e->d_name), depth + 1);
    case FILE_ENTRY:
        if (ends_like_image(e->d_name) || starts_like_image(dirfd(dir), e->d_name))
            names_add(w->d->a, &w->files, slice_of(arena_printf(w->d->a, "%s/%s", path, e->d_name)));
        else
            pass_file(&w->passed, e->d_name);
        return 0;
    case HIDDEN:
        w->passed.hidden++;
        return 0;
    case LEFT_BEHIND:
        w->passed.folders++;
        return 0;
    case DANGLING:
        pass_suffix(&w->passed, dangling, 1);
        return 0;
    default:
        return 0;
    }
}

/* Does path lead, through links, to the walked folder itself or to one above it: an endless walk? */
static bool walk_leads_up(const struct walk *w, const char *path)
{
    char full[4096], real[4096];
    if (snprintf(full, sizeof full, "%s/%s", w->d->root, path) >= (int)sizeof full || !realpath(full, real))
        return false;
    size_t n = strlen(real);
    return !strncmp(w->base, real, n) && (n == 1 || w->base[n] == '/' || !w->base[n]);
}

static const char *walk_base(dataset *d, const char *path)
{
    char real[4096];
    return realpath(arena_printf(d->a, "%s/%s", d->root, path), real) ? arena_printf(d->a, "%s", real) : "";
}

static int walk_open(struct walk *w, DIR *dir, const char *path, int depth)
{
    struct stat st;
    char shown[512];
    if (fstat(dirfd(dir), &st))
        return fail(FAULT_DATA, "%s: %s", path_shown(shown, path), strerror(errno));
    bool back = walk_leads_up(w, path);
    for (int i = 0; i < depth; i++)
        back |= w->above[i].dev == st.st_dev && w->above[i].ino == st.st_ino;
    if (back) {
        warn("%s/%s: a link back into a folder above it, not followed", w->d->root, path_shown(shown, path));
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
    for (const struct dirent *e; (e = readdir(dir));) {
        enum sort s = entry_sort(dirfd(dir), e);
        if (s == FOLDER_ENTRY)
            names_add(d->a, out, slice_of(e->d_name));
        d->passed.hidden += s == HIDDEN;
        d->passed.folders += s == LEFT_BEHIND;
        if (s == DANGLING)
            pass_suffix(&d->passed, dangling, 1);
    }
    closedir(dir);
    names_sort(out);
    return 0;
}

/* A class's images, labelled `label`; *n: how many. A folder of files of which none can be read is a mistake,
 * an empty one is passed over. */
static int add_class(dataset *d, const char *name, i32 label, i64 *n)
{
    struct walk w = { .d = d, .base = walk_base(d, d->split) };
    char shown[512];
    const char *path = arena_printf(d->a, "%s/%s", d->split, name);
    if (walk_folder(&w, path, 0))
        return -1;
    *n = (i64)w.files.n;
    if (!w.files.n && w.passed.n)
        return fail(FAULT_DATA,
                    "%s/%s: no image in it that can be read, but %s (JPEG, PNG, GIF, WebP and BMP "
                    "are read)",
                    d->root, path_shown(shown, path), passed_text(d->a, &w.passed));
    folder_pass_on(&d->passed, &w.passed);
    names_sort(&w.files);
    for (size_t i = 0; i < w.files.n; i++)
        set_add(d, w.files.v[i], label);
    return 0;
}

int set_add_below(dataset *d, const char *path)
{
    struct walk w = { .d = d, .base = walk_base(d, arena_printf(d->a, "%s/..", path)) };
    struct stat st;
    if (stat(arena_printf(d->a, "%s/%s", d->root, path), &st))
        return fail(FAULT_DATA, "%s/%s: %s", d->root, path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return set_add(d, path, 0), 0;
    if (walk_folder(&w, path, 0))
        return -1;
    char shown[512];
    if (!w.files.n)
        return fail(FAULT_DATA, "%s/%s: no image in this folder%s%s", d->root, path_shown(shown, path),
                    w.passed.n ? " that can be read, but " : "", passed_text(d->a, &w.passed));
    folder_pass_on(&d->passed, &w.passed);
    names_sort(&w.files);
    for (size_t i = 0; i < w.files.n; i++)
        set_add(d, w.files.v[i], 0);
    return 0;
}

/* A wrong root and a wrong name of a split are different mistakes. */
static int folder_check_split(dataset *d)
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

/* Files that lie in the split itself belong to no class. */
static int look_beside(dataset *d)
{
    struct walk w = { .d = d };
    char full[4096];
    snprintf(full, sizeof full, "%s/%s", d->root, d->split);
    DIR *dir = opendir(full);
    for (const struct dirent *e; dir && (e = readdir(dir));) {
        if (entry_sort(dirfd(dir), e) != FILE_ENTRY)
            continue;
        w.files.n += ends_like_image(e->d_name);
        pass_file(&d->passed, e->d_name);
    }
    if (dir)
        closedir(dir);
    return (int)w.files.n;
}

int set_open_folder(dataset *d, const struct data_options *o)
{
    struct names here = { 0 };
    (void)o;
    if (folder_check_split(d) || set_folders_in(d, d->split, &here))
        return -1;
    int beside = look_beside(d), classes = 0;
    const char **names = arena_array(d->a, const char *, here.n + 1);
    for (size_t i = 0; i < here.n; i++) {
        i64 n;
        if (add_class(d, here.v[i], classes, &n))
            return -1;
        if (n)
            names[classes++] = here.v[i];
        else
            names_add(d->a, &d->empty, slice_of(here.v[i]));
    }
    if (!classes)
        return fail(FAULT_DATA,
                    "%s/%s: no class folders with images in it%s (images belong in <split>/<class>/)",
                    d->root, d->split, beside ? ", but images themselves" : "");
    set_classes(d, names, classes);
    return class_check(names, classes, arena_printf(d->a, "%s/%s", d->root, d->split));
}

const struct data_set folder_set = {
    .name = "folder",
    .help = "any <split>/<class>/<image>, JPEG, PNG, GIF, WebP or BMP",
    .open = set_open_folder,
    IMAGENET_PIXELS,
};
