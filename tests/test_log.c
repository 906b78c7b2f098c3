/* test_log.c: what a run leaves behind, read back by other means than it was written: event files by a reader
 * of their own, metrics.jsonl and result.json value by value; speed and time left on a clock of the test's. */
#include "unit.h"
#include <jansson.h>
#include <math.h>
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>
#include "log/files.h"

static f64 now;                                   /* seconds, where a test sets the clock */
static f64 scripted_clock(void) { return now; }
#define clock_now scripted_clock
#include "log/speed.c"
#include "log/metrics.c"
#undef clock_now

static arena *a;
static char folder[64];

static int log_begin(void **state)
{
    (void)state;
    a = arena_open("test");
    say_setup((struct say_options){ SAY_QUIET, 0, true });
    snprintf(folder, sizeof folder, "/tmp/jetcl-log-XXXXXX");
    return !mkdtemp(folder) || setenv("XDG_CONFIG_HOME", folder, 1) || chdir(folder);
}

static int log_end(void **state)
{
    (void)state;
    return chdir("/") || system(arena_printf(a, "rm -rf %s", folder));
}

static report *opened(const char *keys, const char *out, bool resume)
{
    struct spec s;
    if (spec_parse(&s, a, "log.yaml", keys, NULL, 0))
        fail_msg("%s", fail_message());
    struct run_options o = { .out = out, .resume = resume ? "" : NULL, .hash = 77 };
    report *r = report_open(&s, &o, NULL);
    if (!r)
        fail_msg("%s", fail_message());
    return r;
}

/* ---- event files --------------------------------------------------------------------------------------- */

/* CRC-32C by a table of bytes, of the reflected polynomial worked out here from its usual form. */
static u32 crc32c(const u8 *p, size_t n)
{
    u32 table[256], poly = 0, crc = 0xffffffffu;
    for (int bit = 0; bit < 32; bit++)
        poly |= (0x1edc6f41u >> bit & 1) << (31 - bit);
    for (u32 i = 0; i < 256; i++) {
        u32 c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ poly : c >> 1;
        table[i] = c;
    }
    for (size_t i = 0; i < n; i++)
        crc = table[(crc ^ p[i]) & 255] ^ crc >> 8;
    return ~crc;
}

static u32 unmasked(u32 m) { m -= 0xa282ead8u; return m >> 17 | m << 15; }

struct reader { const u8 *p, *end; };

static u64 varint(struct reader *r)
{
    u64 v = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(r->p < r->end && shift < 64);
        v |= (u64)(*r->p & 127) << shift;
        if (!(*r->p++ & 128))
            return v;
    }
}

/* The next field's number; what it holds into *v (numbers) or *in (bytes). */
static int field(struct reader *r, u64 *v, struct reader *in)
{
    u64 key = varint(r), n = 0;
    *v = 0;
    if ((key & 7) == 0)
        *v = varint(r);
    else {
        n = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : varint(r);
        assert_true((key & 7) != 3 && (u64)(r->end - r->p) >= n);
        *in = (struct reader){ r->p, r->p + n };
        memcpy(v, r->p, n > 8 ? 0 : n);
        r->p += n;
    }
    return (int)(key >> 3);
}

struct event { i64 step; char tag[64]; f32 value; f64 time; };

