/* verb_process.c - what goes on in the background of a sandbox. */
#include <limits.h>

#include "cli/cli.h"

struct process_args {
    const char *id, *session, *cwd;
    struct cli_list env;
    int64_t timeout_ms;
    bool json, follow, all, quiet;
    const char *signal;
};

/* clang-format off */
static const struct cli_option start_options[] = {
    { 0, "id", "NAME", "what to call the process (default: one is chosen)", CLI_TEXT, offsetof(struct process_args, id) },
    { 'e', "env", "NAME=VALUE", "set a variable; a bare NAME is taken from the environment", CLI_ENV, offsetof(struct process_args, env) },
    { 'w', "workdir", "DIR", "directory to run in (default: the session's, or /workspace)", CLI_TEXT, offsetof(struct process_args, cwd) },
    { 's', "session", "NAME", "with the directory and variables of the shell NAME", CLI_TEXT, offsetof(struct process_args, session) },
    { 0, "timeout", "TIME", "kill it after TIME", CLI_DURATION, offsetof(struct process_args, timeout_ms) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct process_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option ls_options[] = {
    { 'q', "quiet", NULL, "print ids only", CLI_FLAG, offsetof(struct process_args, quiet) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct process_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option logs_options[] = {
    { 'f', "follow", NULL, "go on until the process ends; its status is berm's then", CLI_FLAG, offsetof(struct process_args, follow) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct process_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option kill_options[] = {
    { 's', "signal", "SIGNAL", "send this one instead (HUP, USR1...), and no other after it", CLI_TEXT, offsetof(struct process_args, signal) },
    { 0, "all", NULL, "all processes of the sandbox", CLI_FLAG, offsetof(struct process_args, all) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct process_args, json) },
    CLI_OPTIONS_END
};
/* clang-format on */

static int run_start(struct cli *cli, int argc, char **argv)
{
    struct process_args args = { 0 };
    struct berm_process_start start;
    _cleanup_free_ char *id = NULL;
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 2, &operands, &status))
        return status;
    start = (struct berm_process_start){ .command = operands.items[1],
                                         .id = args.id,
                                         .session = args.session,
                                         .cwd = args.cwd,
                                         .env = args.env.items,
                                         .timeout_ms = args.timeout_ms };
    if (berm_process_start(cli->client, operands.items[0], &start, &id, &problem) < 0)
        return cli_problem(cli, &problem);
    if (args.json)
        return print_json_pair(cli, "id", id);
    return print_line(cli, id);
}

const struct verb verb_process_start = {
    .name = "process start",
    .operands = "ID COMMAND",
    .summary = "start a command in the background and print the process's id",
    .details = "COMMAND is one text for bash.",
    .options = start_options,
    .run = run_start,
};

static int print_processes(struct cli *cli, const struct berm_process_list *list)
{
    static const char *const header[] = { "ID", "STATUS", "EXIT", "STARTED", "COMMAND" };
    struct table table;

    table_init(&table, &cli->arena, ARRAY_SIZE(header), header);
    for (size_t i = 0; i < list->count; i++) {
        const struct berm_process *p = &list->items[i];
        char *code = p->exit_code < 0 ? NULL : arena_printf(&cli->arena, "%lld", (long long)p->exit_code);

        table_row(&table, (const char *const[]){ p->id, p->status, code, p->start_time, p->command });
    }
    return table_print(&table, stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the output: %s", strerror(errno));
}

static int run_ls(struct cli *cli, int argc, char **argv)
{
    struct process_args args = { 0 };
    struct berm_process_list *list;
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 1, 1, &operands, &status))
        return status;
    if (berm_process_list(cli->client, operands.items[0], &list, &problem) < 0)
        return cli_problem(cli, &problem);
    if (!args.quiet)
        status = args.json ? print_json(cli, list->json) : print_processes(cli, list);
    for (size_t i = 0; args.quiet && status == STATUS_OK && i < list->count; i++)
        status = print_line(cli, list->items[i].id);
    berm_process_list_free(list);
    return status;
}

const struct verb verb_process_ls = {
    .name = "process ls",
    .operands = "ID",
    .summary = "list the processes in the background of a sandbox",
    .options = ls_options,
    .run = run_ls,
};

const struct verb verb_ps = {
    .name = "ps",
    .operands = "ID",
    .summary = "the same as process ls",
    .options = ls_options,
    .run = run_ls,
};

static int follow(struct cli *cli, const char *id, const char *process, bool json)
{
    struct berm_problem problem;
    struct berm_stream *stream;
    int code = STATUS_FAILED, status;

    if (json)
        return cli_usage(cli, "--follow prints the output itself: no --json");
    if (berm_process_follow(cli->client, id, process, 0, 0, &stream, &problem) < 0)
        return cli_problem(cli, &problem);
    status = cli_stream(cli, stream, NULL, NULL, &code);
    return status == STATUS_OK ? code & 0xff : status;
}

static int run_logs(struct cli *cli, int argc, char **argv)
{
    const struct cli_output out = { STDOUT_FILENO, cli->signal_fd }, err = { STDERR_FILENO, cli->signal_fd };
    struct process_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    struct berm_logs *logs;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 2, &operands, &status))
        return status;
    if (args.follow)
        return follow(cli, operands.items[0], operands.items[1], args.json);
    if (berm_process_logs(cli->client, operands.items[0], operands.items[1], &logs, &problem) < 0)
        return cli_problem(cli, &problem);
    if (args.json)
        status = print_json(cli, logs->json);
    else if (cli_output_write(&out, logs->out, logs->out_size) < 0 ||
             cli_output_write(&err, logs->err, logs->err_size) < 0)
        status = cli_fail(cli, "writing the output: %s", strerror(errno));
    else
        status = STATUS_OK;
    berm_logs_free(logs);
    return status;
}

const struct verb verb_process_logs = {
    .name = "process logs",
    .operands = "ID PROCESS",
    .summary = "print what a process in the background has written",
    .options = logs_options,
    .run = run_logs,
};

static int run_kill(struct cli *cli, int argc, char **argv)
{
    struct process_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    int64_t count = 0;
    int status, rc;

    if (!cli_begin(cli, argc, argv, &args, 1, 2, &operands, &status))
        return status;
    if (args.all != (operands.count == 1))
        return cli_usage(cli, "either a process or --all");
    if (args.all && args.signal)
        return cli_usage(cli, "a signal is for one process");
    if (args.signal)
        rc = berm_process_signal(cli->client, operands.items[0], operands.items[1], args.signal, &problem);
    else
        rc = args.all ? berm_process_kill_all(cli->client, operands.items[0], &count, &problem)
                      : berm_process_kill(cli->client, operands.items[0], operands.items[1], &problem);
    if (rc < 0)
        return cli_problem(cli, &problem);
    if (!args.json)
        return STATUS_OK;
    return args.all ? print_json_count(cli, "killed", count) : print_json_pair(cli, "killed", operands.items[1]);
}

const struct verb verb_process_kill = {
    .name = "process kill",
    .operands = "ID [PROCESS]",
    .summary = "end a process in the background, or all",
    .details = "SIGTERM to it and its children; SIGKILL to what is left after five seconds.",
    .options = kill_options,
    .run = run_kill,
};
