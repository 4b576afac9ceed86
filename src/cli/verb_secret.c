/* verb_secret.c - what egress policies name in "credentials": set, listed by name, removed, never shown. */
#include "base/sys.h"
#include "cli/cli.h"

#define VALUE_MAX 8192

/* All of standard input but a line's end behind it: an argument would show in the list of processes. */
static int read_value(char value[VALUE_MAX])
{
    size_t n = 0;
    ssize_t got;

    while ((got = RETRY_EINTR(read(STDIN_FILENO, value + n, VALUE_MAX - 1 - n))) > 0)
        if ((n += (size_t)got) == VALUE_MAX - 1)
            break;
    if (got < 0)
        return -1;
    if (n > 0 && value[n - 1] == '\n')
        n--;
    value[n] = '\0';
    return 0;
}

static int run_set(struct cli *cli, int argc, char **argv)
{
    struct cli_operands operands;
    struct berm_problem problem;
    char value[VALUE_MAX];
    int status, rc;
    struct berm_client *client = cli_begin(cli, argc, argv, NULL, 1, 1, &operands, &status);

    if (!client)
        return status;
    if (read_value(value) < 0)
        return cli_fail(cli, "reading the value: %s", strerror(errno));
    rc = berm_secret_set(client, operands.items[0], value, &problem);
    explicit_bzero(value, sizeof(value));
    return rc < 0 ? cli_problem(cli, &problem) : STATUS_OK;
}

static int run_ls(struct cli *cli, int argc, char **argv)
{
    struct cli_operands operands;
    struct berm_problem problem;
    char *json = NULL;
    int status;
    struct berm_client *client = cli_begin(cli, argc, argv, NULL, 0, 0, &operands, &status);

    if (!client)
        return status;
    if (berm_secret_list(client, &json, &problem) < 0)
        return cli_problem(cli, &problem);
    status = print_json(cli, json);
    free(json);
    return status;
}

static int run_rm(struct cli *cli, int argc, char **argv)
{
    struct cli_operands operands;
    struct berm_problem problem;
    int status;
    struct berm_client *client = cli_begin(cli, argc, argv, NULL, 1, 1, &operands, &status);

    if (!client)
        return status;
    if (berm_secret_delete(client, operands.items[0], &problem) < 0)
        return cli_problem(cli, &problem);
    return STATUS_OK;
}

const struct verb verb_secret_set = {
    .name = "secret set",
    .operands = "NAME",
    .summary = "store a value, read from standard input, that network policies may put into requests",
    .details = "For example: echo \"Bearer $TOKEN\" | berm secret set api. It is the whole value of a header. A "
               "policy names it "
               "in \"credentials\" of a host; sandboxes never see it, and nothing shows it again.",
    .options = no_options,
    .run = run_set,
};

const struct verb verb_secret_ls = {
    .name = "secret ls",
    .operands = "",
    .summary = "list the names of secrets, as JSON",
    .options = no_options,
    .run = run_ls,
};

const struct verb verb_secret_rm = {
    .name = "secret rm",
    .operands = "NAME",
    .summary = "remove a secret; requests that would need it are refused from then on",
    .options = no_options,
    .run = run_rm,
};