static int read_events(const char *path, struct event *out, int room)
{
    size_t n = 0;
    const u8 *p = (const u8 *)file_text(a, path, &n), *end = p + n;
    int count = 0;
    assert_non_null(p);
    for (; p < end; count++) {
        u64 length, v;
        u32 head, tail;
        assert_true(end - p >= 16);
        memcpy(&length, p, 8);
        memcpy(&head, p + 8, 4);
        assert_true((u64)(end - p) >= length + 16 && unmasked(head) == crc32c(p, 8));
        memcpy(&tail, p + 12 + length, 4);
        assert_int_equal(unmasked(tail), crc32c(p + 12, length));
        struct reader r = { p + 12, p + 12 + length }, in, value, leaf;
        struct event e = { .step = 0 };
        while (r.p < r.end) {
            int number = field(&r, &v, &in);
            if (number == 1)
                memcpy(&e.time, &v, 8);
            else if (number == 2)
                e.step = (i64)v;
            else if (number == 3)
                assert_memory_equal(in.p, "brain.Event:2", 13);
            else {
                assert_int_equal(number, 5);
                assert_int_equal(field(&in, &v, &value), 1);
                assert_true(in.p == in.end);
                assert_int_equal(field(&value, &v, &leaf), 1);
                memcpy(e.tag, leaf.p, (size_t)(leaf.end - leaf.p));
                assert_int_equal(field(&value, &v, &leaf), 2);
                memcpy(&e.value, leaf.p, 4);
                assert_true(value.p == value.end);
            }
        }
        assert_true(count < room);
        out[count] = e;
        p += length + 16;
    }
    return count;
}

static const char *event_file(const char *dir)
{
    const char *name = NULL;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (text_starts(e->d_name, "events.out.tfevents."))
            name = arena_printf(a, "%s/%s", dir, e->d_name);
    closedir(d);
    assert_non_null(name);
    return name;
}

static void test_events(void **state)
{
    (void)state;
    assert_int_equal(crc32c((const u8 *)"123456789", 9), 0xe3069283u);
    report *r = opened("log: {tensorboard: on}", "board", false);
    assert_int_equal(report_step(r, &(struct report_step){ 1, 300, 2.5, 1e-3, .75, 1 << 30 }), 0);
    assert_int_equal(report_eval(r, &(struct run_eval){ 1, 1LL << 40, 10, 50, 90, 1.25, 2 }), 0);
    report_close(r);
    static const struct { i64 step; const char *tag; f32 value; } want[] = {
        { 300, "train/loss", 2.5f }, { 300, "train/lr", 1e-3f }, { 300, "train/grad_norm", .75f },
        { 300, "train/mem", 1024 },
        { 1LL << 40, "eval/loss", 1.25f }, { 1LL << 40, "eval/top1", 50 }, { 1LL << 40, "eval/top5", 90 } };
    struct event e[16];
    assert_int_equal(read_events(event_file("board/tb"), e, 16), 1 + countof(want));
    for (int i = 0; i < countof(want); i++) {
        assert_string_equal(e[i + 1].tag, want[i].tag);
        assert_true(e[i + 1].step == want[i].step && e[i + 1].value == want[i].value);
        assert_true(fabs(e[i + 1].time - (f64)time(NULL)) < 60);
    }
    report_close(opened("", "quiet", false));
    assert_false(file_exists("quiet/tb"));
}

/* ---- metrics.jsonl, result.json ------------------------------------------------------------------------ */

static f64 number(const json_t *j, const char *key)
{
    const json_t *v = json_object_get(j, key);
    if (!v)
        fail_msg("no %s", key);
    return json_is_null(v) ? NAN : json_number_value(v);
}

static json_t *line_of(const char *path, int k)
{
    char line[2048] = "";
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (int i = 0; i <= k; i++)
        assert_non_null(fgets(line, sizeof line, f));
    fclose(f);
    json_t *j = json_loads(line, 0, NULL);
    assert_non_null(j);
    return j;
}

