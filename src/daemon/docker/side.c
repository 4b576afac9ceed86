#include "daemon/docker/side.h"

#include "base/log.h"
#include "daemon/docker/outgoing.h"
#include "daemon/docker/ports.h"
#include "daemon/docker/tunnel.h"
#include "daemon/egress/authority.h"

#include <sys/socket.h>

#define HEAD_MAX        ((size_t)8 * 1024)
#define HEAD_TIMEOUT_MS 10000
#define UNUSED_MAX      256 /* side containers that no container uses */
#define EGRESS_BODY_MAX ((size_t)256 * 1024)

struct side {
    struct container *container;
    struct loopback_listener listener;
    struct http_server *server; /* of what is not CONNECT */
    struct list connects;       /* struct connect_head */
    uint16_t inside_port;       /* what the listener is called inside: 39001 */
    struct side_egress egress;
};

/* A connection whose first request has not come yet. */
struct connect_head {
    struct loop_io io;
    struct loop_timer timer;
    struct list node;
    struct side *side;
    struct buf in;
};

static struct loop *loop_of(const struct side *side)
{
    return side->container->docker->daemon->loop;
}

/* --- CONNECT --- */

/* Returns the socket if it is to live on. */
static int drop_head(struct connect_head *head, bool keep)
{
    int fd = head->io.fd;

    loop_io_remove(loop_of(head->side), &head->io);
    loop_timer_stop(loop_of(head->side), &head->timer);
    list_remove(&head->node);
    buf_free(&head->in);
    free(head);
    if (!keep)
        close_fd(&fd);
    return fd;
}

/* "127.0.0.1:8080" or "localhost:8080": there is no other host behind this proxy. */
static bool parse_target(struct str target, uint16_t *ret)
{
    static const struct str hosts[] = { { "127.0.0.1:", 10 }, { "localhost:", 10 }, { "0.0.0.0:", 8 } };
    uint64_t port;

    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
        if (str_has_prefix(target, hosts[i]) &&
            str_to_u64((struct str){ target.p + hosts[i].n, target.n - hosts[i].n }, &port) == 0 && port > 0 &&
            port <= 65535) {
            *ret = (uint16_t)port;
            return true;
        }
    return false;
}

static void refuse_head(struct connect_head *head, int status)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status,
                     status == 403 ? "Forbidden" : "Bad Request");

    (void)!send(head->io.fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    drop_head(head, false);
}

static void connect_to(struct connect_head *head, const struct h1_head *request, size_t used)
{
    struct side *side = head->side;
    struct container *target = container_of_side(side->container->docker, side->container->name);
    struct str rest = { buf_head(&head->in) + used, head->in.len - used };
    _cleanup_free_ char *early = NULL;
    uint16_t port;
    int fd;

    if (!parse_target(request->target, &port)) {
        refuse_head(head, 403);
        return;
    }
    early = malloc(rest.n + 1);
    if (!early) {
        drop_head(head, false);
        return;
    }
    memcpy(early, rest.p, rest.n);
    rest.p = early;
    fd = drop_head(head, true);
    tunnel_open(target ? target : side->container, fd, port, rest, true);
}

static void read_head(struct connect_head *head)
{
    static const struct h1_limits limits = { .max_head = HEAD_MAX, .max_headers = 64 };
    struct h1_head request;
    ssize_t n, used;
    char *room = buf_reserve(&head->in, HEAD_MAX - head->in.len);

    if (!room) {
        drop_head(head, false);
        return;
    }
    n = recv(head->io.fd, room, HEAD_MAX - head->in.len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop_head(head, false);
        return;
    }
    buf_commit(&head->in, (size_t)n);
    used = h1_parse_connect(buf_head(&head->in), head->in.len, &limits, &request);
    if (used < 0 || (used == 0 && head->in.len == HEAD_MAX))
        refuse_head(head, 400);
    else if (used > 0)
        connect_to(head, &request, (size_t)used);
}

