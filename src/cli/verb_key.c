#include "base/json.h"
#include "cli/cli.h"

struct key_args {
    bool json;
};

static const struct cli_option key_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct key_args, json) },
    CLI_OPTIONS_END,
};

static int print_new_key(struct cli *cli, bool as_json, const char *id, const char *key)
{
    struct json_writer w;
    struct buf out;

    if (!as_json) {
        printf("%s\n", key);
        if (cli->terminal)
            fprintf(stderr, "berm: this is key %s; it is not shown again\n", id);
        return fflush(stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the key: %s", strerror(errno));
    }
    buf_init(&out, 64 * 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_pair_cstring(&w, "id", id);
    json_pair_cstring(&w, "key", key);
    json_object_end(&w);
    return print_json_written(cli, &w);
}

static int run_add(struct cli *cli, int argc, char **argv)
{
    struct key_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    char *id = NULL, *key = NULL;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 0, 1, &operands, &status))
        return status;
    if (berm_key_create(cli->client, operands.items[0], &id, &key, &problem) < 0)
        return cli_problem(cli, &problem);
    status = print_new_key(cli, args.json, id, key);
    free(id);
    free(key);
    return status;
}

const struct verb verb_key_add = {
    .name = "key add",
    .operands = "[LABEL]",
    .summary = "make an API key and print it",
    .details =
        "The daemon stores a hash: the key is shown this once. As soon as there is a key, every client needs one.",
    .options = key_options,
    .run = run_add,
};

static int run_ls(struct cli *cli, int argc, char **argv)
{
    static const char *const header[] = { "ID", "LABEL", "CREATED" };
    struct key_args args = { 0 };
    struct cli_operands operands;
    struct berm_key_list *list;
    struct berm_problem problem;
    struct table table;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 0, 0, &operands, &status))
        return status;
    if (berm_key_list(cli->client, &list, &problem) < 0)
        return cli_problem(cli, &problem);
    table_init(&table, &cli->arena, ARRAY_SIZE(header), header);
    for (size_t i = 0; i < list->count; i++)
        table_row(&table,
                  (const char *const[]){ list->items[i].id, list->items[i].label, list->items[i].created_at });
    if (args.json)
        status = print_json(cli, list->json);
    else if (table_print(&table, stdout) < 0)
        status = cli_fail(cli, "writing the list: %s", strerror(errno));
    berm_key_list_free(list);
    return status;
}

const struct verb verb_key_ls = {
    .name = "key ls",
    .operands = "",
    .summary = "list the daemon's API keys, without the secrets",
    .options = key_options,
    .run = run_ls,
};

static int run_rm(struct cli *cli, int argc, char **argv)
{
    struct key_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 1, 1, &operands, &status))
        return status;
    if (berm_key_delete(cli->client, operands.items[0], &problem) < 0)
        return cli_problem(cli, &problem);
    return args.json ? print_json_pair(cli, "removed", operands.items[0]) : STATUS_OK;
}

const struct verb verb_key_rm = {
    .name = "key rm",
    .operands = "KEY-ID",
    .summary = "revoke an API key",
    .options = key_options,
    .run = run_rm,
};
