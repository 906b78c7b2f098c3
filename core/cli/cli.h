/* cli.h: a command is one constant descriptor and one word in commands.def. main.c reads the options, shared
 * ones included.
 *
 *     static const struct cli_option options[] = { { "images", "N", "how many" }, { 0 } };
 *     static int run(struct cli *c) { struct spec s; return cli_experiment(c, &s) ? -1 : show(&s); }
 *     const struct command show_cmd = { "show", "what the network sees", "show EXP.yaml [options]",
 *                                       { "jetcl show experiments/demo.yaml" }, options, TAKES_JSON, run };
 */
#ifndef JETCL_CLI_H
#define JETCL_CLI_H
#include "base/base.h"
#include "spec/spec.h"

struct cli;
/* value: what the help calls the argument, NULL for a switch, "[X]" when it may be left out (--resume=X).
 * many: it may be given again with another value. of: the actions of a command (data show, data speed) that
 * take it, as "show, speed"; NULL: all. */
struct cli_option { const char *name, *value, *help; bool many; const char *of; };

/* Shared options a command may ask for besides those every command has. */
enum { TAKES_JSON = 1, TAKES_OUT = 2, TAKES_DRY_RUN = 4, TAKES_RESUME = 8, TAKES_FILE = 16,
       TAKES_PRECISION = 32, TAKES_RANKS = 64 /* runs on all ranks of a job */ };

struct command {
    const char *name, *summary, *usage;    /* usage: "train EXP.yaml [options]" */
    const char *examples[3];
    const struct cli_option *options;      /* its own; ends in an empty row; NULL for none */
    int         takes;
    int       (*run)(struct cli *c);       /* 0, or -1 with fail() set: the fault is the exit code */
};
#define COMMAND(name) extern const struct command name##_cmd;
#include "cli/commands.def"
#undef COMMAND
extern const struct command *const cli_commands[];
extern const int                   cli_command_count;

struct cli_given { const char *name, *value; };
struct cli {
    const struct command *command;
    arena       *arena;                    /* lives as long as the program */
    int          n;                        /* operands: what is left without the options */
    char       **operands;
    int          argc;                     /* the whole command line, for env.json */
    char       **argv;
    bool         json, dry_run, force;
    const char  *out;            /* --out, or NULL */
    const char  *resume;         /* NULL: not asked; "": the newest; else a checkpoint or run */
    struct spec_set  *sets;      /* --set, --device, --seed, --threads, --precision in this order of strength */
    int               n_sets;
    struct cli_given *given;               /* the command's own options */
    int               n_given;
};

/* Was the option given? Its value; "" for a switch, NULL when not given. Only names the
 * command declares. */
bool        cli_given(const struct cli *c, const char *name);
const char *cli_value(const struct cli *c, const char *name);
/* Its value as an integer in [lo, hi]; `*out` stays when not given. 0, or -1 + fail(FAULT_USAGE). */
int         cli_count(const struct cli *c, const char *name, i64 lo, i64 hi, i64 *out);

/* -1 + fail(FAULT_USAGE) if the option names the file `input`, which its output would replace. */
int         cli_not_input(const struct cli *c, const char *name, const char *input);

/* -1 + fail(FAULT_USAGE) if the output lies in this folder of images, to be read as one the next time. NULL for
 * either: 0. */
int         cli_not_inside(const char *option, const char *path, const char *folder);

/* The experiment of operand 0, with --set and the shared options over it. 0, or -1 + fail(FAULT_USAGE). */
int cli_experiment(struct cli *c, struct spec *s);
/* The same where a file may be left out: path NULL gives the defaults. For commands that only need --device
 * and the like. */
int cli_spec(struct cli *c, const char *path, struct spec *s);
/* What eval and predict work with: operand 0 is a checkpoint, a run's folder, or an experiment, and then
 * operand 1 the checkpoint (model.init when there is none). *used: how many operands that took. 0, or -1 +
 * fail; trained_close in any case. */
struct trained;
int cli_trained(struct cli *c, struct trained *t, int *used);
/* --data and --split over the experiment of what was trained. 0, or -1 + fail. */
int cli_data(struct cli *c, struct spec *s);
/* What a file is, by what is in it. */
enum file_kind { FILE_OTHER, FILE_EXPERIMENT, FILE_TABLE, FILE_RUN, FILE_CHECKPOINT };
enum file_kind cli_kind(arena *a, const char *path);
/* The file that an operand means: see spec_find(). Says what it found when that is another name. */
const char *cli_find_file(struct cli *c, const char *name, const char *kind);
/* -1 + fail(FAULT_USAGE) unless there are lo to hi operands. */
int cli_operands(const struct cli *c, int lo, int hi);

#endif
