#include "link/resolve.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>

#define SOCKETS_MAX 16
#define TRY_MS      1000
#define TRIES       2

struct socket_watch {
    struct loop_io io;
    struct resolve *resolve;
};

struct resolve {
    struct loop *loop;
    ares_channel channel;
    bool has_channel;
    resolve_done done; /* NULL: cancelled */
    void *data;
    struct loop_timer timer;
    struct loop_deferred finishing;
    struct socket_watch sockets[SOCKETS_MAX];
    struct link_address found[RESOLVE_MAX];
    size_t count;
    const char *text;
};

static void arm_timer(struct resolve *r)
{
    struct timeval most = { TRY_MS / 1000, 0 }, left;
    struct timeval *wait = ares_timeout(r->channel, &most, &left);

    if (!r->finishing.queued)
        loop_timer_start(r->loop, &r->timer, (uint64_t)wait->tv_sec * 1000 + (uint64_t)wait->tv_usec / 1000 + 1);
}

static void on_timer(struct loop_timer *timer)
{
    struct resolve *r = container_of(timer, struct resolve, timer);

    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer(r);
}

static void on_socket(struct loop_io *io, uint32_t events)
{
    struct resolve *r = container_of(io, struct socket_watch, io)->resolve;
    int fd = io->fd;

    ares_process_fd(r->channel, events & ~(uint32_t)EPOLLOUT ? fd : ARES_SOCKET_BAD,
                    events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
    arm_timer(r);
}

/* c-ares tells what it waits for on a socket; nothing means that it is about to close it. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);
    struct socket_watch *watch = NULL;
    struct resolve *r = data;

    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        bool active = loop_io_active(&r->sockets[i].io);

        if (active && r->sockets[i].io.fd == fd) {
            watch = &r->sockets[i];
            break;
        }
        if (!active && !watch)
            watch = &r->sockets[i];
    }
    if (!watch) /* more sockets than servers could need: the question times out */
        return;
    if (events == 0)
        loop_io_remove(r->loop, &watch->io);
    else if (loop_io_active(&watch->io))
        loop_io_modify(r->loop, &watch->io, events);
    else
        loop_io_add(r->loop, &watch->io, fd, events, on_socket);
}

static void on_answer(void *data, int status, int timeouts, struct ares_addrinfo *result)
{
    struct resolve *r = data;

    (void)timeouts;
    r->text = status == ARES_SUCCESS ? "the name has no address" : ares_strerror(status);
    for (const struct ares_addrinfo_node *node = result ? result->nodes : NULL; node && r->count < RESOLVE_MAX;
         node = node->ai_next) {
        struct link_address *address = &r->found[r->count];

        if (node->ai_addrlen > sizeof(address->v6))
            continue;
        memcpy(&address->any, node->ai_addr, node->ai_addrlen);
        address->len = node->ai_addrlen;
        r->count++;
    }
    ares_freeaddrinfo(result);
    loop_defer(r->loop, &r->finishing);
}

static void finish(struct loop_deferred *deferred)
{
    struct resolve *r = container_of(deferred, struct resolve, finishing);

    loop_timer_stop(r->loop, &r->timer);
    if (r->has_channel)
        ares_destroy(r->channel);
    if (r->done)
        r->done(r->found, r->count, r->text, r->data);
    free(r);
}

static bool is_number(struct resolve *r, const char *host, uint16_t port)
{
    struct link_address *address = &r->found[0];

    if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(port);
        address->len = sizeof(address->v4);
    } else if (inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(port);
        address->len = sizeof(address->v6);
    } else {
        return false;
    }
    r->count = 1;
    return true;
}

static void ask(struct resolve *r, const char *host, uint16_t port)
{
    struct ares_options options = {
        .timeout = TRY_MS, .tries = TRIES, .sock_state_cb = on_socket_state, .sock_state_cb_data = r
    };
    const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC,
                                               .ai_socktype = SOCK_STREAM,
                                               .ai_flags = ARES_AI_NUMERICSERV };
    char service[8];
    int rc = ares_init_options(&r->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);

    r->has_channel = rc == ARES_SUCCESS;
    if (rc != ARES_SUCCESS) {
        r->text = ares_strerror(rc);
        loop_defer(r->loop, &r->finishing);
        return;
    }
    snprintf(service, sizeof(service), "%u", port);
    ares_getaddrinfo(r->channel, host, service, &hints, on_answer, r);
    arm_timer(r);
}

struct resolve *resolve_begin(struct loop *loop, const char *host, uint16_t port, resolve_done done, void *data)
{
    struct resolve *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->loop = loop;
    r->done = done;
    r->data = data;
    r->finishing.callback = finish;
    loop_timer_init(&r->timer, on_timer);
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        r->sockets[i].resolve = r;
    if (is_number(r, host, port))
        loop_defer(loop, &r->finishing);
    else
        ask(r, host, port);
    return r;
}

void resolve_cancel(struct resolve *r)
{
    if (!r)
        return;
    loop_defer_cancel(r->loop, &r->finishing);
    r->done = NULL;
    if (r->has_channel)
        ares_destroy(r->channel); /* calls on_answer(), which queues the end */
    r->has_channel = false;
    loop_defer_cancel(r->loop, &r->finishing);
    loop_timer_stop(r->loop, &r->timer);
    free(r);
}
