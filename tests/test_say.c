/* test_say.c: messages, the progress line, colours, traces, signals and crashes, as a process leaves them
 * on stderr and in its exit code. */
#include "apart.h"
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>

/* ---- messages ------------------------------------------------------------------------------------------ */

static int level;
static void talk(void)
{
    say_setup((struct say_options){ level, 0, true });
    say(SAY_NORMAL, "normal %d", 1);
    say(SAY_VERBOSE, "verbose");
    say(SAY_DEBUG, "debug");
    warn("careful");
    say_error("error");
    progress("never seen");
}

static void talk_to_logs(void)
{
    say_log(SAY_LOG_FILE, at("log1"));
    say_log(SAY_RUN_LOG, at("log2"));
    level = SAY_QUIET;
    talk();
    say_log(SAY_RUN_LOG, NULL);
    say_error("last");
}

static void levels(void **state)
{
    (void)state;
    static const char *const want[] = { "error\n", "normal 1\nwarning: careful\nerror\n",
                                        "normal 1\nverbose\nwarning: careful\nerror\n",
                                        "normal 1\nverbose\ndebug\nwarning: careful\nerror\n" };
    for (level = SAY_QUIET; level <= SAY_DEBUG; level++) {
        apart(talk);
        assert_string_equal(output, want[level + 1]);
    }
    apart(talk_to_logs);
    assert_string_equal(output, "error\nlast\n");
    expect_text(at("log1"), "normal 1\nwarning: careful\nerror\nlast\n");
    expect_text(at("log2"), "normal 1\nwarning: careful\nerror\n");
    assert_int_equal(say_log(SAY_LOG_FILE, at("no/log")), -1);
    assert_int_equal(fail_fault(), FAULT_RUN);
}

static void bars_and_lines(void **state)
{
    (void)state;
    static const struct { f64 at; const char *want; } row[] = {
        { 0, "[>         ]" }, { .5, "[=====>    ]" }, { .99, "[=========>]" }, { 1, "[==========]" },
        { -3, "[>         ]" },
        { 7, "[==========]" } };
    char out[13];
    for (int i = 0; i < countof(row); i++)
        assert_string_equal(say_bar(out, 12, row[i].at), row[i].want);
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    print_wrapped(f, 70, "aaaa bbbbb c dd\tx eeeeeeeeeeeeeeee f");
    fclose(f);
    char want[400];
    snprintf(want, sizeof want, "aaaa bbbbb\n%70sc dd\tx\n%70seeeeeeeeeeeeeeee\n%70sf\n", "", "", "");
    assert_string_equal(text, want);
    free(text);
}

static void colours(void **state)
{
    (void)state;
    unsetenv("NO_COLOR");
    unsetenv("FORCE_COLOR");
    say_setup((struct say_options){ 0, 1, true });
    assert_string_equal(say_bold(1), "\033[1m");
    assert_string_equal(say_red(2), "\033[31m");
    assert_string_equal(say_green(2), "\033[32m");
    assert_string_equal(say_dim(2), "\033[2m");
    assert_string_equal(say_plain(2), "\033[0m");
    say_setup((struct say_options){ 0, 0, true });
    setenv("FORCE_COLOR", "1", 1);
    assert_string_equal(say_bold(1), "");
    say_setup((struct say_options){ 0, -1, true });
    setenv("NO_COLOR", "1", 1);
    assert_string_equal(say_red(1), "\033[31m");  // forcing goes before
    setenv("FORCE_COLOR", "", 1);
    assert_string_equal(say_red(1), "");
    unsetenv("FORCE_COLOR");
    unsetenv("NO_COLOR");
}

