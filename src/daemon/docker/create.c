/*
 * create.c - POST /containers/create: what Docker's clients ask for, and what of it there is here.
 *
 * Whatever would take a wall of the sandbox away is refused (privileged, host namespaces but for the process one,
 * mounts of all but volumes, devices). workerd asks for `PidMode: host` with every container, so that is answered
 * with a warning and not granted. What has no meaning here is ignored with a warning as well.
 */
#include "daemon/docker/image_config.h"
#include "daemon/docker/ports.h"
#include "daemon/docker/side.h"
#include "daemon/docker/volumes.h"

#define WARNINGS_MAX 48

static void on_body(struct request *request);

struct create {
    const struct json *body, *host;
    const char *name;
    const char *image;
    const char *warnings[WARNINGS_MAX];
    size_t warning_count;
};

static void warn(struct create *create, const char *text)
{
    if (create->warning_count < WARNINGS_MAX)
        create->warnings[create->warning_count++] = text;
}

bool docker_name_valid(struct str name)
{
    if (name.n < 2 || name.n > DOCKER_NAME_MAX || name.p[0] == '.' || name.p[0] == '-' || name.p[0] == '_')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_' && c != '.' &&
            c != '-')
            return false;
    }
    return true;
}

/* --- HostConfig --- */

static bool asked(const struct json *host, const char *key)
{
    const struct json *value = json_get(host, key);

    if (!value)
        return false;
    switch (value->type) {
    case JSON_BOOL:
        return value->boolean;
    case JSON_INT:
        return value->integer != 0;
    case JSON_STRING:
        return value->string.n > 0;
    case JSON_ARRAY:
        return value->array.count > 0;
    case JSON_OBJECT:
        return value->object.count > 0;
    default:
        return false;
    }
}

static bool is_text(const struct json *host, const char *key, const char *text)
{
    const struct json *value = json_get(host, key);

    return value && value->type == JSON_STRING && str_is(value->string, text);
}

/* 403, or 0. */
static int refuse_walls(struct request *request, const struct json *host)
{
    static const char *const never[] = { "Privileged",   "Devices",           "DeviceRequests", "VolumesFrom",
                                         "CgroupParent", "DeviceCgroupRules", "Sysctls" };
    static const char *const host_modes[] = { "NetworkMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode" };

    for (size_t i = 0; i < ARRAY_SIZE(never); i++)
        if (asked(host, never[i])) {
            docker_fail(request, 403, "HostConfig.%s is refused: sandboxes get nothing of the host", never[i]);
            return -1;
        }
    for (size_t i = 0; i < ARRAY_SIZE(host_modes); i++)
        if (is_text(host, host_modes[i], "host")) {
            docker_fail(request, 403, "HostConfig.%s \"host\" is refused: sandboxes have namespaces of their own",
                        host_modes[i]);
            return -1;
        }
    return 0;
}

