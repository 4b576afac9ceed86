/* container.c - the containers that there are, and what becomes of them in the registry's labels. */
#include "base/log.h"
#include "daemon/docker/engine.h"
#include "daemon/docker/logs.h"
#include "daemon/docker/ports.h"
#include "daemon/docker/side.h"

#include <signal.h>

#define LABELS_BYTES_MAX (256 * 1024)

/* --- finding --- */

struct container *container_by_name(struct docker *docker, const char *name)
{
    for (struct list *node = docker->containers.next; node != &docker->containers; node = node->next) {
        struct container *container = container_of(node, struct container, node);

        if (!strcmp(container->name, name))
            return container;
    }
    return NULL;
}

static bool is_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= '0' && s.p[i] <= '9') && !(s.p[i] >= 'a' && s.p[i] <= 'f'))
            return false;
    return true;
}

static struct container *find_by_id(struct docker *docker, struct str start)
{
    struct container *found = NULL;

    if (start.n < 4 || start.n > DOCKER_ID_HEX || !is_hex(start))
        return NULL;
    for (struct list *node = docker->containers.next; node != &docker->containers; node = node->next) {
        struct container *container = container_of(node, struct container, node);

        if (memcmp(container->id, start.p, start.n))
            continue;
        if (found)
            return NULL; /* it could be either */
        found = container;
    }
    return found;
}

struct container *container_find(struct docker *docker, struct str name)
{
    char text[DOCKER_NAME_MAX + 2];
    struct container *found;

    if (str_has_prefix(name, STR("/")))
        name = (struct str){ name.p + 1, name.n - 1 };
    if (str_copy(name, text, sizeof(text)) < 0)
        return NULL;
    found = container_by_name(docker, text);
    return found ? found : find_by_id(docker, name);
}

struct container *container_of_side(struct docker *docker, const char *side)
{
    static const char prefix[] = "container:";

    for (struct list *node = docker->containers.next; node != &docker->containers; node = node->next) {
        struct container *container = container_of(node, struct container, node);

        if (!strncmp(container->network, prefix, strlen(prefix)) &&
            !strcmp(container->network + strlen(prefix), side))
            return container;
    }
    return NULL;
}

const char *container_status(const struct container *container)
{
    switch (container->phase) {
    case CONTAINER_RUNNING:
        return "running";
    case CONTAINER_EXITED:
        return "exited";
    default:
        return "created";
    }
}

/* --- making and forgetting --- */

static void new_ids(struct container *container)
{
    uint8_t random[DOCKER_ID_HEX / 2];

    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), container->id);
    base32_encode(random, 20, container->sandbox_id);
}

struct container *container_new(struct docker *docker, const char *name)
{
    struct container *container = calloc(1, sizeof(*container));

    if (!container)
        return NULL;
    container->docker = docker;
    list_init(&container->boot_waits);
    list_init(&container->exit_waits);
    list_init(&container->remove_waits);
    list_init(&container->start_waits);
    new_ids(container);
    snprintf(container->name, sizeof(container->name), "%s", name);
    container->stop_signal = SIGTERM;
    container->stop_seconds = STOP_SECONDS;
    container->created_ms = clock_realtime_ms();
    list_append(&docker->containers, &container->node);
    docker->container_count++;
    return container;
}

static void drop_sandbox(struct container *container)
{
    if (!container->sandbox)
        return;
    container->sandbox->container = NULL;
    sandbox_unref(container->sandbox);
    container->sandbox = NULL;
    container->booted = false;
}

static void tell(struct list *waits, int status)
{
    struct list *node;

    while ((node = list_shift(waits))) {
        struct exit_wait *wait = container_of(node, struct exit_wait, node);

        wait->done(wait, status);
    }
}

