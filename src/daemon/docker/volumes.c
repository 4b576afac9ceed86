/* volumes.c - /volumes: see volumes.h for what a crash may leave. */
#include "daemon/docker/volumes.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/sys.h"

#define KIND        "docker.volume"
#define VOLUMES_MAX 4096

static void free_volume(struct docker_volume *volume)
{
    if (!volume)
        return;
    free(volume->labels);
    free(volume);
}

struct docker_volume *volume_find(const struct docker *docker, struct str name)
{
    for (const struct list *node = docker->volumes.next; node != &docker->volumes; node = node->next) {
        struct docker_volume *volume = container_of(node, struct docker_volume, node);

        if (str_is(name, volume->name))
            return volume;
    }
    return NULL;
}

static bool in_use(const struct docker *docker, const struct docker_volume *volume)
{
    for (const struct list *node = docker->containers.next; node != &docker->containers; node = node->next)
        if (mounts_name(container_of(node, struct container, node), volume->name))
            return true;
    return false;
}

/* --- the answers --- */

static void write_labels(struct json_writer *w, const struct docker_volume *volume)
{
    const struct json *labels = NULL;
    struct arena arena;

    arena_init(&arena, 64 * DOCKER_BODY_MAX);
    json_key(w, "Labels");
    if (json_parse(&arena, str_from(volume->labels), 4, &labels, NULL) == 0)
        json_value(w, labels);
    else
        json_null(w);
    arena_free(&arena);
}

/* Where its files lie on the host is nobody's affair: no path leads to them. */
static void write_volume(struct json_writer *w, const struct docker_volume *volume)
{
    json_object_begin(w);
    json_pair_cstring(w, "Name", volume->name);
    json_pair_cstring(w, "Driver", "local");
    json_pair_cstring(w, "Mountpoint", "");
    json_pair_cstring(w, "Scope", "local");
    docker_pair_time(w, "CreatedAt", volume->created_ms);
    write_labels(w, volume);
    json_key(w, "Options");
    json_null(w);
    json_object_end(w);
}

static void respond(struct request *request, int status, const struct docker_volume *volume)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    write_volume(w, volume);
    request_respond_json(request, status, w);
}

/* --- the list --- */

struct listed {
    const struct docker *docker;
    const struct docker_volume *volume;
};

/* Docker's name filter is a search. */
static bool name_matches(const void *subject, struct str value)
{
    const char *name = ((const struct listed *)subject)->volume->name;

    return memmem(name, strlen(name), value.p, value.n) != NULL;
}

static bool label_matches(const void *subject, struct str value)
{
    return docker_label_matches(((const struct listed *)subject)->volume->labels, value);
}

static bool driver_matches(const void *subject, struct str value)
{
    (void)subject;
    return str_is(value, "local");
}

static bool dangling_matches(const void *subject, struct str value)
{
    const struct listed *listed = subject;

    return in_use(listed->docker, listed->volume) != (str_is(value, "1") || str_is(value, "true"));
}

