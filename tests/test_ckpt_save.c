/* test_ckpt_save.c: saving replaces a file as a whole or not at all: full disk, closed folder, death at any
 * byte. */
#include <signal.h>
#include <sys/stat.h>
#include "ckpt_help.h"

static const char *const names[] = { "w.safetensors", "w.pth", "w.npz" };

static ckpt *small_new(f32 fill)
{
    static f32 v[2][3][64];
    ckpt *c = ckpt_new();
    f32 (*w)[64] = v[fill > 0];
    for (int i = 0; i < 3 * 64; i++)
        (&w[0][0])[i] = fill + (f32)i;
    ckpt_add(c, "a", CKPT_F32, 1, (i64[]){ 64 }, w[0]);
    ckpt_add(c, "b", CKPT_F32, 2, (i64[]){ 2, 64 }, w[1]);
    return c;
}

static void save_small(const char *path, f32 fill)
{
    ckpt *c = small_new(fill);
    if (ckpt_save(c, path))
        fail_msg("%s", fail_message());
    ckpt_close(c);
}

static void assert_small(const char *path, f32 fill)
{
    ckpt *c = ckpt_open(path), *want = small_new(fill);
    if (!c)
        fail_msg("%s", fail_message());
    assert_same(want, c);
    ckpt_close(c);
    ckpt_close(want);
}

/* In a process of its own, so that limits and signals stay there; what it says comes back in said. */
static int in_child(int (*f)(const char *path), const char *path, char said[512])
{
    int status, pipe_[2];
    assert_int_equal(pipe(pipe_), 0);
    pid_t child = fork();
    if (!child) {
        int rc = f(path);
        const char *text = rc ? fail_message() : "";
        ssize_t n = write(pipe_[1], text, strlen(text) + 1);
        _exit(n < 0 ? 99 : rc ? (int)fail_fault() : 0);
    }
    close(pipe_[1]);
    ssize_t n = read(pipe_[0], said, 511);
    said[n > 0 ? n : 0] = 0;
    close(pipe_[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int save_new(const char *path)
{
    ckpt *c = small_new(1);
    int rc = ckpt_save(c, path);
    ckpt_close(c);
    return rc;
}

/* ---- a full disk --------------------------------------------------------------------------------------- */

static rlim_t limit;

static int save_limited(const char *path)
{
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ limit, limit });
    signal(SIGXFSZ, SIG_IGN);                        // a write that finds no room fails, as on a full disk
    return save_new(path);
}

static void full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    for (int i = 0; i < countof(names); i++) {
        char path[4096], said[512];
        struct stat st;
        save_small(scratch_path(path, names[i]), 0);
        assert_int_equal(stat(path, &st), 0);
        int files = scratch_files();
        for (limit = 0; limit < (rlim_t)st.st_size; limit += 37) {
            int rc = in_child(save_limited, path, said);
            if (rc != FAULT_RUN || !strstr(said, path) || !strstr(said, "cannot write") || strchr(said, '\n'))
                fail_msg("%d '%s' at %llu bytes", rc, said, (unsigned long long)limit);
            assert_int_equal(scratch_files(), files);
        }
        assert_small(path, 0);
        limit = (rlim_t)st.st_size;
        assert_int_equal(in_child(save_limited, path, said), 0);
        assert_small(path, 1);
    }
}

/* ---- death at any byte --------------------------------------------------------------------------------- */

static int save_to_death(const char *path)
{
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ limit, limit });
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    signal(SIGXFSZ, SIG_DFL);                        // the write that would cross the limit kills
    return save_new(path);
}

static void remove_leftovers(void)
{
    char path[4096];
    DIR *d = opendir(scratch_dir());
    for (struct dirent *e; (e = readdir(d));)
        if (text_ends(e->d_name, ".tmp"))
            unlink(scratch_path(path, e->d_name));
    closedir(d);
}

static void death_at_any_byte_leaves_the_old_file(void **state)
{
    (void)state;
    for (int i = 0; i < countof(names); i++) {
        char path[4096], said[512];
        struct stat st;
        save_small(scratch_path(path, names[i]), 0);
        assert_int_equal(stat(path, &st), 0);
        for (limit = 0; limit < (rlim_t)st.st_size; limit += 13) {
            assert_int_equal(in_child(save_to_death, path, said), -SIGXFSZ);
            assert_small(path, 0);
            remove_leftovers();
        }
    }
}

/* ---- folders and targets ------------------------------------------------------------------------------- */

static int save_as_nobody(const char *path)
{
    if (!geteuid() && (setgid(65534) || setuid(65534)))
        return 0;
    return save_new(path);
}

static void closed_folder_is_one_line(void **state)
{
    (void)state;
    for (int i = 0; i < countof(names); i++) {
        char dir[4096], path[4200], said[512];
        scratch_path(dir, "closed");
        assert_int_equal(mkdir(dir, 0755), 0);
        assert_int_equal(chmod(scratch_dir(), 0755), 0);
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        save_small(path, 0);
        assert_int_equal(chmod(dir, 0555), 0);
        int rc = in_child(save_as_nobody, path, said);
        if (rc != FAULT_RUN || !strstr(said, path) || !strstr(said, "Permission denied") || strchr(said, '\n'))
            fail_msg("%d '%s'", rc, said);
        assert_small(path, 0);
        assert_int_equal(chmod(dir, 0755), 0);
        unlink(path);
        rmdir(dir);
    }
}

static void targets_that_are_no_files(void **state)
{
    (void)state;
    char path[4096];
    assert_int_equal(save_new("/nowhere/at/all/w.safetensors"), -1);
    assert_int_equal(fail_fault(), FAULT_RUN);
    assert_int_equal(mkdir(scratch_path(path, "folder.npz"), 0755), 0);
    assert_int_equal(save_new(path), -1);
    assert_non_null(strstr(fail_message(), "folder.npz"));
    rmdir(path);
    assert_null(ckpt_open(scratch_dir()));
    assert_non_null(strstr(fail_message(), "a folder with no model.safetensors"));
    assert_null(ckpt_open(scratch_path(path, "none.pth")));
    assert_int_equal(fail_fault(), FAULT_DATA);
}

/* An opened file can be saved onto itself; what was read of it before stays readable. */
static void a_file_is_saved_onto_itself(void **state)
{
    (void)state;
    for (int i = 0; i < countof(names); i++) {
        char path[4096];
        save_small(scratch_path(path, names[i]), 0);
        ckpt *c = ckpt_open(path);
        const f32 *a = tensor_data(ckpt_find(c, "a"));
        assert_int_equal(ckpt_save(c, path), 0);
        assert_true(a[63] == 63 && tensor_data(ckpt_find(c, "a")) == a);
        assert_small(path, 0);
        ckpt_close(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_disk_leaves_the_old_file),
        cmocka_unit_test(death_at_any_byte_leaves_the_old_file),
        cmocka_unit_test(closed_folder_is_one_line),
        cmocka_unit_test(targets_that_are_no_files),
        cmocka_unit_test(a_file_is_saved_onto_itself),
    };
    return cmocka_run_group_tests(tests, NULL, scratch_remove);
}