static void redraw(void)
{
    setenv("TERM", "xterm", 1);
    say_setup((struct say_options){ 0, 0, false });
    progress_label("[1/2] ");
    if (say_width() != 34)
        _exit(9);
    f64 start = clock_now();
    progress("half %d", 50);
    progress("too soon");
    if (clock_now() - start > 0.05)               // was it? This process had to wait for others
        _exit(77);
    say(SAY_NORMAL, "told");
    usleep(120000);
    progress("0123456789012345678901234567890123456789");
    progress_done();
    progress_done();
    setenv("TERM", "dumb", 1);
    _exit(say_live() ? 8 : 7);
}

/* How redraw() ends, and what it leaves on its terminal. */
static int redraw_apart(void)
{
    int master, status;
    pid_t pid = forkpty(&master, NULL, NULL, &(struct winsize){ .ws_col = 40, .ws_row = 5 });
    if (!pid)
        redraw();
    size_t n = 0;
    for (ssize_t got; n < sizeof output - 1 && (got = read(master, output + n, sizeof output - 1 - n)) > 0;)
        n += (size_t)got;
    output[n] = 0;
    close(master);
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static void progress_is_one_line(void **state)
{
    (void)state;
    int code = 77;
    for (int i = 0; i < 100 && code == 77; i++)
        code = redraw_apart();
    assert_int_equal(code, 7);
    assert_string_equal(output, "\r[1/2] half 50\033[K\r\033[Ktold\r\n"
                                "\r[1/2] 012345678901234567890123456789012\033[K\r\033[K");
    progress_label("");
    say_setup((struct say_options){ SAY_QUIET, 0, true });
}

static void trace_a_little(void)
{
    say_setup((struct say_options){ SAY_NORMAL, 0, true });
    trace(TRACE_graph, "off");
    trace_set("graph,no-plan,grahp");
    trace(TRACE_graph, "node %d", 4);
    trace(TRACE_plan, "off");
    if (!trace_on(TRACE_no_plan) || trace_on(TRACE_plan) || trace_file() != stderr)
        _exit(9);
    trace_set("");
    if (trace_on(TRACE_graph))
        _exit(8);
    char list[5000];
    snprintf(list, sizeof list, "plan,file:%s", at("trace"));
    trace_set(list);
    trace(TRACE_plan, "kept");
    snprintf(list, sizeof list, "plan,file:%s", at("no/trace"));
    trace_set(list);
}

static void traces(void **state)
{
    (void)state;
    assert_int_equal(apart(trace_a_little), 0);
    char want[5000];
    snprintf(want, sizeof want,
             "warning: JETCL_TRACE: no channel 'grahp' (did you mean 'graph'?)\n[graph] node 4\n"
             "warning: JETCL_TRACE: cannot write %s\n",
             at("no/trace"));
    assert_string_equal(output, want);
    expect_text(at("trace"), "[plan] kept\n");
}

/* ---- signals ------------------------------------------------------------------------------------------- */

/* A thread takes them, so they are soon seen. false: not within ten seconds. */
static bool asked_to_stop(void)
{
    for (int i = 0; i < 1000 && !stop_requested(); i++)
        usleep(10000);
    return stop_requested();
}

static void ask_politely(void)
{
    stop_begin();
    stop_catch((const char *const[]){ "INT", "USR2" }, 2);
    stop_watched(true);
    if (stop_requested())
        _exit(9);
    kill(getpid(), SIGUSR2);
    if (!asked_to_stop() || stop_fault() != (enum fault)(128 + SIGUSR2))
        _exit(8);
    stop_kept();
    if (stop_fault() != FAULT_STOPPED)
        _exit(7);
    kill(getpid(), SIGUSR2);                      // again and again, if it must be
    usleep(50000);
    kill(getpid(), SIGINT);                       // but an interrupt ends what was asked already
    sleep(10);
    _exit(6);
}

static void ask_otherwise(void)
{
    stop_catch((const char *const[]){ "INT" }, 1);
    stop_watched(true);
    kill(getpid(), SIGINT);
    if (!asked_to_stop() || stop_fault() != (enum fault)130)
        _exit(9);
    kill(getpid(), SIGTERM);
    sleep(10);
    _exit(6);
}

/* A driver's compiler puts handlers in place, ignores some, and no loop looks at the flag. */
static void ask_in_vain(void)
{
    struct file_out o;
    stop_begin();
    signal(SIGTERM, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGUSR1, exit);
    stop_catch((const char *const[]){ "USR1" }, 1);
    if (file_begin(&o, at("unfinished")))
        _exit(9);
    kill(getpid(), SIGUSR1);
    sleep(10);
    _exit(6);
}

static void ask_in_vain_later(void) { stop_kept(); ask_in_vain(); }

/* What lies at the path by now is another process's, as a lock that was taken over. */
static void ask_after_another(void)
{
    char mine[4096];
    snprintf(mine, sizeof mine, "%s", at("taken-over"));
    stop_begin();
    if (file_save(mine, "mine", 4))
        _exit(9);
    file_unfinished(mine, true);
    if (file_save(mine, "theirs", 6))
        _exit(8);
    kill(getpid(), SIGTERM);
    sleep(10);
    _exit(6);
}

/* Signals go to a child, which has them as the program was started with them. */
static pid_t child;
static void  tell(bool again) { kill(child, again ? SIGKILL : SIGUSR1); }

static void ask_parent(void)
{
    int status, ready[2];
    char c;
    stop_begin();
    if (pipe(ready))
        _exit(9);
    for (int i = 0; i < 2; i++) {
        if (!(child = fork())) {
            sigset_t blocked;
            stop_child();
            pthread_sigmask(SIG_BLOCK, NULL, &blocked);
            if (sigismember(&blocked, SIGUSR1) || write(ready[1], "x", 1) != 1)
                _exit(3);
            sleep(10);
            _exit(4);
        }
        stop_pass_on(tell);
        if (read(ready[0], &c, 1) != 1)
            _exit(8);
        kill(getpid(), SIGTERM);
        waitpid(child, &status, 0);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != (i ? SIGKILL : SIGUSR1))
            _exit(7);
    }
    _exit(stop_requested() ? 5 : 2);
}