static void test_metrics(void **state)
{
    (void)state;
    now = 100;
    report *r = opened("", "metrics", false);
    now = 107.5;
    assert_int_equal(report_step(r, &(struct report_step){ 3, 21, 2.5, 1e-3, .75, 5ull << 20 }), 0);
    now = 110;
    assert_int_equal(report_eval(r, &(struct run_eval){ 3, 21, 10, 12.5, 90, 1.25, 2 }), 0);
    assert_int_equal(report_event(r, "note", 22), 0);
    report_close(r);
    json_t *train = line_of("metrics/metrics.jsonl", 0), *eval = line_of("metrics/metrics.jsonl", 1),
           *event = line_of("metrics/metrics.jsonl", 2);
    assert_string_equal(json_string_value(json_object_get(train, "split")), "train");
    assert_true(number(train, "epoch") == 3 && number(train, "step") == 21 && number(train, "loss") == 2.5
                && number(train, "lr") == 1e-3 && number(train, "grad_norm") == .75
                && number(train, "mem") == 5 && number(train, "run_s") == 7.5 && isnan(number(train, "img_s"))
                && isnan(number(train, "data_s")) && !json_object_get(train, "nan"));
    assert_string_equal(json_string_value(json_object_get(eval, "split")), "eval");
    assert_true(number(eval, "epoch") == 3 && number(eval, "step") == 21 && number(eval, "loss") == 1.25
                && number(eval, "top1") == 12.5 && number(eval, "top5") == 90 && number(eval, "n") == 10
                && number(eval, "s") == 2 && number(eval, "run_s") == 10);
    assert_string_equal(json_string_value(json_object_get(event, "event")), "note");
    assert_true(number(event, "step") == 22);
    const char *stamp = json_string_value(json_object_get(train, "t"));
    struct tm tm = { 0 };
    assert_true(strlen(stamp) == 24 && stamp[23] == 'Z' && strptime(stamp, "%Y-%m-%dT%H:%M:%S", &tm));
    assert_true(llabs((long long)timegm(&tm) - (long long)time(NULL)) < 60);
    json_decref(train), json_decref(eval), json_decref(event);
    now = 500;                                    // the seconds of earlier parts count
    assert_int_equal(file_save("metrics/ckpt/last.state", "", 0), 0);
    r = opened("", "metrics", true);
    now = 502;
    assert_int_equal(report_resume(r, 21, 21), 0);
    struct run_result out;
    report_result(r, a, &out);
    assert_true(out.seconds == 12 && out.n_evals == 1 && out.top1 == 12.5);
    assert_int_equal(report_step(r, &(struct report_step){ 4, 30, 2, 1e-3, .5, 0 }), 0);
    report_close(r);
    size_t n;
    r = opened("", "metrics", true);              // from before step 30, which comes again
    assert_non_null(strstr(file_text(a, "metrics/metrics.csv", &n), ",train,4,30,"));
    assert_int_equal(report_resume(r, 21, 21), 0);
    report_close(r);
    const char *csv = file_text(a, "metrics/metrics.csv", &n);
    assert_non_null(strstr(csv, ",train,3,21,2.5,0.001,0.75,"));
    assert_non_null(strstr(csv, ",eval,3,21,1.25,"));
    assert_null(strstr(csv, ",30,"));
}

