#include "relay.h"

#include "base/sys.h"
#include "channel.h"
#include "pipe.h"
#include "scratch.h"

#define TURNS 8                   /* fills that one event may move: others wait meanwhile */
#define MUCH  ((ssize_t)64 << 10) /* a direction that brings as much at once has more, and is worth the pipe */

/* NOLINTNEXTLINE(misc-redundant-expression): two limits that happen to be equal */
_Static_assert(NET_SCRATCH <= RELAY_BUFFER && NET_PIPE <= RELAY_BUFFER, "what one turn brings must fit");

struct relay_side {
    struct loop_io io;
    struct relay *relay;
    struct channel *channel; /* NULL: the socket itself */
    struct buf out;          /* for this socket, not written yet */
    uint64_t written;        /* to this socket */
    bool bulk;               /* it brought much the last time */
    bool ended;              /* it sends no more */
    bool shut;               /* it knows that nothing more comes */
    bool broken;             /* neither matters any more */
};

struct relay {
    struct loop *loop;
    struct relay_side sides[2];
    void (*on_end)(void *data);
    void *data;
    uint32_t linger_ms;   /* 0: for ever */
    uint64_t lingered_at; /* bytes written when the timer was started */
    struct loop_timer timer;
};

static void on_io(struct loop_io *io, uint32_t events);

static struct relay_side *other(struct relay_side *side)
{
    return &side->relay->sides[side == &side->relay->sides[0]];
}

void relay_free(struct relay *relay)
{
    if (!relay)
        return;
    loop_timer_stop(relay->loop, &relay->timer);
    for (size_t i = 0; i < ARRAY_SIZE(relay->sides); i++) {
        struct relay_side *side = &relay->sides[i];
        int fd = side->io.fd;

        loop_io_remove(relay->loop, &side->io);
        channel_free(side->channel);
        close_fd(&fd);
        buf_free(&side->out);
    }
    free(relay);
}

/* Nothing goes to or comes from it any more. What it sent before may still have to be delivered. */
static void fail(struct relay_side *side)
{
    side->broken = side->ended = side->shut = true;
    buf_free(&side->out);
}

