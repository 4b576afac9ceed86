/* inspect.c - GET /containers/X/json. */
#include "base/sys.h"
#include "daemon/docker/engine.h"
#include "daemon/docker/ports.h"
#include "daemon/docker/side.h"

#define NEVER "0001-01-01T00:00:00Z"

void docker_pair_time(struct json_writer *w, const char *key, int64_t ms)
{
    char text[25];

    format_timestamp(ms, text);
    json_pair_cstring(w, key, ms ? text : NEVER);
}

static void write_state(struct json_writer *w, const struct container *container)
{
    bool runs = container->phase == CONTAINER_RUNNING;

    json_key(w, "State");
    json_object_begin(w);
    json_pair_cstring(w, "Status", container_status(container));
    json_pair_bool(w, "Running", runs);
    json_pair_bool(w, "Paused", false);
    json_pair_bool(w, "Restarting", false);
    json_pair_bool(w, "OOMKilled", container->oom);
    json_pair_bool(w, "Dead", false);
    json_pair_int(w, "Pid", 0); /* of no use to anybody outside of berm-spawn */
    json_pair_int(w, "ExitCode", container->exit_code);
    json_pair_cstring(w, "Error", "");
    docker_pair_time(w, "StartedAt", container->started_ms);
    docker_pair_time(w, "FinishedAt", container->finished_ms);
    json_object_end(w);
}

const struct json *container_text(struct arena *arena, const char *text)
{
    const struct json *value = NULL;

    return text && json_parse(arena, str_from(text), 16, &value, NULL) == 0 ? value : NULL;
}

static void write_env(struct json_writer *w, const struct json *env)
{
    struct buf pair;

    json_key(w, "Env");
    json_array_begin(w);
    buf_init(&pair, 4 * DOCKER_BODY_MAX);
    for (size_t i = 0; env && i < env->object.count; i++) {
        const struct json_member *member = &env->object.members[i];

        buf_clear(&pair);
        if (member->value.type != JSON_STRING || buf_append_str(&pair, member->key) < 0 ||
            buf_append(&pair, "=", 1) < 0 || buf_append_str(&pair, member->value.string) < 0)
            continue;
        json_string(w, buf_str(&pair));
    }
    buf_free(&pair);
    json_array_end(w);
}

void container_write_labels(struct json_writer *w, const struct json *labels)
{
    json_key(w, "Labels");
    if (labels) {
        json_value(w, labels);
    } else {
        json_object_begin(w);
        json_object_end(w);
    }
}

static void write_config(struct json_writer *w, struct arena *arena, const struct container *container)
{
    const struct json *argv = container_text(arena, container->argv);

    json_key(w, "Config");
    json_object_begin(w);
    json_pair_cstring(w, "Hostname", "sandbox");
    json_pair_cstring(w, "Image", container->image);
    json_pair_cstring(w, "WorkingDir", container->workdir ? container->workdir : "");
    json_pair_cstring(w, "User", "");
    json_pair_bool(w, "Tty", false);
    json_pair_bool(w, "OpenStdin", container->open_stdin);
    json_pair_bool(w, "StdinOnce", container->stdin_once);
    json_pair_int(w, "StopTimeout", container->stop_seconds);
    json_key(w, "Cmd");
    if (argv)
        json_value(w, argv);
    else
        json_null(w);
    write_env(w, container_text(arena, container->env));
    container_write_labels(w, container_text(arena, container->labels));
    json_object_end(w);
}

/* Docker's `Path` and `Args` are the first word of what runs and the others. */
static void write_command(struct json_writer *w, const struct json *argv)
{
    size_t count = argv ? argv->array.count : 0;

    json_key(w, "Path");
    json_string(w, count ? argv->array.items[0].string : STR(""));
    json_key(w, "Args");
    json_array_begin(w);
    for (size_t i = 1; i < count; i++)
        json_value(w, &argv->array.items[i]);
    json_array_end(w);
}

static void write_host(struct json_writer *w, const struct container *container)
{
    json_key(w, "HostConfig");
    json_object_begin(w);
    json_pair_cstring(w, "NetworkMode", container->network);
    json_pair_cstring(w, "PidMode", "");
    json_pair_bool(w, "Privileged", false);
    json_pair_bool(w, "AutoRemove", container->auto_remove);
    json_pair_int(w, "Memory", (int64_t)container->limits.memory_bytes);
    json_pair_int(w, "NanoCpus", (int64_t)container->limits.cpu_millis * 1000000);
    json_pair_int(w, "PidsLimit", container->limits.pids);
    json_object_end(w);
}

void container_write_mounts(struct json_writer *w, struct arena *arena, const struct container *container)
{
    const struct json *mounts = container->mounts ? container_text(arena, container->mounts) : NULL;

    json_key(w, "Mounts");
    if (mounts) {
        json_value(w, mounts);
    } else {
        json_array_begin(w);
        json_array_end(w);
    }
}

static void write_network(struct json_writer *w, const struct container *container)
{
    json_key(w, "NetworkSettings");
    json_object_begin(w);
    json_pair_cstring(w, "IPAddress", "");
    json_key(w, "Ports");
    json_object_begin(w);
    if (container->side)
        side_write_ports(w, container->side);
    else
        port_map_write(w, container->ports);
    json_object_end(w);
    json_pair_empty_object(w, "Networks");
    json_object_end(w);
}

void docker_inspect(struct request *request)
{
    struct container *container = docker_container(request);
    struct json_writer *w = container ? request_json(request) : NULL;

    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "Id", container->id);
    json_pair_cstring(w, "Name", arena_printf(&request->arena, "/%s", container->name));
    docker_pair_time(w, "Created", container->created_ms);
    write_command(w, container_text(&request->arena, container->argv));
    json_pair_cstring(w, "Driver", "berm");
    json_pair_cstring(w, "Platform", "linux");
    json_pair_int(w, "RestartCount", 0);
    json_pair_cstring(w, "Image", arena_printf(&request->arena, "sha256:%s", container->image_id));
    write_state(w, container);
    write_config(w, &request->arena, container);
    write_host(w, container);
    write_network(w, container);
    container_write_mounts(w, &request->arena, container);
    json_object_end(w);
    request_respond_json(request, 200, w);
}