static void ask_in_background(void)               /* a shell ignores SIGINT there, nohup SIGHUP */
{
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    stop_begin();
    kill(getpid(), SIGINT);
    usleep(50000);
    stop_catch((const char *const[]){ "INT", "HUP" }, 2);
    kill(getpid(), SIGHUP);
    usleep(50000);
    if (stop_requested())
        _exit(9);
    kill(getpid(), SIGINT);
    _exit(asked_to_stop() ? 5 : 8);
}

/* ---- crashes ------------------------------------------------------------------------------------------- */

static void read_what_is_gone(void)
{
    static char page[8192];
    struct file_map m;
    crash_catch();
    if (file_save(at("cut"), page, sizeof page) || file_map(at("cut"), &m) || truncate(at("cut"), 0))
        _exit(9);
    _exit(m.p[5000] ? 8 : 7);
}

static void crash_in_the_driver(void)
{
    crash_catch();
    signal(SIGSEGV, SIG_DFL);                     // as a compiler might
    crash_catch();
    crash_hint("; remove the cache");
    crash_inside("clBuildProgram(cl, 1)", "softmax");
    raise(SIGSEGV);
}

static void *crash_elsewhere(void *arg) { return *(void *volatile *)arg; }

static void crash_on_its_thread(void)
{
    pthread_t t;
    crash_catch();
    crash_kernel("blocks.0.fc1");
    pthread_create(&t, NULL, crash_elsewhere, NULL);
    pthread_join(t, NULL);
}

static void crash_of_ours(void)
{
    crash_catch();
    raise(SIGSEGV);
    *(volatile int *)(uintptr_t)getpid() = 1;
}

