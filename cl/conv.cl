/* conv.cl: depthwise convolution on any device: one item computes some channels of some rows. See conv.h. */
#include "type.h"
#include "conv.h"
