/* options.h: the command line, between options.c, help.c and main.c. */
#ifndef JETCL_OPTIONS_H
#define JETCL_OPTIONS_H
#include "cli/cli.h"

/* An option of every command (takes 0), or of those that ask for it. letter 0: no short form. */
struct shared_option { char letter; struct cli_option o; int takes; };
extern const struct shared_option cli_shared[];
extern const int                  cli_shared_count;

/* What the shared options say besides the fields of struct cli. */
struct general { struct say_options say; const char *devices, *seed, *threads, *precision; bool help; };

/* Reads the options of c->command; argv[0] is its name. 0, or -1 + fail(FAULT_USAGE). */
int  options_read(struct cli *c, struct general *g, int argc, char **argv);
/* What help, manual and completions say of an option: "show, speed: ..." where it is for some actions. */
enum { OPTION_HELP = 192 };
const char *option_help(char out[OPTION_HELP], const struct cli_option *o);
int  options_log_level(int *level);            /* what JETCL_LOG says; 0, or -1 + fail(FAULT_USAGE) */
void help_command(const struct command *cmd);  /* its examples, usage and options on stdout */
void help_manual(void);                        /* manual.c: the manual page on stdout */
int  help_completion(const char *shell);       /* completion.c: 0, or -1 + fail(FAULT_USAGE) */
/* NULL when there is none of this name. */
const struct command *cli_find(const char *name);

#endif