static const struct ignored {
    const char *key, *text;
} ignored_of_host[] = {
    { "PidMode", "HostConfig.PidMode is ignored: a sandbox sees its own processes only" },
    { "CapAdd", "HostConfig.CapAdd is ignored: every sandbox has the same capabilities" },
    { "SecurityOpt", "HostConfig.SecurityOpt is ignored" },
    { "ExtraHosts", "HostConfig.ExtraHosts is ignored" },
    { "Dns", "HostConfig.Dns is ignored" },
    { "Runtime", "HostConfig.Runtime is ignored" },
    { "Ulimits", "HostConfig.Ulimits is ignored" },
    { "ShmSize", "HostConfig.ShmSize is ignored" },
    { "Tmpfs", "HostConfig.Tmpfs is ignored" },
    { "CapDrop", "HostConfig.CapDrop is ignored: every sandbox has the same capabilities" },
    { "ReadonlyRootfs", "HostConfig.ReadonlyRootfs is ignored: the root file system can be written" },
    { "CpuQuota", "HostConfig.CpuQuota is ignored: use NanoCpus" },
    { "CpuShares", "HostConfig.CpuShares is ignored: use NanoCpus" },
    { "CpusetCpus", "HostConfig.CpusetCpus is ignored" },
    { "MemorySwap", "HostConfig.MemorySwap is ignored: a sandbox has no swap of its own" },
    { "StorageOpt", "HostConfig.StorageOpt is ignored" },
    { "Links", "HostConfig.Links is ignored" },
    { "GroupAdd", "HostConfig.GroupAdd is ignored" },
    { "DnsOptions", "HostConfig.DnsOptions is ignored" },
    { "DnsSearch", "HostConfig.DnsSearch is ignored" },
    { "CpuPeriod", "HostConfig.CpuPeriod is ignored: use NanoCpus" },
    { "CpusetMems", "HostConfig.CpusetMems is ignored" },
    { "MemoryReservation", "HostConfig.MemoryReservation is ignored: use Memory" },
    { "OomScoreAdj", "HostConfig.OomScoreAdj is ignored" },
    { "OomKillDisable", "HostConfig.OomKillDisable is ignored" },
    { "BlkioWeight", "HostConfig.BlkioWeight is ignored" },
};

static const struct ignored ignored_of_body[] = {
    { "Volumes", "Volumes are ignored: what is there lies in the container; name a volume in HostConfig.Mounts" },
    { "Tty", "Tty is ignored: a container's own command has no terminal, commands of exec do" },
    { "Hostname", "Hostname is ignored: every sandbox is called sandbox" },
    { "Domainname", "Domainname is ignored" },
    { "MacAddress", "MacAddress is ignored" },
    { "NetworkDisabled", "NetworkDisabled is ignored: the sandbox's policy decides what it reaches" },
    { "Healthcheck", "Healthcheck is ignored: no state of health is kept" },
};

static bool is_root(const struct json *body)
{
    static const char *const root[] = { "root", "0", "0:0", "root:root" };

    for (size_t i = 0; i < ARRAY_SIZE(root); i++)
        if (is_text(body, "User", root[i]))
            return true;
    return !asked(body, "User");
}

static void warn_of_ignored(struct create *create)
{
    const struct json *restart;

    for (size_t i = 0; i < ARRAY_SIZE(ignored_of_host); i++)
        if (asked(create->host, ignored_of_host[i].key))
            warn(create, ignored_of_host[i].text);
    for (size_t i = 0; i < ARRAY_SIZE(ignored_of_body); i++)
        if (asked(create->body, ignored_of_body[i].key))
            warn(create, ignored_of_body[i].text);
    if (!is_root(create->body))
        warn(create, "User is ignored: what runs in the container is its root");
    restart = json_get(json_get(create->host, "RestartPolicy"), "Name");
    if (restart && restart->type == JSON_STRING && restart->string.n > 0 && !str_is(restart->string, "no"))
        warn(create, "HostConfig.RestartPolicy is ignored: an ended container stays so");
}

static int take_number(const struct json *host, const char *key, uint64_t min, uint64_t max, uint64_t *ret,
                       struct berm_error *err)
{
    int64_t value = 0;

    *ret = 0;
    if (json_field_int(host, key, -1, INT64_MAX, &value, err) < 0)
        return -1;
    if (value <= 0)
        return 0;
    if ((uint64_t)value < min || (uint64_t)value > max)
        return berm_fail_field(err, key, "HostConfig.%s must be from %llu to %llu", key, (unsigned long long)min,
                               (unsigned long long)max);
    *ret = (uint64_t)value;
    return 0;
}

static int take_limits(const struct config *config, const struct json *host, struct spawn_limits *ret,
                       struct berm_error *err)
{
    uint64_t memory, cpu, pids;

