#include "link/core.h"

#include "link/stream.h"

#include "base/sys.h"

#define HANDSHAKES_MAX        512
#define HANDSHAKES_OF_ADDRESS 16
#define LINKS_OF_ADDRESS      256
#define MESSAGES_PER_TURN     64

/* --- what bermd is told --- */

/* For a log line: what a peer chose in it is only printed where it is plain. */
static void put_text(struct link_message *message, const char *text)
{
    size_t n = text ? strnlen(text, sizeof(message->text) - 1) : 0;

    for (size_t i = 0; i < n; i++)
        message->text[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
}

static struct link_message message_of(const struct link *link, enum link_message_type type)
{
    return (struct link_message){ .version = LINK_WIRE_VERSION, .type = (uint16_t)type, .link = link->number };
}

void core_tell_stream(struct link *link, int fd)
{
    struct link_message message = message_of(link, LINK_STREAM);

    wire_send(link->core, &message, fd);
}

void core_tell_failure(struct core *core, enum link_reason reason, const char *text, uint32_t retry_ms)
{
    struct link_message message = {
        .version = LINK_WIRE_VERSION, .type = LINK_DOWN, .reason = (uint16_t)reason, .retry_ms = retry_ms
    };

    put_text(&message, text);
    wire_send(core, &message, -EBADF);
}

/* --- links --- */

/* There is always a place: LINKS_MAX bounds what is admitted, and a dialler has few. */
static void note_in_table(struct link_table *table, uint32_t before, uint32_t after)
{
    for (size_t i = 0; i < LINKS_MAX; i++) {
        if (table->up[i] != before)
            continue;
        table->up[i] = after;
        return;
    }
}

/* Those of a worker that crashed. */
static void bury_links(struct core *core)
{
    struct link_message message = { .version = LINK_WIRE_VERSION, .type = LINK_DOWN, .reason = LINK_LOST };

    put_text(&message, "berm-link crashed");
    for (size_t i = 0; i < LINKS_MAX; i++) {
        message.link = core->table->up[i];
        core->table->up[i] = 0;
        if (message.link != 0)
            wire_send(core, &message, -EBADF);
    }
}

static void take_from(struct link **list, const struct link *link)
{
    while (*list != link)
        list = &(*list)->next;
    *list = link->next;
}

static void free_gone(struct link *link)
{
    take_from(&link->core->gone, link);
    loop_defer_cancel(link->core->loop, &link->freeing);
    link->ops->free(link);
}

static void free_link(struct loop_deferred *deferred)
{
    free_gone(container_of(deferred, struct link, freeing));
}

static void close_if_drained(struct link *link);

static void close_later(struct loop_deferred *deferred)
{
    struct link *link = container_of(deferred, struct link, closing);

    if (link->giving.flooded)
        core_close(link, LINK_PROTOCOL, "streams are begun and taken back without end");
    else
        close_if_drained(link);
}

void core_flooded(struct link *link)
{
    link->giving.flooded = true;
    loop_defer(link->core->loop, &link->closing);
}

void link_init(struct link *link, struct core *core, const struct transport_ops *ops)
{
    *link = (struct link){ .ops = ops,
                           .core = core,
                           .next = core->links,
                           .freeing.callback = free_link,
                           .closing.callback = close_later };
    giving_init(&link->giving);
    core->links = link;
    core->link_count++;
    core->handshakes++;
}

static void forget(struct link *link)
{
    struct core *core = link->core;

    take_from(&core->links, link);
    link->next = core->gone;
    core->gone = link;
    core->link_count--;
    core->handshakes -= link->number == 0;
    if (link->number != 0)
        note_in_table(core->table, link->number, 0);
    link->down = true;
    loop_defer_cancel(core->loop, &link->closing);
    giving_stop(link);
    while (link->streams)
        stream_free(link->streams);
    loop_defer(core->loop, &link->freeing);
}

void link_up(struct link *link, enum link_transport transport, const char *peer)
{
    struct core *core = link->core;
    struct link_message message;

    core->handshakes--;
    link->number = ++core->table->last_number;
    note_in_table(core->table, 0, link->number);
    message = message_of(link, LINK_UP);
    message.transport = (uint16_t)transport;
    put_text(&message, peer);
    wire_send(core, &message, -EBADF);
    if (core->role->on_up)
        core->role->on_up(core, link, transport);
}

void link_down(struct link *link, enum link_reason reason, const char *text)
{
    const struct core_role *role = link->core->role;
    struct link_message message = message_of(link, LINK_DOWN);

    if (link->down)
        return;
    forget(link);
    message.reason = (uint16_t)reason;
    if (role->on_down)
        message.retry_ms = role->on_down(link->core, link, reason, text);
    put_text(&message, text);
    if (link->number != 0)
        wire_send(link->core, &message, -EBADF);
}

void core_close(struct link *link, enum link_reason reason, const char *text)
{
    if (link->down)
        return;
    link->ops->close(link, reason);
    link_down(link, reason, text);
}

static struct link *find_link(const struct core *core, uint32_t number)
{
    struct link *link = core->links;

    while (link && link->number != number)
        link = link->next;
    return link;
}

/* --- draining --- */

/* When the far side knows, and nothing is open. Deferred by stream.c and by the transport's turn. */
static void close_if_drained(struct link *link)
{
    if (!link->down && link->draining && link->drained && link->stream_count == 0)
        core_close(link, LINK_CLOSED, "drained");
}

void core_stream_ended(struct link *link)
{
    close_if_drained(link);
}

void link_drained(struct link *link)
{
    link->drained = true;
    loop_defer(link->core->loop, &link->closing);
}

void link_far_side_drains(struct link *link)
{
    struct link_message message = message_of(link, LINK_DRAINING);

    wire_send(link->core, &message, -EBADF);
    if (link->core->role->on_far_side_drains)
        link->core->role->on_far_side_drains(link->core, link);
}

void core_drain(struct link *link)
{
    if (link->draining)
        return;
    link->draining = true;
    if (link->number == 0)
        core_close(link, LINK_CLOSED, "not wanted any more");
    else
        link->ops->drain(link);
}

static void drain_all(struct core *core)
{
    core->draining = true;
    core->role->on_drain(core);
    for (struct link *link = core->links, *next; link; link = next) {
        next = link->next;
        core_drain(link);
    }
}

/* --- what bermd says --- */

static void open_stream(struct link *link, int fd)
{
    struct stream *stream;

    if (!link || link->draining || set_nonblocking(fd) < 0) {
        close_fd(&fd);
        return;
    }
    stream = stream_new(link, fd);
    if (stream && link->ops->open(link, stream) == 0)
        stream_start(stream);
    else if (stream)
        stream_free(stream);
}

static void obey(struct core *core, const struct link_message *message, int fd)
{
    struct link *link = message->link ? find_link(core, message->link) : NULL;

    switch (message->type) {
    case LINK_OPEN:
        open_stream(link, fd);
        break;
    case LINK_CLOSE:
        if (link)
            core_close(link, LINK_CLOSED, "closed here");
        break;
    case LINK_DRAIN:
        if (link)
            core_drain(link);
        else if (message->link == 0)
            drain_all(core);
        break;
    }
}

/* false: nothing more to read now. */
static bool read_wire(struct core *core)
{
    struct link_message message;
    int fd = -EBADF;
    size_t fds = 0;
    ssize_t n = recv_fds(core->wire.fd, &message, sizeof(message), &fd, 1, &fds);

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n > 0 && wire_accepts(&message, (size_t)n, fds, core->role->opens_streams)) {
        obey(core, &message, fd);
        return true;
    }
    close_fd(&fd);
    core->misled = n > 0 || (n < 0 && errno != ECONNRESET); /* reset: closed, without having read all */
    loop_stop(core->loop);                                  /* it has closed the wire, or is not who we think */
    return false;
}

