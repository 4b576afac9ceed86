#include "cli/create_options.h"

struct create_verb_args {
    struct create_args create;
};

/* clang-format off */
static const struct cli_option create_options[] = {
    CREATE_OPTIONS(struct create_verb_args, create),
    { 0, "sleep-after", "TIME", "put it to sleep after TIME without a request, e.g. 10m", CLI_TEXT, offsetof(struct create_verb_args, create.sleep_after) },
    { 0, "keep-alive", NULL, "never put it to sleep", CLI_FLAG, offsetof(struct create_verb_args, create.keep_alive) },
    CLI_OPTIONS_END
};
/* clang-format on */

static int run(struct cli *cli, int argc, char **argv)
{
    struct create_verb_args args = { 0 };
    struct cli_operands operands;
    struct berm_create request;
    struct berm_client *client;
    struct berm_problem problem;
    bool created = false;
    char *id = NULL;

    if (cli_parse(cli, argc, argv, &args, 0, 1, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    client = cli_client(cli);
    if (!client)
        return STATUS_FAILED;
    request = create_request(&args.create);
    request.id = operands.items[0];
    if (berm_sandbox_create(client, &request, &id, &created, &problem) < 0)
        return cli_problem(cli, &problem);
    printf("%s\n", id);
    if (!created && cli->terminal)
        fprintf(stderr, "berm: it was there already\n");
    free(id);
    return fflush(stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the output: %s", strerror(errno));
}

const struct verb verb_create = {
    .name = "create",
    .operands = "[ID]",
    .summary = "create and start a sandbox and print its id",
    .details =
        "An ID is 1 to 128 characters of a-z and 2-7. If there is a sandbox with it, its settings are changed.",
    .options = create_options,
    .run = run,
};
