/* config.h: JSON files beside a checkpoint. Private to core/ckpt.
 *
 *     if (config_read(c, "model/config.json")) ...            // heads, activation, classes into c's metadata
 */
#ifndef JETCL_CKPT_CONFIG_H
#define JETCL_CKPT_CONFIG_H
#include "ckpt/format.h"
#include <jansson.h>

/* A JSON file of at most `most` bytes; the caller frees it. NULL + fail(FAULT_DATA). */
json_t *config_json(arena *a, const char *path, size_t most);

/* What the file at path says, into c's metadata; nothing where there is no such file. 0, or -1 +
 * fail(FAULT_DATA). config_images: preprocessor_config.json, how images were normalised; config_open_clip:
 * open_clip_config.json. */
int config_read(ckpt *c, const char *path);
int config_images(ckpt *c, const char *path);
int config_open_clip(ckpt *c, const char *path);
#endif