void docker_volume_list(struct request *request)
{
    static const char *const names[] = { "name", "label", "driver", "dangling", NULL };
    struct docker *docker = docker_of(request);
    struct docker_filters filters;
    struct json_writer *w;

    if (docker_filters(request, names, &filters) < 0 || !(w = request_json(request)))
        return;
    json_object_begin(w);
    json_key(w, "Volumes");
    json_array_begin(w);
    for (struct list *node = docker->volumes.next; node != &docker->volumes; node = node->next) {
        const struct listed listed = { docker, container_of(node, struct docker_volume, node) };

        if (docker_filter_any(&filters, "name", name_matches, &listed) &&
            docker_filter_all(&filters, "label", label_matches, &listed) &&
            docker_filter_any(&filters, "driver", driver_matches, &listed) &&
            docker_filter_any(&filters, "dangling", dangling_matches, &listed))
            write_volume(w, listed.volume);
    }
    json_array_end(w);
    json_pair_empty_array(w, "Warnings");
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* NULL: answered. */
static struct docker_volume *named(struct request *request)
{
    char name[DOCKER_NAME_MAX + 1];
    struct docker_volume *volume = NULL;

    if (percent_decode(request->param, name, sizeof(name)) == 0)
        volume = volume_find(docker_of(request), str_from(name));
    if (!volume)
        docker_fail(request, 404, "get %.*s: no such volume", (int)MIN(request->param.n, (size_t)DOCKER_NAME_MAX),
                    request->param.p);
    return volume;
}

void docker_volume_inspect(struct request *request)
{
    const struct docker_volume *volume = named(request);

    if (volume)
        respond(request, 200, volume);
}

/* --- making --- */

/* Asked of berm-spawn; the client may have gone meanwhile. */
struct volume_making {
    struct list node;
    struct docker *docker;
    struct request *request;               /* NULL: gone */
    void (*next)(struct request *request); /* what it goes on with; NULL: the answer is the volume */
    struct docker_volume *volume;
};

static void send_delete(struct docker *docker, uint64_t number)
{
    struct spawn_request request = { .op = SPAWN_OP_VOLUME_DELETE, .key = number };
    struct berm_error err;

    /* What cannot be removed now has no document, and is found the next time. */
    if (spawn_link_send(docker->daemon->spawn, &request, NULL, NULL, &err) < 0)
        log_warn("docker.volume_remains", "error", err.message);
}

static void free_making(struct volume_making *making)
{
    list_remove(&making->node);
    free_volume(making->volume);
    free(making);
}

static int store(struct docker *docker, const struct docker_volume *volume, struct berm_error *err)
{
    const struct json *labels = NULL;
    char number[17];
    struct json_writer w;
    struct arena arena;
    struct buf text;
    int rc = -1;

    snprintf(number, sizeof(number), "%016llx", (unsigned long long)volume->number);
    arena_init(&arena, 64 * DOCKER_BODY_MAX);
    buf_init(&text, 2 * DOCKER_BODY_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_pair_cstring(&w, "number", number);
    json_pair_int(&w, "disk", (int64_t)volume->disk_bytes);
    json_pair_int(&w, "created", volume->created_ms);
    json_key(&w, "labels");
    if (json_parse(&arena, str_from(volume->labels), 4, &labels, err) == 0) {
        json_value(&w, labels);
        json_object_end(&w);
        if (json_writer_finish(&w) < 0 || buf_append(&text, "", 1) < 0)
            berm_fail(err, BERM_E_SYSTEM, ENOMEM, "volume");
        else
            rc = store_put_document(docker->daemon->store, KIND, volume->name, buf_head(&text), err);
    }
    buf_free(&text);
    arena_free(&arena);
    return rc;
}

/* Another request may have made one of that name while berm-spawn worked: then there is that one. */
static int keep(struct volume_making *making, struct berm_error *err)
{
    struct docker *docker = making->docker;
    struct docker_volume *volume = making->volume;

    if (volume_find(docker, str_from(volume->name))) {
        send_delete(docker, volume->number);
        return 0;
    }
    FAULT_POINT("docker.volume.made");
    if (store(docker, volume, err) < 0) {
        send_delete(docker, volume->number);
        return -1;
    }
    FAULT_POINT("docker.volume.stored");
    making->volume = NULL;
    list_append(&docker->volumes, &volume->node);
    docker->volume_count++;
    docker_event(docker, "volume", "create", volume->name, volume->name, "");
    return 0;
}

static void on_made(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct volume_making *making = data;
    struct request *request = making->request;
    void (*next)(struct request * request) = making->next;
    struct docker *docker = making->docker;
    char name[DOCKER_NAME_MAX + 1];
    struct berm_error failure = *err;

    (void)reply;
    snprintf(name, sizeof(name), "%s", making->volume->name);
    if (failure.code == BERM_OK)
        keep(making, &failure);
    if (request)
        request->cleanup = NULL;
    free_making(making);
    if (!request)
        return;
    if (failure.code != BERM_OK)
        docker_fail_error(request, &failure);
    else if (next)
        next(request);
    else
        respond(request, 201, volume_find(docker, str_from(name)));
}

static void client_gone(struct request *request)
{
    ((struct volume_making *)request->state)->request = NULL;
}

static char *labels_text(const struct json *labels)
{
    struct json_writer w;
    struct buf text;
    char *result;

    buf_init(&text, DOCKER_BODY_MAX);
    json_writer_init(&w, &text);
    if (labels) {
        json_value(&w, labels);
    } else {
        json_object_begin(&w);
        json_object_end(&w);
    }
    result = json_writer_finish(&w) == 0 ? buf_steal(&text, NULL) : NULL;
    buf_free(&text);
    return result;
}

static struct docker_volume *new_volume(const struct docker *docker, const char *name, const struct json *labels)
{
    struct docker_volume *volume = calloc(1, sizeof(*volume));

    if (!volume)
        return NULL;
    volume->labels = labels_text(labels);
    if (!volume->labels) {
        free(volume);
        return NULL;
    }
    snprintf(volume->name, sizeof(volume->name), "%s", name);
    volume->disk_bytes = docker->daemon->default_limits.disk_bytes;
    volume->created_ms = clock_realtime_ms();
    while (volume->number == 0)
        random_bytes(&volume->number, sizeof(volume->number));
    return volume;
}

static void make(struct request *request, const char *name, const struct json *labels,
                 void (*next)(struct request *request))
{
    struct docker *docker = docker_of(request);
    struct spawn_request ask = { .op = SPAWN_OP_VOLUME_CREATE };
    struct volume_making *making;
    struct berm_error err;

    if (docker->volume_count >= VOLUMES_MAX) {
        docker_fail(request, 503, "there are %zu volumes, and no more are kept", docker->volume_count);
        return;
    }
    making = calloc(1, sizeof(*making));
    if (!making || !(making->volume = new_volume(docker, name, labels))) {
        free(making);
        docker_fail(request, 500, "out of memory");
        return;
    }
    making->docker = docker;
    making->next = next;
    ask.key = making->volume->number;
    ask.volume.disk_bytes = making->volume->disk_bytes;
    list_append(&docker->volumes_making, &making->node);
    if (spawn_link_send(docker->daemon->spawn, &ask, on_made, making, &err) < 0) {
        free_making(making);
        docker_fail_error(request, &err);
        return;
    }
    making->request = request;
    request->state = making;
    request->cleanup = client_gone;
    http_watch_disconnect(request->exchange);
}

/* A local volume's options are how Docker mounts host devices and directories. -1: answered. */
static int refuse_options(struct request *request, const struct json *body)
{
    const struct json *options = json_get(body, "DriverOpts"), *driver = json_get(body, "Driver");

    if (options && options->type == JSON_OBJECT && options->object.count > 0)
        docker_fail(request, 403, "DriverOpts is refused: a volume has nothing of the host in it");
    else if (driver && driver->type == JSON_STRING && driver->string.n > 0 && !str_is(driver->string, "local"))
        docker_fail(request, 404, "there is no volume driver but \"local\"");
    else if (json_get(body, "ClusterVolumeSpec"))
        docker_fail(request, 501, "berm has no cluster volumes");
    else
        return 0;
    return -1;
}

static bool labels_valid(const struct json *labels)
{
    for (size_t i = 0; labels && i < labels->object.count; i++)
        if (labels->object.members[i].value.type != JSON_STRING)
            return false;
    return true;
}

static const char *random_name(struct request *request)
{
    uint8_t random[DOCKER_ID_HEX / 2];
    char text[DOCKER_ID_HEX + 1];

    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), text);
    return arena_strdup(&request->arena, str_from(text));
}

