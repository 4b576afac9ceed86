/*
 * mounts.c - volumes in a container: what it asks for, and how they come to be there.
 *
 * Where a volume goes is a path of the client's, which only the sandbox itself looks at: its agent makes the
 * directory and holds it open, berm-spawn mounts the volume over what that descriptor is. So this is three steps:
 * the agent is asked for descriptors, berm-spawn for the mounts, and the agent told that it may close them. The
 * numbers come from a sandbox; all they can do is to name one of its own directories, or none.
 */
#include "daemon/agent_call.h"
#include "daemon/docker/volumes.h"

#define MOUNTS_MAX  16
#define TARGET_MAX  255
#define MOUNTS_TEXT (64 * 1024)
#define ARENA_BYTES (4 * MOUNTS_TEXT)

struct mount {
    struct str volume, target;
    bool read_only;
};

struct mount_list {
    struct mount items[MOUNTS_MAX];
    size_t count;
};

/* --- what is asked for --- */

static bool below(struct str path, const char *top)
{
    size_t n = strlen(top);

    return str_has_prefix(path, str_from(top)) && (path.n == n || path.p[n] == '/');
}

/* "/a/b": in its shortest form, and nothing that the sandbox cannot do without. */
static bool target_valid(struct str target)
{
    static const char *const ours[] = { "/proc", "/sys", "/dev" };
    struct str rest = { target.p + 1, target.n - 1 };

    if (target.n < 2 || target.n > TARGET_MAX || target.p[0] != '/' || memchr(target.p, '\0', target.n))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        if (below(target, ours[i]))
            return false;
    for (;;) {
        const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
        struct str word = { rest.p, slash ? (size_t)(slash - rest.p) : rest.n };

        if (word.n == 0 || str_is(word, ".") || str_is(word, ".."))
            return false;
        if (!slash)
            return true;
        rest = (struct str){ slash + 1, rest.n - word.n - 1 };
    }
}

/* -1: answered. */
static int add(struct request *request, struct mount_list *list, struct mount mount)
{
    while (mount.target.n > 1 && mount.target.p[mount.target.n - 1] == '/')
        mount.target.n--;
    if (!target_valid(mount.target)) {
        docker_fail(request, 400, "a volume cannot be mounted at \"%.*s\"", (int)MIN(mount.target.n, (size_t)64),
                    mount.target.p);
        return -1;
    }
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(list->items[i].target, mount.target)) {
            docker_fail(request, 400, "Duplicate mount point: %.*s", (int)mount.target.n, mount.target.p);
            return -1;
        }
    if (list->count == MOUNTS_MAX) {
        docker_fail(request, 400, "a container has at most %d mounts", MOUNTS_MAX);
        return -1;
    }
    list->items[list->count++] = mount;
    return 0;
}

static int refuse(struct request *request, const char *field)
{
    docker_fail(request, 403, "HostConfig.%s is refused for all but volumes: sandboxes get nothing of the host",
                field);
    return -1;
}

static bool take_word(struct str *rest, char stop, struct str *ret)
{
    const char *at = rest->n ? memchr(rest->p, stop, rest->n) : NULL;

    *ret = (struct str){ rest->p, at ? (size_t)(at - rest->p) : rest->n };
    *rest = at ? (struct str){ at + 1, rest->n - ret->n - 1 } : (struct str){ rest->p + rest->n, 0 };
    return at != NULL;
}

/* "volume:/target" and "volume:/target:ro,nocopy". */
static int take_bind(struct request *request, struct mount_list *list, struct str bind)
{
    struct mount mount = { .read_only = false };
    struct str option;
    bool more;

    if (!take_word(&bind, ':', &mount.volume) || !docker_name_valid(mount.volume))
        return refuse(request, "Binds");
    take_word(&bind, ':', &mount.target);
    do {
        more = take_word(&bind, ',', &option);
        mount.read_only |= str_is(option, "ro");
        if (option.n > 0 && !str_is(option, "ro") && !str_is(option, "rw") && !str_is(option, "nocopy")) {
            docker_fail(request, 400, "HostConfig.Binds: unknown option \"%.*s\"", (int)MIN(option.n, (size_t)32),
                        option.p);
            return -1;
        }
    } while (more);
    return add(request, list, mount);
}

static int take_mount(struct request *request, struct mount_list *list, const struct json *json)
{
    const struct json *type = json_get(json, "Type");
    struct mount mount = { { "", 0 }, { "", 0 }, false };
    struct berm_error err;

    if (json->type != JSON_OBJECT || (type && type->type == JSON_STRING && !str_is(type->string, "volume")))
        return refuse(request, "Mounts");
    if (json_field_string(json, "Source", &mount.volume, &err) < 0 ||
        json_field_string(json, "Target", &mount.target, &err) < 0 ||
        json_field_bool(json, "ReadOnly", &mount.read_only, &err) < 0) {
        docker_fail_error(request, &err);
        return -1;
    }
    if (!docker_name_valid(mount.volume))
        return refuse(request, "Mounts");
    return add(request, list, mount);
}

