/* verb_file.c - names in a sandbox: looking, moving, making, removing. Contents go through `berm cp`. */
#include "cli/cli.h"

struct file_args {
    bool json, recursive, hidden, parents;
};

/* clang-format off */
static const struct cli_option ls_options[] = {
    { 'R', "recursive", NULL, "below it as well", CLI_FLAG, offsetof(struct file_args, recursive) },
    { 'a', "all", NULL, "names that begin with a dot as well", CLI_FLAG, offsetof(struct file_args, hidden) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct file_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option mkdir_options[] = {
    { 'p', "parents", NULL, "those above it as well; one that is there is fine", CLI_FLAG, offsetof(struct file_args, parents) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct file_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option json_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct file_args, json) },
    CLI_OPTIONS_END
};
/* clang-format on */

/* As `berm cp` has it: relative to /workspace. */
static const char *absolute(struct cli *cli, const char *path)
{
    return path[0] == '/' ? path : arena_printf(&cli->arena, "/workspace/%s", path);
}

static int print_files(struct cli *cli, struct berm_file_list *list, bool json, bool whole_path)
{
    static const char *const header[] = { "MODE", "SIZE", "MODIFIED", "TYPE", "NAME" };
    struct table table;
    int status = STATUS_OK;

    table_init(&table, &cli->arena, ARRAY_SIZE(header), header);
    for (size_t i = 0; i < list->count; i++) {
        const struct berm_file *f = &list->items[i];
        char *size = arena_printf(&cli->arena, "%lld", (long long)f->size);
        char *time = f->modified
                         ? arena_strdup(&cli->arena, (struct str){ f->modified, MIN(strlen(f->modified), 19) })
                         : NULL;

        table_row(&table, (const char *const[]){ f->mode, size, time, f->type, whole_path ? f->path : f->name });
    }
    if (json)
        status = print_json(cli, list->json);
    else if (table_print(&table, stdout) < 0)
        status = cli_fail(cli, "writing the output: %s", strerror(errno));
    berm_file_list_free(list);
    return status;
}

static int run_ls(struct cli *cli, int argc, char **argv)
{
    struct file_args args = { 0 };
    struct berm_file_list *list;
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 1, 2, &operands, &status))
        return status;
    if (berm_file_list(cli->client, operands.items[0],
                       absolute(cli, operands.count > 1 ? operands.items[1] : "/workspace"), args.recursive,
                       args.hidden, &list, &problem) < 0)
        return cli_problem(cli, &problem);
    return print_files(cli, list, args.json, args.recursive);
}

const struct verb verb_file_ls = {
    .name = "file ls",
    .operands = "ID [PATH]",
    .summary = "list a directory of a sandbox (default: /workspace)",
    .options = ls_options,
    .run = run_ls,
};

static int run_stat(struct cli *cli, int argc, char **argv)
{
    struct file_args args = { 0 };
    struct berm_file_list *list;
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 2, &operands, &status))
        return status;
    if (berm_file_stat(cli->client, operands.items[0], absolute(cli, operands.items[1]), &list, &problem) < 0)
        return cli_problem(cli, &problem);
    return print_files(cli, list, args.json, true);
}

const struct verb verb_file_stat = {
    .name = "file stat",
    .operands = "ID PATH",
    .summary = "tell kind, size, mode and time of a file",
    .options = json_options,
    .run = run_stat,
};

static int done(struct cli *cli, bool json, const char *what, const char *path)
{
    return json ? print_json_pair(cli, what, path) : STATUS_OK;
}

static int run_mv(struct cli *cli, int argc, char **argv)
{
    struct file_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 3, 3, &operands, &status))
        return status;
    if (berm_file_move(cli->client, operands.items[0], absolute(cli, operands.items[1]),
                       absolute(cli, operands.items[2]), &problem) < 0)
        return cli_problem(cli, &problem);
    return done(cli, args.json, "moved", absolute(cli, operands.items[2]));
}

const struct verb verb_file_mv = {
    .name = "file mv",
    .operands = "ID FROM TO",
    .summary = "move or rename a file or directory within a sandbox",
    .options = json_options,
    .run = run_mv,
};

static int run_rm(struct cli *cli, int argc, char **argv)
{
    struct file_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 2, &operands, &status))
        return status;
    if (berm_file_delete(cli->client, operands.items[0], absolute(cli, operands.items[1]), &problem) < 0)
        return cli_problem(cli, &problem);
    return done(cli, args.json, "removed", absolute(cli, operands.items[1]));
}

const struct verb verb_file_rm = {
    .name = "file rm",
    .operands = "ID PATH",
    .summary = "remove one file of a sandbox",
    .details = "Directories: berm exec ID -- rm -r PATH",
    .options = json_options,
    .run = run_rm,
};

static int run_mkdir(struct cli *cli, int argc, char **argv)
{
    struct file_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 2, &operands, &status))
        return status;
    if (berm_file_mkdir(cli->client, operands.items[0], absolute(cli, operands.items[1]), args.parents, &problem) <
        0)
        return cli_problem(cli, &problem);
    return done(cli, args.json, "made", absolute(cli, operands.items[1]));
}

const struct verb verb_file_mkdir = {
    .name = "file mkdir",
    .operands = "ID PATH",
    .summary = "make a directory in a sandbox",
    .options = mkdir_options,
    .run = run_mkdir,
};
