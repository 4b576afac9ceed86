/* verb_run.c - a sandbox for one command, removed whatever becomes of that. */
#include <limits.h>
#include <signal.h>

#include "cli/cli.h"
#include "cli/create_options.h"
#include "cli/limit_options.h"

struct run_args {
    struct create_args create;
    const char *cwd;
    const char *id;
    int64_t timeout_ms;
    struct limit_args limits;
    bool keep, interactive;
};

/* clang-format off */
static const struct cli_option run_options[] = {
    CREATE_OPTIONS(struct run_args, create),
    { 'w', "workdir", "DIR", "directory to run in (default: /workspace)", CLI_TEXT, offsetof(struct run_args, cwd) },
    { 0, "id", "ID", "id of the sandbox (default: a random one)", CLI_TEXT, offsetof(struct run_args, id) },
    { 0, "keep", NULL, "do not remove the sandbox afterwards", CLI_FLAG, offsetof(struct run_args, keep) },
    { 'i', "interactive", NULL, "pass standard input to the command", CLI_FLAG, offsetof(struct run_args, interactive) },
    { 0, "timeout", "TIME", "kill the command after TIME; its status is 124 then", CLI_DURATION, offsetof(struct run_args, timeout_ms) },
    LIMIT_OPTIONS(struct run_args, limits),
    CLI_OPTIONS_END
};
/* clang-format on */

/*
 * A sandbox that was there before is somebody's: run would remove it in the end. 0 if there is none; else the
 * status.
 */
static int check_id_is_free(struct cli *cli, struct berm_client *client, const char *id)
{
    struct berm_sandbox_list *found = NULL;
    struct berm_problem problem;

    if (berm_sandbox_get(client, id, &found, &problem) == 0) {
        berm_sandbox_list_free(found);
        return cli_fail(cli, "there is a sandbox '%s' already; run commands in it with: berm exec %s", id, id);
    }
    if (problem.kind == BERM_PROBLEM_API && problem.http_status == 404)
        return 0;
    return cli_problem(cli, &problem);
}

/* A second signal gives up, and says what is left behind. */
static void remove_sandbox(struct cli *cli, struct berm_client *client, const char *id)
{
    struct berm_problem problem;

    if (berm_sandbox_delete(client, id, &problem) == 0)
        return;
    cli_warn(cli, "the sandbox is still there: %s", problem.message);
    fprintf(stderr, "remove it with: berm rm %s\n", id);
}

static int create_and_run(struct cli *cli, struct berm_client *client, const struct run_args *args, const char *id,
                          char **command, int *ret_signal)
{
    struct berm_create create = create_request(&args->create);
    struct berm_exec_limits limits;
    struct berm_usage usage = { 0 };
    struct berm_exec exec = {
        .argv = (const char *const *)command,
        .cwd = args->cwd,
        .timeout_ms = args->timeout_ms,
        .has_stdin = args->interactive,
        .stdin_fd = STDIN_FILENO,
        .limits = limit_request(&args->limits, &limits),
        .ret_usage = &usage,
    };
    struct berm_problem problem;
    char *same_id = NULL;
    int code = 0, rc;

    create.id = id;
    rc = berm_sandbox_create(client, &create, &same_id, NULL, &problem);
    free(same_id);
    if (rc == 0)
        rc = cli_exec(cli, client, id, &exec, &code, &problem);
    if (rc == 0) {
        tell_usage(&args->limits, &usage);
        return code;
    }
    if (problem.kind != BERM_PROBLEM_CANCELLED)
        return cli_problem(cli, &problem);
    *ret_signal = cli_take_signal(cli);
    return STATUS_COMMAND_FAILED;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct run_args args = { 0 };
    struct cli_operands command;
    struct berm_client *client;
    struct berm_problem problem;
    char *id = NULL;
    int status, signo = 0;

    if (cli_parse(cli, argc, argv, &args, 1, INT_MAX, &command) < 0)
        return STATUS_COMMAND_FAILED;
    if (cli->help)
        return cli_help(cli);
    client = cli_client(cli);
    if (!client)
        return STATUS_COMMAND_FAILED;
    if (args.id) {
        status = check_id_is_free(cli, client, args.id);
        if (status != 0)
            return status;
        id = strdup(args.id);
    } else if (berm_sandbox_new_id(client, &id, &problem) < 0) {
        return cli_problem(cli, &problem);
    }
    if (!id)
        return cli_fail(cli, "out of memory");

    status = create_and_run(cli, client, &args, id, command.items, &signo);
    if (args.keep)
        fprintf(stderr, "berm: kept the sandbox %s\n", id);
    else
        remove_sandbox(cli, client, id);
    free(id);
    if (signo)
        cli_die_of(signo);
    return status;
}

const struct verb verb_run = {
    .name = "run",
    .operands = "[--] COMMAND [ARG...]",
    .summary = "run a command in a new sandbox and remove the sandbox",
    .details = "The command's output comes as it is made, its status is berm's. Ctrl-C removes the sandbox, too.\n"
               "Status 125: berm itself failed.",
    .options = run_options,
    .options_first = true,
    .run = run,
};
