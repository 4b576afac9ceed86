/* verb_state.c - what a sandbox is given and tells: labels, environment, sessions, events, figures; and the pool.
 */
#include <limits.h>

#include "cli/cli.h"

struct state_args {
    bool json, replace, follow;
    const char *cwd;
    struct cli_list env;
};

/* clang-format off */
static const struct cli_option json_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct state_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option set_options[] = {
    { 0, "replace", NULL, "take away all others", CLI_FLAG, offsetof(struct state_args, replace) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct state_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option session_options[] = {
    { 'e', "env", "NAME=VALUE", "set a variable; a bare NAME is taken from the environment", CLI_ENV, offsetof(struct state_args, env) },
    { 'w', "workdir", "DIR", "directory to begin in (default: /workspace)", CLI_TEXT, offsetof(struct state_args, cwd) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct state_args, json) },
    CLI_OPTIONS_END
};
/* clang-format on */

/* --- documents of the daemon's, printed --- */

static int print_taken(struct cli *cli, int rc, char *json, const struct berm_problem *problem)
{
    int status = rc < 0 ? cli_problem(cli, problem) : print_json(cli, json);

    if (rc == 0)
        free(json);
    return status;
}

static int show(struct cli *cli, int argc, char **argv,
                int (*call)(struct berm_client *, const char *, char **, struct berm_problem *))
{
    struct cli_operands operands;
    struct berm_problem problem;
    char *json = NULL;
    int status, rc;

    if (!cli_begin(cli, argc, argv, NULL, 1, 1, &operands, &status))
        return status;
    rc = call(cli->client, operands.items[0], &json, &problem);
    return print_taken(cli, rc, json, &problem);
}

static int run_stats(struct cli *cli, int argc, char **argv)
{
    return show(cli, argc, argv, berm_sandbox_stats);
}

const struct verb verb_stats = {
    .name = "stats",
    .operands = "ID",
    .summary = "print what a sandbox uses now, as JSON",
    .options = no_options,
    .run = run_stats,
};

static int run_session_ls(struct cli *cli, int argc, char **argv)
{
    return show(cli, argc, argv, berm_session_list);
}

const struct verb verb_session_ls = {
    .name = "session ls",
    .operands = "ID",
    .summary = "print the sessions of a sandbox, as JSON",
    .options = no_options,
    .run = run_session_ls,
};

static int run_pool_stats(struct cli *cli, int argc, char **argv)
{
    struct cli_operands operands;
    struct berm_problem problem;
    char *json = NULL;
    int status, rc;

    if (!cli_begin(cli, argc, argv, NULL, 0, 0, &operands, &status))
        return status;
    rc = berm_pool_stats(cli->client, &json, &problem);
    return print_taken(cli, rc, json, &problem);
}

const struct verb verb_pool_stats = {
    .name = "pool stats",
    .operands = "",
    .summary = "print the state of the daemon's warm pool, as JSON",
    .options = no_options,
    .run = run_pool_stats,
};

static int pool_call(struct cli *cli, int argc, char **argv,
                     int (*call)(struct berm_client *, struct berm_problem *))
{
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, NULL, 0, 0, &operands, &status))
        return status;
    return call(cli->client, &problem) < 0 ? cli_problem(cli, &problem) : STATUS_OK;
}

static int run_pool_prime(struct cli *cli, int argc, char **argv)
{
    return pool_call(cli, argc, argv, berm_pool_prime);
}

const struct verb verb_pool_prime = {
    .name = "pool prime",
    .operands = "",
    .summary = "fill the warm pool now and keep it full",
    .options = no_options,
    .run = run_pool_prime,
};

static int run_pool_shutdown(struct cli *cli, int argc, char **argv)
{
    return pool_call(cli, argc, argv, berm_pool_shutdown);
}

const struct verb verb_pool_shutdown = {
    .name = "pool shutdown",
    .operands = "",
    .summary = "end the warm sandboxes and keep none",
    .options = no_options,
    .run = run_pool_shutdown,
};

/* --- labels and environment --- */

static int set_pairs(struct cli *cli, int argc, char **argv,
                     int (*call)(struct berm_client *, const char *, const char *const *, bool,
                                 struct berm_problem *))
{
    struct state_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 1, INT_MAX, &operands, &status))
        return status;
    if (operands.count == 1 && !args.replace)
        return cli_usage(cli, "NAME=VALUE is missing");
    if (call(cli->client, operands.items[0], (const char *const *)operands.items + 1, args.replace, &problem) < 0)
        return cli_problem(cli, &problem);
    return args.json ? print_json_pair(cli, "id", operands.items[0]) : STATUS_OK;
}

static int run_label(struct cli *cli, int argc, char **argv)
{
    return set_pairs(cli, argc, argv, berm_sandbox_set_labels);
}

const struct verb verb_label = {
    .name = "label",
    .operands = "ID NAME=VALUE...",
    .summary = "set labels of a sandbox; \"NAME=\" takes one away",
    .options = set_options,
    .run = run_label,
};

static int run_env(struct cli *cli, int argc, char **argv)
{
    return set_pairs(cli, argc, argv, berm_sandbox_set_env);
}

const struct verb verb_env = {
    .name = "env",
    .operands = "ID NAME=VALUE...",
    .summary = "set variables of what is started in a sandbox from now on; \"NAME=\" takes one away",
    .options = set_options,
    .run = run_env,
};

/* --- sessions --- */

static int run_session_create(struct cli *cli, int argc, char **argv)
{
    struct state_args args = { 0 };
    struct berm_session_create create = { 0 };
    _cleanup_free_ char *id = NULL;
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 1, 2, &operands, &status))
        return status;
    create.id = operands.count > 1 ? operands.items[1] : NULL;
    create.cwd = args.cwd;
    create.env = args.env.items;
    if (berm_session_create(cli->client, operands.items[0], &create, &id, &problem) < 0)
        return cli_problem(cli, &problem);
    if (args.json)
        return print_json_pair(cli, "id", id);
    return print_line(cli, id);
}

const struct verb verb_session_create = {
    .name = "session create",
    .operands = "ID [SESSION]",
    .summary = "start a shell that keeps its directory and variables, and print its name",
    .options = session_options,
    .run = run_session_create,
};

static int run_session_rm(struct cli *cli, int argc, char **argv)
{
    struct state_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    int status;

    if (!cli_begin(cli, argc, argv, &args, 2, 2, &operands, &status))
        return status;
    if (berm_session_delete(cli->client, operands.items[0], operands.items[1], &problem) < 0)
        return cli_problem(cli, &problem);
    return args.json ? print_json_pair(cli, "removed", operands.items[1]) : STATUS_OK;
}

const struct verb verb_session_rm = {
    .name = "session rm",
    .operands = "ID SESSION",
    .summary = "end a shell and what runs in it",
    .options = json_options,
    .run = run_session_rm,
};

/* --- events --- */

static int run_events(struct cli *cli, int argc, char **argv)
{
    struct cli_operands operands;
    struct berm_problem problem;
    struct berm_stream *stream;
    int status;

    if (!cli_begin(cli, argc, argv, NULL, 0, 1, &operands, &status))
        return status;
    if (berm_events_follow(cli->client, operands.count ? operands.items[0] : NULL, &stream, &problem) < 0)
        return cli_problem(cli, &problem);
    return cli_stream(cli, stream, cli_event_line, NULL, NULL);
}

const struct verb verb_events = {
    .name = "events",
    .operands = "[ID]",
    .summary = "print what happens to a sandbox, or to all, as it happens: JSON, one a line",
    .options = no_options,
    .run = run_events,
};
