#include "oci_relay.h"

#include "base/sys.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define BUFFER_SIZE   65536
#define LOOK_PAUSE_MS 2

/* One direction of a connection. */
struct half {
    int from, to;
    bool ended; /* `from` has said all that it had to say, and `to` was told */
    size_t start, end;
    char buffer[BUFFER_SIZE];
};

struct link {
    struct link *next;
    struct half up, down;
    bool broken;
};

/* --- one connection --- */

static void half_read(struct half *half, bool *broken)
{
    ssize_t n = RETRY_EINTR(read(half->from, half->buffer, sizeof(half->buffer)));

    if (n > 0) {
        half->start = 0;
        half->end = (size_t)n;
    } else if (n == 0) {
        half->ended = true;
        shutdown(half->to, SHUT_WR);
    } else if (errno != EAGAIN) {
        *broken = true;
    }
}

static void half_write(struct half *half, bool *broken)
{
    ssize_t n = RETRY_EINTR(send(half->to, half->buffer + half->start, half->end - half->start, MSG_NOSIGNAL));

    if (n >= 0)
        half->start += (size_t)n;
    else if (errno != EAGAIN)
        *broken = true;
}

static bool half_full(const struct half *half)
{
    return half->start < half->end;
}

static short events_of(const struct half *reading, const struct half *writing)
{
    return (short)((!reading->ended && !half_full(reading) ? POLLIN : 0) | (half_full(writing) ? POLLOUT : 0));
}

static void half_move(struct half *half, short from_events, bool *broken)
{
    if (!half->ended && !half_full(half) && from_events & (POLLIN | POLLHUP | POLLERR))
        half_read(half, broken);
    if (half_full(half))
        half_write(half, broken);
}

static bool link_done(const struct link *link)
{
    return link->broken || (link->up.ended && link->down.ended);
}

static void link_free(struct link *link)
{
    close(link->up.from);
    close(link->up.to);
    free(link);
}

/* --- the agent's port --- */

static int connect_port(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || set_nonblocking(fd) < 0)
        return -1;
    return TAKE_FD(fd);
}

static struct link *link_new(const struct relay *relay)
{
    _cleanup_close_ int client = accept4(relay->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    _cleanup_close_ int agent = client < 0 ? -EBADF : connect_port(relay->port);
    struct link *link = agent < 0 ? NULL : malloc(sizeof(*link));

    if (!link)
        return NULL;
    link->broken = false;
    link->up = (struct half){ .from = client, .to = agent };
    link->down = (struct half){ .from = agent, .to = client };
    TAKE_FD(client);
    TAKE_FD(agent);
    return link;
}

/* --- the process --- */

/* Nobody reads it while all is well; a full pipe would stop its writer. */
static void drain_stderr(struct relay *relay)
{
    char chunk[RELAY_STDERR_MAX];
    ssize_t n = RETRY_EINTR(read(relay->stderr_fd, chunk, sizeof(chunk)));
    size_t keep;

    if (n == 0 || (n < 0 && errno != EAGAIN))
        close_fd(&relay->stderr_fd);
    if (n <= 0)
        return;
    keep = MIN(relay->tail_length, sizeof(relay->tail) - (size_t)n);
    memmove(relay->tail, relay->tail + relay->tail_length - keep, keep);
    memcpy(relay->tail + keep, chunk, (size_t)n);
    relay->tail_length = keep + (size_t)n;
}

int relay_wait(struct relay *relay)
{
    for (;;) {
        struct pollfd fds[] = { { relay->child_pidfd, POLLIN, 0 }, { relay->stderr_fd, POLLIN, 0 } };
        _cleanup_close_ int fd = connect_port(relay->port);
        if (fd >= 0)
            return 0;
        /* Nothing tells when a port is opened. */
        if (poll(fds, ARRAY_SIZE(fds), LOOK_PAUSE_MS) <= 0)
            continue;
        if (fds[1].revents)
            drain_stderr(relay);
        else if (fds[0].revents)
            return -1;
    }
}

enum { POLL_CHILD, POLL_STDERR, POLL_LISTENER, POLL_LINKS };

/* A POLLHUP that is not asked for would come again and again: a side that has nothing to wait for is left out. */
static size_t fill_poll(const struct relay *relay, const struct link *links, struct pollfd *fds)
{
    size_t count = POLL_LINKS;

    for (const struct link *link = links; link; link = link->next) {
        short client = events_of(&link->up, &link->down), agent = events_of(&link->down, &link->up);
        fds[count++] = (struct pollfd){ client ? link->up.from : -1, client, 0 };
        fds[count++] = (struct pollfd){ agent ? link->down.from : -1, agent, 0 };
    }
    fds[POLL_CHILD] = (struct pollfd){ relay->child_pidfd, POLLIN, 0 };
    fds[POLL_STDERR] = (struct pollfd){ relay->stderr_fd, POLLIN, 0 };
    /* With every link in use, callers wait in the socket's own queue. */
    fds[POLL_LISTENER] =
        (struct pollfd){ count < POLL_LINKS + 2 * RELAY_LINKS_MAX ? relay->listen_fd : -1, POLLIN, 0 };
    return count;
}

static void move_links(struct link **links, const struct pollfd *fds)
{
    while (*links) {
        struct link *link = *links;
        half_move(&link->up, fds[0].revents, &link->broken);
        half_move(&link->down, fds[1].revents, &link->broken);
        fds += 2;
        if (link_done(link)) {
            *links = link->next;
            link_free(link);
        } else {
            links = &link->next;
        }
    }
}

void relay_run(struct relay *relay)
{
    struct pollfd fds[POLL_LINKS + 2 * RELAY_LINKS_MAX];
    struct link *links = NULL;

    for (;;) {
        size_t count = fill_poll(relay, links, fds);
        if (poll(fds, count, -1) < 0)
            continue;
        if (fds[POLL_CHILD].revents)
            return;
        if (fds[POLL_STDERR].revents)
            drain_stderr(relay);
        move_links(&links, fds + POLL_LINKS);
        if (fds[POLL_LISTENER].revents) {
            struct link *link = link_new(relay);
            if (link) {
                link->next = links;
                links = link;
            }
        }
    }
}
