/* completion.c: completions for shells, `jetcl help --completion bash`, from the tables that `help` reads.
 * What an argument may be follows from what the help calls it: FILE, KEY=VALUE, EXP.yaml. */
#include "cli/cli.h"
#include "cli/options.h"
#include "data/verify.h"

enum argument { ARG_NONE, ARG_FREE, ARG_FILE, ARG_KEY, ARG_DEVICE, ARG_WHEN, ARG_SHELL };

static enum argument argument_of(const struct cli_option *o)
{
    static const struct { const char *value; enum argument is; } known[] = {
        { "FILE", ARG_FILE }, { "DIR", ARG_FILE }, { "FOLDER", ARG_FILE }, { "N|PATH", ARG_FILE },
        { "[CKPT]", ARG_FILE }, { "KEY=VALUE", ARG_KEY },
        { "SPEC", ARG_DEVICE }, { "WHEN", ARG_WHEN }, { "SHELL", ARG_SHELL } };
    for (int i = 0; o->value && i < countof(known); i++)
        if (!strcmp(o->value, known[i].value))
            return known[i].is;
    return o->value ? ARG_FREE : ARG_NONE;
}

/* Fixed words of an argument; "" for others. */
static const char *argument_words(enum argument a)
{
    return a == ARG_DEVICE ? "auto gpu cpu accelerator null uuid: pci:" : a == ARG_WHEN ? "auto always never"
         : a == ARG_SHELL ? "bash zsh fish" : "";
}

/* What a command's operands are; NULL for any file. */
static const char *operands_of(const struct command *cmd)
{
    static const char *const known[][2] = { { "TABLE.yaml", "tables" }, { "list|", "data" },
                                            { "COMMAND|KEY", "topics" }, { "EXP.yaml", "experiments" } };
    for (int i = 0; i < countof(known); i++)
        if (strstr(cmd->usage, known[i][0]))
            return known[i][1];
    return NULL;
}

/* Option i of a command, its own ones first; NULL after the last. */
static const struct cli_option *option_at(const struct command *cmd, int i, char *letter)
{
    *letter = 0;
    for (int j = 0; cmd->options && cmd->options[j].name; j++)
        if (!i--)
            return &cmd->options[j];
    for (int j = 0; j < cli_shared_count; j++)
        if ((!cli_shared[j].takes || (cli_shared[j].takes & cmd->takes)) && !i--) {
            *letter = cli_shared[j].letter;
            return &cli_shared[j].o;
        }
    return NULL;
}

/* Text between single quotes, for all three shells; `also` get a backslash. */
static void completion_quoted(const char *text, const char *also)
{
    for (; *text; text++)
        printf(*text == '\'' ? "'\\''" : strchr(also, *text) ? "\\%c" : "%c", *text);
}

/* "list|verify|fetch" of `data list|verify|fetch [..]` with blanks. */
static void print_actions(void)
{
    const char *usage = cli_find("data")->usage + strlen("data ");
    for (; *usage && *usage != ' '; usage++)
        putchar(*usage == '|' ? ' ' : *usage);
}

static void print_sets(void)
{
    for (int i = 0; data_set_name(i); i++)
        printf("%s%s", i ? " " : "", data_set_name(i));
}

static void print_commands(void)
{
    for (int i = 0; i < cli_command_count; i++)
        printf("%s%s", i ? " " : "", cli_commands[i]->name);
}

static void print_keys(const struct spec_row *rows, int n, const char *end)
{
    for (int i = 0; i < n; i++)
        if (!rows[i].section)
            printf(" %s%s", rows[i].path, end);
}

/* ---- bash ---------------------------------------------------------------------------------------------- */

