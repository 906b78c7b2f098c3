/* help.c: `jetcl help`: the commands, one command with its options, or a key of the experiment file. */
#include "cli/cli.h"
#include "cli/options.h"

static void print_option(char letter, const struct cli_option *o)
{
    char text[64], help[OPTION_HELP];
    const char *sep = !o->value ? "" : o->value[0] == '[' ? "" : " ";
    if (o->value && o->value[0] == '[')
        snprintf(text, sizeof text, "--%s[=%.*s]", o->name, (int)strlen(o->value) - 2, o->value + 1);
    else
        snprintf(text, sizeof text, "--%s%s%s", o->name, sep, o->value ? o->value : "");
    if (letter)
        printf("  -%c, %-22s ", letter, text);
    else
        printf("      %-22s ", text);
    print_wrapped(stdout, MAX(29, 7 + (int)strlen(text)), option_help(help, o));
}

void help_command(const struct command *cmd)
{
    for (int i = 0; i < countof(cmd->examples) && cmd->examples[i]; i++)
        printf("  %s\n", cmd->examples[i]);
    bool fits = strlen("jetcl : ") + strlen(cmd->usage) + strlen(cmd->summary) <= 80;
    printf("%s%sjetcl %s%s:%s%s\n", cmd->examples[0] ? "\n" : "", say_bold(1), cmd->usage, say_plain(1),
           fits ? " " : "\n    ", cmd->summary);
    for (int i = 0; cmd->options && cmd->options[i].name; i++) {
        if (!i)
            printf("\n");
        print_option(0, &cmd->options[i]);
    }
    printf("\n");
    for (int i = 0; i < cli_shared_count; i++)
        if (!cli_shared[i].takes || (cli_shared[i].takes & cmd->takes))
            print_option(cli_shared[i].letter, &cli_shared[i].o);
}

static void help_all(void)
{
    printf("  jetcl table experiments/tables/demo.yaml      predecessors, then every cell of a table\n"
           "  jetcl run experiments/demo.yaml --seed 7      recycle, fine-tune and evaluate one\n\n"
           "%sjetcl COMMAND [options] [arguments]%s\n\n", say_bold(1), say_plain(1));
    for (int i = 0; i < cli_command_count; i++) {
        printf("  %-10s ", cli_commands[i]->name);
        print_wrapped(stdout, 13, cli_commands[i]->summary);
    }
    printf("\n`jetcl help COMMAND` shows its options, `jetcl help KEY` explains a key of an\n"
           "experiment file, `jetcl config --list` shows them all.\n"
           "`jetcl help --environment` lists environment variables.\n");
}

/* Environment variables, and the channels of the last one, JETCL_TRACE. */
static void help_environment(void)
{
    static const struct variable channels[] = {
#define TRACE(name, help) { #name, help },
#include "base/trace.def"
#undef TRACE
    };
    for (const struct variable *v = variables; v->name; v++) {
        printf("  %-17s ", v->name);
        print_wrapped(stdout, 20, v->help);
    }
    for (int i = 0; i < countof(channels); i++) {
        printf("      %-13s ", channels[i].name);
        print_wrapped(stdout, 20, channels[i].help);
    }
}

static int help_run(struct cli *c)
{
    if (cli_operands(c, 0, 1))
        return -1;
    if (cli_given(c, "completion"))
        return help_completion(cli_value(c, "completion"));
    if (cli_given(c, "experiments"))
        return spec_shipped_list(stdout);
    if (cli_given(c, "environment"))
        return help_environment(), 0;
    if (cli_given(c, "man"))
        return help_manual(), 0;
    if (!c->n)
        return help_all(), 0;
    const struct command *cmd = cli_find(c->operands[0]);
    if (!cmd)
        return spec_help(stdout, c->operands[0]);
    help_command(cmd);
    if (spec_is_section(cmd->name))
        printf("\n`jetcl help %s.` explains the section %s of an experiment file.\n", cmd->name,
               cmd->name);
    return 0;
}
static const struct cli_option options[] = {
    { "experiments", NULL, "list the experiments and tables that are found by name" },
    { "environment", NULL, "list the environment variables that the program reads" },
    { "man", NULL, "print the manual page, for man" },
    { "completion", "SHELL", "print completions for bash, zsh or fish" },
    { 0 },
};
const struct command help_cmd = { "help",
                                  "explain a command, a key or a section of the experiment file",
                                  "help [COMMAND|KEY]",
                                  { "jetcl help train", "jetcl help model.moe.noise" },
                                  options,
                                  0,
                                  help_run };
