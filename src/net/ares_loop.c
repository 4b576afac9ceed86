#include "net/ares_loop.h"

static void on_timer(struct loop_timer *timer)
{
    struct ares_loop *ares = container_of(timer, struct ares_loop, timer);

    ares_process_fd(ares->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    ares_loop_arm(ares);
}

static void on_socket(struct loop_io *io, uint32_t events)
{
    struct ares_loop *ares = container_of(io, struct ares_loop_socket, io)->owner;
    int fd = io->fd;
    bool broken = events & (EPOLLERR | EPOLLHUP);

    ares_process_fd(ares->channel, (events & EPOLLIN) || broken ? fd : ARES_SOCKET_BAD,
                    events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
    ares_loop_arm(ares);
}

static struct loop_io *find_io(struct ares_loop *ares, ares_socket_t fd)
{
    struct loop_io *empty = NULL;

    for (size_t i = 0; i < ARES_LOOP_SOCKETS; i++) {
        struct loop_io *io = &ares->sockets[i].io;

        if (!loop_io_active(io))
            empty = io;
        else if (io->fd == fd)
            return io;
    }
    return empty;
}

/* c-ares tells what it waits for on a socket; nothing means that it is about to close it. */
void ares_loop_on_socket(void *data, ares_socket_t fd, int readable, int writable)
{
    struct ares_loop *ares = data;
    struct loop_io *io = ares->loop ? find_io(ares, fd) : NULL;
    uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);

    if (!io) /* more sockets than servers could need: its queries time out */
        return;
    if (events == 0)
        loop_io_remove(ares->loop, io);
    else if (loop_io_active(io))
        loop_io_modify(ares->loop, io, events);
    else
        loop_io_add(ares->loop, io, fd, events, on_socket);
}

void ares_loop_arm(struct ares_loop *ares)
{
    struct timeval left;
    struct timeval *wait = ares_timeout(ares->channel, NULL, &left); /* NULL: no question is open */

    if (wait)
        loop_timer_start(ares->loop, &ares->timer,
                         (uint64_t)wait->tv_sec * 1000 + (uint64_t)wait->tv_usec / 1000 + 1);
    else
        loop_timer_stop(ares->loop, &ares->timer);
}

void ares_loop_init(struct ares_loop *ares, struct loop *loop)
{
    ares->loop = loop;
    loop_timer_init(&ares->timer, on_timer);
    for (size_t i = 0; i < ARES_LOOP_SOCKETS; i++)
        ares->sockets[i].owner = ares;
}

void ares_loop_end(struct ares_loop *ares)
{
    if (ares->has_channel)
        ares_destroy(ares->channel);
    ares->has_channel = false;
    if (ares->loop)
        loop_timer_stop(ares->loop, &ares->timer);
}