void container_forget(struct container *container)
{
    struct docker *docker = container->docker;
    struct berm_error err;

    list_remove(&container->node);
    docker->container_count--;
    docker_event(docker, "container", "destroy", container->id, container->name, container->image);
    berm_fail(&err, BERM_E_NOT_FOUND, 0, "the container was removed");
    container_stop_booting(container, &err);
    container_stop_starting(container, &err);
    tell(&container->exit_waits, container->exit_code);
    tell(&container->remove_waits, container->exit_code);
    container_log_free(container->log);
    drop_sandbox(container);
    docker_image_released(docker);
    port_map_free(container->ports);
    side_free(container->side);
    free(container->env);
    free(container->labels);
    free(container->argv);
    free(container->workdir);
    free(container->mounts);
    free(container);
}

int container_remove(struct container *container, struct berm_error *err)
{
    struct daemon *daemon = container->docker->daemon;
    bool has_sandbox = container->sandbox != NULL;

    if (!container->side && lifecycle_destroy(daemon, str_from(container->sandbox_id), err) < 0)
        return -1;
    if (!has_sandbox) /* else docker_sandbox_deleted() has been here */
        container_forget(container);
    return 0;
}

/* --- the end of an instance --- */

static int code_of(enum end_reason reason, int exit_status)
{
    switch (reason) {
    case END_EXITED:
        return exit_status;
    case END_SIGNALED:
        return 128 + exit_status;
    case END_SLEPT:
        return 0;
    case END_START_FAILED:
        return 127;
    default:
        return 137; /* killed, out of memory, lost */
    }
}

/*
 * workerd starts the next instance under the same name as soon as it knows of the end of this one, and a container
 * that is still there costs it a detour of more than 100 ms: those that it made go when their end has been told.
 */
static bool goes_with_its_end(const struct container *container)
{
    if (container->auto_remove)
        return true;
    return !strncmp(container->network, "container:", 10) && !list_empty(&container->exit_waits);
}

void container_ended(struct container *container, int status)
{
    bool goes = goes_with_its_end(container);

    container->phase = CONTAINER_EXITED;
    container->exit_code = status;
    container->finished_ms = clock_realtime_ms();
    docker_event(container->docker, "container", "die", container->id, container->name, container->image);
    tell(&container->exit_waits, status);
    container_log_end(container->log);
    container->goes = goes;
    if (goes)
        loop_defer(container->docker->daemon->loop, &container->docker->remove_ended);
}

static struct container *find_going(struct docker *docker)
{
    for (struct list *node = docker->containers.next; node != &docker->containers; node = node->next) {
        struct container *container = container_of(node, struct container, node);

        if (container->goes && container->phase == CONTAINER_EXITED)
            return container;
    }
    return NULL;
}

void container_remove_ended(struct loop_deferred *deferred)
{
    struct docker *docker = container_of(deferred, struct docker, remove_ended);
    struct container *container;
    struct berm_error err;

    while ((container = find_going(docker))) {
        container->goes = false;
        if (container_remove(container, &err) < 0)
            log_error("docker.remove_failed", "container", container->name, "error", err.message);
    }
}

void docker_sandbox_ended(struct sandbox *sandbox, enum end_reason reason, int exit_status)
{
    struct container *container = sandbox->container;
    struct berm_error err;

    container->booted = false;
    container->oom = reason == END_OOM;
    berm_fail(&err, BERM_E_SANDBOX_DIED, 0, "the container ended");
    container_stop_booting(container, &err);
    container_stop_starting(container, &err);
    if (container->phase == CONTAINER_RUNNING)
        container_ended(container, code_of(reason, exit_status));
}

void docker_sandbox_deleted(struct sandbox *sandbox)
{
    container_forget(sandbox->container);
}

/* --- labels --- */

static bool copy_label(const struct json *labels, const char *name, char *out, size_t size)
{
    const struct json *value = json_get(labels, name);

    return value && value->type == JSON_STRING && str_copy(value->string, out, size) == 0;
}