static void test_result(void **state)
{
    (void)state;
    report *r = opened("", "result", false);
    struct run_result out, in;
    report_result(r, a, &out);
    assert_true(isnan(out.top1) && isnan(out.top5) && isnan(out.loss) && isnan(out.best_top1)
                && isnan(out.img_s) && out.best_epoch == 0 && out.n_evals == 0 && out.hash == 77);
    const f64 top1[] = { 20, 40, 40, 30 };
    report_tick(r, &(struct report_tick){ 4, 2, 5, 1, 0 });
    assert_int_equal(report_step(r, &(struct report_step){ 4, 17, 1, 1, 1, 1 }), 0);
    for (int i = 0; i < 4; i++)
        report_eval(r, &(struct run_eval){ i + 1, 4 * (i + 1), 50, top1[i], 80 + i, 2 - .25 * i, .5 });
    report_saved(r, .5, 2);
    report_saved(r, .25, 3);
    report_result(r, a, &out);
    out.reason = "patience";
    out.params = 123456789012;
    out.memory = 6ull << 30;
    out.unset = 17;
    out.flops = 1.5e9;
    out.flops_complete = 1.75e9;
    out.img_s = 321.5;
    out.seconds = 61.5;
    assert_int_equal(report_finish(r, &out), 0);
    json_t *j = json_load_file("result/result.json", 0, NULL), *e = json_object_get(j, "evals");
    assert_true(number(j, "top1") == 30 && number(j, "top5") == 83 && number(j, "loss") == 1.25
                && number(j, "best_top1") == 40 && number(j, "best_epoch") == 2 && number(j, "epochs") == 4
                && number(j, "steps") == 17 && number(j, "params") == 123456789012
                && number(j, "memory") == 6442450944 && number(j, "unset") == 17 && number(j, "flops") == 1.5e9
                && number(j, "flops_complete") == 1.75e9 && number(j, "img_s") == 321.5
                && number(j, "seconds") == 61.5);
    assert_string_equal(json_string_value(json_object_get(j, "reason")), "patience");
    assert_string_equal(json_string_value(json_object_get(j, "experiment")), "000000000000004d");
    assert_true(json_array_size(e) == 4 && number(json_array_get(e, 2), "epoch") == 3
                && number(json_array_get(e, 2), "step") == 12 && number(json_array_get(e, 2), "n") == 50
                && number(json_array_get(e, 2), "top1") == 40 && number(json_array_get(e, 2), "top5") == 82
                && number(json_array_get(e, 2), "loss") == 1.5
                && number(json_array_get(e, 2), "seconds") == .5);
    json_decref(j);
    assert_int_equal(result_load(a, "result", &in), 0);
    in.evals = out.evals, in.skipped = out.skipped, out.reason = in.reason;
    assert_true(in.top1 == out.top1 && in.top5 == out.top5 && in.loss == out.loss && in.steps == out.steps
                && in.best_top1 == out.best_top1 && in.best_epoch == out.best_epoch && in.hash == 77
                && in.params == out.params && in.memory == out.memory && in.unset == out.unset
                && in.flops == out.flops && in.flops_complete == out.flops_complete && in.img_s == out.img_s
                && in.seconds == out.seconds && in.epochs == 4 && in.n_evals == 4 && in.n_skipped == 0);
    assert_true(in.saves == 2 && in.save_wait == .5 && in.save_seconds == 3);
    report_close(r);
}

/* Every field is needed: a file without one is damaged. */
static void test_damaged_result(void **state)
{
    (void)state;
    struct run_eval e = { 1, 2, 3, 4, 5, 6, 7 };
    struct run_result r = { .reason = "done", .n_evals = 1, .evals = &e }, in;
    assert_int_equal(file_mkdirs("damaged"), 0);
    assert_int_equal(result_save("damaged", &r), 0);
    json_t *whole = json_load_file("damaged/result.json", 0, NULL), *v;
    const char *key;
    json_object_foreach(whole, key, v) {
        json_t *less = json_deep_copy(whole);
        json_object_del(less, key);
        assert_int_equal(json_dump_file(less, "damaged/result.json", 0), 0);
        fail_clear();
        if (result_load(a, "damaged", &in) != -1 || fail_fault() != FAULT_DATA)
            fail_msg("read without %s", key);
        json_decref(less);
    }
    json_object_foreach(json_array_get(json_object_get(whole, "evals"), 0), key, v) {
        json_t *less = json_deep_copy(whole);
        json_object_del(json_array_get(json_object_get(less, "evals"), 0), key);
        assert_int_equal(json_dump_file(less, "damaged/result.json", 0), 0);
        if (result_load(a, "damaged", &in) != -1)
            fail_msg("read without %s of an evaluation", key);
        json_decref(less);
    }
    json_decref(whole);
}

/* ---- speed --------------------------------------------------------------------------------------------- */

static void ticks(struct speed *s, int from, int to, f64 step, f64 wait)
{
    for (int k = from; k <= to; k++) {
        now += step;
        speed_tick(s, &(struct report_tick){ (k - 1) / 10 + 1, (k - 1) % 10 + 1, 10, 32 * k, wait * k, NAN });
    }
}

