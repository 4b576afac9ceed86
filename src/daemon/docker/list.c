/* list.c - GET /containers/json: which containers are meant, and a short word on each. */
#include "base/sys.h"
#include "daemon/docker/engine.h"
#include "daemon/docker/ports.h"
#include "daemon/docker/side.h"

struct listing {
    struct docker_filters filters;
    bool all;
    uint64_t limit; /* of the newest; UINT64_MAX: none */
    /* Containers that filters name: only what was made after `since` and before `before`. NULL: none */
    const struct container *since, *before;
};

/* --- filters --- */

static bool label_matches(const void *subject, struct str value)
{
    return docker_label_matches(((const struct container *)subject)->labels, value);
}

/* Docker's name filter is a search; a slash before it is the name's own. */
static bool name_matches(const void *subject, struct str value)
{
    const struct container *container = subject;

    if (str_has_prefix(value, STR("/")))
        value = (struct str){ value.p + 1, value.n - 1 };
    return memmem(container->name, strlen(container->name), value.p, value.n) != NULL;
}

static bool id_matches(const void *subject, struct str value)
{
    return str_has_prefix(str_from(((const struct container *)subject)->id), value);
}

static bool status_matches(const void *subject, struct str value)
{
    return str_is(value, container_status(subject));
}

static bool ancestor_matches(const void *subject, struct str value)
{
    const struct container *container = subject;
    char wanted[DOCKER_REF_MAX + 1], own[DOCKER_REF_MAX + 1];

    if (str_has_prefix(value, STR("sha256:")))
        value = (struct str){ value.p + 7, value.n - 7 };
    if (value.n >= 12 && str_has_prefix(str_from(container->image_id), value))
        return true;
    return docker_ref_normalise(value, wanted) == 0 && docker_ref_normalise(str_from(container->image), own) == 0 &&
           !strcmp(wanted, own);
}

static bool exited_matches(const void *subject, struct str value)
{
    const struct container *container = subject;
    char text[16];

    snprintf(text, sizeof(text), "%d", container->exit_code);
    return container->phase == CONTAINER_EXITED && str_is(value, text);
}

static bool network_matches(const void *subject, struct str value)
{
    return str_is(value, ((const struct container *)subject)->network);
}

/* A volume's name, or the place where one is mounted. */
static bool volume_matches(const void *subject, struct str value)
{
    const struct container *container = subject;
    const struct json *mounts, *name, *place;
    struct arena arena;
    bool found = false;

    arena_init(&arena, 4 * DOCKER_BODY_MAX);
    mounts = container_text(&arena, container->mounts);
    for (size_t i = 0; mounts && i < mounts->array.count && !found; i++) {
        name = json_get(&mounts->array.items[i], "Name");
        place = json_get(&mounts->array.items[i], "Destination");
        found = (name && name->type == JSON_STRING && str_eq(name->string, value)) ||
                (place && place->type == JSON_STRING && str_eq(place->string, value));
    }
    arena_free(&arena);
    return found;
}

static bool is_state(const void *subject, struct str value)
{
    static const char *const states[] = {
        "created", "restarting", "running", "removing", "paused", "exited", "dead"
    };

    (void)subject;
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        if (str_is(value, states[i]))
            return true;
    return false;
}

static bool is_number(const void *subject, struct str value)
{
    uint64_t number;

    (void)subject;
    return str_to_u64(value, &number) == 0;
}

static bool listed(const struct container *container, const struct listing *listing)
{
    const struct docker_filters *filters = &listing->filters;

    if (!listing->all && container->phase != CONTAINER_RUNNING && !json_get(filters->json, "status") &&
        !json_get(filters->json, "exited"))
        return false;
    return docker_filter_all(filters, "label", label_matches, container) &&
           docker_filter_any(filters, "name", name_matches, container) &&
           docker_filter_any(filters, "id", id_matches, container) &&
           docker_filter_any(filters, "status", status_matches, container) &&
           docker_filter_any(filters, "exited", exited_matches, container) &&
           docker_filter_any(filters, "network", network_matches, container) &&
           docker_filter_any(filters, "volume", volume_matches, container) &&
           docker_filter_any(filters, "ancestor", ancestor_matches, container);
}

/* --- one container --- */

/* "Up 3 minutes", as people are told it. */
static const char *age(struct arena *arena, int64_t since_ms)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" } };
    int64_t seconds = since_ms ? (clock_realtime_ms() - since_ms) / 1000 : 0;

    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (seconds >= units[i].seconds)
            return arena_printf(arena, "%lld %s%s", (long long)(seconds / units[i].seconds), units[i].name,
                                seconds >= 2 * units[i].seconds ? "s" : "");
    return "Less than a second";
}