/* How it ends, where that is not the usual. */
static void write_end_label(struct json_writer *w, const struct container *container)
{
    char text[64];

    if (!container->auto_remove && container->stop_signal == SIGTERM && container->stop_seconds == STOP_SECONDS)
        return;
    snprintf(text, sizeof(text), "%d %lld %d", container->stop_signal, (long long)container->stop_seconds,
             container->auto_remove);
    json_pair_cstring(w, "docker.end", text);
}

static void read_end_label(struct container *container, const struct json *labels)
{
    char text[64];
    long long seconds;
    int signo, removed;

    if (!copy_label(labels, "docker.end", text, sizeof(text)) ||
        sscanf(text, "%2d %6lld %1d", &signo, &seconds, &removed) != 3 || signo < 1 || signo > 64)
        return;
    container->stop_signal = signo;
    container->stop_seconds = seconds;
    container->auto_remove = removed != 0;
}

static int write_labels(struct json_writer *w, const struct container *container, const struct json *own)
{
    json_object_begin(w);
    for (size_t i = 0; own && i < own->object.count; i++)
        if (!str_has_prefix(own->object.members[i].key, STR(SANDBOX_LABELS_DOCKER)))
            json_pair_string(w, own->object.members[i].key.p, own->object.members[i].value.string);
    json_pair_cstring(w, "docker.id", container->id);
    json_pair_cstring(w, "docker.name", container->name);
    json_pair_cstring(w, "docker.image", container->image);
    json_pair_cstring(w, "docker.image-id", container->image_id);
    json_pair_cstring(w, "docker.network", container->network);
    json_pair_cstring(w, "docker.command", container->argv);
    if (container->workdir)
        json_pair_cstring(w, "docker.workdir", container->workdir);
    if (container->mounts)
        json_pair_cstring(w, "docker.mounts", container->mounts);
    port_map_write_label(w, container->ports);
    side_write_labels(w, container);
    if (container->plain)
        json_pair_cstring(w, "docker.plain", "1");
    if (container->open_stdin)
        json_pair_cstring(w, "docker.stdin", container->stdin_once ? "once" : "open");
    write_end_label(w, container);
    json_object_end(w);
    return json_writer_finish(w);
}

char *container_labels(const struct container *container)
{
    const struct json *own = NULL;
    struct json_writer w;
    struct arena arena;
    struct buf text;
    char *result = NULL;

    arena_init(&arena, 4 * LABELS_BYTES_MAX);
    buf_init(&text, 4 * LABELS_BYTES_MAX);
    json_writer_init(&w, &text);
    if (json_parse(&arena, str_from(container->labels), 4, &own, NULL) == 0 &&
        write_labels(&w, container, own) == 0)
        result = buf_steal(&text, NULL);
    buf_free(&text);
    arena_free(&arena);
    return result;
}

void container_store_labels(struct container *container)
{
    struct sandbox *sandbox = container->sandbox;
    char *labels = sandbox ? container_labels(container) : NULL, *before;
    struct berm_error err;

    if (!labels || !strcmp(labels, sandbox->row.labels)) {
        free(labels);
        return;
    }
    before = sandbox->row.labels;
    sandbox->row.labels = labels;
    if (sandbox->row.seq && store_put_sandbox(container->docker->daemon->store, &sandbox->row, 0, NULL, &err) < 0)
        log_error("docker.labels_failed", "container", container->name, "error", err.message);
    free(before);
}

/* --- after a restart of the daemon --- */

static char *text_label(const struct json *labels, const char *name, const char *fallback)
{
    const struct json *value = json_get(labels, name);

    return value && value->type == JSON_STRING ? str_dup(value->string) : strdup(fallback);
}