    if (take_number(host, "Memory", (uint64_t)4 << 20, config->max_memory, &memory, err) < 0 ||
        take_number(host, "NanoCpus", 10000000, config->max_cpu * 1000000, &cpu, err) < 0 ||
        take_number(host, "PidsLimit", 2, config->max_pids, &pids, err) < 0)
        return -1;
    ret->memory_bytes = memory;
    ret->cpu_millis = (uint32_t)(cpu / 1000000);
    ret->pids = (uint32_t)pids;
    return 0;
}

static int take_network(struct request *request, struct container *container, const struct json *host)
{
    struct docker *docker = container->docker;
    const struct json *mode = json_get(host, "NetworkMode");
    struct container *other;
    struct str name;

    if (!mode || mode->type != JSON_STRING || mode->string.n == 0 || str_is(mode->string, "default")) {
        snprintf(container->network, sizeof(container->network), "bridge");
        return 0;
    }
    if (str_copy(mode->string, container->network, sizeof(container->network)) < 0) {
        docker_fail(request, 400, "HostConfig.NetworkMode is too long");
        return -1;
    }
    if (!str_has_prefix(mode->string, STR("container:")))
        return 0;
    name = (struct str){ mode->string.p + 10, mode->string.n - 10 };
    other = container_find(docker, name);
    if (!other || !other->side) {
        docker_fail(request, other ? 409 : 404,
                    other ? "container %.*s has no network to share: it is no interceptor"
                          : "No such container: %.*s",
                    (int)MIN(name.n, (size_t)DOCKER_NAME_MAX), name.p);
        return -1;
    }
    snprintf(container->network, sizeof(container->network), "container:%s", other->name);
    return 0;
}

/* --- the image and what runs --- */

static int take_description(struct container *container, struct arena *arena, const struct create *create,
                            struct berm_error *err)
{
    const struct json *base = NULL, *merged = NULL, *labels;
    _cleanup_free_ char *text = NULL;
    struct docker_image image;
    const char *workdir = NULL;
    bool once = false;
    struct json_writer w;
    struct buf out;

    if (docker_image_resolve(container->docker, arena, create->image, &image, err) < 0 ||
        json_parse(arena, str_from(image.config), 32, &base, err) < 0)
        return -1;
    text = image_config_merge(base, create->body);
    if (!text)
        return berm_fail(err, BERM_E_PAYLOAD_TOO_LARGE, 0, "the container's configuration is too large");
    if (json_parse(arena, str_from(text), 32, &merged, err) < 0 ||
        json_field_cstring(merged, "WorkingDir", &workdir, err) < 0)
        return -1;
    snprintf(container->image_id, sizeof(container->image_id), "%s", image.id);
    snprintf(container->berm_image, sizeof(container->berm_image), "%s", image.berm_image);
    container->plain = image.plain;
    container->env = image_config_env(merged);
    container->argv = image_config_command(merged, image.plain);
    if (workdir && workdir[0])
        container->workdir = strdup(workdir);
    if (json_field_bool(create->body, "OpenStdin", &container->open_stdin, err) < 0 ||
        json_field_bool(create->body, "StdinOnce", &once, err) < 0)
        return -1;
    container->stdin_once = container->open_stdin && once;
    labels = json_get(merged, "Labels");
    buf_init(&out, DOCKER_BODY_MAX);
    json_writer_init(&w, &out);
    if (labels && labels->type == JSON_OBJECT) {
        json_value(&w, labels);
    } else {
        json_object_begin(&w);
        json_object_end(&w);
    }
    container->labels = json_writer_finish(&w) == 0 ? buf_steal(&out, NULL) : NULL;
    buf_free(&out);
    if (!container->env || !container->argv || !container->labels)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "container");
    return 0;
}

/* --- the answer --- */

static void respond(struct request *request, const struct container *container, const struct create *create)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "Id", container->id);
    json_key(w, "Warnings");
    json_array_begin(w);
    for (size_t i = 0; i < create->warning_count; i++)
        json_cstring(w, create->warnings[i]);
    json_array_end(w);
    json_object_end(w);
    request_respond_json(request, 201, w);
}