/* bash takes words apart at `=` and `:`; the value of `--set key=` is the word after the `=`. */
static const char bash_end[] =
    "_jetcl_experiments() { jetcl help --experiments 2>/dev/null; }\n"
    "_jetcl()\n{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    local command=${COMP_WORDS[1]} words=\n"
    "    COMPREPLY=()\n"
    "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
    "        COMPREPLY=($(compgen -W \"$_jetcl_commands --help --version\" -- \"$cur\"))\n"
    "        return\n"
    "    fi\n"
    "    [ \"$cur\" != = ] || { cur=; prev='='; COMP_CWORD=$((COMP_CWORD+1)); }\n"
    "    if [ \"$prev\" = '=' ]; then\n"
    "        prev=${COMP_WORDS[COMP_CWORD-2]}\n"
    "        words=$(_jetcl_values \"$prev\")\n"
    "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
    "        [ -n \"$words\" ] || COMPREPLY=($(compgen -f -- \"$cur\"))\n"
    "        return\n"
    "    fi\n"
    "    case $cur in\n"
    "        -*) COMPREPLY=($(compgen -W \"$(_jetcl_options \"$command\")\" -- \"$cur\")); return ;;\n"
    "    esac\n"
    "    case $(_jetcl_argument \"$prev\") in\n"
    "        file) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
    "        key) compopt -o nospace 2>/dev/null\n"
    "             COMPREPLY=($(compgen -S = -W \"$_jetcl_keys\" -- \"$cur\")); return ;;\n"
    "        free) return ;;\n"
    "        ?*) COMPREPLY=($(compgen -W \"$(_jetcl_argument \"$prev\")\" -- \"$cur\")); return ;;\n"
    "    esac\n"
    "    case $(_jetcl_operands \"$command\") in\n"
    "        experiments) words=$(_jetcl_experiments | grep -v '^tables/') ;;\n"
    "        tables) words=$(_jetcl_experiments | sed -n 's,^tables/,,p') ;;\n"
    "        topics) words=\"$_jetcl_commands $_jetcl_keys\" ;;\n"
    "        data) [ \"$COMP_CWORD\" -eq 2 ] && words=$_jetcl_actions || words=$_jetcl_sets ;;\n"
    "    esac\n"
    "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\") $(compgen -f -- \"$cur\"))\n"
    "}\n"
    "complete -o filenames -F _jetcl jetcl\n";

static void bash_arguments(void)
{
    static const char *const kinds[] = { "", "free", "file", "key" };
    printf("_jetcl_argument()\n{\n    case $1 in\n");
    for (int i = 0; i < cli_command_count; i++) {
        char letter;
        const struct cli_option *o;
        for (int j = 0; (o = option_at(cli_commands[i], j, &letter)); j++) {
            enum argument is = argument_of(o);
            if (is == ARG_NONE || o->value[0] == '[')      // `--resume X`: X is an operand
                continue;
            printf("        --%s", o->name);
            if (letter)
                printf("|-%c", letter);
            printf(") echo '%s' ;;\n", is <= ARG_KEY ? kinds[is] : argument_words(is));
        }
    }
    printf("    esac\n}\n");
}

static void completion_bash(const struct spec_row *rows, int n)
{
    printf("# completion of jetcl for bash, written by `jetcl help --completion bash`\n_jetcl_commands='");
    print_commands();
    printf("'\n_jetcl_actions='");
    print_actions();
    printf("'\n_jetcl_sets='");
    print_sets();
    printf("'\n_jetcl_keys='");
    print_keys(rows, n, "");
    printf("'\n_jetcl_values()\n{\n    case $1 in\n        data.set) echo \"$_jetcl_sets\" ;;\n"
           "        device|--device) echo '%s' ;;\n        --color) echo '%s' ;;\n"
           "        --completion) echo '%s' ;;\n", argument_words(ARG_DEVICE), argument_words(ARG_WHEN),
           argument_words(ARG_SHELL));
    for (int i = 0; i < n; i++)
        if (rows[i].words[0])
            printf("        %s) echo '%s' ;;\n", rows[i].path, rows[i].words);
    printf("    esac\n}\n_jetcl_options()\n{\n    case $1 in\n");
    for (int i = 0; i < cli_command_count; i++) {
        char letter;
        printf("        %s) echo '", cli_commands[i]->name);
        for (int j = 0; option_at(cli_commands[i], j, &letter); j++)
            printf("%s--%s", j ? " " : "", option_at(cli_commands[i], j, &letter)->name);
        printf("' ;;\n");
    }
    printf("    esac\n}\n_jetcl_operands()\n{\n    case $1 in\n");
    for (int i = 0; i < cli_command_count; i++)
        if (operands_of(cli_commands[i]))
            printf("        %s) echo %s ;;\n", cli_commands[i]->name, operands_of(cli_commands[i]));
    printf("    esac\n}\n");
    bash_arguments();
    fputs(bash_end, stdout);
}