/* The client's own: all that are not ours. */
static char *own_labels(const struct json *labels)
{
    struct json_writer w;
    struct buf text;

    buf_init(&text, LABELS_BYTES_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    for (size_t i = 0; i < labels->object.count; i++)
        if (!str_has_prefix(labels->object.members[i].key, STR(SANDBOX_LABELS_DOCKER)))
            json_pair_string(&w, labels->object.members[i].key.p, labels->object.members[i].value.string);
    json_object_end(&w);
    return json_writer_finish(&w) == 0 ? buf_steal(&text, NULL) : NULL;
}

static void take_row(struct container *container, struct sandbox *sandbox)
{
    const struct sandbox_row *row = &sandbox->row;

    snprintf(container->sandbox_id, sizeof(container->sandbox_id), "%.*s", (int)sizeof(container->sandbox_id) - 1,
             row->id);
    snprintf(container->berm_image, sizeof(container->berm_image), "%s", row->image);
    container->limits = row->limits;
    container->created_ms = row->created_ms;
    container->started_ms = row->started_ms;
    container->sandbox = sandbox_ref(sandbox);
    sandbox->container = container;
    container->phase = row->state == SANDBOX_RUNNING ? CONTAINER_RUNNING : CONTAINER_EXITED;
    if (container->phase != CONTAINER_EXITED)
        return;
    container->exit_code = code_of(row->end_reason, row->exit_status);
    /* The last daemon was killed between its end and its removal. (One that sleeps may never have been started.) */
    container->goes = container->auto_remove && row->end_reason != END_SLEPT;
    if (container->goes)
        loop_defer(container->docker->daemon->loop, &container->docker->remove_ended);
}

static int load(struct docker *docker, struct sandbox *sandbox, const struct json *labels)
{
    char name[DOCKER_NAME_MAX + 1], id[DOCKER_ID_HEX + 1];
    struct container *container;
    const struct json *input;

    if (!copy_label(labels, "docker.name", name, sizeof(name)) ||
        !copy_label(labels, "docker.id", id, sizeof(id)) || strlen(id) != DOCKER_ID_HEX ||
        container_by_name(docker, name))
        return 0; /* an ordinary sandbox, whatever its labels say */
    container = container_new(docker, name);
    if (!container)
        return -1;
    memcpy(container->id, id, sizeof(id));
    copy_label(labels, "docker.image", container->image, sizeof(container->image));
    copy_label(labels, "docker.image-id", container->image_id, sizeof(container->image_id));
    copy_label(labels, "docker.network", container->network, sizeof(container->network));
    container->plain = json_get(labels, "docker.plain") != NULL;
    input = json_get(labels, "docker.stdin");
    container->open_stdin = input != NULL;
    container->stdin_once = input && input->type == JSON_STRING && str_is(input->string, "once");
    read_end_label(container, labels);
    container->argv = text_label(labels, "docker.command", "[]");
    if (json_get(labels, "docker.workdir"))
        container->workdir = text_label(labels, "docker.workdir", "/");
    if (json_get(labels, "docker.mounts"))
        container->mounts = text_label(labels, "docker.mounts", "[]");
    container->env = strdup(sandbox->row.env);
    container->labels = own_labels(labels);
    take_row(container, sandbox);
    if (!container->argv || !container->env || !container->labels || port_map_restore(container, labels) < 0)
        return -1;
    return side_restore(container, labels);
}

int container_load_all(struct docker *docker)
{
    struct registry *registry = &docker->daemon->registry;
    int rc = 0;

    for (struct list *node = registry->order.next; rc == 0 && node != &registry->order; node = node->next) {
        struct sandbox *sandbox = container_of(node, struct sandbox, order);
        const struct json *labels = NULL;
        struct arena arena;

        if (!strstr(sandbox->row.labels, "\"docker.id\""))
            continue;
        arena_init(&arena, 4 * LABELS_BYTES_MAX);
        if (json_parse(&arena, str_from(sandbox->row.labels), 4, &labels, NULL) == 0)
            rc = load(docker, sandbox, labels);
        arena_free(&arena);
    }
    return rc;
}
