/* verb_shell.c - a terminal of a sandbox on the user's own. */
#include <poll.h>

#include "cli/cli.h"
#include "cli/own_terminal.h"

struct shell_args {
    const char *session, *shell;
};

/* clang-format off */
static const struct cli_option shell_options[] = {
    { 's', "session", "NAME", "the terminal of the shell NAME, which goes on when berm ends and can be attached again", CLI_TEXT, offsetof(struct shell_args, session) },
    { 0, "shell", "PROGRAM", "what to run (default: bash)", CLI_TEXT, offsetof(struct shell_args, shell) },
    CLI_OPTIONS_END
};
/* clang-format on */

struct attachment {
    struct cli *cli;
    struct berm_terminal *terminal;
    struct own_terminal own;
    bool input_ended;
    int exit_code;
};

static int on_resize(struct attachment *a, struct berm_problem *problem)
{
    uint16_t cols, rows;

    own_terminal_take_resize(&a->own);
    return own_terminal_size(&cols, &rows) ? berm_terminal_resize(a->terminal, cols, rows, problem) : 0;
}

/* Ctrl-D of the user is a key like others; the end of a file that is our input becomes one. */
static int on_input(struct attachment *a, struct berm_problem *problem)
{
    char bytes[4096];
    ssize_t n = RETRY_EINTR(read(STDIN_FILENO, bytes, sizeof(bytes)));

    if (n <= 0) {
        a->input_ended = true;
        bytes[0] = '\004';
        n = 1;
    }
    return berm_terminal_write(a->terminal, bytes, (size_t)n, problem);
}

/* 1: it is over; 0: more will come; -1 with *problem. */
static int show(struct attachment *a, struct berm_problem *problem)
{
    const struct cli_output out = { STDOUT_FILENO, a->cli->signal_fd };
    struct berm_item item;
    int rc;

    while ((rc = berm_terminal_next(a->terminal, 0, &item, problem)) > 0) {
        if (item.kind == BERM_ITEM_END)
            return 1;
        if (item.kind == BERM_ITEM_EXIT)
            a->exit_code = item.exit_code;
        if (item.kind == BERM_ITEM_STDOUT && cli_output_write(&out, item.data, item.size) < 0) {
            *problem =
                (struct berm_problem){ .kind = errno == ECANCELED ? BERM_PROBLEM_CANCELLED : BERM_PROBLEM_LOCAL,
                                       .message = "writing the output" };
            return -1;
        }
    }
    return rc;
}

static int converse(struct attachment *a, struct berm_problem *problem)
{
    int rc;

    /* First what came along with the answer that opened it: the descriptor will not tell of that any more. */
    while ((rc = show(a, problem)) == 0) {
        struct pollfd fds[] = {
            { .fd = berm_terminal_fd(a->terminal), .events = POLLIN },
            { .fd = a->input_ended ? -1 : STDIN_FILENO, .events = POLLIN },
            { .fd = a->own.resized, .events = POLLIN },
            { .fd = a->cli->signal_fd, .events = POLLIN },
        };

        if (RETRY_EINTR(poll(fds, ARRAY_SIZE(fds), -1)) < 0)
            return -1;
        if (fds[3].revents) {
            *problem = (struct berm_problem){ .kind = BERM_PROBLEM_CANCELLED };
            return -1;
        }
        if (fds[2].revents && on_resize(a, problem) < 0)
            return -1;
        if (fds[1].revents && on_input(a, problem) < 0)
            return -1;
    }
    return rc < 0 ? -1 : 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct attachment a = { .cli = cli, .exit_code = STATUS_FAILED };
    struct berm_terminal_options options = { 0 };
    struct shell_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    int rc, status;

    if (!cli_begin(cli, argc, argv, &args, 1, 1, &operands, &status))
        return status;
    options.session = args.session;
    options.shell = args.shell;
    own_terminal_size(&options.cols, &options.rows);
    if (berm_terminal_open(cli->client, operands.items[0], &options, &a.terminal, &problem) < 0)
        return cli_problem(cli, &problem);
    if (own_terminal_enter(&a.own) < 0)
        cli_warn(cli, "the terminal cannot be made raw: %s", strerror(errno));
    rc = converse(&a, &problem);
    own_terminal_leave(&a.own);
    berm_terminal_close(a.terminal);
    return rc < 0 ? cli_problem(cli, &problem) : a.exit_code & 0xff;
}

const struct verb verb_shell = {
    .name = "shell",
    .operands = "ID",
    .summary = "open a terminal in a sandbox",
    .details = "Its status is that of the shell, or 1 if berm failed. With --session, ending berm (SIGHUP, for "
               "instance by closing\n"
               "the window) leaves the shell running.",
    .options = shell_options,
    .run = run,
};