static void on_wire(struct loop_io *io, uint32_t events)
{
    struct core *core = container_of(io, struct core, wire);

    if (events & EPOLLOUT)
        wire_send_queued(core);
    if (events & ~(uint32_t)EPOLLOUT)
        for (int i = 0; i < MESSAGES_PER_TURN && read_wire(core); i++)
            continue;
}

/* --- who may have a handshake --- */

/* Of an IPv6 address the network, which one customer has. */
static struct in6_addr origin(const struct link_address *address)
{
    struct in6_addr ret = { 0 };

    if (address->any.sa_family == AF_INET)
        memcpy(&ret.s6_addr[8], &address->v4.sin_addr, 4);
    else if (IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr))
        memcpy(&ret.s6_addr[8], &address->v6.sin6_addr.s6_addr[12], 4);
    else
        memcpy(&ret, &address->v6.sin6_addr, 8);
    return ret;
}

bool core_admit(const struct core *core, const struct link_address *peer)
{
    struct in6_addr from = origin(peer);
    uint32_t links = 0, handshakes = 0;

    if (core->draining || core->handshakes >= HANDSHAKES_MAX || core->link_count >= LINKS_MAX)
        return false;
    for (const struct link *link = core->links; link; link = link->next) {
        struct in6_addr other = origin(&link->from);

        if (!IN6_ARE_ADDR_EQUAL(&other, &from))
            continue;
        links++;
        handshakes += link->number == 0;
    }
    return links < LINKS_OF_ADDRESS && handshakes < HANDSHAKES_OF_ADDRESS;
}

void link_from(struct link *link, const struct link_address *peer)
{
    link->from = *peer;
}

/* --- the object --- */

int core_init(struct core *core, struct loop *loop, int wire, struct link_table *table,
              const struct core_role *role)
{
    *core = (struct core){ .loop = loop, .table = table, .role = role };
    if (set_nonblocking(wire) < 0 || loop_io_add(loop, &core->wire, wire, EPOLLIN, on_wire) < 0) {
        close_fd(&wire);
        return -1;
    }
    bury_links(core);
    return 0;
}

void core_fini(struct core *core)
{
    while (core->links) {
        struct link *link = core->links;

        link->ops->close(link, LINK_CLOSED);
        forget(link);
    }
    while (core->gone)
        free_gone(core->gone);
    wire_clear(core);
    loop_io_remove(core->loop, &core->wire);
    close_fd(&core->wire.fd);
}
