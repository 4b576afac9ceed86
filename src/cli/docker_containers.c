/* docker_containers.c - ps, rm, stop, start, kill, inspect. */
#include "cli/docker.h"

struct container_args {
    const char *format, *signal, *seconds;
    struct cli_list filters;
    bool all, quiet, force, no_trunc;
};

/* clang-format off */
static const struct docker_flag ps_flags[] = {
    { 'a', "all", FLAG_ON, offsetof(struct container_args, all) },
    { 'q', "quiet", FLAG_ON, offsetof(struct container_args, quiet) },
    { 'f', "filter", FLAG_LIST, offsetof(struct container_args, filters) },
    { 0, "format", FLAG_TEXT, offsetof(struct container_args, format) },
    { 0, "no-trunc", FLAG_ON, offsetof(struct container_args, no_trunc) },
    DOCKER_FLAGS_END
};
static const struct docker_flag rm_flags[] = {
    { 'f', "force", FLAG_ON, offsetof(struct container_args, force) },
    { 'v', "volumes", FLAG_IGNORED, 0 },
    DOCKER_FLAGS_END
};
static const struct docker_flag stop_flags[] = {
    { 't', "time", FLAG_TEXT, offsetof(struct container_args, seconds) },
    { 's', "signal", FLAG_TEXT, offsetof(struct container_args, signal) },
    DOCKER_FLAGS_END
};
static const struct docker_flag inspect_flags[] = {
    { 'f', "format", FLAG_TEXT, offsetof(struct container_args, format) },
    { 0, "type", FLAG_IGNORED_TEXT, 0 },
    DOCKER_FLAGS_END
};
/* clang-format on */

/* --- ps --- */

/* {"label":["a=b"],"name":["c"]} */
static const char *filter_query(struct docker_cli *docker, const struct cli_list *filters)
{
    const char *result = NULL;
    struct json_writer w;
    struct buf text;

    buf_init(&text, 64 * 1024);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    for (size_t i = 0; i < filters->count; i++) {
        struct str name = { filters->items[i], strcspn(filters->items[i], "=") };
        bool before = false;

        for (size_t k = 0; k < i; k++)
            before |= !strncmp(filters->items[k], name.p, name.n + 1);
        if (before)
            continue;
        json_key_str(&w, name);
        json_array_begin(&w);
        for (size_t k = i; k < filters->count; k++)
            if (!strncmp(filters->items[k], name.p, name.n) && filters->items[k][name.n] == '=')
                json_cstring(&w, filters->items[k] + name.n + 1);
        json_array_end(&w);
    }
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        result = arena_strdup(&docker->cli->arena, buf_str(&text));
    buf_free(&text);
    return result ? docker_encode(docker, result) : "%7B%7D";
}

static struct str text_of(const struct json *object, const char *key)
{
    const struct json *value = json_get(object, key);

    return value && value->type == JSON_STRING ? value->string : STR("");
}

static const struct json *row_of(struct docker_cli *docker, const struct json *container, bool no_trunc)
{
    const struct json *names = json_get(container, "Names"), *row = NULL;
    struct str id = text_of(container, "Id"), name = STR("");
    struct json_writer w;
    struct buf text;

    if (!no_trunc && id.n > 12)
        id.n = 12;
    if (names && names->type == JSON_ARRAY && names->array.count > 0 && names->array.items[0].type == JSON_STRING)
        name = names->array.items[0].string;
    if (str_has_prefix(name, STR("/")))
        name = (struct str){ name.p + 1, name.n - 1 };
    buf_init(&text, 1 << 20);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_pair_string(&w, "ID", id);
    json_pair_string(&w, "Image", text_of(container, "Image"));
    json_pair_string(&w, "Command", text_of(container, "Command"));
    json_pair_string(&w, "State", text_of(container, "State"));
    json_pair_string(&w, "Status", text_of(container, "Status"));
    json_pair_string(&w, "Names", name);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        json_parse(&docker->cli->arena, buf_str(&text), 4, &row, NULL);
    buf_free(&text);
    return row;
}