/* The first byte tells CONNECT, which no other method begins like, from what the server takes. */
static void on_readable(struct loop_io *io, uint32_t events)
{
    struct connect_head *head = container_of(io, struct connect_head, io);
    struct side *side = head->side;
    ssize_t n;
    char first;

    (void)events;
    if (head->in.len > 0) {
        read_head(head);
        return;
    }
    n = recv(io->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop_head(head, false);
    } else if (first == 'C') {
        read_head(head);
    } else {
        int fd = drop_head(head, true);

        if (http_server_adopt_connection(side->server, fd) < 0)
            close(fd);
    }
}

static void on_head_timeout(struct loop_timer *timer)
{
    drop_head(container_of(timer, struct connect_head, timer), false);
}

static void on_connection(struct loopback_listener *listener, int fd)
{
    struct side *side = container_of(listener, struct side, listener);
    struct connect_head *head = calloc(1, sizeof(*head));

    if (!head || loop_io_add(loop_of(side), &head->io, fd, EPOLLIN, on_readable) < 0) {
        free(head);
        close(fd);
        return;
    }
    head->side = side;
    buf_init(&head->in, HEAD_MAX);
    list_append(&side->connects, &head->node);
    loop_timer_init(&head->timer, on_head_timeout);
    loop_timer_start(loop_of(side), &head->timer, HEAD_TIMEOUT_MS);
}

/* --- PUT /egress and GET /ca --- */

static int take_egress(struct side_egress *ret, const struct json *body, struct berm_error *err)
{
    const struct json *dns = NULL, *internet = NULL, *names = NULL;
    struct side_egress egress = { .known = true };
    struct json_writer w;
    struct buf text;
    int64_t port = 0;

    if (json_field_int(body, "port", 0, 65535, &port, err) < 0 || json_field_object(body, "dns", &dns, err) < 0 ||
        json_field_object(body, "internet", &internet, err) < 0 ||
        json_field_array(dns, "allowHostnames", &names, err) < 0 ||
        json_field_bool(internet, "enabled", &egress.internet, err) < 0)
        return -1;
    egress.port = (uint16_t)port;
    if (names) {
        buf_init(&text, EGRESS_BODY_MAX);
        json_writer_init(&w, &text);
        json_value(&w, names);
        egress.allow_hostnames = json_writer_finish(&w) == 0 ? buf_steal(&text, NULL) : NULL;
        buf_free(&text);
        if (!egress.allow_hostnames)
            return berm_fail(err, BERM_E_PAYLOAD_TOO_LARGE, 0, "too many names");
    }
    free(ret->allow_hostnames);
    *ret = egress;
    return 0;
}

static void on_egress_body(struct http_exchange *ex, void *data)
{
    struct side *side = data;
    struct container *container = container_of_side(side->container->docker, side->container->name);
    const struct json *body = NULL;
    struct berm_error err;
    struct arena arena;

    arena_init(&arena, 64 * EGRESS_BODY_MAX);
    if (json_parse(&arena, http_body(ex), 16, &body, &err) < 0 || take_egress(&side->egress, body, &err) < 0)
        http_respond(ex, 400, "text/plain", str_from(err.message));
    else
        http_respond(ex, 204, NULL, STR(""));
    if (container && side->egress.known) {
        container_apply_egress(container);
        container_store_labels(container);
    }
    arena_free(&arena);
}

static void on_request(struct http_exchange *ex, const struct h1_head *head, void *data)
{
    static const struct http_exchange_callbacks callbacks = { .on_body_end = on_egress_body };
    struct side *side = data;
    const struct authority *authority;
    struct berm_error err;

    if (h1_header(head, "Origin").p) {
        http_respond(ex, 403, "text/plain", STR("web pages are refused\n"));
    } else if (str_is(head->method, "PUT") && str_is(head->path, "/egress")) {
        http_exchange_set(ex, &callbacks, side);
        http_collect_body(ex, EGRESS_BODY_MAX);
    } else if (str_is(head->method, "GET") && str_is(head->path, "/ca")) {
        authority = docker_authority(side->container->docker, &err);
        if (!authority)
            http_respond(ex, 500, "text/plain", str_from(err.message));
        else
            http_respond(ex, 200, "application/x-pem-file", authority_certificate(authority));
    } else {
        http_respond(ex, 404, "text/plain", STR("there is /egress, /ca and CONNECT here\n"));
    }
}

