/* source.h: kernel text embedded by the build (build/gen/kernels.c). */
#ifndef JETCL_DEV_SOURCE_H
#define JETCL_DEV_SOURCE_H
/* path as in the tree: "cl/cpu/softmax.cl"; the list ends with { 0, 0 } */
struct source_file { const char *path, *text; };
extern const struct source_file source_files[];
#endif
