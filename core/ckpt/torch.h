/* torch.h: what PyTorch's two file formats share: from unpickled values to entries. Private to core/ckpt. */
#ifndef JETCL_CKPT_TORCH_H
#define JETCL_CKPT_TORCH_H

#include "ckpt/pickle.h"

#define TORCH_NOTES "_jetcl"                         /* attribute of a state dict we wrote: its metadata */

/* Makes an entry of every tensor under root, named by its path ("state_dict.head.bias"), with its struct view
 * in src; metadata of numbers and text beside them. other (or NULL) is shown what is
 * neither a tensor nor a container: 1 for not its own either. -1 + fail. */
int  torch_list(ckpt *c, const value *root, int (*other)(ckpt *c, slice path, const value *v));
bool view_is_plain(const struct view *v);            /* contiguous in C order */
u64  view_span(const struct view *v);                /* elements from its offset to its last, inclusive */

#endif
