/* faults.c: a library to be preloaded that lets the n-th call of one function fail, or come late:
 *
 *     LD_PRELOAD=build/faults.so FAULT=write:7:ENOSPC FAULT_LOG=x jetcl run ...
 *     FAULT=fsync:2:delay        half a second late
 *     FAULT=clEnqueue:100:fail   calls of every function whose name begins so are counted together
 *     FAULT=link:-1:EPERM        every one
 *
 * Only calls that concern the program's own folder count (FAULT_BELOW=DIR: of files below it), so that the
 * number does not depend on what libraries do at their start. FAULT_COUNT=FILE: how many there were, for the
 * next rounds; without FAULT, of each function of OpenCL, one a line. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls, each[64];               /* each: of the functions of OpenCL, by their number below */
static const char *names[64];
static long        nth;
static int         error;                         /* errno; 0: none */
static bool        delays;
static char        which[32], below[4096];

static void __attribute__((constructor)) faults_begin(void)
{
    static const struct { const char *name; int error; } errors[] = {
        { "ENOSPC", ENOSPC }, { "EIO", EIO }, { "EDQUOT", EDQUOT }, { "EROFS", EROFS }, { "ENOMEM", ENOMEM },
        { "EACCES", EACCES }, { "EMFILE", EMFILE }, { "EPERM", EPERM }, { "EAGAIN", EAGAIN },
        { "fail", EIO } };
    char how[32] = "";
    const char *fault = getenv("FAULT"), *dir = getenv("FAULT_BELOW");
    if (dir)
        snprintf(below, sizeof below, "%s", dir);
    if (!fault || sscanf(fault, "%31[^:]:%ld:%31s", which, &nth, how) != 3)
        return;
    delays = !strcmp(how, "delay");
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (!strcmp(how, errors[i].name))
            error = errors[i].error;
}

static void __attribute__((destructor)) faults_end(void)
{
    const char *path = getenv("FAULT_COUNT");
    FILE *f = path ? fopen(path, "w") : NULL;
    for (int i = 0; f && !which[0] && i < 64; i++)
        if (names[i])
            fprintf(f, "%s %ld\n", names[i], (long)each[i]);
    if (f && which[0])
        fprintf(f, "%ld\n", (long)calls);
    if (f)
        fclose(f);
}

/* Is this the call? true: it must fail with `error`. */
static bool strikes(const char *name)
{
    if (!which[0] || strncmp(name, which, strlen(which))
        || (atomic_fetch_add(&calls, 1) + 1 != nth && nth >= 0))
        return false;
    if (delays)
        nanosleep(&(struct timespec){ 0, 500000000 }, NULL);
    else
        errno = error;
    return !delays;
}

static bool concerns(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    return !strncmp(path, below, strlen(below));
}

static bool concerns_path(const char *path) { return path[0] != '/' || !strncmp(path, below, strlen(below)); }

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return concerns_path(path) && strikes("open") ? -1 : NEXT(open)(path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    return concerns_path(path) && strikes("open") ? NULL : NEXT(fopen)(path, mode);
}

/* stdio's own writes do not come by write(): the functions above them fail instead, and leave the mark that
 * ferror() finds, as a stream of glibc's does whose write has failed. */
static bool stream_strikes(FILE *f)
{
    enum { ERROR_SEEN = 0x20 };
    bool now = f && fileno(f) > 2 && concerns(fileno(f)) && strikes("write");
    if (now)
        f->_flags |= ERROR_SEEN;
    return now;
}

size_t fwrite(const void *p, size_t size, size_t n, FILE *f)
{
    return stream_strikes(f) ? 0 : NEXT(fwrite)(p, size, n, f);
}

int fflush(FILE *f)
{
    return stream_strikes(f) ? EOF : NEXT(fflush)(f);
}

ssize_t write(int fd, const void *p, size_t n)
{
    return fd > 2 && concerns(fd) && strikes("write") ? -1 : NEXT(write)(fd, p, n);
}

int fsync(int fd) { return concerns(fd) && strikes("fsync") ? -1 : NEXT(fsync)(fd); }
int close(int fd)
{
    return concerns(fd) && strikes("close") ? (NEXT(close)(fd), errno = error, -1) : NEXT(close)(fd);
}
int rename(const char *from, const char *to)
{
    return concerns_path(to) && strikes("rename") ? -1 : NEXT(rename)(from, to);
}
int link(const char *from, const char *to)
{
    return concerns_path(to) && strikes("link") ? -1 : NEXT(link)(from, to);
}
int unlink(const char *path) { return concerns_path(path) && strikes("unlink") ? -1 : NEXT(unlink)(path); }

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*f)(void *), void *arg)
{
    return strikes("pthread_create") ? error : NEXT(pthread_create)(thread, attributes, f, arg);
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t from)
{
    return fd >= 0 && concerns(fd) && strikes("mmap") ? MAP_FAILED : NEXT(mmap)(at, n, prot, flags, fd, from);
}

static bool counted(const char *name, int i)
{
    names[i] = name;
    atomic_fetch_add(&each[i], 1);
    return strikes(name);
}

