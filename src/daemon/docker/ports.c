/* ports.c - listeners on the loopback, and which of them lead to a container. */
#include "daemon/docker/ports.h"

#include "base/log.h"
#include "base/sys.h"
#include "daemon/docker/tunnel.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define PORTS_MAX      64
#define PAUSE_MS       100
#define ACCEPT_AT_ONCE 64

/* --- one listener --- */

static void on_pause_over(struct loop_timer *timer)
{
    struct loopback_listener *listener = container_of(timer, struct loopback_listener, pause);

    loop_io_modify(listener->loop, &listener->io, EPOLLIN);
}

static void on_accept(struct loop_io *io, uint32_t events)
{
    struct loopback_listener *listener = container_of(io, struct loopback_listener, io);
    int on = 1;

    (void)events;
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                loop_io_modify(listener->loop, io, 0);
                loop_timer_start(listener->loop, &listener->pause, PAUSE_MS);
            }
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        listener->on_connection(listener, fd);
    }
}

int loopback_listen(struct loopback_listener *listener, struct loop *loop, uint16_t port,
                    void (*on_connection)(struct loopback_listener *listener, int fd), struct berm_error *err)
{
    char address[32];
    int fd;

    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    fd = tcp_listen(address, err);
    if (fd < 0)
        return -1;
    socket_unpace(fd); /* and so is what it accepts */
    listener->loop = loop;
    listener->on_connection = on_connection;
    loop_timer_init(&listener->pause, on_pause_over);
    if (loop_io_add(loop, &listener->io, fd, EPOLLIN, on_accept) == 0)
        return 0;
    close(fd);
    return berm_fail(err, BERM_E_SYSTEM, errno, "listen on %s", address);
}

void loopback_close(struct loopback_listener *listener)
{
    int fd = listener->io.fd;

    if (!listener->loop)
        return;
    loop_timer_stop(listener->loop, &listener->pause);
    loop_io_remove(listener->loop, &listener->io);
    close_fd(&fd);
    listener->loop = NULL;
}

uint16_t loopback_port(const struct loopback_listener *listener)
{
    return (uint16_t)socket_port(listener->io.fd);
}

/* --- the map of a container --- */

struct published {
    struct loopback_listener listener;
    struct container *container;
    uint16_t port; /* inside */
};

struct port_map {
    size_t count;
    struct published ports[PORTS_MAX];
};

static void on_connection(struct loopback_listener *listener, int fd)
{
    struct published *published = container_of(listener, struct published, listener);

    tunnel_open(published->container, fd, published->port, STR(""), false);
}

/* "8080/tcp" or "8080". */
static int parse_port(struct str text, uint16_t *ret, struct berm_error *err)
{
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    struct str number = { text.p, slash ? (size_t)(slash - text.p) : text.n };
    uint64_t value;

    if (str_to_u64(number, &value) < 0 || value == 0 || value > 65535 ||
        (slash && !str_is((struct str){ slash, text.n - number.n }, "/tcp")))
        return berm_fail_field(err, "PortBindings", "\"%.*s\" is not a TCP port (PORT/tcp)",
                               (int)MIN(text.n, (size_t)32), text.p);
    *ret = (uint16_t)value;
    return 0;
}

static int publish_port(struct container *container, uint16_t port, uint16_t host_port, struct berm_error *err)
{
    struct port_map *map = container->ports;
    struct published *published;

    if (map->count == PORTS_MAX)
        return berm_fail_field(err, "PortBindings", "more than %d ports are published", PORTS_MAX);
    published = &map->ports[map->count];
    published->container = container;
    published->port = port;
    if (loopback_listen(&published->listener, container->docker->daemon->loop, host_port, on_connection, err) < 0)
        return -1;
    map->count++;
    return 0;
}

static int publish(struct container *container, struct str text, uint64_t host_port, struct berm_error *err)
{
    uint16_t port;

    return parse_port(text, &port, err) < 0 ? -1 : publish_port(container, port, (uint16_t)host_port, err);
}