static void on_create_body(struct request *request)
{
    struct docker *docker = docker_of(request);
    const struct json *body = docker_body(request), *labels = NULL;
    const struct docker_volume *there;
    const char *name = NULL;
    struct berm_error err;

    if (!body)
        return;
    if (json_field_cstring(body, "Name", &name, &err) < 0 || json_field_object(body, "Labels", &labels, &err) < 0) {
        docker_fail_error(request, &err);
        return;
    }
    if (refuse_options(request, body) < 0)
        return;
    if (!name || !name[0])
        name = random_name(request);
    if (!name || !docker_name_valid(str_from(name)) || !labels_valid(labels)) {
        docker_fail(request, 400,
                    "a volume's name has the form [a-zA-Z0-9][a-zA-Z0-9_.-]+, its labels are strings");
        return;
    }
    there = volume_find(docker, str_from(name));
    if (there)
        respond(request, 201, there);
    else
        make(request, name, labels, NULL);
}

void volume_make(struct request *request, const char *name, void (*next)(struct request *request))
{
    make(request, name, NULL, next);
}

void docker_volume_create(struct request *request)
{
    docker_read_json(request, on_create_body);
}

/* --- removing --- */

static int remove_volume(struct docker *docker, struct docker_volume *volume, struct berm_error *err)
{
    if (store_delete_document(docker->daemon->store, KIND, volume->name, err) < 0)
        return -1;
    FAULT_POINT("docker.volume.forgotten");
    send_delete(docker, volume->number);
    docker_event(docker, "volume", "destroy", volume->name, volume->name, "");
    list_remove(&volume->node);
    docker->volume_count--;
    free_volume(volume);
    return 0;
}

void docker_volume_delete(struct request *request)
{
    struct docker *docker = docker_of(request);
    struct docker_volume *volume = named(request);
    struct berm_error err;

    if (!volume)
        return;
    if (in_use(docker, volume)) {
        docker_fail(request, 409, "remove %s: volume is in use", volume->name);
        return;
    }
    if (remove_volume(docker, volume, &err) < 0)
        docker_fail_error(request, &err);
    else
        request_respond_empty(request, 204);
}

static bool anonymous(const struct docker_volume *volume)
{
    return docker_label_matches(volume->labels, STR(VOLUME_ANONYMOUS));
}

static bool is_true(const void *subject, struct str value)
{
    (void)subject;
    return str_is(value, "1") || str_is(value, "true");
}

