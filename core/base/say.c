/* say.c: everything a person reads on stderr. Messages and the progress line share one lock, so that
 * threads may talk. */
#include "base/base.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct say_options opt = { SAY_NORMAL, -1, false };
static pthread_mutex_t    lock = PTHREAD_MUTEX_INITIALIZER;
static FILE              *logs[2];
static bool               line_shown;
static f64                line_time;
static char               label[64];

void say_setup(struct say_options o) { opt = o; }

/* A file that a person can hardly mean: one with text in it and a suffix that logs do not have. */
static bool say_is_other(const char *path)
{
    struct stat st;
    const char *name = strrchr(path, '/'), *dot = strchr(name ? name : path, '.');
    return !stat(path, &st) && S_ISREG(st.st_mode) && st.st_size && dot && !text_ends(path, ".log")
           && !text_ends(path, ".txt");
}

int say_log(enum say_sink sink, const char *path)
{
    if (path && sink == SAY_LOG_FILE && say_is_other(path))
        return fail(FAULT_USAGE, "%s is there already and does not end in .log or .txt: nothing is appended",
                    path);
    pthread_mutex_lock(&lock);
    if (logs[sink])
        fclose(logs[sink]);
    logs[sink] = path ? fopen(path, "a") : NULL;
    pthread_mutex_unlock(&lock);
    return path && !logs[sink] ? fail(FAULT_RUN, "%s: %s", path, strerror(errno)) : 0;
}

static bool say_dumb(void)
{
    const char *term = getenv("TERM");
    return !term || !strcmp(term, "dumb");
}

bool say_live(void) { return !opt.no_progress && opt.level >= SAY_NORMAL && isatty(2) && !say_dumb(); }

int say_width(void)
{
    struct winsize w;
    return MAX(1, (ioctl(2, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80) - (int)strlen(label));
}

void print_wrapped(FILE *f, int indent, const char *text)
{
    enum { COLUMNS = 80 };
    int at = indent;
    for (const char *word = text; *word;) {
        int n = (int)strcspn(word, " ");
        if (at > indent && at + 1 + n > COLUMNS) {
            fprintf(f, "\n%*s", indent, "");
            at = indent;
        }
        at += fprintf(f, "%s%.*s", at > indent ? " " : "", n, word);
        word += n + (word[n] == ' ');
    }
    fputc('\n', f);
}

static void erase_line(void)
{
    if (line_shown)
        fputs("\r\033[K", stderr);
    line_shown = false;
}

/* To the log files, and to stderr if it is shown. */
static void say_emit(bool shown, const char *prefix, const char *fmt, va_list ap)
{
    char text[4096];
    vsnprintf(text, sizeof text, fmt, ap);
    pthread_mutex_lock(&lock);
    if (shown) {
        erase_line();
        fprintf(stderr, "%s%s\n", prefix, text);
    }
    for (int i = 0; i < countof(logs); i++)
        if (logs[i]) {
            fprintf(logs[i], "%s%s\n", prefix, text);
            fflush(logs[i]);
        }
    pthread_mutex_unlock(&lock);
}

void say(enum say_level level, const char *fmt, ...)
{
    if ((int)level > MAX(opt.level, SAY_NORMAL))
        return;
    va_list ap;
    va_start(ap, fmt);
    say_emit((int)level <= opt.level, "", fmt, ap);
    va_end(ap);
}

void warn(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_emit(opt.level >= SAY_NORMAL, "warning: ", fmt, ap);
    va_end(ap);
}

void say_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_emit(true, "", fmt, ap);
    va_end(ap);
}

void progress(const char *fmt, ...)
{
    if (!say_live() || clock_now() - line_time < 0.1)
        return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    text[MIN(sizeof text - 1, (size_t)MAX(1, say_width() - 1))] = 0;
    pthread_mutex_lock(&lock);
    fprintf(stderr, "\r%s%s\033[K", label, text);
    fflush(stderr);
    line_shown = true;
    line_time = clock_now();
    pthread_mutex_unlock(&lock);
}

void progress_label(const char *text)
{
    pthread_mutex_lock(&lock);
    snprintf(label, sizeof label, "%s", text);
    pthread_mutex_unlock(&lock);
}

void progress_done(void)
{
    pthread_mutex_lock(&lock);
    erase_line();
    line_time = 0;
    pthread_mutex_unlock(&lock);
}

const char *say_bar(char *out, int width, double fraction)
{
    int inner = width - 2, full = (int)(MIN(1, MAX(0, fraction)) * inner);
    out[0] = '[';
    for (int i = 0; i < inner; i++)
        out[1 + i] = i < full ? '=' : i == full ? '>' : ' ';
    out[1 + inner] = ']';
    out[2 + inner] = 0;
    return out;
}

static bool say_colored(int fd)
{
    const char *force = getenv("FORCE_COLOR"), *no = getenv("NO_COLOR");
    if (opt.color >= 0)
        return opt.color;
    if (force && *force)
        return true;
    if (no && *no)
        return false;
    return isatty(fd) && !say_dumb();
}

const char *say_bold(int fd)  { return say_colored(fd) ? "\033[1m" : ""; }
const char *say_red(int fd)   { return say_colored(fd) ? "\033[31m" : ""; }
const char *say_green(int fd) { return say_colored(fd) ? "\033[32m" : ""; }
const char *say_dim(int fd)   { return say_colored(fd) ? "\033[2m" : ""; }
const char *say_plain(int fd) { return say_colored(fd) ? "\033[0m" : ""; }