static int publish_bindings(struct container *container, const struct json_member *member, struct berm_error *err)
{
    const struct json *list = &member->value;

    if (list->type == JSON_NULL)
        return publish(container, member->key, 0, err);
    if (list->type != JSON_ARRAY)
        return berm_fail_field(err, "PortBindings", "PortBindings must hold arrays");
    for (size_t i = 0; i < list->array.count; i++) {
        struct str text = { "", 0 };
        uint64_t port = 0;

        if (json_field_string(&list->array.items[i], "HostPort", &text, err) < 0)
            return -1;
        if (text.n && (str_to_u64(text, &port) < 0 || port > 65535))
            return berm_fail_field(err, "PortBindings", "HostPort is not a port");
        if (publish(container, member->key, port, err) < 0)
            return -1;
    }
    return 0;
}

int port_map_create(struct container *container, const struct json *body, struct berm_error *err)
{
    const struct json *host = json_get(body, "HostConfig"), *bindings = NULL,
                      *exposed = json_get(body, "ExposedPorts");
    bool all = false;

    if (json_field_object(host, "PortBindings", &bindings, err) < 0 ||
        json_field_bool(host, "PublishAllPorts", &all, err) < 0)
        return -1;
    if ((!bindings || bindings->object.count == 0) && !all)
        return 0;
    container->ports = calloc(1, sizeof(*container->ports));
    if (!container->ports)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "ports");
    for (size_t i = 0; bindings && i < bindings->object.count; i++)
        if (publish_bindings(container, &bindings->object.members[i], err) < 0)
            return -1;
    for (size_t i = 0; all && exposed && exposed->type == JSON_OBJECT && i < exposed->object.count; i++)
        if (!json_get(bindings, exposed->object.members[i].key.p) &&
            publish(container, exposed->object.members[i].key, 0, err) < 0)
            return -1;
    return 0;
}

/* "8080 32768 3000 32769": inside and on the host, in turn. */
void port_map_write_label(struct json_writer *w, const struct port_map *map)
{
    char text[PORTS_MAX * sizeof("65535 65535")];
    size_t n = 0;

    if (!map || map->count == 0)
        return;
    for (size_t i = 0; i < map->count; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u %u", i ? " " : "", map->ports[i].port,
                              loopback_port(&map->ports[i].listener));
    json_pair_cstring(w, "docker.ports", text);
}

int port_map_restore(struct container *container, const struct json *labels)
{
    const struct json *label = json_get(labels, "docker.ports");
    unsigned inside, outside;
    struct berm_error err;
    int n;

    if (!label || label->type != JSON_STRING)
        return 0;
    container->ports = calloc(1, sizeof(*container->ports));
    if (!container->ports)
        return -1;
    for (const char *at = label->string.p; sscanf(at, "%5u %5u%n", &inside, &outside, &n) == 2; at += n)
        if (publish_port(container, (uint16_t)inside, (uint16_t)outside, &err) < 0)
            log_warn("docker.port_lost", "container", container->name, "error", err.message);
    return 0;
}

void port_map_write(struct json_writer *w, const struct port_map *map)
{
    char text[16];

    for (size_t i = 0; map && i < map->count; i++) {
        snprintf(text, sizeof(text), "%u/tcp", map->ports[i].port);
        json_key(w, text);
        json_array_begin(w);
        for (;; i++) {
            snprintf(text, sizeof(text), "%u", loopback_port(&map->ports[i].listener));
            json_object_begin(w);
            json_pair_cstring(w, "HostIp", "127.0.0.1");
            json_pair_cstring(w, "HostPort", text);
            json_object_end(w);
            if (i + 1 == map->count || map->ports[i + 1].port != map->ports[i].port)
                break;
        }
        json_array_end(w);
    }
}

void port_list_write(struct json_writer *w, uint16_t inside, uint16_t host)
{
    json_object_begin(w);
    json_pair_cstring(w, "IP", "127.0.0.1");
    json_pair_int(w, "PrivatePort", inside);
    json_pair_int(w, "PublicPort", host);
    json_pair_cstring(w, "Type", "tcp");
    json_object_end(w);
}

void port_map_list(struct json_writer *w, const struct port_map *map)
{
    for (size_t i = 0; map && i < map->count; i++)
        port_list_write(w, map->ports[i].port, loopback_port(&map->ports[i].listener));
}

void port_map_free(struct port_map *map)
{
    for (size_t i = 0; map && i < map->count; i++)
        loopback_close(&map->ports[i].listener);
    free(map);
}