/* As Docker has it since version 1.42: those without a name of their own, or with the filter `all` every one. */
static bool prunable(const struct docker *docker, const struct docker_filters *filters,
                     struct docker_volume *volume)
{
    const struct listed listed = { docker, volume };
    bool all = json_get(filters->json, "all") && docker_filter_any(filters, "all", is_true, NULL);

    return (all || anonymous(volume)) && !in_use(docker, volume) &&
           docker_filter_all(filters, "label", label_matches, &listed);
}

void docker_volume_prune(struct request *request)
{
    static const char *const names[] = { "all", "label", NULL };
    struct docker *docker = docker_of(request);
    struct docker_filters filters;
    struct json_writer *w;
    struct list *next;

    if (docker_filters(request, names, &filters) < 0 || !(w = request_json(request)))
        return;
    json_object_begin(w);
    json_key(w, "VolumesDeleted");
    json_array_begin(w);
    for (struct list *node = docker->volumes.next; node != &docker->volumes; node = next) {
        struct docker_volume *volume = container_of(node, struct docker_volume, node);
        char name[DOCKER_NAME_MAX + 1];

        next = node->next;
        if (!prunable(docker, &filters, volume))
            continue;
        snprintf(name, sizeof(name), "%s", volume->name);
        if (remove_volume(docker, volume, NULL) == 0)
            json_cstring(w, name);
    }
    json_array_end(w);
    json_pair_int(w, "SpaceReclaimed", 0);
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* --- at start-up and at the end --- */

static int load_document(struct docker *docker, const struct store_document *document, const struct json *json)
{
    const struct json *labels = NULL;
    const char *number = NULL;
    uint8_t bytes[8];
    struct docker_volume *volume;
    int64_t disk = 0;

    if (json_field_cstring(json, "number", &number, NULL) < 0 || !number ||
        json_field_int(json, "disk", 0, INT64_MAX, &disk, NULL) < 0 ||
        json_field_object(json, "labels", &labels, NULL) < 0 || !docker_name_valid(str_from(document->name)) ||
        strlen(number) != 16 || hex_decode(str_from(number), bytes, sizeof(bytes)) < 0) {
        log_warn("docker.volume_unreadable", "name", document->name);
        return 0;
    }
    volume = new_volume(docker, document->name, labels);
    if (!volume)
        return -1;
    volume->number = 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        volume->number = volume->number << 8 | bytes[i];
    volume->disk_bytes = (uint64_t)disk;
    json_field_int(json, "created", 0, INT64_MAX, &volume->created_ms, NULL);
    list_append(&docker->volumes, &volume->node);
    docker->volume_count++;
    return 0;
}

static int load(const struct store_document *document, void *data)
{
    const struct json *json = NULL;
    struct arena arena;
    int rc = 0;

    if (strcmp(document->kind, KIND))
        return 0;
    arena_init(&arena, 64 * DOCKER_BODY_MAX);
    if (json_parse(&arena, str_from(document->json), 8, &json, NULL) == 0 && json->type == JSON_OBJECT)
        rc = load_document(data, document, json);
    else
        log_warn("docker.volume_unreadable", "name", document->name);
    arena_free(&arena);
    return rc;
}

int volumes_load(struct docker *docker, struct berm_error *err)
{
    return store_each_document(docker->daemon->store, load, docker, err);
}

void volumes_free(struct docker *docker)
{
    while (!list_empty(&docker->volumes_making)) {
        struct volume_making *making = container_of(docker->volumes_making.next, struct volume_making, node);

        spawn_link_forget(docker->daemon->spawn, making);
        free_making(making);
    }
    while (!list_empty(&docker->volumes)) {
        struct docker_volume *volume = container_of(docker->volumes.next, struct docker_volume, node);

        list_remove(&volume->node);
        free_volume(volume);
    }
}

/* --- what a crash has left --- */

static bool known(const struct docker *docker, uint64_t number)
{
    for (const struct list *node = docker->volumes.next; node != &docker->volumes; node = node->next)
        if (container_of(node, struct docker_volume, node)->number == number)
            return true;
    return false;
}

/*
 * One that is being made just now is never told here: it is made behind this list, or its creation was answered,
 * and it was stored, before.
 */
void docker_volume_found(struct docker *docker, uint64_t number)
{
    if (!docker || known(docker, number))
        return;
    log_info("docker.volume_unclaimed");
    send_delete(docker, number);
}

void docker_sweep_volumes(struct docker *docker)
{
    struct spawn_request request = { .op = SPAWN_OP_VOLUME_LIST };
    struct berm_error err;

    if (docker && spawn_link_send(docker->daemon->spawn, &request, NULL, NULL, &err) < 0)
        log_warn("docker.volumes_not_swept", "error", err.message);
}