/* A step of half a second, a fifth of it spent waiting for data; 32 images a step, ten steps an epoch. */
static void test_speed(void **state)
{
    (void)state;
    struct speed s = { .epochs = 4, .eval_every = 2, .tick.loss = NAN };
    now = 1000;
    ticks(&s, 1, 5, 60, .1);                      // the first steps do not count, however slow
    assert_true(isnan(speed_pace(&s).img_s) && isnan(speed_pace(&s).run_left));
    ticks(&s, 6, 12, .5, .1);
    struct pace p = speed_pace(&s);
    assert_true(fabs(p.img_s - 64) < 1e-9 && fabs(p.data_share - .2) < 1e-9 && fabs(p.data_s - .1) < 1e-9
                && fabs(p.epoch_left - 4) < 1e-9 && fabs(p.run_left - 14) < 1e-9);
    assert_true(s.train_images == 6 * 32 && fabs(s.train_seconds - 3) < 1e-9);
    speed_eval(&s, 7);                            // two are left, of seven seconds each; the window is empty
    assert_true(isnan(speed_pace(&s).img_s));
    now += 100;
    ticks(&s, 13, 16, .25, 0);
    p = speed_pace(&s);
    assert_true(fabs(p.img_s - 128) < 1e-9 && fabs(p.run_left - (24 * .25 + 14)) < 1e-9);
    assert_true(s.train_images == 9 * 32 && fabs(s.train_seconds - 3.75) < 1e-9);
    s.step_limit = 20;
    assert_true(fabs(speed_pace(&s).run_left - (4 * .25 + 14)) < 1e-9);
    s.step_limit = 1000;
    assert_true(fabs(speed_pace(&s).run_left - (24 * .25 + 14)) < 1e-9);
    s.eval_every = 0;
    assert_true(fabs(speed_pace(&s).run_left - (24 * .25 + 7)) < 1e-9);
    now += 0;
    ticks(&s, 17, 60, 1, 2);                      // waiting is never more than all of it; old samples go
    p = speed_pace(&s);
    assert_true(p.data_share == 1 && fabs(p.img_s - 32) < 1e-9);
}

static void test_line(void **state)
{
    (void)state;
    struct speed s = { .epochs = 4, .eval_every = 1, .tick.loss = NAN };
    now = 0;
    ticks(&s, 1, 1, 1, 0);
    assert_string_equal(progress_line(&s, 0).text, "epoch 1/4  1/10");
    ticks(&s, 2, 12, .5, .1);
    s.step = (struct report_step){ .epoch = 2, .step = 12, .lr = 2.1e-3 };
    s.tick.loss = 2.34567;
    assert_string_equal(progress_line(&s, 0).text,
                        "epoch 2/4  2/10  loss 2.346  64 img/s  ETA 0:04 (run 0:14)");
    assert_string_equal(progress_line(&s, WITH_LR | WITH_DATA).text,
                        "epoch 2/4  2/10  loss 2.346  lr 2.1e-3  64 img/s  data 20%  ETA 0:04 (run 0:14)");
    char text[24];
    s.tick.loss = 5;
    ticks(&s, 13, 13, .5, .1);                    // a tick that knows none keeps the one before
    assert_non_null(strstr(progress_line(&s, 0).text, "loss 5.000"));
    speed_tick(&s, &(struct report_tick){ 2, 4, 10, 32 * 14, 1.4, 4.5 });
    assert_non_null(strstr(progress_line(&s, 0).text, "epoch 2/4  4/10  loss 4.500"));
    assert_string_equal(short_real(text, 12345), "1.2e4");
    assert_string_equal(short_real(text, 0), "0.0e0");
}

