/* system.c - what the engine is, its networks and its events. */
#include "base/sys.h"
#include "daemon/docker/engine.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>

/* --- the engine --- */

static void respond_text(struct request *request, const char *text)
{
    static const struct http_field fields[] = { { "Content-Type", "text/plain; charset=utf-8" },
                                                { "Api-Version", DOCKER_API_VERSION },
                                                { "Ostype", "linux" },
                                                { "Docker-Experimental", "false" },
                                                { "Cache-Control", "no-cache, no-store, must-revalidate" } };

    request_begin(request, 200, fields, ARRAY_SIZE(fields), strlen(text));
    request_write(request, str_from(text));
    request_end(request);
}

void docker_ping(struct request *request)
{
    respond_text(request, "OK");
}

void docker_version(struct request *request)
{
    struct json_writer *w = request_json(request);
    struct utsname host = { 0 };

    if (!w)
        return;
    uname(&host);
    json_object_begin(w);
    json_key(w, "Platform");
    json_object_begin(w);
    json_pair_cstring(w, "Name", "Berm");
    json_object_end(w);
    json_pair_cstring(w, "Version", BERM_VERSION);
    json_pair_cstring(w, "ApiVersion", DOCKER_API_VERSION);
    json_pair_cstring(w, "MinAPIVersion", DOCKER_MIN_VERSION);
    json_pair_cstring(w, "Os", "linux");
    json_pair_cstring(w, "Arch", strcmp(host.machine, "x86_64") ? host.machine : "amd64");
    json_pair_cstring(w, "KernelVersion", host.release);
    json_pair_empty_array(w, "Components");
    json_object_end(w);
    request_respond_json(request, 200, w);
}

static size_t count_phase(const struct docker *docker, enum container_phase phase)
{
    size_t count = 0;

    for (struct list *node = docker->containers.next; node != &docker->containers; node = node->next)
        count += container_of(node, struct container, node)->phase == phase;
    return count;
}

void docker_info(struct request *request)
{
    struct docker *docker = docker_of(request);
    struct json_writer *w = request_json(request);
    struct utsname host = { 0 };
    struct sysinfo memory = { 0 };

    if (!w)
        return;
    uname(&host);
    sysinfo(&memory);
    json_object_begin(w);
    json_pair_cstring(w, "ID", "berm");
    json_pair_cstring(w, "Name", host.nodename);
    json_pair_int(w, "Containers", (int64_t)docker->container_count);
    json_pair_int(w, "ContainersRunning", (int64_t)count_phase(docker, CONTAINER_RUNNING));
    json_pair_int(w, "ContainersPaused", 0);
    json_pair_int(w, "ContainersStopped",
                  (int64_t)(docker->container_count - count_phase(docker, CONTAINER_RUNNING)));
    json_pair_int(w, "Images", (int64_t)docker->image_count);
    json_pair_cstring(w, "Driver", "berm");
    json_pair_cstring(w, "DockerRootDir", request->daemon->config.images);
    json_pair_cstring(w, "OSType", "linux");
    json_pair_cstring(w, "OperatingSystem", "Berm");
    json_pair_cstring(w, "Architecture", host.machine);
    json_pair_cstring(w, "KernelVersion", host.release);
    json_pair_cstring(w, "ServerVersion", BERM_VERSION);
    json_pair_int(w, "NCPU", sysconf(_SC_NPROCESSORS_ONLN));
    json_pair_int(w, "MemTotal", (int64_t)(memory.totalram * memory.mem_unit));
    json_key(w, "SecurityOptions"); /* not "rootless": wrangler would ask for FUSE privileges */
    json_array_begin(w);
    json_cstring(w, "name=seccomp,profile=berm");
    json_cstring(w, "name=userns");
    json_array_end(w);
    json_pair_empty_array(w, "Warnings");
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* --- networks: one in name only --- */

/*
 * workerd binds its listener for the containers' outgoing connections to the gateway's address. Those connections
 * are made by the daemon, so the loopback is the right place, where no other machine reaches it.
 */
static void write_bridge(struct json_writer *w)
{
    json_object_begin(w);
    json_pair_cstring(w, "Name", "bridge");
    json_pair_cstring(w, "Id", "0000000000000000000000000000000000000000000000000000000000000001");
    json_pair_cstring(w, "Scope", "local");
    json_pair_cstring(w, "Driver", "berm");
    json_pair_bool(w, "EnableIPv6", false);
    json_key(w, "IPAM");
    json_object_begin(w);
    json_pair_cstring(w, "Driver", "default");
    json_key(w, "Config");
    json_array_begin(w);
    json_object_begin(w);
    json_pair_cstring(w, "Subnet", "127.0.0.0/8");
    json_pair_cstring(w, "Gateway", "127.0.0.1");
    json_object_end(w);
    json_array_end(w);
    json_object_end(w);
    json_pair_bool(w, "Internal", false);
    json_object_end(w);
}

void docker_network(struct request *request)
{
    struct json_writer *w;

    if (!str_is(request->param, "bridge")) {
        docker_fail(request, 404, "network %.*s not found", (int)MIN(request->param.n, (size_t)128),
                    request->param.p);
        return;
    }
    w = request_json(request);
    if (!w)
        return;
    write_bridge(w);
    request_respond_json(request, 200, w);
}

void docker_networks(struct request *request)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    json_array_begin(w);
    write_bridge(w);
    json_array_end(w);
    request_respond_json(request, 200, w);
}