static int take_end(struct container *container, const struct create *create, struct berm_error *err)
{
    const char *signal = NULL;

    if (json_field_bool(create->host, "AutoRemove", &container->auto_remove, err) < 0 ||
        json_field_int(create->body, "StopTimeout", -1, STOP_SECONDS_MAX, &container->stop_seconds, err) < 0 ||
        json_field_cstring(create->body, "StopSignal", &signal, err) < 0)
        return -1;
    if (signal && signal[0])
        container->stop_signal = docker_signal(signal);
    return container->stop_signal
               ? 0
               : berm_fail_field(err, "StopSignal", "Invalid signal: %.64s", signal ? signal : "");
}

/* What is not an interceptor. -1: answered, or comes again once a volume is made. */
static int fill_sandbox(struct request *request, struct container *container, struct create *create)
{
    struct berm_error err;

    if (take_description(container, &request->arena, create, &err) < 0 ||
        take_limits(&request->daemon->config, create->host, &container->limits, &err) < 0 ||
        take_end(container, create, &err) < 0) {
        docker_fail_error(request, &err);
        return -1;
    }
    if (mounts_take(request, container, create->host, on_body) < 0)
        return -1;
    if (port_map_create(container, create->body, &err) < 0) {
        docker_fail_error(request, &err);
        return -1;
    }
    warn_of_ignored(create);
    return 0;
}

/* Everything but its name. Likewise. */
static int fill(struct request *request, struct container *container, struct create *create)
{
    struct berm_error err;

    snprintf(container->image, sizeof(container->image), "%.*s", DOCKER_REF_MAX, create->image);
    if (take_network(request, container, create->host) < 0)
        return -1;
    if (!docker_ref_is_interceptor(str_from(create->image)))
        return fill_sandbox(request, container, create);
    if (side_create(container, create->body, &err) == 0)
        return 0;
    docker_fail_error(request, &err);
    return -1;
}

static void make(struct request *request, struct create *create)
{
    struct docker *docker = docker_of(request);
    struct container *container, *other = container_by_name(docker, create->name);

    if (other) {
        docker_fail(
            request, 409,
            "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove (or "
            "rename) that container to be able to reuse that name.",
            create->name, other->id);
        return;
    }
    if (docker->container_count >= CONTAINERS_MAX) {
        docker_fail(request, 503, "there are %zu containers, and no more are kept", docker->container_count);
        return;
    }
    container = container_new(docker, create->name);
    if (!container) {
        docker_fail(request, 500, "out of memory");
        return;
    }
    if (fill(request, container, create) < 0) {
        container_forget(container);
        return;
    }
    docker_event(docker, "container", "create", container->id, container->name, container->image);
    respond(request, container, create);
}

static const char *random_name(struct request *request)
{
    uint8_t random[8];
    char text[2 * sizeof(random) + 1];

    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), text);
    return arena_printf(&request->arena, "berm-%s", text);
}

static void on_body(struct request *request)
{
    struct create create = { .body = docker_body(request) };
    struct berm_error err;

    if (!create.body)
        return;
    if (request_query(request, "name", &create.name) < 0)
        return;
    if (json_field_cstring(create.body, "Image", &create.image, &err) < 0 ||
        json_field_object(create.body, "HostConfig", &create.host, &err) < 0 ||
        image_config_check(create.body, &err) < 0) {
        docker_fail_error(request, &err);
        return;
    }
    if (!create.image || !create.image[0]) {
        docker_fail(request, 400, "Config.Image is missing");
        return;
    }
    if (create.name && create.name[0] == '/')
        create.name++;
    if (!create.name || !create.name[0])
        create.name = random_name(request);
    if (!create.name || !docker_name_valid(str_from(create.name))) {
        docker_fail(request, 400, "Invalid container name: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
        return;
    }
    if (refuse_walls(request, create.host) == 0)
        make(request, &create);
}

void docker_create(struct request *request)
{
    docker_read_json(request, on_body);
}