/* ---- zsh ----------------------------------------------------------------------------------------------- */

static const char zsh_end[] =
    "_jetcl_names() { jetcl help --experiments 2>/dev/null; }\n"
    "_jetcl_experiments() { compadd -- ${(f)\"$(_jetcl_names | grep -v '^tables/')\"}; _files; }\n"
    "_jetcl_tables() { compadd -- ${(f)\"$(_jetcl_names | sed -n 's,^tables/,,p')\"}; _files; }\n"
    "_jetcl_topics() { compadd -- ${_jetcl_commands%%:*} $_jetcl_keys; }\n"
    "_jetcl_data()\n{\n"
    "    (( CURRENT == 2 )) && compadd -- $_jetcl_actions || { compadd -- $_jetcl_sets; _files; }\n"
    "}\n"
    "_jetcl_set()\n{\n"
    "    if compset -P '*='; then\n"
    "        local words=$(_jetcl_values ${${IPREFIX%=}##*=})\n"
    "        [[ -n $words ]] && compadd -- ${=words} || _files\n"
    "    else\n"
    "        compadd -S = -- $_jetcl_keys\n"
    "    fi\n"
    "}\n"
    "_jetcl()\n{\n"
    "    if (( CURRENT == 2 )); then\n"
    "        _describe -t commands command _jetcl_commands\n"
    "        return\n"
    "    fi\n"
    "    local command=$words[2]\n"
    "    shift words\n"
    "    (( CURRENT-- ))\n"
    "    (( $+functions[_jetcl_of_$command] )) && _jetcl_of_$command || _files\n"
    "}\n"
    "_jetcl \"$@\"\n";

static void zsh_option(const struct cli_option *o, char letter)
{
    enum argument is = argument_of(o);
    bool may = o->value && o->value[0] == '[';
    char help[OPTION_HELP];
    if (letter)
        printf(" \\\n        '*'{-%c,--%s}'[", letter, o->name);
    else
        printf(" \\\n        '*--%s%s[", o->name, may ? "=-" : "");
    completion_quoted(option_help(help, o), "[]:\\");
    printf("]");
    if (is != ARG_NONE) {
        printf("%s:", may ? "::" : ":");
        completion_quoted(o->value, "[]:\\");
        if (argument_words(is)[0]) {
            printf(":(");
            completion_quoted(argument_words(is), ":");
            printf(")");
        } else
            printf(":%s", is == ARG_KEY ? "_jetcl_set" : is == ARG_FILE ? "_files" : " ");
    }
    printf("'");
}

static void completion_zsh(const struct spec_row *rows, int n)
{
    printf("#compdef jetcl\n# written by `jetcl help --completion zsh`\ntypeset -ga _jetcl_commands=(");
    for (int i = 0; i < cli_command_count; i++) {
        printf("\n    '%s:", cli_commands[i]->name);
        completion_quoted(cli_commands[i]->summary, "");
        printf("'");
    }
    printf(")\ntypeset -ga _jetcl_actions=(");
    print_actions();
    printf(")\ntypeset -ga _jetcl_sets=(");
    print_sets();
    printf(")\ntypeset -ga _jetcl_keys=(");
    print_keys(rows, n, "");
    printf(")\n_jetcl_values()\n{\n    case $1 in\n        data.set) echo $_jetcl_sets ;;\n"
           "        device) echo '%s' ;;\n", argument_words(ARG_DEVICE));
    for (int i = 0; i < n; i++)
        if (rows[i].words[0])
            printf("        %s) echo '%s' ;;\n", rows[i].path, rows[i].words);
    printf("    esac\n}\n");
    for (int i = 0; i < cli_command_count; i++) {
        char letter;
        const struct cli_option *o;
        printf("_jetcl_of_%s()\n{\n    _arguments -s", cli_commands[i]->name);
        for (int j = 0; (o = option_at(cli_commands[i], j, &letter)); j++)
            zsh_option(o, letter);
        const char *operands = operands_of(cli_commands[i]);
        printf(" \\\n        '*:argument:%s%s'\n}\n", operands ? "_jetcl_" : "_files",
               operands ? operands : "");
    }
    fputs(zsh_end, stdout);
}

