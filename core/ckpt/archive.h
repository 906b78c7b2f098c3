/* archive.h: zip archives through libzip, for the formats that live in one. Private to core/ckpt. */
#ifndef JETCL_CKPT_ARCHIVE_H
#define JETCL_CKPT_ARCHIVE_H

#include "ckpt/format.h"
#include <zip.h>

bool   archive_knows(const struct file_map *m);
/* Opens the file's archive after judging every entry: sane name, plain or deflated, declared size in
 * proportion to the file, no name twice. NULL + fail(FAULT_DATA) without the path. */
zip_t *archive_open(ckpt *c);
int         archive_count(zip_t *z);
const char *archive_name(zip_t *z, int i);           /* as stored; valid while z is open */
u64         archive_size(zip_t *z, int i);           /* unpacked, as declared */
bool        archive_deflated(zip_t *z, int i);
/* An entry from its start; read() gives exactly n bytes or fails; finish() also checks that nothing follows
 * (when all was read: that the CRC is right) and closes. */
zip_file_t *archive_begin(zip_t *z, int i);
int         archive_read(zip_file_t *f, void *out, u64 n);
int         archive_end(zip_file_t *f);

/* Writing into o->f. Entries are stored, not deflated (weights hardly shrink), with a fixed date: same input,
 * same bytes. Head bytes are borrowed until archive_finish; a tensor (e may be NULL) is read when its place
 * comes and dropped after. */
zip_t *archive_create(arena *a, struct file_out *o);
int    archive_put(arena *a, zip_t *z, const char *name, const void *head, u64 n, entry *e);
int    archive_finish(zip_t *z);                     /* writes everything and closes, also on failure */

#endif
