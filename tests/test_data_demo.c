/* test_data_demo.c: the drawn sets: complete or absent, and never over somebody else's folder. */
#include "data_help.h"
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

static struct data_options demo(const char *split)
{
    return (struct data_options){ .set = "demo", .root = scratch(), .split = split, .image = 32, .batch = 8,
                                  .workers = 1 };
}

static int beside(const char *prefix)
{
    int n = 0;
    DIR *d = opendir(scratch());
    for (struct dirent *e; (e = readdir(d));)
        n += text_starts(e->d_name, prefix);
    closedir(d);
    return n;
}

/* A drawing that is killed leaves no set; the next one cleans up and finishes. */
static void complete_or_absent(void **state)
{
    (void)state;
    const char *folder = at("demo");
    pid_t child = fork();
    if (!child) {
        render_demo(folder);
        _exit(0);
    }
    bool over = false;
    while (!beside("demo.") && !(over = waitpid(child, NULL, WNOHANG)))
        usleep(1000);
    assert_false(over);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_false(file_exists(folder));
    assert_int_equal(beside("demo."), 1);
    struct data_options o = demo("a/train");
    dataset *d = data_open(&o);
    assert_non_null(d);
    assert_int_equal(data_classes(d), 10);
    assert_int_equal(data_count(d), 1800);
    assert_int_equal(beside("demo."), 0);
    data_close(d);
    o.split = "b/test";
    d = data_open(&o);
    assert_int_equal(data_classes(d), 20);
    loader *l = loader_open(d, &o);
    loader_start(l, 0, 0);
    int n = 0;
    for (const struct batch *b; (b = loader_next(l)); loader_release(l, b))
        n += b->n;
    assert_int_equal(n, 500);
    loader_close(l);
    data_close(d);
}

static void misses_images(void **state)
{
    (void)state;
    unlink(at("demo/a/test/disc-stripes-one/0007.jpg"));
    unlink(at("demo/a/test/disc-stripes-one/0007.png"));
    struct data_options o = demo("a/test");
    assert_null(data_open(&o));
    assert_failed(FAULT_DATA, "599 of 600 images are left; delete");
    o.split = "test";
    assert_null(data_open(&o));
    assert_failed(FAULT_USAGE, "it has a/train, a/test, b/train, b/test");
}

static void leaves_others_alone(void **state)
{
    (void)state;
    write_text(at("mine/demo/thesis.txt"), "years of work");
    struct data_options o = demo("a/train");
    o.root = at("mine");
    assert_null(data_open(&o));
    assert_failed(FAULT_DATA, "holds something else");
    assert_true(file_exists(at("mine/demo/thesis.txt")));
    write_text(at("file"), "x");
    o.root = at("file");
    assert_null(data_open(&o));
    assert_failed(FAULT_RUN, "cannot make the folder");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, memory_open, memory_close)
    const struct CMUnitTest tests[] = { TEST(complete_or_absent), TEST(misses_images),
                                        TEST(leaves_others_alone) };
    return cmocka_run_group_tests(tests, NULL, scratch_close);
}