static char *describe(const struct mount_list *list)
{
    struct json_writer w;
    struct buf text;
    char *result;

    buf_init(&text, MOUNTS_TEXT);
    json_writer_init(&w, &text);
    json_array_begin(&w);
    for (size_t i = 0; i < list->count; i++) {
        json_object_begin(&w);
        json_pair_cstring(&w, "Type", "volume");
        json_pair_string(&w, "Name", list->items[i].volume);
        json_pair_cstring(&w, "Source", "");
        json_pair_string(&w, "Destination", list->items[i].target);
        json_pair_cstring(&w, "Driver", "local");
        json_pair_cstring(&w, "Mode", list->items[i].read_only ? "ro" : "");
        json_pair_bool(&w, "RW", !list->items[i].read_only);
        json_pair_cstring(&w, "Propagation", "");
        json_object_end(&w);
    }
    json_array_end(&w);
    result = json_writer_finish(&w) == 0 ? buf_steal(&text, NULL) : NULL;
    buf_free(&text);
    return result;
}

/* As Docker does it: a volume comes into being by being named. -1: it is being made, or that was answered. */
static int find_all(struct request *request, const struct mount_list *list, void (*again)(struct request *request))
{
    for (size_t i = 0; i < list->count; i++) {
        const char *name;

        if (volume_find(docker_of(request), list->items[i].volume))
            continue;
        name = arena_strdup(&request->arena, list->items[i].volume);
        if (name)
            volume_make(request, name, again);
        else
            docker_fail(request, 500, "out of memory");
        return -1;
    }
    return 0;
}

int mounts_take(struct request *request, struct container *container, const struct json *host,
                void (*again)(struct request *request))
{
    const struct json *binds = NULL, *mounts = NULL;
    struct mount_list list = { .count = 0 };
    struct berm_error err;

    if (json_field_array(host, "Binds", &binds, &err) < 0 || json_field_array(host, "Mounts", &mounts, &err) < 0) {
        docker_fail_error(request, &err);
        return -1;
    }
    for (size_t i = 0; binds && i < binds->array.count; i++)
        if (binds->array.items[i].type != JSON_STRING ? refuse(request, "Binds") < 0
                                                      : take_bind(request, &list, binds->array.items[i].string) < 0)
            return -1;
    for (size_t i = 0; mounts && i < mounts->array.count; i++)
        if (take_mount(request, &list, &mounts->array.items[i]) < 0)
            return -1;
    if (list.count == 0)
        return 0;
    if (find_all(request, &list, again) < 0)
        return -1;
    container->mounts = describe(&list);
    if (container->mounts)
        return 0;
    docker_fail(request, 500, "out of memory");
    return -1;
}

/* --- what was asked for --- */

/* `list` borrows from `arena`. */
static int read_list(struct arena *arena, const struct container *container, struct mount_list *list)
{
    const struct json *json = NULL;

    list->count = 0;
    if (!container->mounts)
        return 0;
    if (json_parse(arena, str_from(container->mounts), 4, &json, NULL) < 0 || json->type != JSON_ARRAY)
        return -1;
    for (size_t i = 0; i < json->array.count && i < MOUNTS_MAX; i++) {
        struct mount *mount = &list->items[list->count++];
        bool writable = true;

        *mount = (struct mount){ { "", 0 }, { "", 0 }, false };
        if (json_field_string(&json->array.items[i], "Name", &mount->volume, NULL) < 0 ||
            json_field_string(&json->array.items[i], "Destination", &mount->target, NULL) < 0 ||
            json_field_bool(&json->array.items[i], "RW", &writable, NULL) < 0)
            return -1;
        mount->read_only = !writable;
    }
    return 0;
}

bool mounts_name(const struct container *container, const char *volume)
{
    struct mount_list list;
    struct arena arena;
    bool found = false;

    if (!container->mounts)
        return false;
    arena_init(&arena, ARENA_BYTES);
    if (read_list(&arena, container, &list) == 0)
        for (size_t i = 0; i < list.count; i++)
            found |= str_is(list.items[i].volume, volume);
    arena_free(&arena);
    return found;
}

/* --- how they come to be there --- */

struct mounting {
    struct container *container;
    struct arena arena;
    struct mount_list list;
    struct agent_call *call;
    size_t pending; /* requests to berm-spawn */
    struct berm_error failure;
};

void mounts_cancel(struct container *container)
{
    struct mounting *mounting = TAKE_PTR(container->mounting);

    if (!mounting)
        return;
    agent_call_cancel(mounting->call);
    spawn_link_forget(container->docker->daemon->spawn, mounting);
    arena_free(&mounting->arena);
    free(mounting);
}

