/* verb_create.c - a sandbox that stays. */
#include "cli/create_options.h"

struct create_verb_args {
    struct create_args create;
    bool json;
};

/* clang-format off */
static const struct cli_option create_options[] = {
    CREATE_OPTIONS(struct create_verb_args, create),
    { 0, "sleep-after", "TIME", "put it to sleep after TIME without a request, e.g. 10m", CLI_TEXT, offsetof(struct create_verb_args, create.sleep_after) },
    { 0, "json", NULL, "print all about the sandbox, as JSON", CLI_FLAG, offsetof(struct create_verb_args, json) },
    { 0, "keep-alive", NULL, "never put it to sleep", CLI_FLAG, offsetof(struct create_verb_args, create.keep_alive) },
    CLI_OPTIONS_END
};
/* clang-format on */

static int describe(struct cli *cli, const char *id)
{
    struct berm_sandbox_list *found;
    struct berm_problem problem;
    int status;

    if (berm_sandbox_get(cli->client, id, &found, &problem) < 0)
        return cli_problem(cli, &problem);
    status = print_json(cli, found->json);
    berm_sandbox_list_free(found);
    return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct create_verb_args args = { 0 };
    struct cli_operands operands;
    struct berm_create request;
    struct berm_client *client;
    struct berm_problem problem;
    bool created = false;
    char *id = NULL;
    int status;

    client = cli_begin(cli, argc, argv, &args, 0, 1, &operands, &status);
    if (!client)
        return status;
    request = create_request(&args.create);
    request.id = operands.items[0];
    if (berm_sandbox_create(client, &request, &id, &created, &problem) < 0)
        return cli_problem(cli, &problem);
    if (!created && cli->terminal)
        fprintf(stderr, "berm: it was there already\n");
    if (args.json)
        status = describe(cli, id);
    else
        status = print_line(cli, id);
    free(id);
    return status;
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
