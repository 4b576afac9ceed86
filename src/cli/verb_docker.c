/* verb_docker.c - `berm docker COMMAND ...`: which command it is, Docker's flags, and what concerns the engine. */
#include "cli/docker.h"

#include <stdarg.h>

static const struct docker_command commands[] = {
    { "info", docker_cmd_info },
    { "version", docker_cmd_version },
    { "context ls", docker_cmd_context_ls },
    { "login", docker_cmd_login },
    { "image inspect", docker_cmd_image_inspect },
    { "image ls", docker_cmd_image_ls },
    { "image rm", docker_cmd_image_rm },
    { "images", docker_cmd_image_ls },
    { "rmi", docker_cmd_image_rm },
    { "tag", docker_cmd_tag },
    { "pull", docker_cmd_pull },
    { "push", docker_cmd_push },
    { "build", docker_cmd_build },
    { "image build", docker_cmd_build },
    { "buildx build", docker_cmd_build },
    { "ps", docker_cmd_ps },
    { "container ls", docker_cmd_ps },
    { "rm", docker_cmd_rm },
    { "container rm", docker_cmd_rm },
    { "stop", docker_cmd_stop },
    { "start", docker_cmd_start },
    { "kill", docker_cmd_kill },
    { "inspect", docker_cmd_inspect },
    { "logs", docker_cmd_logs },
    { "stats", docker_cmd_stats },
    { "commit", docker_cmd_commit },
    { "attach", docker_cmd_attach },
    { "exec", docker_cmd_exec },
    { "run", docker_cmd_run },
};

