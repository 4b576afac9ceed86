/* verb_help.c - the verbs and their options explained, and what completion asks; the version. */
#include "cli/cli.h"

struct help_args {
    bool list, flags;
};

/* What bash completion asks, so that it cannot differ from the tables. */
static const struct cli_option help_options[] = {
    { 0, "list", NULL, "print the verbs, one a line", CLI_FLAG, offsetof(struct help_args, list) },
    { 0, "flags", NULL, "print the options of VERB, one a line", CLI_FLAG, offsetof(struct help_args, flags) },
    CLI_OPTIONS_END,
};

static void print_options(const struct cli_option *table)
{
    for (const struct cli_option *o = table; o->name; o++) {
        char left[64];
        snprintf(left, sizeof(left), "%c%c%s --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
                 o->letter ? "," : " ", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-27s %s\n", left, o->help);
    }
}

static int flushed(const struct cli *cli)
{
    return fflush(stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the help: %s", strerror(errno));
}

static int print_verb(const struct cli *cli, const struct verb *verb)
{
    printf("usage: berm %s [options] %s\n\n%s\n", verb->name, verb->operands, verb->summary);
    if (verb->details)
        printf("%s\n", verb->details);
    if (verb->options->name) {
        printf("\noptions:\n");
        print_options(verb->options);
    }
    printf("\noptions of every verb:\n");
    print_options(global_options);
    return flushed(cli);
}

int cli_help(const struct cli *cli)
{
    return print_verb(cli, cli->verb);
}

static int print_overview(const struct cli *cli)
{
    printf("usage: berm VERB [options] ...\n\nRuns untrusted code in isolated sandboxes on a Berm "
           "daemon.\n\nverbs:\n");
    for (size_t i = 0; verbs[i]; i++)
        printf("  %-18s %s\n", verbs[i]->name, verbs[i]->summary);
    printf("\noptions of every verb:\n");
    print_options(global_options);
    printf("\nfirst steps:\n  berm run -- python3 -c 'print(2 + 2)'\n  berm create demo\n"
           "  berm exec demo -- bash -c 'echo hello > hello.txt'\n  berm cp demo:hello.txt -\n");
    return flushed(cli);
}

static int print_list(const struct cli *cli)
{
    for (size_t i = 0; verbs[i]; i++)
        printf("%s\n", verbs[i]->name);
    return flushed(cli);
}

static int print_flags(const struct cli *cli, const struct verb *verb)
{
    for (const struct cli_option *o = verb ? verb->options : global_options; o->name; o++)
        printf("--%s%s\n", o->name, o->value ? "=" : "");
    return flushed(cli);
}

/* "image build" may come as two words. */
static const struct verb *named(const struct cli_operands *words, struct arena *arena)
{
    const char *name = words->items[0];

    if (words->count == 2)
        name = arena_printf(arena, "%s %s", words->items[0], words->items[1]);
    for (size_t i = 0; name && verbs[i]; i++) {
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    }
    return NULL;
}

/* The verbs of a group, "berm help image". False if there are none. */
static bool print_group(const char *group)
{
    size_t n = strlen(group);
    bool found = false;

    for (size_t i = 0; verbs[i]; i++) {
        if (strncmp(verbs[i]->name, group, n) == 0 && verbs[i]->name[n] == ' ') {
            printf("berm %s %s\n    %s\n", verbs[i]->name, verbs[i]->operands, verbs[i]->summary);
            found = true;
        }
    }
    return found;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct help_args args = { 0 };
    struct cli_operands words;
    const struct verb *verb;

    cli->verb = &verb_help;
    if (cli_parse(cli, argc, argv, &args, 0, 2, &words) < 0)
        return STATUS_USAGE;
    if (args.list)
        return print_list(cli);
    verb = words.count > 0 ? named(&words, &cli->arena) : NULL;
    if (args.flags)
        return print_flags(cli, verb);
    if (words.count == 0)
        return print_overview(cli);
    if (verb)
        return print_verb(cli, verb);
    if (words.count == 1 && print_group(words.items[0]))
        return flushed(cli);
    cli->verb = NULL;
    return cli_usage(cli, "there is no verb '%s': see 'berm help'", words.items[0]);
}

const struct verb verb_help = {
    .name = "help",
    .operands = "[VERB]",
    .summary = "explain berm or one of its verbs",
    .options = help_options,
    .run = run,
};

struct version_args {
    bool json;
};

static const struct cli_option version_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct version_args, json) },
    CLI_OPTIONS_END,
};

static int run_version(struct cli *cli, int argc, char **argv)
{
    struct version_args args = { 0 };
    struct cli_operands operands;

    if (cli_parse(cli, argc, argv, &args, 0, 0, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    if (args.json)
        return print_json_pair(cli, "version", BERM_VERSION);
    printf("berm %s\n", BERM_VERSION);
    return flushed(cli);
}

const struct verb verb_version = {
    .name = "version",
    .operands = "",
    .summary = "print berm's version",
    .options = version_options,
    .run = run_version,
};