static void crashes(void **state)
{
    (void)state;
    assert_int_equal(apart(read_what_is_gone), FAULT_DATA << 8);
    assert_non_null(strstr(output, "cut: the file became shorter"));
    assert_int_equal(apart(crash_in_the_driver), FAULT_DEVICE << 8);
    assert_string_equal(output,
                        "jetcl: the device's driver crashed (SIGSEGV) in clBuildProgram, softmax; remove the "
                        "cache\n");
    assert_int_equal(apart(crash_on_its_thread), FAULT_DEVICE << 8);
    assert_non_null(strstr(output, "on a thread of its own, after kernel blocks.0.fc1"));
    int status = apart(crash_of_ours);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void processes(void **state)
{
    (void)state;
    struct process me, p;
    process_self(&me);
    assert_int_equal(me.pid, getpid());
    assert_int_equal(process_look(&me), PROCESS_LIVES);
    p = me, p.start++;                            // the number was used again
    assert_int_equal(process_look(&p), PROCESS_GONE);
    p = me, strcpy(p.boot, "an-earlier-one");
    assert_int_equal(process_look(&p), PROCESS_GONE);
    p = me, strcpy(p.space, "pid:[1]");           // a container of this machine
    assert_int_equal(process_look(&p), PROCESS_ELSEWHERE);
    p = me, strcpy(p.host, "another");
    assert_int_equal(process_look(&p), PROCESS_ELSEWHERE);
    p = me;
    if (!(p.pid = fork()))
        _exit(0);
    siginfo_t ended;
    assert_int_equal(waitid(P_PID, (id_t)p.pid, &ended, WEXITED | WNOWAIT), 0);
    assert_int_equal(process_look(&p), PROCESS_GONE);      // not waited for yet
    waitpid((pid_t)p.pid, NULL, 0);
}

/* A helper is this program again, and waits; it ends when it is told to, or when who started it has ended. */
static void helpers(void **state)
{
    (void)state;
    int none = process_help((const char *[]){ "wait", NULL }), ends[2];
    assert_int_equal(none, 0);                    // not before main has said that this is the program
    process_is_program();
    int helper = process_help((const char *[]){ "wait", NULL });
    assert_true(helper > 0 && !kill((pid_t)helper, 0));
    process_end(helper);
    assert_int_equal(kill((pid_t)helper, 0), -1);
    assert_int_equal(pipe(ends), 0);              // the helper has the other end, until it ends
    int starter = process_help((const char *[]){ "start", NULL }), status;
    close(ends[1]);
    assert_int_equal(waitpid((pid_t)starter, &status, 0), starter);
    assert_int_equal(status, 0);
    struct pollfd end = { .fd = ends[0] };
    assert_int_equal(poll(&end, 1, 30000), 1);
    assert_true(end.revents & POLLHUP);
    close(ends[0]);
}

static void signals(void **state)
{
    (void)state;
    int status = apart(ask_politely);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    status = apart(ask_otherwise);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    status = apart(ask_in_vain);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    assert_non_null(strstr(output, "stopped by SIGUSR1 before anything was saved"));
    assert_int_equal(apart(ask_in_vain_later), FAULT_STOPPED << 8);
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));)
        assert_false(text_ends(e->d_name, ".tmp"));
    closedir(d);
    assert_int_equal(apart(ask_in_background), 5 << 8);
    status = apart(ask_after_another);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    expect_text(at("taken-over"), "theirs");
    assert_int_equal(apart(ask_parent), 5 << 8);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "wait"))
        return process_follow(), sleep(60), 0;
    if (argc > 1 && !strcmp(argv[1], "start"))
        return process_is_program(), !process_help((const char *[]){ "wait", NULL }) || usleep(200000);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),
        cmocka_unit_test(bars_and_lines),
        cmocka_unit_test(colours),
        cmocka_unit_test(progress_is_one_line),
        cmocka_unit_test(traces),
        cmocka_unit_test(signals),
        cmocka_unit_test(processes),
        cmocka_unit_test(helpers),
        cmocka_unit_test(crashes),
    };
    return cmocka_run_group_tests_name("say", tests, begin, end);
}
