/* verb_work.c - watching, waiting, cloning, and the workspace as an archive. */
#include <poll.h>

#include "cli/cli.h"

struct work_args {
    bool json, flat;
    struct cli_list include, exclude;
    const char *path, *process, *branch, *excludes;
    uint32_t depth;
};

/* clang-format off */
static const struct cli_option watch_options[] = {
    { 0, "flat", NULL, "not below the directory", CLI_FLAG, offsetof(struct work_args, flat) },
    { 0, "include", "PATTERN", "only such names; may be given more than once", CLI_LIST, offsetof(struct work_args, include) },
    { 0, "exclude", "PATTERN", "all but such names; may be given more than once", CLI_LIST, offsetof(struct work_args, exclude) },
    CLI_OPTIONS_END
};

static const struct cli_option wait_options[] = {
    { 0, "path", "PATH", "until a GET of PATH succeeds (default: until a connection does)", CLI_TEXT, offsetof(struct work_args, path) },
    { 0, "process", "PROCESS", "give up when this process has ended", CLI_TEXT, offsetof(struct work_args, process) },
    CLI_OPTIONS_END
};

static const struct cli_option clone_options[] = {
    { 'b', "branch", "NAME", "branch or tag (default: the repository's own)", CLI_TEXT, offsetof(struct work_args, branch) },
    { 0, "depth", "N", "only the last N commits", CLI_COUNT, offsetof(struct work_args, depth) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct work_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option persist_options[] = {
    { 0, "exclude", "PATTERNS", "leave out what these match, separated by commas", CLI_TEXT, offsetof(struct work_args, excludes) },
    CLI_OPTIONS_END
};
/* clang-format on */

static int run_watch(struct cli *cli, int argc, char **argv)
{
    struct work_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    struct berm_stream *stream;
    struct berm_watch watch;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 1, 2, &operands, &status))
        return status;
    watch = (struct berm_watch){ .path = operands.count > 1 ? operands.items[1] : "/workspace",
                                 .recursive = !args.flat,
                                 .include = args.include.items,
                                 .exclude = args.exclude.items };
    if (berm_watch(cli->client, operands.items[0], &watch, &stream, &problem) < 0)
        return cli_problem(cli, &problem);
    return cli_stream(cli, stream, cli_event_line, NULL, NULL);
}

const struct verb verb_watch = {
    .name = "watch",
    .operands = "ID [PATH]",
    .summary = "print changes of files below PATH (default: /workspace) as they happen: JSON, one a line",
    .options = watch_options,
    .run = run_watch,
};

/* The stream ends with "ready", or with why not. */
static int on_wait(struct cli *cli, const struct berm_item *item, void *data)
{
    bool *ready = data;

    (void)cli;
    *ready = strcmp(item->name, "ready") == 0;
    return *ready;
}

static int run_port_wait(struct cli *cli, int argc, char **argv)
{
    struct work_args args = { 0 };
    struct cli_operands operands;
    struct berm_port_wait wait;
    struct berm_problem problem;
    struct berm_stream *stream;
    bool ready = false;
    uint64_t port;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 2, &operands, &status))
        return status;
    if (str_to_u64(str_from(operands.items[1]), &port) < 0 || port == 0 || port > 65535)
        return cli_usage(cli, "'%s' is no port", operands.items[1]);
    wait = (struct berm_port_wait){ .port = (uint16_t)port, .path = args.path, .process = args.process };
    if (berm_port_wait(cli->client, operands.items[0], &wait, &stream, &problem) < 0)
        return cli_problem(cli, &problem);
    status = cli_stream(cli, stream, on_wait, &ready, NULL);
    if (status == STATUS_OK && !ready)
        return cli_fail(cli, "nothing answers on the port any more");
    return status;
}

const struct verb verb_port_wait = {
    .name = "port wait",
    .operands = "ID PORT",
    .summary = "wait until something in the sandbox answers on a port",
    .options = wait_options,
    .run = run_port_wait,
};

static int run_clone(struct cli *cli, int argc, char **argv)
{
    struct work_args args = { 0 };
    _cleanup_free_ char *directory = NULL;
    struct cli_operands operands;
    struct berm_problem problem;
    struct berm_git git;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 3, &operands, &status))
        return status;
    git = (struct berm_git){ .url = operands.items[1],
                             .branch = args.branch,
                             .directory = operands.count > 2 ? operands.items[2] : NULL,
                             .depth = args.depth };
    if (berm_git_checkout(cli->client, operands.items[0], &git, &directory, NULL, &problem) < 0)
        return cli_problem(cli, &problem);
    if (args.json)
        return print_json_pair(cli, "directory", directory);
    return print_line(cli, directory);
}

const struct verb verb_git_clone = {
    .name = "git clone",
    .operands = "ID URL [DIRECTORY]",
    .summary = "clone a repository into a sandbox and print where it is",
    .options = clone_options,
    .run = run_clone,
};

static int run_persist(struct cli *cli, int argc, char **argv)
{
    struct work_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    struct berm_stream *stream;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 1, 1, &operands, &status))
        return status;
    if (isatty(STDOUT_FILENO))
        return cli_usage(cli, "an archive does not belong on a terminal: write it to a file");
    if (berm_persist(cli->client, operands.items[0], args.excludes, &stream, &problem) < 0)
        return cli_problem(cli, &problem);
    return cli_stream(cli, stream, NULL, NULL, NULL);
}

const struct verb verb_persist = {
    .name = "persist",
    .operands = "ID",
    .summary = "write the workspace of a sandbox to standard output, as a tar",
    .options = persist_options,
    .run = run_persist,
};

/* Not deaf to signals while there is no input. */
static ssize_t read_input(void *data, void *bytes, size_t n)
{
    const struct cli *cli = data;
    struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = cli->signal_fd, .events = POLLIN } };

    if (RETRY_EINTR(poll(fds, ARRAY_SIZE(fds), -1)) < 0)
        return -1;
    if (fds[1].revents) {
        errno = ECANCELED;
        return -1;
    }
    return RETRY_EINTR(read(STDIN_FILENO, bytes, n));
}

static int run_hydrate(struct cli *cli, int argc, char **argv)
{
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, NULL, 1, 1, &operands, &status))
        return status;
    if (berm_hydrate(cli->client, operands.items[0], read_input, cli, &problem) == 0)
        return STATUS_OK;
    if (problem.kind == BERM_PROBLEM_LOCAL && problem.errnum == ECANCELED)
        problem.kind = BERM_PROBLEM_CANCELLED;
    return cli_problem(cli, &problem);
}

const struct verb verb_hydrate = {
    .name = "hydrate",
    .operands = "ID",
    .summary = "lay a tar from standard input over the workspace of a sandbox",
    .details = "Plain, or compressed with gzip, bzip2, xz or zstd.",
    .options = no_options,
    .run = run_hydrate,
};