static ssize_t send_some(struct relay_side *side, struct str bytes)
{
    struct iovec part = { (void *)(uintptr_t)bytes.p, bytes.n };

    return side->channel ? side->channel->ops->send(side->channel, &part, 1)
                         : send(side->io.fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t recv_some(struct relay_side *side)
{
    return side->channel ? side->channel->ops->recv(side->channel, net_scratch, NET_SCRATCH)
                         : recv(side->io.fd, net_scratch, NET_SCRATCH, MSG_DONTWAIT);
}

/* How much the socket takes now. */
static size_t put(struct relay_side *side, struct str bytes)
{
    size_t done = 0;

    while (done < bytes.n) {
        ssize_t n = send_some(side, (struct str){ bytes.p + done, bytes.n - done });

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            fail(side);
        if (n < 0)
            break;
        done += (size_t)n;
    }
    side->written += done;
    return done;
}

static void flush(struct relay_side *side)
{
    if (side->out.len == 0)
        return;
    size_t done = put(side, buf_str(&side->out));

    if (!side->broken)
        buf_consume(&side->out, done);
    buf_release_if_empty(&side->out);
}

static void pass(struct relay_side *to, struct str bytes)
{
    size_t done = put(to, bytes);

    if (!to->broken && buf_append(&to->out, bytes.p + done, bytes.n - done) < 0)
        fail(to);
}

/* Of the pipe's `n` bytes, those that the socket does not take wait in its buffer. */
static void pour(struct relay_side *to, size_t n)
{
    size_t done = net_pipe_pour(n, to->io.fd);
    bool full = done < n && errno == EAGAIN;
    char *room = full ? buf_reserve(&to->out, n - done) : NULL;

    to->written += done;
    if (done == n)
        return;
    if (room && net_pipe_read(room, n - done) == 0) {
        buf_commit(&to->out, n - done);
        return;
    }
    net_pipe_drop();
    fail(to);
}

/* As recv(2), but what has come is with the peer already. Where it is much, and nothing between, it is not copied.
 */
static ssize_t move(struct relay_side *from, struct relay_side *to)
{
    bool by_pipe = from->bulk && !from->channel && !to->channel;
    ssize_t n = by_pipe ? net_pipe_fill(from->io.fd, NET_PIPE) : -1;

    if (n > 0)
        pour(to, (size_t)n);
    if (!by_pipe || (n < 0 && errno == ENOTSUP)) {
        n = RETRY_EINTR(recv_some(from));
        if (n > 0)
            pass(to, (struct str){ net_scratch, (size_t)n });
    }
    if (n >= 0) /* else nothing is known about what will come */
        from->bulk = n >= MUCH;
    return n;
}

/* Moves what `from` has sent, as long as its peer takes it. */
static void pull(struct relay_side *from)
{
    struct relay_side *to = other(from);

    for (int i = 0; i < TURNS && !from->ended && !to->broken && to->out.len == 0; i++) {
        ssize_t n = move(from, to);

        if (n < 0 && errno != EAGAIN)
            fail(from);
        else if (n == 0)
            from->ended = true;
        if (n < MUCH)
            return;
    }
}

/* One that waits for nothing is taken out: hang-ups are reported whatever one asks for, again and again. */
static int watch(struct relay_side *side, uint32_t events)
{
    struct loop *loop = side->relay->loop;

    if (events == 0) {
        loop_io_remove(loop, &side->io);
        return 0;
    }
    return loop_io_active(&side->io) ? loop_io_modify(loop, &side->io, events)
                                     : loop_io_add(loop, &side->io, side->io.fd, events, on_io);
}

static uint64_t written(const struct relay *relay)
{
    return relay->sides[0].written + relay->sides[1].written;
}

static int linger(struct relay *relay)
{
    bool ended = relay->sides[0].ended || relay->sides[1].ended;

    if (relay->linger_ms == 0 || !ended || loop_timer_armed(&relay->timer))
        return 0;
    relay->lingered_at = written(relay);
    return loop_timer_start(relay->loop, &relay->timer, relay->linger_ms);
}

/* Passes ends on and waits for the right events. True: there is nothing left to do. */
static bool settle(struct relay *relay)
{
    bool over = true;

    for (size_t i = 0; i < ARRAY_SIZE(relay->sides); i++) {
        struct relay_side *side = &relay->sides[i], *peer = other(side);
        uint32_t events = side->out.len > 0 ? EPOLLOUT : 0;

        if (peer->ended && side->out.len == 0 && !side->shut) {
            if (side->channel)
                side->channel->ops->end(side->channel);
            shutdown(side->io.fd, SHUT_WR);
            side->shut = true;
        }
        if (!side->ended && !peer->broken && peer->out.len == 0)
            events |= EPOLLIN;
        over &= side->shut;
        if (watch(side, events) < 0)
            return true;
    }
    return over || (relay->sides[0].broken && relay->sides[1].broken) || linger(relay) < 0;
}

static void end(struct relay *relay)
{
    if (relay->on_end)
        relay->on_end(relay->data);
    relay_free(relay);
}

static void on_timer(struct loop_timer *timer)
{
    struct relay *relay = container_of(timer, struct relay, timer);

    if (written(relay) == relay->lingered_at || linger(relay) < 0)
        end(relay);
}

static void on_io(struct loop_io *io, uint32_t events)
{
    struct relay_side *side = container_of(io, struct relay_side, io);
    struct relay *relay = side->relay;

    (void)events; /* errors show in what the calls return, after the bytes that came before them */
    flush(side);
    pull(other(side));
    pull(side);
    if (settle(relay))
        end(relay);
}

struct relay *relay_start(struct loop *loop, int a, int b, struct str to_b, void (*on_end)(void *data), void *data)
{
    struct relay *relay = calloc(1, sizeof(*relay));
    int fds[] = { a, b };

    if (!relay) {
        close(a);
        close(b);
        errno = ENOMEM;
        return NULL;
    }
    relay->loop = loop;
    relay->on_end = on_end;
    relay->data = data;
    loop_timer_init(&relay->timer, on_timer);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        relay->sides[i].relay = relay;
        relay->sides[i].io.fd = fds[i];
        buf_init(&relay->sides[i].out, RELAY_BUFFER);
    }
    /* An end or an error is left for the loop to report. */
    if (buf_append_str(&relay->sides[1].out, to_b) == 0 &&
        loop_io_add(loop, &relay->sides[0].io, a, to_b.n ? 0 : EPOLLIN, on_io) == 0 &&
        loop_io_add(loop, &relay->sides[1].io, b, EPOLLIN | (to_b.n ? EPOLLOUT : 0), on_io) == 0)
        return relay;
    relay_free(relay);
    return NULL;
}

struct relay *relay_start_channel(struct loop *loop, int a, struct channel *channel, int b,
                                  void (*on_end)(void *data), void *data)
{
    struct relay *relay = relay_start(loop, a, b, STR(""), on_end, data);

    if (relay)
        relay->sides[0].channel = channel;
    else
        channel_free(channel);
    return relay;
}

int relay_give_a(struct relay *relay, struct str to_a)
{
    struct relay_side *a = &relay->sides[0];

    if (to_a.n == 0)
        return 0;
    if (buf_append_str(&a->out, to_a) < 0)
        return -1;
    if (watch(&relay->sides[1], relay->sides[1].out.len > 0 ? EPOLLOUT : 0) < 0)
        return -1;
    return watch(a, EPOLLOUT | (relay->sides[1].out.len > 0 ? 0 : EPOLLIN));
}

void relay_set_linger(struct relay *relay, uint32_t ms)
{
    relay->linger_ms = ms;
}

void relay_counts(const struct relay *relay, uint64_t *ret_to_b, uint64_t *ret_to_a)
{
    *ret_to_b = relay->sides[1].written;
    *ret_to_a = relay->sides[0].written;
}
