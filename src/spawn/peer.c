#include "peer.h"

#include "base/sys.h"

#include <assert.h>

/* So that exits and finished creations are seen between the requests of a burst. */
#define REQUESTS_PER_TURN 4

static void end(struct peer *peer)
{
    peer_stop(peer);
    peer->on_end(peer);
}

static void close_all(struct peer_message *m)
{
    for (size_t i = 0; i < m->fd_count; i++)
        close_fd(&m->fds[i]);
    m->fd_count = 0;
}

/* -1: it must wait. A broken connection counts as sent: its end is noticed by reading. */
static int transmit(struct peer *peer, struct peer_message *m)
{
    if (send_fds(peer->sock, &m->reply, sizeof(m->reply), m->fds, m->fd_count) < 0 &&
        (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
        return -1;
    close_all(m);
    return 0;
}

static void update_events(struct peer *peer)
{
    if (loop_io_active(&peer->io))
        loop_io_modify(peer->loop, &peer->io, peer->first ? EPOLLOUT : EPOLLIN);
}

static void enqueue(struct peer *peer, const struct peer_message *message)
{
    struct peer_message *m = malloc(sizeof(*m));

    if (!m)
        abort(); /* an answer that never comes would hang the daemon; the keeper starts us again */
    *m = *message;
    m->next = NULL;
    *peer->last = m;
    peer->last = &m->next;
    update_events(peer);
}

void peer_send(struct peer *peer, const struct spawn_reply *reply, const int *fds, size_t count)
{
    struct peer_message message = { .reply = *reply, .fd_count = count };

    assert(count <= PEER_FDS_MAX);
    for (size_t i = 0; i < count; i++)
        message.fds[i] = fds[i];
    if (!loop_io_active(&peer->io))
        close_all(&message);
    else if (peer->first || transmit(peer, &message) < 0)
        enqueue(peer, &message);
}

static void drop_first(struct peer *peer)
{
    struct peer_message *m = peer->first;

    peer->first = m->next;
    if (!peer->first)
        peer->last = &peer->first;
    close_all(m);
    free(m);
}

static void flush(struct peer *peer)
{
    while (peer->first && transmit(peer, peer->first) == 0)
        drop_first(peer);
    update_events(peer);
}

static void receive(struct peer *peer)
{
    /* One byte more than a request, so that a longer message is seen to be one. */
    char message[sizeof(struct spawn_request) + 1];

    for (int i = 0; i < REQUESTS_PER_TURN && !peer->first; i++) {
        ssize_t n = recv_fds(peer->sock, message, sizeof(message), NULL, 0, NULL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 && errno == EPROTO)
            n = 1; /* descriptors or an overlong message: answered like any other that is no request */
        if (n <= 0) {
            end(peer);
            return;
        }
        peer->on_request(peer, message, (size_t)n);
    }
}

static void on_event(struct loop_io *io, uint32_t events)
{
    struct peer *peer = container_of(io, struct peer, io);

    if (events & EPOLLOUT)
        flush(peer);
    else if (events & EPOLLIN)
        receive(peer);
    else
        end(peer);
}

int peer_start(struct peer *peer, struct loop *loop, int sock)
{
    peer->loop = loop;
    peer->sock = sock;
    peer->first = NULL;
    peer->last = &peer->first;
    if (set_nonblocking(sock) < 0)
        return -1;
    return loop_io_add(loop, &peer->io, sock, EPOLLIN, on_event);
}

void peer_stop(struct peer *peer)
{
    loop_io_remove(peer->loop, &peer->io);
    while (peer->first)
        drop_first(peer);
}
