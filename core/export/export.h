/* export.h: a trained network as a file that other programs run.
 *
 *     struct export x = { &spec, c, &about, .probabilities = true };
 *     if (export_onnx(&x, "model.onnx")) return -1;         // no device is used
 *
 * `make layers` checks that no file calls one that stands after it here:
 * Order: onnx_file network
 */
#ifndef JETCL_EXPORT_H
#define JETCL_EXPORT_H
#include "model/model.h"
#include "op/onnx.h"

struct export {
    const struct spec *s;                         /* classes and pool settled (trained_open does that) */
    ckpt       *c;                                /* the weights: ckpt_open_model's */
    const struct model_about *about;
    bool        half;                             /* weights and values in fp16, but for norms and routing */
    bool        probabilities;                    /* the result is a softmax of the logits */
};
/* The network in evaluation, without routing noise: "images" (b 3 h w) -> "logits" or "probabilities"
 * (b classes), for any b. What a reader needs to know stands in the metadata under the keys of our checkpoints,
 * with "crop" (eval.crop). Weights of more than a gigabyte go to FILE.data beside it. 0, or -1 + fail. */
int export_onnx(const struct export *x, const char *path);
/* Was the program built with it? 0, or -1 + fail(FAULT_USAGE) that says what is missing. */
int export_built(void);

/* ---- for export/ --------------------------------------------------------------------------------------- */

struct onnx_port { const char *name; bool half; struct shape shape; };    /* axis 0 counts images */
struct onnx_model {
    const struct onnx *graph;
    ckpt        *weights;                         /* initialisers under their names; the metadata */
    struct onnx_port in, out;
};
int onnx_save(const struct onnx_model *m, arena *a, const char *path);

#endif