/* A run that starts again removes what a run writes, and nothing else. */
static void test_clear(void **state)
{
    (void)state;
    static const char *const theirs[] = { "result.json", "recycle.json", "log.txt", "ckpt/last.state",
        "ckpt/last.safetensors", "ckpt/best.safetensors", "ckpt/epoch_0001.state", "ckpt/recycled.safetensors",
        "tb/events.out.tfevents.1" };
    static const char *const others[] = { "notes.txt", "ckpt/mine.pth", "tb/notes.txt", "ckpt/my.last.state" };
    assert_int_equal(file_mkdirs("clear/ckpt") || file_mkdirs("clear/tb"), 0);
    for (int i = 0; i < countof(theirs); i++)
        assert_int_equal(file_save(arena_printf(a, "clear/%s", theirs[i]), "x", 1), 0);
    for (int i = 0; i < countof(others); i++)
        assert_int_equal(file_save(arena_printf(a, "clear/%s", others[i]), "x", 1), 0);
    repair_clear("clear");
    for (int i = 0; i < countof(theirs); i++)
        assert_false(file_exists(arena_printf(a, "clear/%s", theirs[i])));
    for (int i = 0; i < countof(others); i++)
        assert_true(file_exists(arena_printf(a, "clear/%s", others[i])));
}

/* Numbers that no evaluation has. */
static void test_past(void **state)
{
    (void)state;
    static const struct { const char *values; int rc; } rows[] = {
        { "\"epoch\":1,\"step\":2,\"n\":3,\"top1\":100,\"top5\":100,\"s\":0", 0 },
        { "\"epoch\":1,\"step\":2,\"n\":3,\"top1\":null,\"top5\":null", 0 },
        { "\"epoch\":-1,\"step\":2,\"n\":3,\"top1\":1,\"top5\":1", -1 },
        { "\"epoch\":1,\"step\":-2,\"n\":3,\"top1\":1,\"top5\":1", -1 },
        { "\"epoch\":1,\"step\":2,\"n\":-3,\"top1\":1,\"top5\":1", -1 },
        { "\"epoch\":1,\"step\":2,\"n\":3,\"top1\":100.1,\"top5\":1", -1 },
        { "\"epoch\":1,\"step\":2,\"n\":3,\"top1\":1,\"top5\":100.1", -1 },
        { "\"epoch\":1,\"step\":2,\"n\":3,\"top1\":1,\"top5\":-1", -1 },
        { "\"epoch\":1,\"step\":2,\"n\":3,\"top1\":1,\"top5\":1,\"s\":-1", -1 },
        { "\"epoch\":1,\"step\":2,\"top1\":1,\"top5\":1", -1 } };
    for (int i = 0; i < countof(rows); i++) {
        const char *line = arena_printf(a, "{\"split\":\"eval\",%s}\n", rows[i].values);
        struct past p = { 0 };
        assert_int_equal(file_save("past.jsonl", line, strlen(line)), 0);
        if (past_read("past.jsonl", a, &p) != rows[i].rc)
            fail_msg("%s: not %d", line, rows[i].rc);
        assert_true(rows[i].rc || (p.n == 1 && p.evals[0].step == 2 && p.evals[0].n == 3));
    }
}

/* A process of this number on another machine is about to remove its draft, whose other name is the lock. */
static void test_same_number(void **state)
{
    (void)state;
    static const char text[] = "jetcl lock 1\nelsewhere 12 34 - -\n2026-01-01 00:00:00\n";
    size_t n;
    lock *l;
    assert_int_equal(file_mkdirs("number"), 0);
    assert_int_equal(file_save("number/lock", text, sizeof text - 1), 0);
    assert_int_equal(link("number/lock", arena_printf(a, "number/lock.%ld", (long)getpid())), 0);
    assert_int_equal(lock_take("number", &l), 1);
    assert_string_equal(file_text(a, "number/lock", &n), text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events), cmocka_unit_test(test_metrics), cmocka_unit_test(test_result),
        cmocka_unit_test(test_damaged_result), cmocka_unit_test(test_speed), cmocka_unit_test(test_line),
        cmocka_unit_test(test_same_number), cmocka_unit_test(test_clear), cmocka_unit_test(test_past) };
    return cmocka_run_group_tests(tests, log_begin, log_end);
}
