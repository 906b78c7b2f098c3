/* tensorboard.c: event files with scalars, which is three protobuf messages and a checksum:
 *
 *   record   u64 length | u32 crc(length) | bytes | u32 crc(bytes)             little endian, crc32c "masked"
 *   Event    1: wall_time double   2: step varint   3: file_version string   5: Summary
 *   Summary  1: Value { 1: tag string   2: simple_value float }
 */
#include "log/files.h"
#include <time.h>
#include <unistd.h>

struct tensorboard { append *f; };

struct bytes { u8 p[600]; size_t n; };

static void bytes_put(struct bytes *b, const void *p, size_t n)
{
    check(b->n + n <= sizeof b->p, "an event of %zu bytes", b->n + n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void put_varint(struct bytes *b, u64 v)
{
    for (; v >= 0x80; v >>= 7)
        bytes_put(b, &(u8){ (u8)(v | 0x80) }, 1);
    bytes_put(b, &(u8){ (u8)v }, 1);
}

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_field(struct bytes *b, int number, int wire) { put_varint(b, (u64)(number << 3 | wire)); }

static void put_bytes(struct bytes *b, int number, const void *p, size_t n)
{
    put_field(b, number, BYTES);
    put_varint(b, n);
    bytes_put(b, p, n);
}

/* CRC-32C (Castagnoli), bit by bit: a few records per step at most. */
static u32 masked_crc(const void *p, size_t n)
{
    u32 crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= ((const u8 *)p)[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void write_record(tensorboard *t, const struct bytes *b)
{
    struct bytes record = { .n = 0 };
    u64 length = b->n;
    u32 head = masked_crc(&length, sizeof length), tail = masked_crc(b->p, b->n);
    bytes_put(&record, &length, sizeof length);
    bytes_put(&record, &head, sizeof head);
    bytes_put(&record, b->p, b->n);
    bytes_put(&record, &tail, sizeof tail);
    append_put(t->f, record.p, record.n);
}

static void begin_event(struct bytes *b)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    f64 seconds = (f64)now.tv_sec + 1e-9 * (f64)now.tv_nsec;
    put_field(b, 1, FIXED64);
    bytes_put(b, &seconds, sizeof seconds);
}

tensorboard *tensorboard_open(arena *a, const char *dir)
{
    char host[256] = "host";
    tensorboard *t = arena_one(a, tensorboard);
    struct bytes b = { .n = 0 };
    if (file_mkdirs(dir))
        return NULL;
    if (gethostname(host, sizeof host - 1))
        snprintf(host, sizeof host, "host");
    t->f = append_open(a, arena_printf(a, "%s/events.out.tfevents.%lld.%s", dir, (long long)time(NULL), host),
                       false);
    if (!t->f)
        return NULL;
    begin_event(&b);
    put_bytes(&b, 3, "brain.Event:2", 13);
    write_record(t, &b);
    return t;
}

void tensorboard_scalar(tensorboard *t, i64 step, const char *tag, f64 value)
{
    struct bytes scalar = { .n = 0 }, summary = { .n = 0 }, event = { .n = 0 };
    f32 v = (f32)value;
    put_bytes(&scalar, 1, tag, strlen(tag));
    put_field(&scalar, 2, FIXED32);
    bytes_put(&scalar, &v, sizeof v);
    put_bytes(&summary, 1, scalar.p, scalar.n);
    begin_event(&event);
    put_field(&event, 2, VARINT);
    put_varint(&event, (u64)step);
    put_bytes(&event, 5, summary.p, summary.n);
    write_record(t, &event);
}

void tensorboard_close(tensorboard *t)
{
    append_close(t ? t->f : NULL);
}
