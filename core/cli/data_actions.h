/* data_actions.h: `jetcl data`, between cmd_data.c and data_show.c. */
#ifndef JETCL_DATA_ACTIONS_H
#define JETCL_DATA_ACTIONS_H
#include "cli/cli.h"
#include "data/data.h"
#include <jansson.h>

/* Operand 1: an experiment file, or a set's name; --root over it. 0, or -1 + fail(FAULT_USAGE). */
int data_options_given(struct cli *c, struct spec *s, bool train, struct data_options *o);
/* Prints j on stdout and releases it. 0. */
int data_print_json(json_t *j);
/* The action `show`. 0, or -1 + fail. */
int data_show(struct cli *c);

#endif