static void finish(struct container *container, const struct berm_error *err)
{
    struct berm_error outcome = *err;

    mounts_cancel(container);
    mounts_done(container, &outcome);
}

/* -1 with *err. */
static int ask_agent(struct mounting *mounting, bool hold, agent_call_done done, struct berm_error *err)
{
    struct json_writer w;
    struct buf body;

    buf_init(&body, MOUNTS_TEXT);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_key(&w, "paths");
    json_array_begin(&w);
    for (size_t i = 0; hold && i < mounting->list.count; i++)
        json_string(&w, mounting->list.items[i].target);
    json_array_end(&w);
    json_object_end(&w);
    if (json_writer_finish(&w) < 0)
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "mounts");
    else
        mounting->call = agent_call_start(mounting->container->sandbox->link, "POST", "/berm/v1/directories",
                                          buf_str(&body), NULL, done, mounting, err);
    buf_free(&body);
    return mounting->call ? 0 : -1;
}

static void on_let_go(const struct berm_error *err, void *data)
{
    struct mounting *mounting = data;

    mounting->call = NULL;
    finish(mounting->container, err);
}

static void all_answered(struct mounting *mounting)
{
    struct berm_error err = mounting->failure;

    if (err.code == BERM_OK && ask_agent(mounting, false, on_let_go, &err) == 0)
        return;
    finish(mounting->container, &err);
}

/* EBUSY: a daemon before us had it mounted already. */
static void on_mounted(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    struct mounting *mounting = data;

    if (err->code != BERM_OK && !(reply && reply->error == EBUSY) && mounting->failure.code == BERM_OK)
        mounting->failure = *err;
    if (--mounting->pending == 0)
        all_answered(mounting);
}

static int send_mount(struct mounting *mounting, size_t i, int64_t fd, struct berm_error *err)
{
    struct docker *docker = mounting->container->docker;
    const struct mount *mount = &mounting->list.items[i];
    const struct docker_volume *volume = volume_find(docker, mount->volume);
    struct spawn_request request = { .op = SPAWN_OP_VOLUME_MOUNT, .key = mounting->container->sandbox->row.key };

    if (!volume)
        return berm_fail(err, BERM_E_NOT_FOUND, 0, "get %.*s: no such volume",
                         (int)MIN(mount->volume.n, (size_t)DOCKER_NAME_MAX), mount->volume.p);
    request.volume_mount =
        (struct spawn_volume_mount){ .number = volume->number, .fd = (uint32_t)fd, .read_only = mount->read_only };
    if (spawn_link_send(docker->daemon->spawn, &request, on_mounted, mounting, err) < 0)
        return -1;
    mounting->pending++;
    return 0;
}

/* In the order that was asked for: one may be below another. */
static int send_all(struct mounting *mounting, struct str answer, struct berm_error *err)
{
    const struct json *json = NULL, *fds = NULL;

    if (json_parse(&mounting->arena, answer, 4, &json, err) < 0 || json_field_array(json, "fds", &fds, err) < 0)
        return -1;
    if (!fds || fds->array.count != mounting->list.count)
        return berm_fail(err, BERM_E_EXEC_ERROR, 0, "the agent holds other directories than it was asked for");
    for (size_t i = 0; i < fds->array.count; i++) {
        const struct json *fd = &fds->array.items[i];

        if (fd->type != JSON_INT || fd->integer < 0 || fd->integer > INT32_MAX)
            return berm_fail(err, BERM_E_EXEC_ERROR, 0, "the agent named no descriptor");
        if (send_mount(mounting, i, fd->integer, err) < 0)
            return -1;
    }
    return 0;
}

static void on_held(const struct berm_error *err, void *data)
{
    struct mounting *mounting = data;
    struct berm_error failure = *err;
    struct str answer = agent_call_answer(mounting->call);

    mounting->call = NULL; /* its memory lives until this returns */
    if (failure.code != BERM_OK || send_all(mounting, answer, &failure) < 0)
        finish(mounting->container, &failure);
}

void mounts_begin(struct container *container)
{
    struct mounting *mounting;
    struct berm_error err = { 0 };

    if (!container->mounts) {
        mounts_done(container, &err);
        return;
    }
    mounting = calloc(1, sizeof(*mounting));
    if (!mounting) {
        berm_fail(&err, BERM_E_SYSTEM, ENOMEM, "mounts");
        mounts_done(container, &err);
        return;
    }
    mounting->container = container;
    arena_init(&mounting->arena, ARENA_BYTES);
    container->mounting = mounting;
    if (read_list(&mounting->arena, container, &mounting->list) < 0)
        berm_fail(&err, BERM_E_SYSTEM, EPROTO, "the mounts of the container");
    else if (ask_agent(mounting, true, on_held, &err) == 0)
        return;
    finish(container, &err);
}