const struct side_egress *side_egress(const struct side *side)
{
    return &side->egress;
}

/* --- the whole --- */

static struct side *side_new(struct container *container, uint16_t host_port, struct berm_error *err)
{
    struct side *side = calloc(1, sizeof(*side));
    struct http_handler handler = { .on_request = on_request, .data = side };
    struct http_limits limits;

    if (!side) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "side container");
        return NULL;
    }
    side->container = container;
    side->inside_port = 39001;
    list_init(&side->connects);
    http_limits_default(&limits);
    limits.max_connections = 64;
    side->server = http_server_new(loop_of(side), &limits, &handler);
    if (!side->server)
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "side container");
    else if (loopback_listen(&side->listener, loop_of(side), host_port, on_connection, err) == 0)
        return side;
    http_server_free(side->server);
    free(side);
    return NULL;
}

void side_free(struct side *side)
{
    if (!side)
        return;
    loopback_close(&side->listener);
    while (!list_empty(&side->connects))
        drop_head(container_of(side->connects.next, struct connect_head, node), false);
    http_server_free(side->server);
    free(side->egress.allow_hostnames);
    free(side);
}

/* The port in "--http-ingress-address 0.0.0.0:39001"; 0: not said. */
static uint16_t ingress_port(const struct json *cmd)
{
    for (size_t i = 0; cmd && cmd->type == JSON_ARRAY && i + 1 < cmd->array.count; i++) {
        const struct json *flag = &cmd->array.items[i], *value = &cmd->array.items[i + 1];
        const char *colon;
        uint64_t port;

        if (flag->type != JSON_STRING || value->type != JSON_STRING ||
            !str_is(flag->string, "--http-ingress-address"))
            continue;
        colon = memrchr(value->string.p, ':', value->string.n);
        if (colon && str_to_u64(str_from(colon + 1), &port) == 0 && port > 0 && port <= 65535)
            return (uint16_t)port;
    }
    return 0;
}

/* The port in "--http-egress-port P", until /egress says otherwise. */
static uint16_t egress_port(const struct json *cmd)
{
    for (size_t i = 0; cmd && cmd->type == JSON_ARRAY && i + 1 < cmd->array.count; i++) {
        const struct json *flag = &cmd->array.items[i], *value = &cmd->array.items[i + 1];
        uint64_t port;

        if (flag->type == JSON_STRING && value->type == JSON_STRING && str_is(flag->string, "--http-egress-port") &&
            str_to_u64(value->string, &port) == 0 && port <= 65535)
            return (uint16_t)port;
    }
    return 0;
}

/* workerd finds what an earlier run of it has left by its labels. */
static char *labels_text(const struct json *labels)
{
    struct json_writer w;
    struct buf text;

    if (!labels || labels->type != JSON_OBJECT)
        return strdup("{}");
    buf_init(&text, DOCKER_BODY_MAX);
    json_writer_init(&w, &text);
    json_value(&w, labels);
    if (json_writer_finish(&w) == 0)
        return buf_steal(&text, NULL);
    buf_free(&text);
    return NULL;
}

static struct container *oldest_unused(struct docker *docker, size_t *ret_count)
{
    struct container *oldest = NULL;

    *ret_count = 0;
    for (struct list *node = docker->containers.next; node != &docker->containers; node = node->next) {
        struct container *container = container_of(node, struct container, node);

        if (!container->side || container_of_side(docker, container->name))
            continue;
        ++*ret_count;
        if (!oldest)
            oldest = container;
    }
    return oldest;
}

/* wrangler removes its containers at its end and leaves these behind: the oldest ones make room. */
static void limit_unused(struct docker *docker)
{
    struct container *oldest;
    size_t count;

    while ((oldest = oldest_unused(docker, &count)) && count > UNUSED_MAX)
        container_forget(oldest);
}