/* ---- fish ---------------------------------------------------------------------------------------------- */

static void fish_operands(const struct command *cmd)
{
    const char *is = operands_of(cmd);
    printf("complete -c jetcl -n '__fish_seen_subcommand_from %s' ", cmd->name);
    if (!is)
        printf("-F\n");
    else if (!strcmp(is, "experiments"))
        printf("-F -a '(jetcl help --experiments 2>/dev/null | string match -v \"tables/*\")'\n");
    else if (!strcmp(is, "tables"))
        printf("-F -a '(jetcl help --experiments 2>/dev/null | string replace -f -r \"^tables/\" \"\")'\n");
    else if (!strcmp(is, "topics")) {
        printf("-a '");
        print_commands();
        printf("'\ncomplete -c jetcl -n '__fish_seen_subcommand_from %s' -a \"$__jetcl_keys\"\n", cmd->name);
    } else {
        printf("-F -a '");
        print_actions();
        printf(" ");
        print_sets();
        printf("'\n");
    }
}

static void fish_option(const struct command *cmd, const struct cli_option *o, char letter)
{
    enum argument is = argument_of(o);
    printf("complete -c jetcl -n '__fish_seen_subcommand_from %s' -l %s", cmd->name, o->name);
    if (letter)
        printf(" -s %c", letter);
    if (is == ARG_FILE && o->value[0] != '[')
        printf(" -r -F");
    else if (is == ARG_KEY)
        printf(" -x -a \"$__jetcl_sets\"");
    else if (argument_words(is)[0])
        printf(" -x -a '%s'", argument_words(is));
    else if (is == ARG_FREE)
        printf(" -x");
    printf(" -d '");
    char help[OPTION_HELP];
    for (const char *p = option_help(help, o); *p; p++)
        printf(*p == '\'' || *p == '\\' ? "\\%c" : "%c", *p);
    printf("'\n");
}

static void completion_fish(const struct spec_row *rows, int n)
{
    printf("# completion of jetcl for fish, written by `jetcl help --completion fish`\nset -g __jetcl_keys");
    print_keys(rows, n, "");
    printf("\nset -g __jetcl_sets");
    print_keys(rows, n, "=");
    for (int i = 0; i < n; i++)
        for (const char *w = rows[i].words; *w; w += strcspn(w, " ") + 1)
            printf(" %s=%.*s", rows[i].path, (int)strcspn(w, " "), w);
    printf("\ncomplete -c jetcl -f\n");
    for (int i = 0; i < cli_command_count; i++) {
        const struct command *cmd = cli_commands[i];
        char letter;
        const struct cli_option *o;
        printf("complete -c jetcl -n __fish_use_subcommand -a %s -d '", cmd->name);
        for (const char *p = cmd->summary; *p; p++)
            printf(*p == '\'' || *p == '\\' ? "\\%c" : "%c", *p);
        printf("'\n");
        fish_operands(cmd);
        for (int j = 0; (o = option_at(cmd, j, &letter)); j++)
            fish_option(cmd, o, letter);
    }
}

int help_completion(const char *shell)
{
    static const char *const shells[] = { "bash", "zsh", "fish" };
    static void (*const print[])(const struct spec_row *rows, int n) = {
        completion_bash, completion_zsh, completion_fish };
    char hint[96];
    arena *a = arena_open("completion");
    const struct spec_row *rows;
    int n = spec_rows(a, &rows), rc = -1;
    for (int i = 0; i < countof(shells); i++)
        if (!strcmp(shell, shells[i])) {
            print[i](rows, n);
            rc = 0;
        }
    arena_close(a);
    return rc ? fail(FAULT_USAGE, "no completion for '%s'%s; there are bash, zsh, fish", shell,
                     text_hint(hint, shell, shells, countof(shells))) : 0;
}
