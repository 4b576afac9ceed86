/* verb_port.c - ports of a sandbox under URLs: previews and tunnels. */
#include "cli/cli.h"

struct port_args {
    bool json;
    const char *name, *token;
    int64_t expires_ms;
};

/* clang-format off */
static const struct cli_option list_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct port_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option expose_options[] = {
    { 0, "name", "TEXT", "what to call it in listings", CLI_TEXT, offsetof(struct port_args, name) },
    { 0, "token", "TOKEN", "1 to 16 of a-z, 0-9 and _ (default: the one it has, or a random one)", CLI_TEXT, offsetof(struct port_args, token) },
    { 0, "expires", "TIME", "how long the URL is good for: 90s, 10m, 2h (default: until it is revoked)", CLI_DURATION, offsetof(struct port_args, expires_ms) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct port_args, json) },
    CLI_OPTIONS_END
};

static const struct cli_option open_options[] = {
    { 0, "name", "LABEL", "a name that stays over runs of the sandbox (default: a random one for this run)", CLI_TEXT, offsetof(struct port_args, name) },
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct port_args, json) },
    CLI_OPTIONS_END
};
/* clang-format on */

/* -1: usage was told. */
static int take_port(struct cli *cli, const char *text, uint16_t *ret)
{
    uint64_t port;

    if (str_to_u64(str_from(text), &port) == 0 && port > 0 && port <= 65535) {
        *ret = (uint16_t)port;
        return 0;
    }
    cli_usage(cli, "'%s' is no port", text);
    return -1;
}

/* STATUS_OK to go on with a client; else the verb ends with it, or with STATUS_OK and *ret_help. */
static int begin(struct cli *cli, int argc, char **argv, struct port_args *args, int count,
                 struct cli_operands *operands, uint16_t *ret_port, bool *ret_over)
{
    *ret_over = true;
    if (cli_parse(cli, argc, argv, args, count, count, operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    if (ret_port && take_port(cli, operands->items[1], ret_port) < 0)
        return STATUS_USAGE;
    if (!cli_client(cli))
        return STATUS_FAILED;
    *ret_over = false;
    return STATUS_OK;
}

static int print_one(struct cli *cli, bool json, struct berm_route_list *list)
{
    int status = STATUS_OK;

    if (json)
        status = print_json(cli, list->json);
    else
        status = print_line(cli, list->items[0].url);
    berm_route_list_free(list);
    return status;
}

static int print_list(struct cli *cli, bool json, struct berm_route_list *list)
{
    static const char *const header[] = { "PORT", "NAME", "URL" };
    struct table table;
    int status = STATUS_OK;

    table_init(&table, &cli->arena, ARRAY_SIZE(header), header);
    for (size_t i = 0; i < list->count; i++) {
        const struct berm_route *route = &list->items[i];
        const char *port = arena_printf(&cli->arena, "%u", route->port);

        table_row(&table, (const char *const[]){ port, route->name, route->url });
    }
    if (json)
        status = print_json(cli, list->json);
    else if (table_print(&table, stdout) < 0)
        status = cli_fail(cli, "writing the list: %s", strerror(errno));
    berm_route_list_free(list);
    return status;
}

static int list(struct cli *cli, int argc, char **argv,
                int (*call)(struct berm_client *, const char *, struct berm_route_list **, struct berm_problem *))
{
    struct port_args args = { 0 };
    struct cli_operands operands;
    struct berm_route_list *routes;
    struct berm_problem problem;
    bool over;
    int status = begin(cli, argc, argv, &args, 1, &operands, NULL, &over);

    if (over)
        return status;
    if (call(cli->client, operands.items[0], &routes, &problem) < 0)
        return cli_problem(cli, &problem);
    return print_list(cli, args.json, routes);
}

static int take_away(struct cli *cli, int argc, char **argv,
                     int (*call)(struct berm_client *, const char *, uint16_t, struct berm_problem *))
{
    struct port_args args = { 0 };
    struct cli_operands operands;
    struct berm_problem problem;
    uint16_t port;
    bool over;
    int status = begin(cli, argc, argv, &args, 2, &operands, &port, &over);

    if (over)
        return status;
    if (call(cli->client, operands.items[0], port, &problem) < 0)
        return cli_problem(cli, &problem);
    return args.json ? print_json_pair(cli, "removed", operands.items[1]) : STATUS_OK;
}

/* --- previews --- */

static int run_expose(struct cli *cli, int argc, char **argv)
{
    struct port_args args = { 0 };
    struct cli_operands operands;
    struct berm_route_list *list;
    struct berm_problem problem;
    struct berm_expose options;
    uint16_t port;
    bool over;
    int status = begin(cli, argc, argv, &args, 2, &operands, &port, &over);

    if (over)
        return status;
    options = (struct berm_expose){
        .port = port, .name = args.name, .token = args.token, .expires_in_s = (args.expires_ms + 999) / 1000
    };
    if (berm_port_expose(cli->client, operands.items[0], &options, &list, &problem) < 0)
        return cli_problem(cli, &problem);
    return print_one(cli, args.json, list);
}

const struct verb verb_port_expose = {
    .name = "port expose",
    .operands = "ID PORT",
    .summary = "give a port of a sandbox a URL with a token and print it",
    .details =
        "The URL answers while this run of the sandbox lasts. Exposing the port again after that brings it back.",
    .options = expose_options,
    .run = run_expose,
};

static int run_port_ls(struct cli *cli, int argc, char **argv)
{
    return list(cli, argc, argv, berm_port_list);
}

const struct verb verb_port_ls = {
    .name = "port ls",
    .operands = "ID",
    .summary = "list the exposed ports of a sandbox that answer now",
    .options = list_options,
    .run = run_port_ls,
};

static int run_port_rm(struct cli *cli, int argc, char **argv)
{
    return take_away(cli, argc, argv, berm_port_unexpose);
}

const struct verb verb_port_rm = {
    .name = "port rm",
    .operands = "ID PORT",
    .summary = "revoke the URL of a port",
    .options = list_options,
    .run = run_port_rm,
};

/* --- tunnels --- */

static int run_tunnel_open(struct cli *cli, int argc, char **argv)
{
    struct port_args args = { 0 };
    struct cli_operands operands;
    struct berm_route_list *list;
    struct berm_problem problem;
    uint16_t port;
    bool over;
    int status = begin(cli, argc, argv, &args, 2, &operands, &port, &over);

    if (over)
        return status;
    if (berm_tunnel_get(cli->client, operands.items[0], port, args.name, &list, &problem) < 0)
        return cli_problem(cli, &problem);
    return print_one(cli, args.json, list);
}

const struct verb verb_tunnel_open = {
    .name = "tunnel open",
    .operands = "ID PORT",
    .summary = "give a port of a sandbox a URL without a token and print it",
    .details = "Whoever has the URL reaches the port. The same call again prints the same URL.",
    .options = open_options,
    .run = run_tunnel_open,
};

static int run_tunnel_ls(struct cli *cli, int argc, char **argv)
{
    return list(cli, argc, argv, berm_tunnel_list);
}

const struct verb verb_tunnel_ls = {
    .name = "tunnel ls",
    .operands = "ID",
    .summary = "list the tunnels of a sandbox",
    .options = list_options,
    .run = run_tunnel_ls,
};

static int run_tunnel_rm(struct cli *cli, int argc, char **argv)
{
    return take_away(cli, argc, argv, berm_tunnel_destroy);
}

const struct verb verb_tunnel_rm = {
    .name = "tunnel rm",
    .operands = "ID PORT",
    .summary = "end the tunnel of a port",
    .options = list_options,
    .run = run_tunnel_rm,
};