int docker_fail(const struct docker_cli *docker, const char *format, ...)
{
    va_list args;

    (void)docker;
    va_start(args, format);
    print_clean(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return STATUS_FAILED;
}

/* --- flags --- */

static const struct docker_flag *find_flag(const struct docker_flag *table, struct str name)
{
    for (; table->name; table++)
        if (str_is(name, table->name) || (name.n == 1 && table->letter == name.p[0]))
            return table;
    return NULL;
}

static int add_to_list(struct docker_cli *docker, struct cli_list *list, const char *value)
{
    const char **items = arena_calloc(&docker->cli->arena, list->count + 2, sizeof(*items));

    if (!items)
        return docker_fail(docker, "out of memory"), -1;
    for (size_t i = 0; i < list->count; i++)
        items[i] = list->items[i];
    items[list->count++] = value;
    list->items = items;
    return 0;
}

static int set_flag(struct docker_cli *docker, const struct docker_flag *flag, void *values, const char *value)
{
    char *slot = (char *)values + flag->offset;

    switch (flag->kind) {
    case FLAG_ON:
        *(bool *)(void *)slot = !value || strcmp(value, "false") != 0;
        return 0;
    case FLAG_TEXT:
        *(const char **)(void *)slot = value;
        return 0;
    case FLAG_LIST:
        return add_to_list(docker, (struct cli_list *)(void *)slot, value);
    default:
        return 0;
    }
}

/* Returns how many words it took, or -1. */
static int take_flag(struct docker_cli *docker, const struct docker_flag *table, void *values, char **argv)
{
    bool is_long = argv[0][1] == '-';
    struct str name = str_from(argv[0] + (is_long ? 2 : 1));
    const char *equals = is_long ? strchr(name.p, '=') : NULL, *value = NULL;
    const struct docker_flag *flag;
    int taken = 1;

    if (equals) {
        name.n = (size_t)(equals - name.p);
        value = equals + 1;
    } else if (!is_long && name.n > 1) { /* -it, or -fFILE */
        flag = find_flag(table, (struct str){ name.p, 1 });
        if (flag && (flag->kind == FLAG_ON || flag->kind == FLAG_IGNORED)) {
            for (size_t i = 0; i < name.n; i++) {
                flag = find_flag(table, (struct str){ name.p + i, 1 });
                if (!flag || set_flag(docker, flag, values, NULL) < 0)
                    return docker_fail(docker, "unknown shorthand flag: '%c' in %s", name.p[i], argv[0]), -1;
            }
            return 1;
        }
        value = name.p + 1;
        name.n = 1;
    }
    flag = find_flag(table, name);
    if (!flag)
        return docker_fail(docker, "berm docker does not know the flag %s", argv[0]), -1;
    if (flag->kind != FLAG_ON && flag->kind != FLAG_IGNORED && !value) {
        value = argv[1];
        taken = 2;
        if (!value)
            return docker_fail(docker, "flag needs an argument: %s", argv[0]), -1;
    }
    return set_flag(docker, flag, values, value) < 0 ? -1 : taken;
}

int docker_flags(struct docker_cli *docker, const struct docker_flag *table, void *values, bool first, int argc,
                 char **argv, struct cli_operands *ret)
{
    bool over = false;

    ret->items = arena_calloc(&docker->cli->arena, (size_t)argc + 1, sizeof(*ret->items));
    ret->count = 0;
    if (!ret->items)
        return docker_fail(docker, "out of memory"), -1;
    for (int i = 0; i < argc;) {
        if (!over && !strcmp(argv[i], "--")) {
            over = true;
            i++;
        } else if (over || argv[i][0] != '-' || !argv[i][1]) {
            ret->items[ret->count++] = argv[i++];
            over |= first;
        } else {
            int taken = take_flag(docker, table, values, argv + i);

            if (taken < 0)
                return -1;
            i += taken;
        }
    }
    return 0;
}

/* --- the engine --- */

struct format_args {
    const char *format;
};

static const struct docker_flag format_flags[] = {
    { 'f', "format", FLAG_TEXT, offsetof(struct format_args, format) }, DOCKER_FLAGS_END
};

int docker_print_formatted(struct docker_cli *docker, const char *format, const struct json *value)
{
    struct berm_error err;
    struct buf text;
    int status = STATUS_OK;

    buf_init(&text, DOCKER_ANSWER_MAX);
    if (docker_format(&text, format, value, &err) < 0 || buf_append(&text, "\n", 1) < 0)
        status = docker_fail(docker, "%s", err.message);
    else if (print_rendered(buf_str(&text)) < 0)
        status = docker_fail(docker, "cannot write: %s", strerror(errno));
    buf_free(&text);
    return status;
}

static int show(struct docker_cli *docker, const char *path, int argc, char **argv)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("GET", path);
    struct format_args args = { 0 };
    struct cli_operands operands;
    const struct json *answer;

    if (docker_flags(docker, format_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (docker_do(docker, &call) < 0 || !(answer = docker_json(docker, &call)))
        return STATUS_FAILED;
    if (args.format)
        return docker_print_formatted(docker, args.format, answer);
    return buf_append(&call.answer, "", 1) == 0 ? print_json(docker->cli, buf_head(&call.answer)) : STATUS_FAILED;
}

int docker_cmd_info(struct docker_cli *docker, int argc, char **argv)
{
    return show(docker, "/info", argc, argv);
}

int docker_cmd_version(struct docker_cli *docker, int argc, char **argv)
{
    return show(docker, "/version", argc, argv);
}

int docker_cmd_context_ls(struct docker_cli *docker, int argc, char **argv)
{
    struct format_args args = { 0 };
    struct cli_operands operands;
    struct json_writer w;
    struct buf text;

    if (docker_flags(docker, format_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (!args.format) {
        printf("NAME        DESCRIPTION   DOCKER ENDPOINT\ndefault *                 unix://%s\n", docker->socket);
        return STATUS_OK;
    }
    buf_init(&text, 64 * 1024);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_pair_bool(&w, "Current", true);
    json_pair_cstring(&w, "Description", "berm");
    json_pair_cstring(&w, "DockerEndpoint", docker_path(docker, "unix://%s", docker->socket));
    json_pair_cstring(&w, "Error", "");
    json_pair_cstring(&w, "Name", "default");
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        printf("%.*s\n", (int)text.len, buf_head(&text));
    buf_free(&text);
    return STATUS_OK;
}

int docker_cmd_login(struct docker_cli *docker, int argc, char **argv)
{
    (void)argc, (void)argv;
    return docker_fail(
        docker, "berm pulls from no registry, so there is nowhere to log in: use a Dockerfile, or import the "
                "image with `berm image import`");
}

/* --- dispatch --- */

static const char *socket_of(struct docker_cli *docker)
{
    const char *host = docker->host;

    if (!host || !host[0])
        host = getenv("DOCKER_HOST");
    if (!host || !host[0])
        return DOCKER_SOCKET_DEFAULT;
    if (!strncmp(host, "unix://", 7))
        return host + 7;
    docker_fail(docker, "%s: only unix:// sockets are spoken to", host);
    return NULL;
}

/* Docker's own flags, before the command. Returns how many words they are, or -1. */
static int take_global_flags(struct docker_cli *docker, int argc, char **argv)
{
    static const struct docker_flag flags[] = { { 'H', "host", FLAG_TEXT, offsetof(struct docker_cli, host) },
                                                { 'c', "context", FLAG_IGNORED_TEXT, 0 },
                                                { 0, "config", FLAG_IGNORED_TEXT, 0 },
                                                { 'l', "log-level", FLAG_IGNORED_TEXT, 0 },
                                                { 'D', "debug", FLAG_IGNORED, 0 },
                                                DOCKER_FLAGS_END };
    int i = 0;

    while (i < argc && argv[i][0] == '-') {
        int taken = take_flag(docker, flags, docker, argv + i);

        if (taken < 0)
            return -1;
        i += taken;
    }
    return i;
}

static int usage(void)
{
    puts("Usage: berm docker [--host unix://PATH] COMMAND ...\n\nCommands:");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        printf("  %s\n", commands[i].name);
    return STATUS_OK;
}

static int run_docker(struct cli *cli, int argc, char **argv)
{
    struct docker_cli docker = { .cli = cli };
    int taken;

    if (argc == 0 || !strcmp(argv[0], "--help") || !strcmp(argv[0], "-h") || !strcmp(argv[0], "help"))
        return usage();
    taken = take_global_flags(&docker, argc, argv);
    if (taken < 0)
        return STATUS_FAILED;
    argc -= taken;
    argv += taken;
    docker.socket = socket_of(&docker);
    if (!docker.socket)
        return STATUS_FAILED;
    for (size_t i = 0; argc > 0 && i < ARRAY_SIZE(commands); i++) {
        const char *space = strchr(commands[i].name, ' ');
        size_t first = space ? (size_t)(space - commands[i].name) : strlen(commands[i].name);

        if (strlen(argv[0]) != first || strncmp(argv[0], commands[i].name, first))
            continue;
        if (space && (argc < 2 || strcmp(argv[1], space + 1)))
            continue;
        return commands[i].run(&docker, argc - (space ? 2 : 1), argv + (space ? 2 : 1));
    }
    return docker_fail(&docker, "berm docker has no command '%s': see `berm docker --help`",
                       argc > 0 ? argv[0] : "");
}

const struct verb verb_docker = {
    .name = "docker",
    .operands = "COMMAND [ARG ...]",
    .summary = "Docker's commands, over the daemon's Docker socket: for wrangler and for people used to them",
    .details = "info, version, build, image inspect/ls/rm, images, rmi, tag, pull, ps, run, exec, attach, logs, "
               "stats, commit, start, "
               "stop, kill, rm, "
               "inspect, context ls. Called as berm-docker it is WRANGLER_DOCKER_BIN. The socket: $DOCKER_HOST, or "
               "unix://" DOCKER_SOCKET_DEFAULT ".",
    .options = no_options,
    .options_first = true,
    .run = run_docker,
};