/* --- events --- */

#define EVENT_MAX    (16 * 1024)
#define WATCHERS_MAX 256

struct watcher {
    struct list node;
    struct request *request;
    struct docker_filters filters;
};

struct event {
    const char *type, *action, *id, *name;
};

static bool type_matches(const void *subject, struct str value)
{
    return str_is(value, ((const struct event *)subject)->type);
}

static bool action_matches(const void *subject, struct str value)
{
    return str_is(value, ((const struct event *)subject)->action);
}

static bool object_matches(const void *subject, struct str value)
{
    const struct event *event = subject;

    return str_is(value, event->name) || (value.n >= 4 && str_has_prefix(str_from(event->id), value));
}

static bool wanted(const struct watcher *watcher, const struct event *event)
{
    return docker_filter_any(&watcher->filters, "type", type_matches, event) &&
           docker_filter_any(&watcher->filters, "event", action_matches, event) &&
           docker_filter_any(&watcher->filters, "container", object_matches, event) &&
           docker_filter_any(&watcher->filters, "image", object_matches, event);
}

static int write_event(struct buf *out, const struct event *event, const char *image)
{
    int64_t now = clock_realtime_ms();
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    json_pair_cstring(&w, "Type", event->type);
    json_pair_cstring(&w, "Action", event->action);
    json_pair_cstring(&w, "status", event->action);
    json_pair_cstring(&w, "id", event->id);
    json_key(&w, "Actor");
    json_object_begin(&w);
    json_pair_cstring(&w, "ID", event->id);
    json_key(&w, "Attributes");
    json_object_begin(&w);
    json_pair_cstring(&w, "name", event->name);
    json_pair_cstring(&w, "image", image);
    json_object_end(&w);
    json_object_end(&w);
    json_pair_cstring(&w, "scope", "local");
    json_pair_int(&w, "time", now / 1000);
    json_pair_int(&w, "timeNano", now * 1000000);
    json_object_end(&w);
    return json_writer_finish(&w) == 0 ? buf_append(out, "\n", 1) : -1;
}

void docker_event(struct docker *docker, const char *type, const char *action, const char *id, const char *name,
                  const char *image)
{
    struct event event = { type, action, id, name };
    struct list *node = docker->watchers.next;
    struct buf text;

    if (node == &docker->watchers)
        return;
    buf_init(&text, EVENT_MAX);
    if (write_event(&text, &event, image) == 0)
        for (; node != &docker->watchers; node = node->next) {
            struct watcher *watcher = container_of(node, struct watcher, node);

            /* One that does not read loses its stream and not our memory. */
            if (wanted(watcher, &event) && !request_write(watcher->request, buf_str(&text)))
                http_exchange_abort(watcher->request->exchange);
        }
    buf_free(&text);
}

static void stop_watching(struct request *request)
{
    struct docker *docker = docker_of(request);
    struct watcher *watcher = request->state;

    list_remove(&watcher->node);
    docker->watcher_count--;
}

void docker_events(struct request *request)
{
    static const struct http_field fields[] = { { "Content-Type", "application/json" } };
    struct docker *docker = docker_of(request);
    static const char *const names[] = { "type", "event", "container", "image", NULL };
    struct watcher *watcher = arena_calloc(&request->arena, 1, sizeof(*watcher));

    if (!watcher || docker->watcher_count >= WATCHERS_MAX) {
        docker_fail(request, 503, "too many watchers of events");
        return;
    }
    if (docker_filters(request, names, &watcher->filters) < 0)
        return;
    watcher->request = request;
    request->state = watcher;
    request->cleanup = stop_watching;
    http_watch_disconnect(request->exchange);
    list_append(&docker->watchers, &watcher->node);
    docker->watcher_count++;
    request_begin(request, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
}
