/* source.h: kernel text embedded by the build (build/gen/kernels.c). */
#ifndef JETCL_DEV_SOURCE_H
#define JETCL_DEV_SOURCE_H
struct source_file { const char *path, *text; };        /* path as in the tree: "cl/cpu/softmax.cl"; ends with { 0, 0 } */
extern const struct source_file source_files[];
#endif
