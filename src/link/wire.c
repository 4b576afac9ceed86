/* wire.c - messages to and from bermd (base/link_wire.h). */
#include "link/core.h"

#include "base/sys.h"

#define OUTGOING_MAX 8192 /* messages; a bermd that does not read them is as good as gone */

struct outgoing {
    struct outgoing *next;
    struct link_message message;
    int fd;
};

bool wire_accepts(const struct link_message *message, size_t n, size_t fds, bool opens_streams)
{
    if (n != sizeof(*message) || message->version != LINK_WIRE_VERSION)
        return false;
    switch (message->type) {
    case LINK_OPEN:
        return opens_streams && message->link != 0 && fds == 1;
    case LINK_CLOSE:
        return message->link != 0 && fds == 0;
    case LINK_DRAIN:
        return fds == 0;
    default:
        return false;
    }
}

static bool send_now(struct core *core, const struct link_message *message, int fd)
{
    return send_fds(core->wire.fd, message, sizeof(*message), &fd, fd >= 0) == 0 || errno != EAGAIN;
}

static void drop_first(struct core *core)
{
    struct outgoing *outgoing = core->first;

    core->first = outgoing->next;
    core->outgoing_count--;
    close_fd(&outgoing->fd);
    free(outgoing);
}

void wire_clear(struct core *core)
{
    while (core->first)
        drop_first(core);
}

void wire_send_queued(struct core *core)
{
    while (core->first && send_now(core, &core->first->message, core->first->fd))
        drop_first(core);
    loop_io_modify(core->loop, &core->wire, EPOLLIN | (core->first ? EPOLLOUT : 0));
}

/* A wire that is broken or full for too long: bermd has closed it, or will when it finds it shut. */
static void give_up(struct core *core, int fd)
{
    close_fd(&fd);
    loop_stop(core->loop);
}

void wire_send(struct core *core, const struct link_message *message, int fd)
{
    struct outgoing *outgoing;

    if (!core->first && send_now(core, message, fd)) {
        close_fd(&fd);
        return;
    }
    outgoing = core->outgoing_count < OUTGOING_MAX ? malloc(sizeof(*outgoing)) : NULL;
    if (!outgoing) {
        give_up(core, fd);
        return;
    }
    *outgoing = (struct outgoing){ .message = *message, .fd = fd };
    if (core->first)
        core->last->next = outgoing;
    else
        core->first = outgoing;
    core->last = outgoing;
    core->outgoing_count++;
    loop_io_modify(core->loop, &core->wire, EPOLLIN | EPOLLOUT);
}