/* OpenCL: handles are pointers, sizes size_t; the error is CL_OUT_OF_RESOURCES (-5). */
#define CL(name, params, args) \
    int name params { int (*next) params = (int (*) params)dlsym(RTLD_NEXT, #name); \
                      return counted(#name, __COUNTER__) ? -5 : next args; }
typedef void *h;
/* Those that return a handle put the error where the last argument points. */
#define CL_NEW(name, params, args) \
    void *name params { void *(*next) params = (void *(*) params)dlsym(RTLD_NEXT, #name); \
                        return counted(#name, __COUNTER__) ? (void)(error_out && (*error_out = -5)), NULL \
                                                           : next args; }
typedef unsigned u;
typedef unsigned long long flags;
typedef const size_t *sizes;
CL(clEnqueueNDRangeKernel, (h q, h k, unsigned d, const size_t *o, const size_t *g, const size_t *l,
                            unsigned n, const h *w, h *e), (q, k, d, o, g, l, n, w, e))
CL(clEnqueueReadBuffer, (h q, h b, unsigned s, size_t o, size_t c, void *p, unsigned n, const h *w, h *e),
   (q, b, s, o, c, p, n, w, e))
CL(clEnqueueWriteBuffer, (h q, h b, unsigned s, size_t o, size_t c, const void *p, unsigned n, const h *w,
                          h *e), (q, b, s, o, c, p, n, w, e))
CL(clEnqueueCopyBuffer, (h q, h a, h b, size_t o, size_t p, size_t c, unsigned n, const h *w, h *e),
   (q, a, b, o, p, c, n, w, e))
CL(clEnqueueFillBuffer, (h q, h b, const void *p, size_t ps, size_t o, size_t c, unsigned n, const h *w, h *e),
   (q, b, p, ps, o, c, n, w, e))
CL(clBuildProgram, (h p, unsigned n, const h *d, const char *o, void (*f)(h, void *), void *u),
   (p, n, d, o, f, u))
CL(clFinish, (h q), (q))
CL(clEnqueueMarkerWithWaitList, (h q, u n, const h *w, h *e), (q, n, w, e))
CL(clEnqueueBarrierWithWaitList, (h q, u n, const h *w, h *e), (q, n, w, e))
CL(clEnqueueUnmapMemObject, (h q, h b, void *p, u n, const h *w, h *e), (q, b, p, n, w, e))
CL(clFlush, (h q), (q))
CL(clWaitForEvents, (u n, const h *w), (n, w))
CL(clSetKernelArg, (h k, u i, size_t n, const void *p), (k, i, n, p))
CL(clGetPlatformIDs, (u n, h *p, u *m), (n, p, m))
CL(clGetPlatformInfo, (h p, u w, size_t n, void *v, size_t *r), (p, w, n, v, r))
CL(clGetDeviceIDs, (h p, flags t, u n, h *d, u *m), (p, t, n, d, m))
CL(clGetDeviceInfo, (h d, u w, size_t n, void *v, size_t *r), (d, w, n, v, r))
CL(clGetProgramInfo, (h p, u w, size_t n, void *v, size_t *r), (p, w, n, v, r))
CL(clGetProgramBuildInfo, (h p, h d, u w, size_t n, void *v, size_t *r), (p, d, w, n, v, r))
CL(clGetKernelInfo, (h k, u w, size_t n, void *v, size_t *r), (k, w, n, v, r))
CL(clGetKernelArgInfo, (h k, u i, u w, size_t n, void *v, size_t *r), (k, i, w, n, v, r))
CL(clGetKernelWorkGroupInfo, (h k, h d, u w, size_t n, void *v, size_t *r), (k, d, w, n, v, r))
CL(clGetEventProfilingInfo, (h e, u w, size_t n, void *v, size_t *r), (e, w, n, v, r))
CL_NEW(clCreateContext, (const void *p, u n, const h *d, void (*f)(void), void *x, int *error_out),
       (p, n, d, f, x, error_out))
CL_NEW(clCreateCommandQueue, (h c, h d, flags p, int *error_out), (c, d, p, error_out))
CL_NEW(clCreateBuffer, (h c, flags f, size_t n, void *p, int *error_out), (c, f, n, p, error_out))
CL_NEW(clCreateSubBuffer, (h b, flags f, u t, const void *p, int *error_out), (b, f, t, p, error_out))
CL_NEW(clCreateProgramWithSource, (h c, u n, const char **s, sizes l, int *error_out), (c, n, s, l, error_out))
CL_NEW(clCreateProgramWithBinary, (h c, u n, const h *d, sizes l, const void *b, int *s, int *error_out),
       (c, n, d, l, b, s, error_out))
CL_NEW(clCreateKernel, (h p, const char *n, int *error_out), (p, n, error_out))
CL_NEW(clEnqueueMapBuffer, (h q, h b, u k, flags f, size_t o, size_t c, u n, const h *w, h *e, int *error_out),
       (q, b, k, f, o, c, n, w, e, error_out))