static int print_rows(struct docker_cli *docker, const struct container_args *args, const struct json *containers)
{
    static const char *const header[] = { "CONTAINER ID", "IMAGE", "STATUS", "NAMES" };
    const char *format = args->format ? args->format : args->quiet ? "{{.ID}}" : NULL;
    struct table table;
    struct berm_error err;
    struct buf text;
    int status = STATUS_OK;

    table_init(&table, &docker->cli->arena, ARRAY_SIZE(header), header);
    buf_init(&text, DOCKER_ANSWER_MAX);
    for (size_t i = 0; status == STATUS_OK && i < containers->array.count; i++) {
        const struct json *row = row_of(docker, &containers->array.items[i], args->no_trunc);

        if (!row)
            status = docker_fail(docker, "out of memory");
        else if (!format)
            table_row(&table, (const char *const[]){ text_of(row, "ID").p, text_of(row, "Image").p,
                                                     text_of(row, "Status").p, text_of(row, "Names").p });
        else if (docker_format(&text, format, row, &err) < 0 || buf_append(&text, "\n", 1) < 0)
            status = docker_fail(docker, "%s", err.message);
    }
    if (status == STATUS_OK && (format ? print_rendered(buf_str(&text)) < 0 : table_print(&table, stdout) < 0))
        status = docker_fail(docker, "cannot write: %s", strerror(errno));
    buf_free(&text);
    return status;
}

int docker_cmd_ps(struct docker_cli *docker, int argc, char **argv)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("GET", NULL);
    struct container_args args = { 0 };
    struct cli_operands operands;
    const struct json *containers;

    if (docker_flags(docker, ps_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    call.path =
        docker_path(docker, "/containers/json?all=%d&filters=%s", args.all, filter_query(docker, &args.filters));
    if (docker_do(docker, &call) < 0 || !(containers = docker_json(docker, &call)) ||
        containers->type != JSON_ARRAY)
        return STATUS_FAILED;
    return print_rows(docker, &args, containers);
}

/* --- the same call for each --- */

static int for_each(struct docker_cli *docker, const struct cli_operands *operands, const char *method,
                    const char *suffix)
{
    int status = STATUS_OK;

    if (operands->count == 0)
        return docker_fail(docker, "a container is missing");
    for (int i = 0; i < operands->count; i++) {
        _cleanup_docker_call_ struct docker_call call = DOCKER_CALL(
            method, docker_path(docker, "/containers/%s%s", docker_encode(docker, operands->items[i]), suffix));

        if (docker_do(docker, &call) < 0)
            status = STATUS_FAILED;
        else
            puts(operands->items[i]);
    }
    return status;
}

int docker_cmd_rm(struct docker_cli *docker, int argc, char **argv)
{
    struct container_args args = { 0 };
    struct cli_operands operands;

    if (docker_flags(docker, rm_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    return for_each(docker, &operands, "DELETE", args.force ? "?force=1" : "");
}

int docker_cmd_stop(struct docker_cli *docker, int argc, char **argv)
{
    struct container_args args = { 0 };
    struct cli_operands operands;

    if (docker_flags(docker, stop_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    return for_each(docker, &operands, "POST",
                    docker_path(docker, "/stop?t=%s", args.seconds ? docker_encode(docker, args.seconds) : ""));
}

int docker_cmd_start(struct docker_cli *docker, int argc, char **argv)
{
    struct container_args args = { 0 };
    struct cli_operands operands;

    if (docker_flags(docker, stop_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    return for_each(docker, &operands, "POST", "/start");
}

int docker_cmd_kill(struct docker_cli *docker, int argc, char **argv)
{
    struct container_args args = { 0 };
    struct cli_operands operands;

    if (docker_flags(docker, stop_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    return for_each(docker, &operands, "POST",
                    docker_path(docker, "/kill?signal=%s", args.signal ? docker_encode(docker, args.signal) : ""));
}

int docker_cmd_inspect(struct docker_cli *docker, int argc, char **argv)
{
    struct container_args args = { 0 };
    struct cli_operands operands;
    int status = STATUS_OK;

    if (docker_flags(docker, inspect_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    for (int i = 0; i < operands.count; i++) {
        _cleanup_docker_call_ struct docker_call call = DOCKER_CALL(
            "GET", docker_path(docker, "/containers/%s/json", docker_encode(docker, operands.items[i])));
        const struct json *container;

        if (docker_do(docker, &call) < 0 || !(container = docker_json(docker, &call)) ||
            docker_print_formatted(docker, args.format ? args.format : "[{{json .}}]", container) != STATUS_OK)
            status = STATUS_FAILED;
    }
    return status;
}
