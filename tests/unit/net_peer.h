/*
 * net_peer.h - for tests of the server and the client: a loop that is turned by hand, and a peer of plain bytes.
 * Nothing sleeps: a test turns the loop until what it waits for has happened, or fails after a minute, which is
 * only long because sanitizers on a busy machine are slow.
 *
 * Where deadlines are tested, time stands still but for the turns (hand_clock.h): each is a millisecond, so that it
 * does not matter how long the machine takes for one.
 */
#pragma once

#include "unit.h"

#include "base/buf.h"
#include "base/loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#define WAIT_MAX_S 60

static struct loop *loop;
static uint64_t hand_ns; /* the time where a test makes it; else 0 */

static void stop_turn(struct loop_deferred *deferred)
{
    (void)deferred;
    loop_stop(loop);
}

/* Handles what is there and returns. */
static inline void turn(void)
{
    static struct loop_deferred stop = { .callback = stop_turn };

    if (hand_ns > 0)
        hand_ns += 1000000;
    loop_defer(loop, &stop);
    assert_int_equal(loop_run(loop), 0);
}

static inline time_t real_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Until `condition`, turning the loop. */
#define WAIT_FOR(condition)                                                                                        \
    do {                                                                                                           \
        time_t give_up = real_seconds() + WAIT_MAX_S;                                                              \
        while (!(condition)) {                                                                                     \
            turn();                                                                                                \
            if (real_seconds() > give_up)                                                                          \
                fail_msg("%s:%d: never: %s", __FILE__, __LINE__, #condition);                                      \
        }                                                                                                          \
    } while (0)

/* As many turns as anything that is under way can take. */
static inline void let_things_happen(void)
{
    for (int i = 0; i < 50; i++)
        turn();
}

static inline void let_time_pass(unsigned ms)
{
    uint64_t end = clock_monotonic_ns() + (uint64_t)ms * 1000000;

    while (clock_monotonic_ns() < end)
        turn();
}

struct peer {
    int fd;
    struct buf in;
    bool closed; /* the other side sends no more */
    bool reset;
};

static inline void peer_init(struct peer *peer, int fd)
{
    *peer = (struct peer){ .fd = fd };
    buf_init(&peer->in, (size_t)512 << 20);
}

/* Returns the other end; both do not block. */
static inline int peer_pair(struct peer *peer)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    peer_init(peer, fds[0]);
    return fds[1];
}

static inline void peer_close(struct peer *peer)
{
    close_fd(&peer->fd);
    buf_free(&peer->in);
}

/* Sends all of it, turning the loop while the other side is slow. */
static inline void peer_send(struct peer *peer, struct str s)
{
    while (s.n > 0) {
        ssize_t n = send(peer->fd, s.p, s.n, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            fail_msg("send: %s", strerror(errno));
        if (n > 0) {
            s.p += n;
            s.n -= (size_t)n;
        }
        turn();
    }
}

/* Takes at most `max` bytes of what has come: whether there was something. */
static inline bool peer_receive(struct peer *peer, size_t max)
{
    static char bytes[65536];
    ssize_t n = recv(peer->fd, bytes, MIN(max, sizeof(bytes)), 0);

    if (n > 0)
        assert_int_equal(buf_append(&peer->in, bytes, (size_t)n), 0);
    if (n == 0)
        peer->closed = true;
    if (n < 0 && errno != EAGAIN)
        peer->closed = peer->reset = true;
    return n > 0;
}

static inline bool peer_has(struct peer *peer, const char *text)
{
    while (peer_receive(peer, SIZE_MAX))
        ;
    return peer->in.len > 0 && memmem(peer->in.data + peer->in.start, peer->in.len, text, strlen(text));
}

static inline bool peer_sees_end(struct peer *peer)
{
    while (peer_receive(peer, SIZE_MAX))
        ;
    return peer->closed;
}

/* All bytes up to and including the next `text` are taken away and returned; good until the next call. */
static inline struct str peer_take(struct peer *peer, const char *text)
{
    static char *taken;
    char *at;
    size_t n;

    WAIT_FOR(peer_has(peer, text));
    at = memmem(peer->in.data + peer->in.start, peer->in.len, text, strlen(text));
    n = (size_t)(at - buf_head(&peer->in)) + strlen(text);
    free(taken);
    taken = malloc(n + 1);
    assert_non_null(taken);
    memcpy(taken, buf_head(&peer->in), n);
    taken[n] = '\0';
    buf_consume(&peer->in, n);
    return (struct str){ taken, n };
}

static inline bool contains(struct str s, const char *text)
{
    return memmem(s.p, s.n, text, strlen(text)) != NULL;
}

#define assert_contains(s, text)                                                                                   \
    do {                                                                                                           \
        struct str _s = (s);                                                                                       \
        if (!contains(_s, text))                                                                                   \
            fail_msg("no \"%s\" in \"%.*s\"", text, (int)MIN(_s.n, 2000u), _s.p);                                  \
    } while (0)

/* Deterministic bytes, so that a shifted or repeated part shows. */
static inline char pattern(uint64_t i)
{
    return (char)((i * 2654435761u) >> 13);
}

static inline void fill_pattern(char *p, size_t n, uint64_t from)
{
    for (size_t i = 0; i < n; i++)
        p[i] = pattern(from + i);
}

static inline bool is_pattern(struct str s, uint64_t from)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != pattern(from + i))
            return false;
    return true;
}