static const char *status_text(struct arena *arena, const struct container *container)
{
    switch (container->phase) {
    case CONTAINER_RUNNING:
        return arena_printf(arena, "Up %s", age(arena, container->started_ms));
    case CONTAINER_EXITED:
        return arena_printf(arena, "Exited (%d) %s ago", container->exit_code, age(arena, container->finished_ms));
    default:
        return "Created";
    }
}

/* The words of what runs, for people. */
static void write_command(struct json_writer *w, struct arena *arena, const struct container *container)
{
    const struct json *argv = container_text(arena, container->argv);
    struct buf text;

    buf_init(&text, 4 * DOCKER_BODY_MAX);
    for (size_t i = 0; argv && i < argv->array.count; i++)
        if ((i > 0 && buf_append(&text, " ", 1) < 0) || buf_append_str(&text, argv->array.items[i].string) < 0)
            break;
    json_key(w, "Command");
    json_string(w, buf_str(&text));
    buf_free(&text);
}

static void write_summary(struct json_writer *w, struct arena *arena, const struct container *container)
{
    json_object_begin(w);
    json_pair_cstring(w, "Id", container->id);
    json_key(w, "Names");
    json_array_begin(w);
    json_cstring(w, arena_printf(arena, "/%s", container->name));
    json_array_end(w);
    json_pair_cstring(w, "Image", container->image);
    json_pair_cstring(w, "ImageID", arena_printf(arena, "sha256:%s", container->image_id));
    write_command(w, arena, container);
    json_pair_int(w, "Created", container->created_ms / 1000);
    json_pair_cstring(w, "State", container_status(container));
    json_pair_cstring(w, "Status", status_text(arena, container));
    container_write_labels(w, container_text(arena, container->labels));
    json_key(w, "Ports");
    json_array_begin(w);
    if (container->side)
        side_list_ports(w, container->side);
    else
        port_map_list(w, container->ports);
    json_array_end(w);
    json_key(w, "HostConfig");
    json_object_begin(w);
    json_pair_cstring(w, "NetworkMode", container->network);
    json_object_end(w);
    container_write_mounts(w, arena, container);
    json_object_end(w);
}

/* --- the list --- */

/* One that a filter names by its id or name. -1: answered. */
static int take_container(struct request *request, const struct docker_filters *filters, const char *name,
                          const struct container **ret)
{
    const struct json *values = json_get(filters->json, name);
    struct str value;

    if (!values || docker_filter_count(values) == 0)
        return 0;
    value = docker_filter_value(values, 0);
    *ret = container_find(docker_of(request), value);
    if (*ret)
        return 0;
    docker_fail(request, 404, "No such container: %.*s", (int)MIN(value.n, (size_t)DOCKER_NAME_MAX), value.p);
    return -1;
}

static int take_limit(struct request *request, struct listing *listing)
{
    const char *text = NULL;

    listing->limit = UINT64_MAX;
    if (request_query(request, "limit", &text) < 0)
        return -1;
    if (!text || !text[0] || !strcmp(text, "-1") || !strcmp(text, "0"))
        return 0;
    listing->all = true; /* the newest, whether they run or not */
    if (str_to_u64(str_from(text), &listing->limit) == 0)
        return 0;
    docker_fail(request, 400, "limit must be a number");
    return -1;
}

/* -1: answered. */
static int take_listing(struct request *request, struct listing *listing)
{
    static const char *const names[] = { "label",  "name",   "id",    "status",   "exited", "network",
                                         "volume", "before", "since", "ancestor", NULL };

    listing->all = docker_query_flag(request, "all");
    if (docker_filters(request, names, &listing->filters) < 0 || take_limit(request, listing) < 0 ||
        take_container(request, &listing->filters, "since", &listing->since) < 0 ||
        take_container(request, &listing->filters, "before", &listing->before) < 0)
        return -1;
    if (docker_filter_all(&listing->filters, "status", is_state, NULL) &&
        docker_filter_all(&listing->filters, "exited", is_number, NULL))
        return 0;
    docker_fail(request, 400, "invalid filter 'status' or 'exited'");
    return -1;
}

void docker_list(struct request *request)
{
    struct docker *docker = docker_of(request);
    struct listing listing = { 0 };
    struct json_writer *w;
    bool reached;

    if (take_listing(request, &listing) < 0 || !(w = request_json(request)))
        return;
    reached = listing.before == NULL;
    json_array_begin(w);
    for (struct list *node = docker->containers.prev; node != &docker->containers; node = node->prev) {
        const struct container *container = container_of(node, struct container, node);

        if (container == listing.since)
            break;
        if (reached && listing.limit > 0 && listed(container, &listing)) {
            write_summary(w, &request->arena, container);
            listing.limit--;
        }
        reached = reached || container == listing.before;
    }
    json_array_end(w);
    request_respond_json(request, 200, w);
}
