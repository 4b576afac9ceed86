/* verb_egress.c - what a sandbox may talk to, and what became of what it tried. */
#include "cli/cli.h"

static int run_show(struct cli *cli, int argc, char **argv)
{
    struct cli_operands operands;
    struct berm_problem problem;
    char *json = NULL;
    int status;
    struct berm_client *client = cli_begin(cli, argc, argv, NULL, 1, 1, &operands, &status);

    if (!client)
        return status;
    if (berm_egress_get(client, operands.items[0], &json, &problem) < 0)
        return cli_problem(cli, &problem);
    status = print_json(cli, json);
    free(json);
    return status;
}

static int run_set(struct cli *cli, int argc, char **argv)
{
    struct cli_operands operands;
    struct berm_problem problem;
    int status;
    struct berm_client *client = cli_begin(cli, argc, argv, NULL, 2, 2, &operands, &status);

    if (!client)
        return status;
    if (berm_egress_set(client, operands.items[0], operands.items[1], &problem) < 0)
        return cli_problem(cli, &problem);
    return STATUS_OK;
}

static int run_reset(struct cli *cli, int argc, char **argv)
{
    struct cli_operands operands;
    struct berm_problem problem;
    int status;
    struct berm_client *client = cli_begin(cli, argc, argv, NULL, 1, 1, &operands, &status);

    if (!client)
        return status;
    if (berm_egress_set(client, operands.items[0], NULL, &problem) < 0)
        return cli_problem(cli, &problem);
    return STATUS_OK;
}

const struct verb verb_egress_show = {
    .name = "egress show",
    .operands = "ID",
    .summary = "print a sandbox's network policy, counters and what was refused, as JSON",
    .options = no_options,
    .run = run_show,
};

const struct verb verb_egress_set = {
    .name = "egress set",
    .operands = "ID JSON",
    .summary = "give a sandbox another network policy, which holds at once",
    .details =
        "For example: berm egress set demo '{\"mode\":\"deny\",\"hosts\":[\"pypi.org\",\"*.pythonhosted.org\"]}'. "
        "Connections that it does not allow are ended. docs/api.md has everything a policy can say.",
    .options = no_options,
    .run = run_set,
};

const struct verb verb_egress_reset = {
    .name = "egress reset",
    .operands = "ID",
    .summary = "give a sandbox the daemon's default network policy again",
    .options = no_options,
    .run = run_reset,
};