int side_create(struct container *container, const struct json *body, struct berm_error *err)
{
    const struct json *cmd = json_get(body, "Cmd");
    uint16_t inside = ingress_port(cmd);

    container->env = strdup("{}");
    container->labels = labels_text(json_get(body, "Labels"));
    container->argv = strdup("[]");
    if (!container->env || !container->labels || !container->argv)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "side container");
    limit_unused(container->docker);
    container->side = side_new(container, 0, err);
    if (!container->side)
        return -1;
    if (inside)
        container->side->inside_port = inside;
    container->side->egress.port = egress_port(cmd);
    return 0;
}

void side_write_ports(struct json_writer *w, const struct side *side)
{
    char text[16];

    snprintf(text, sizeof(text), "%u/tcp", side->inside_port);
    json_key(w, text);
    json_array_begin(w);
    json_object_begin(w);
    snprintf(text, sizeof(text), "%u", loopback_port(&side->listener));
    json_pair_cstring(w, "HostIp", "127.0.0.1");
    json_pair_cstring(w, "HostPort", text);
    json_object_end(w);
    json_array_end(w);
}

void side_list_ports(struct json_writer *w, const struct side *side)
{
    port_list_write(w, side->inside_port, loopback_port(&side->listener));
}

/* --- over a restart of the daemon --- */

struct container *side_beside(const struct container *container)
{
    static const char prefix[] = "container:";

    if (strncmp(container->network, prefix, strlen(prefix)))
        return NULL;
    return container_by_name(container->docker, container->network + strlen(prefix));
}

void side_write_labels(struct json_writer *w, const struct container *container)
{
    const struct container *beside = side_beside(container);
    char text[64];

    if (!beside || !beside->side)
        return;
    json_pair_cstring(w, "docker.side-id", beside->id);
    snprintf(text, sizeof(text), "%u %u %u %d", loopback_port(&beside->side->listener), beside->side->inside_port,
             beside->side->egress.port, beside->side->egress.internet);
    json_pair_cstring(w, "docker.side", text);
    if (beside->side->egress.allow_hostnames)
        json_pair_cstring(w, "docker.side-hosts", beside->side->egress.allow_hostnames);
}

int side_restore(struct container *container, const struct json *labels)
{
    const struct json *text = json_get(labels, "docker.side"), *id = json_get(labels, "docker.side-id");
    const struct json *hosts = json_get(labels, "docker.side-hosts");
    unsigned port, inside, egress;
    struct container *beside;
    struct berm_error err;
    int internet;

    if (strncmp(container->network, "container:", 10) || !text || text->type != JSON_STRING || !id ||
        id->type != JSON_STRING || id->string.n != DOCKER_ID_HEX || side_beside(container) ||
        sscanf(text->string.p, "%5u %5u %5u %1d", &port, &inside, &egress, &internet) != 4)
        return 0;
    beside = container_new(container->docker, container->network + 10);
    if (!beside)
        return -1;
    memcpy(beside->id, id->string.p, DOCKER_ID_HEX);
    snprintf(beside->image, sizeof(beside->image), "cloudflare/proxy-everything");
    snprintf(beside->network, sizeof(beside->network), "bridge");
    beside->phase = CONTAINER_RUNNING;
    beside->env = strdup("{}");
    beside->labels = strdup("{}");
    beside->argv = strdup("[]");
    beside->side = side_new(beside, (uint16_t)port, &err);
    if (!beside->side) { /* somebody has the port: workerd will see its container as gone and make another */
        log_warn("docker.side_lost", "container", container->name, "error", err.message);
        container_forget(beside);
        return 0;
    }
    beside->side->inside_port = (uint16_t)inside;
    beside->side->egress =
        (struct side_egress){ .known = true, .port = (uint16_t)egress, .internet = internet != 0 };
    if (hosts && hosts->type == JSON_STRING && !(beside->side->egress.allow_hostnames = str_dup(hosts->string)))
        return -1;
    return beside->env && beside->labels && beside->argv ? 0 : -1;
}
