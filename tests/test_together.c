/* test_together.c: what ranks do together, by three of them: the test starts itself as ranks, each of which
 * checks every answer, and looks at their exit and what they print. */
#include "unit.h"
#include "dist/dist.h"
#include <stdlib.h>
#include <sys/wait.h>

enum { RANKS = 3 };

/* In a rank: ends the job with the line that is wrong. */
#define HOLDS(it) \
    ((it) ? (void)0 : (printf("rank %d: line %d: %s (%s)\n", dist_rank(), __LINE__, #it, fail_message()), \
                       fflush(stdout), _Exit(1)))

static void rank_sums(int r)
{
    f64 v[3] = { r == 0 ? 1e16 : r == 1 ? 1 : -1e16, 10 * r + 1, r == 2 };
    HOLDS(!dist_sum(v, 3));
    HOLDS(v[0] == 0 && v[1] == 33 && v[2] == 1);          // in the order of ranks: 1e16 + 1 is 1e16
    i32 words[5] = { 0 };
    for (int i = 0; i < 5 && !r; i++)
        words[i] = 7 * i + 3;
    HOLDS(!dist_broadcast(words, sizeof words - 4));
    for (int i = 0; i < 5; i++)
        HOLDS(words[i] == (r && i == 4 ? 0 : 7 * i + 3));
}

static void rank_gathers(int r)
{
    static const char *const own[RANKS] = { "abc", "", "efghi" };
    static const u64 bytes[RANKS] = { 3, 0, 5 };
    char into[RANKS][8] = { "", "", "" }, text[16] = "";
    void *const to[RANKS] = { into[0], into[1], into[2] };
    HOLDS(!dist_gather(own[r], to, bytes));
    for (int i = 0; i < RANKS; i++)
        HOLDS(!strcmp(into[i], r ? "" : own[i]));
    FILE *file = tmpfile();
    HOLDS(file && !dist_print(file, own[r], bytes[r]));
    rewind(file);
    HOLDS(fread(text, 1, sizeof text - 1, file) == (r ? 0 : 8) && !strcmp(text, r ? "" : "abcefghi"));
    fclose(file);
}

/* Rank r sends 10 r + q + 1 bytes of that value to rank q. */
static void rank_exchanges(int r)
{
    u8 out[RANKS][40], in[RANKS][40] = { { 0 } };
    struct dist_pair with[RANKS] = { { 0 } };
    for (int q = 0; q < RANKS; q++) {
        memset(out[q], 10 * r + q + 1, sizeof out[q]);
        with[q] = (struct dist_pair){ out[q], (u64)(10 * r + q + 1), in[q], (u64)(10 * q + r + 1) };
    }
    HOLDS(!dist_start(with));
    dist_progress(clock_now());
    HOLDS(!dist_finish());
    for (int q = 0; q < RANKS; q++)
        for (int i = 0; i < 40; i++)
            HOLDS(in[q][i] == (q != r && i < 10 * q + r + 1 ? 10 * q + r + 1 : 0));
}

/* A message of more than 2^28 bytes goes in pieces. */
static void rank_sends_pieces(int r)
{
    enum { PIECE = 1 << 28 };
    static u8 p[PIECE + 7];
    static const u64 at[] = { 0, PIECE - 1, PIECE, PIECE + 6 };
    struct dist_pair with[RANKS] = { { 0 } };
    if (!r)
        with[1] = (struct dist_pair){ .recv = p, .received = sizeof p };
    if (r == 1)
        with[0] = (struct dist_pair){ .send = p, .sent = sizeof p };
    for (int i = 0; i < countof(at) && r == 1; i++)
        p[at[i]] = (u8)(11 + i);
    HOLDS(!dist_start(with) && !dist_finish());
    for (int i = 0; i < countof(at) && r < 2; i++)
        HOLDS(p[at[i]] == 11 + i);
}

static void rank_agrees(int r)
{
    HOLDS(!dist_agree(0) && !dist_same(42, FAULT_DATA, "the seed"));
    HOLDS(dist_same(r == 2 ? 43 : 42, FAULT_DATA, "the seed") == -1 && fail_fault() == FAULT_DATA);
    HOLDS(text_starts(fail_message(), "rank 2 (") &&
          strstr(fail_message(), ": the seed is not that of rank 0"));
    HOLDS(dist_same((u64)r, FAULT_USAGE, "the seed") == -1 && text_starts(fail_message(), "rank 1 ("));
    fail_clear();
    int rc = r == 0 ? 0 : r == 1 ? fail(FAULT_DEVICE, "one is ill") : fail(FAULT_DATA, "two is ill");
    HOLDS(dist_agree(rc) == -1 && fail_fault() == FAULT_DEVICE);
    HOLDS(text_starts(fail_message(), "rank 1 (") && strstr(fail_message(), "): one is ill"));
    fail_clear();
    HOLDS(dist_agree(r ? 0 : fail(FAULT_NUMBERS, "none is ill")) == -1 && fail_fault() == FAULT_NUMBERS);
    HOLDS(!strcmp(fail_message(), "none is ill"));
    fail_clear();
    bool flag = r == 2, none = false;
    HOLDS(!dist_agree_flag(0, &flag) && flag && !dist_agree_flag(0, &none) && !none);
}

static void rank_names(int r)
{
    char own[16], want[16];
    snprintf(own, sizeof own, "0:%d", r);
    HOLDS(!dist_name_device(own));
    for (int q = 0; q < RANKS; q++) {
        snprintf(want, sizeof want, "rank %d (", q);
        HOLDS(text_starts(dist_name(q), want));
        snprintf(want, sizeof want, "0:%d", q);
        HOLDS(!strcmp(dist_device(q), want) && strstr(dist_name(q), want));
        HOLDS(*dist_host(q) && !strcmp(dist_host(q), dist_host(r)));
    }
}

/* Rank 1 sends more than rank 0 has room for: MPI says so at the receiver, for which nothing arrived then. */
static void rank_receives_too_much(int r)
{
    u8 out[64] = { 0 }, in[8];
    struct dist_pair with[RANKS] = { { 0 } };
    if (!r)
        with[1] = (struct dist_pair){ .recv = in, .received = sizeof in };
    if (r == 1)
        with[0] = (struct dist_pair){ .send = out, .sent = sizeof out };
    dist_timeout(r ? 600 : 0.3);
    HOLDS(!dist_start(with) && !dist_finish());
    dist_agree(0);                                         // rank 0 does not come here
    printf("rank %d holds\n", r);
}

/* No message has a tag below 0. */
static void rank_sends_wrongly(int r)
{
    u8 out[8] = { 0 };
    struct dist_pair with[RANKS] = { { 0 } };
    int missing = -1;
    with[(r + 1) % RANKS] = (struct dist_pair){ .send = out, .sent = sizeof out };
    dist_mpi->start(with, -7);
    HOLDS(dist_mpi->left(&missing) && missing == (r + 1) % RANKS);
    printf("rank %d holds\n", r);
    fflush(stdout);
    sleep(r ? 60 : 1);                                     // the job ends with rank 0
    dist_mpi->abort(FAULT_NUMBERS);
}

static int rank_main(const char *how)
{
    HOLDS(!dist_open() && dist_size() == RANKS && dist_rank() >= 0 && dist_rank() < RANKS);
    int r = dist_rank();
    bool fails = !strcmp(how, "failing");
    if (!strcmp(how, "too much"))
        rank_receives_too_much(r);
    if (!strcmp(how, "wrongly"))
        rank_sends_wrongly(r);
    HOLDS(dist_local() == r);                              // all are on this host
    rank_sums(r);
    rank_gathers(r);
    rank_exchanges(r);
    if (!fails)
        rank_sends_pieces(r);
    rank_agrees(r);
    rank_names(r);
    HOLDS(dist_seconds() > 0);
    say_setup((struct say_options){ r ? SAY_QUIET : SAY_NORMAL, 0, true });
    dist_tell_names();
    printf("rank %d holds\n", r);
    fflush(stdout);
    bool failed = fails && r && dist_agree(fail(FAULT_DATA, "a fault of %d", r));
    if (fails && !r)
        failed = dist_agree(0);
    dist_close(failed ? fail_message() : NULL);
    return failed ? (int)fail_fault() : 0;
}

/* mpirun's exit code, and what all ranks print. */
static int start_ranks(arena *a, const char *how, char **text)
{
    char self[4096], buffer[512];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    FILE *p = popen(arena_printf(a, "timeout 120 %s -n %d '%s' '%s' 2>&1", dist_mpi->launcher, RANKS, self,
                                 how), "r");
    assert_non_null(p);
    *text = "";
    while (fgets(buffer, sizeof buffer, p))
        *text = arena_printf(a, "%s%s", *text, buffer);
    int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int times(const char *text, const char *what)
{
    int n = 0;
    while ((text = strstr(text, what)))
        n++, text++;
    return n;
}

static void test_ranks(void **state)
{
    (void)state;
    if (!dist_mpi || system("command -v mpirun >/dev/null")) {
        print_message("no MPI here\n");
        skip();
    }
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    arena *a = arena_open("ranks");
    char *text;
    int code = start_ranks(a, "rank", &text);
    if (code || times(text, " holds\n") != RANKS || times(text, "rank 0 (") != 1
        || times(text, "rank 1 (") != 1 || times(text, "rank 2 (") != 1)
        fail_msg("exit code %d:\n%s", code, text);
    code = start_ranks(a, "failing", &text);
    if (code != FAULT_DATA || times(text, " holds\n") != RANKS || times(text, "a fault of 1") != 1
        || times(text, "a fault of 2"))
        fail_msg("exit code %d:\n%s", code, text);
    code = start_ranks(a, "too much", &text);
    if (code != FAULT_RUN || times(text, " holds\n") || times(text, "jetcl: rank 1 (") != 1
        || !times(text, ") has not answered for 0 s"))
        fail_msg("exit code %d:\n%s", code, text);
    code = start_ranks(a, "wrongly", &text);
    if (code != FAULT_NUMBERS || times(text, " holds\n") != RANKS)
        fail_msg("exit code %d:\n%s", code, text);
    arena_close(a);
}

int main(int n, char **args)
{
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    if (n > 1)
        return rank_main(args[1]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_ranks) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
