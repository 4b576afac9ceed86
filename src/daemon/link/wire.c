#include "daemon/link/wire.h"

#include "base/sys.h"

#include <fcntl.h>

#define MESSAGES_AT_ONCE 64
#define WIRE_BUFFER      (1 << 20) /* in the kernel: that many bytes of messages may wait for berm-link */

struct link_wire {
    struct loop *loop;
    struct loop_io io; /* not active once berm-link is gone */
    struct link_wire_events events;
};

/* --- the names of things --- */

const char *link_transport_name(enum link_transport transport)
{
    return transport == LINK_QUIC ? "quic" : "h2";
}

const char *link_reason_name(enum link_reason reason)
{
    static const char *const names[] = { "unknown", "closed",   "unreachable", "untrusted",
                                         "lost",    "protocol", "no_resources" };

    return names[(size_t)reason < ARRAY_SIZE(names) ? reason : 0];
}

/* --- sending --- */

/* Messages are small and few, so one that the socket has no room for means that berm-link does not read. */
static int transmit(struct link_wire *wire, enum link_message_type type, uint32_t link, const int *fd)
{
    struct link_message message = { .version = LINK_WIRE_VERSION, .type = (uint16_t)type, .link = link };

    if (!link_wire_alive(wire)) {
        errno = ENOTCONN;
        return -1;
    }
    return send_fds(wire->io.fd, &message, sizeof(message), fd, fd ? 1 : 0);
}

int link_wire_open(struct link_wire *wire, uint32_t link, int fd)
{
    return transmit(wire, LINK_OPEN, link, &fd);
}

int link_wire_close(struct link_wire *wire, uint32_t link)
{
    return transmit(wire, LINK_CLOSE, link, NULL);
}

int link_wire_drain(struct link_wire *wire, uint32_t link)
{
    return transmit(wire, LINK_DRAIN, link, NULL);
}

bool link_wire_alive(const struct link_wire *wire)
{
    return loop_io_active(&wire->io);
}

/* --- receiving --- */

static void drop_wire(struct link_wire *wire)
{
    int fd = wire->io.fd;

    if (!link_wire_alive(wire))
        return;
    loop_io_remove(wire->loop, &wire->io);
    close_fd(&fd);
    wire->events.on_lost(wire->events.data);
}

/* Its text goes to a log and to clients. */
static bool text_is_clean(const struct link_message *message)
{
    size_t n = strnlen(message->text, sizeof(message->text));

    for (size_t i = 0; i < n; i++)
        if (message->text[i] < ' ' || message->text[i] > '~')
            return false;
    return n < sizeof(message->text);
}

static bool message_is_valid(const struct link_wire *wire, const struct link_message *message, ssize_t n, int fd)
{
    if (n != (ssize_t)sizeof(*message) || message->version != LINK_WIRE_VERSION || !text_is_clean(message) ||
        (fd >= 0) != (message->type == LINK_STREAM))
        return false;
    switch (message->type) {
    case LINK_UP:
        return message->link != 0 && (message->transport == LINK_QUIC || message->transport == LINK_H2);
    case LINK_DOWN:
        return (message->link != 0 || wire->events.dials) && message->reason >= LINK_CLOSED &&
               message->reason <= LINK_NO_RESOURCES;
    case LINK_STREAM:
        return message->link != 0 && wire->events.dials;
    case LINK_DRAINING:
        return message->link != 0;
    default:
        return false;
    }
}

static void take_message(struct link_wire *wire, const struct link_message *message, int fd)
{
    const struct link_wire_events *events = &wire->events;

    switch (message->type) {
    case LINK_UP:
        events->on_up(message->link, (enum link_transport)message->transport, message->text, events->data);
        break;
    case LINK_DOWN:
        events->on_down(message->link, (enum link_reason)message->reason, message->retry_ms, message->text,
                        events->data);
        break;
    case LINK_STREAM:
        events->on_stream(message->link, fd, events->data);
        break;
    case LINK_DRAINING:
        events->on_draining(message->link, events->data);
        break;
    }
}

static void on_wire(struct loop_io *io, uint32_t ready)
{
    struct link_wire *wire = container_of(io, struct link_wire, io);

    (void)ready;
    for (int i = 0; i < MESSAGES_AT_ONCE && link_wire_alive(wire); i++) {
        struct link_message message;
        _cleanup_close_ int fd = -EBADF;
        size_t fds = 0;
        ssize_t n = recv_fds(wire->io.fd, &message, sizeof(message), &fd, 1, &fds);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0 || fds == 0)
            fd = -EBADF;
        if (message_is_valid(wire, &message, n, fd))
            take_message(wire, &message, TAKE_FD(fd));
        else
            drop_wire(wire);
    }
}

/* --- life --- */

struct link_wire *link_wire_new(struct loop *loop, int fd, const struct link_wire_events *events,
                                struct berm_error *err)
{
    struct link_wire *wire = calloc(1, sizeof(*wire));
    int size = WIRE_BUFFER;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    if (!wire || set_nonblocking(fd) < 0 || loop_io_add(loop, &wire->io, fd, EPOLLIN, on_wire) < 0) {
        berm_fail(err, BERM_E_SYSTEM, errno, "the wire to berm-link");
        close_fd(&fd);
        free(wire);
        return NULL;
    }
    wire->loop = loop;
    wire->events = *events;
    return wire;
}

void link_wire_free(struct link_wire *wire)
{
    int fd;

    if (!wire)
        return;
    fd = wire->io.fd;
    if (link_wire_alive(wire)) {
        loop_io_remove(wire->loop, &wire->io);
        close_fd(&fd);
    }
    free(wire);
}
