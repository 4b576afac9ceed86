#include "port_probe.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define DEADLINE_MS 5000
#define HOPS_MAX    20

static void on_report(struct loop_deferred *deferred)
{
    struct port_probe *probe = container_of(deferred, struct port_probe, report);

    probe->on_result(probe, probe->result, probe->status);
}

static void disconnect(struct port_probe *probe)
{
    loop_io_remove(probe->loop, &probe->io);
    close_fd(&probe->fd);
    buf_clear(&probe->out);
    buf_clear(&probe->head);
}

static void conclude(struct port_probe *probe, enum port_result result, int status)
{
    disconnect(probe);
    loop_timer_stop(probe->loop, &probe->deadline);
    probe->result = result;
    probe->status = status;
    loop_defer(probe->loop, &probe->report);
}

static void on_deadline(struct loop_timer *timer)
{
    conclude(container_of(timer, struct port_probe, deadline), PORT_NO_ANSWER, 0);
}

/* --- the exchange --- */

static void connect_next(struct port_probe *probe);

/* True if there is another hop. */
static bool follow(struct port_probe *probe, struct str location)
{
    struct buf target;
    unsigned port = probe->port;

    buf_init(&target, PORT_TARGET_MAX);
    if (location.n == 0 || port_head_follow(location, buf_str(&probe->target), &port, &target) < 0) {
        buf_free(&target);
        return false;
    }
    buf_free(&probe->target);
    probe->target = target;
    probe->port = port;
    probe->family = 0;
    disconnect(probe);
    return true;
}

static void take_head(struct port_probe *probe, bool ended)
{
    struct str location;
    int status = port_head_parse(buf_str(&probe->head), &location);

    if (status < 0 || (status == 0 && ended)) {
        conclude(probe, PORT_NO_ANSWER, 0);
    } else if (status > 0 && port_head_redirects(status) && follow(probe, location)) {
        /* A browser gives up after so many, and so nothing was answered. */
        if (++probe->hops > HOPS_MAX)
            conclude(probe, PORT_NO_ANSWER, 0);
        else
            connect_next(probe);
    } else if (status > 0) {
        conclude(probe, PORT_OPEN, status);
    }
}

static void receive(struct port_probe *probe)
{
    char *at = buf_reserve(&probe->head, 4096);
    ssize_t n = at ? recv(probe->fd, at, 4096, 0) : -1;

    if (n < 0 && at && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) { /* reset, or a head over the limit */
        conclude(probe, PORT_NO_ANSWER, 0);
        return;
    }
    buf_commit(&probe->head, (size_t)n);
    take_head(probe, n == 0);
}

static void transmit(struct port_probe *probe)
{
    ssize_t n = send(probe->fd, buf_head(&probe->out), probe->out.len, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        conclude(probe, PORT_NO_ANSWER, 0);
        return;
    }
    if (n > 0)
        buf_consume(&probe->out, (size_t)n);
    if (probe->out.len == 0) {
        probe->sending = false;
        (void)loop_io_modify(probe->loop, &probe->io, EPOLLIN);
    }
}

static int write_request(struct port_probe *probe)
{
    return buf_printf(&probe->out,
                      "GET %.*s HTTP/1.1\r\nHost: localhost:%u\r\nUser-Agent: berm-agent\r\nAccept: */*\r\n"
                      "Connection: close\r\n\r\n",
                      (int)probe->target.len, buf_head(&probe->target), probe->port);
}

/* --- connecting --- */

static void on_connected(struct port_probe *probe)
{
    if (!probe->http)
        conclude(probe, PORT_OPEN, 0);
    else if (write_request(probe) < 0)
        conclude(probe, PORT_NO_ANSWER, 0);
    else
        transmit(probe);
}

static void on_refused(struct port_probe *probe)
{
    disconnect(probe);
    probe->family++;
    connect_next(probe);
}

static void on_io(struct loop_io *io, uint32_t events)
{
    struct port_probe *probe = container_of(io, struct port_probe, io);
    int error = 0;
    socklen_t size = sizeof(error);

    (void)events;
    if (!probe->sending) {
        receive(probe);
        return;
    }
    if (probe->out.len > 0) {
        transmit(probe);
        return;
    }
    if (getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
        on_connected(probe);
    else
        on_refused(probe);
}

/* 0: connected or on the way. */
static int try_family(struct port_probe *probe)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)probe->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                               .sin6_port = htons((uint16_t)probe->port),
                               .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    bool is_v4 = probe->family == 0;
    const struct sockaddr *address = is_v4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
    socklen_t size = is_v4 ? sizeof(v4) : sizeof(v6);

    probe->fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe->fd < 0)
        return -1;
    if (connect(probe->fd, address, size) < 0 && errno != EINPROGRESS)
        return -1;
    probe->sending = true;
    return loop_io_add(probe->loop, &probe->io, probe->fd, EPOLLOUT, on_io);
}

/* The next address that may be worth a try; at the end of the list nobody listens. */
static void connect_next(struct port_probe *probe)
{
    for (; probe->family < 2; probe->family++) {
        if (try_family(probe) == 0)
            return;
        disconnect(probe);
    }
    /* After a redirect something did listen. */
    conclude(probe, probe->hops > 0 ? PORT_NO_ANSWER : PORT_CLOSED, 0);
}

/* --- life --- */

void port_probe_init(struct port_probe *probe, struct loop *loop)
{
    *probe = (struct port_probe){ .loop = loop, .fd = -EBADF, .report = { .callback = on_report } };
    loop_timer_init(&probe->deadline, on_deadline);
    buf_init(&probe->target, PORT_TARGET_MAX);
    buf_init(&probe->out, PORT_TARGET_MAX + 512);
    buf_init(&probe->head, PORT_HEAD_MAX);
}

void port_probe_start(struct port_probe *probe, unsigned port, bool http, struct str target)
{
    probe->port = port;
    probe->http = http;
    probe->hops = probe->family = 0;
    buf_clear(&probe->target);
    if (buf_append_str(&probe->target, target) < 0 ||
        loop_timer_start(probe->loop, &probe->deadline, DEADLINE_MS) < 0)
        conclude(probe, PORT_NO_ANSWER, 0);
    else
        connect_next(probe);
}

void port_probe_cancel(struct port_probe *probe)
{
    disconnect(probe);
    loop_timer_stop(probe->loop, &probe->deadline);
    loop_defer_cancel(probe->loop, &probe->report);
    buf_free(&probe->target);
    buf_free(&probe->out);
    buf_free(&probe->head);
}
