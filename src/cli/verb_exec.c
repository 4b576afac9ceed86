/* verb_exec.c - a command in a sandbox, with our standard streams. */
#include <limits.h>

#include "cli/cli.h"
#include "cli/limit_options.h"

struct exec_args {
    const char *cwd, *session;
    struct cli_list env;
    int64_t timeout_ms;
    struct limit_args limits;
    bool interactive;
};

/* clang-format off */
static const struct cli_option exec_options[] = {
    { 'i', "interactive", NULL, "pass standard input to the command", CLI_FLAG, offsetof(struct exec_args, interactive) },
    { 'e', "env", "NAME=VALUE", "set a variable; a bare NAME is taken from the environment", CLI_ENV, offsetof(struct exec_args, env) },
    { 'w', "workdir", "DIR", "directory to run in (default: the session's, or /workspace)", CLI_TEXT, offsetof(struct exec_args, cwd) },
    { 's', "session", "NAME", "run in the shell NAME, which keeps its directory and variables", CLI_TEXT, offsetof(struct exec_args, session) },
    { 0, "timeout", "TIME", "kill the command after TIME; its status is 124 then", CLI_DURATION, offsetof(struct exec_args, timeout_ms) },
    LIMIT_OPTIONS(struct exec_args, limits),
    { 0, "memory", "SIZE", "kill the command when all its processes together take more", CLI_SIZE, offsetof(struct exec_args, limits.memory) },
    { 0, "pids", "N", "kill the command when it has more processes", CLI_COUNT, offsetof(struct exec_args, limits.pids) },
    { 0, "no-network", NULL, "the command reaches nothing, not even the sandbox's own loopback", CLI_FLAG, offsetof(struct exec_args, limits.no_network) },
    CLI_OPTIONS_END
};
/* clang-format on */

static int run(struct cli *cli, int argc, char **argv)
{
    struct exec_args args = { 0 };
    struct cli_operands operands;
    struct berm_client *client;
    struct berm_problem problem;
    struct berm_exec exec;
    struct berm_exec_limits limits;
    struct berm_usage usage = { 0 };
    char **command;
    int code = 0;

    if (cli_parse(cli, argc, argv, &args, 1, INT_MAX, &operands) < 0)
        return STATUS_COMMAND_FAILED;
    if (cli->help)
        return cli_help(cli);
    command = operands.items + 1;
    if (*command && strcmp(*command, "--") == 0)
        command++;
    if (!*command)
        return cli_usage(cli, "the command is missing");
    client = cli_client(cli);
    if (!client)
        return STATUS_COMMAND_FAILED;
    exec = (struct berm_exec){ .argv = (const char *const *)command,
                               .cwd = args.cwd,
                               .env = args.env.items,
                               .session = args.session,
                               .timeout_ms = args.timeout_ms,
                               .has_stdin = args.interactive,
                               .stdin_fd = STDIN_FILENO,
                               .limits = limit_request(&args.limits, &limits),
                               .ret_usage = &usage };
    if (cli_exec(cli, client, operands.items[0], &exec, &code, &problem) < 0)
        return cli_problem(cli, &problem);
    tell_usage(&args.limits, &usage);
    return code;
}

const struct verb verb_exec = {
    .name = "exec",
    .operands = "ID [--] COMMAND [ARG...]",
    .summary = "run a command in a sandbox",
    .details =
        "The sandbox is created or woken if it does not run. The command's status is berm's; 125: berm itself\n"
        "failed. When berm is interrupted, the command is killed, unless it runs in a session,\n"
        "which excludes limits.",
    .options = exec_options,
    .options_first = true,
    .run = run,
};
