/*
 * dns_stub.c - answers a sandbox's questions: A and AAAA of names that its policy lets it know, with those of their
 * addresses that it might connect to. Other types are NOTIMP, names that the policy does not allow REFUSED.
 *
 * An exchange is a question over UDP, or a connection over TCP, which asks one question after the other.
 */
#include "daemon/egress/internal.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define EXCHANGES_MAX     64
#define DATAGRAMS_AT_ONCE 16
#define STREAM_IDLE_MS    10000
#define STAND_IN_TTL_S    60
#define STREAM_QUESTION   1024 /* longest question over TCP */

struct dns_exchange {
    struct egress *egress;
    struct list node;
    struct dns_question question;
    struct egress_lookup *lookup;
    bool is_stream;
    /* a datagram's */
    struct sockaddr_storage peer;
    socklen_t peer_size;
    char control[64] __attribute__((aligned(8))); /* where it was sent to: where the answer comes from */
    size_t control_size;
    /* a connection's */
    struct stream stream;
    struct loop_timer timer;
    struct buf in, out;
    bool busy; /* with a question */
};

static void stream_go_on(struct dns_exchange *x);

static struct dns_exchange *new_exchange(struct egress *egress)
{
    struct dns_exchange *x;

    if (egress->exchange_count >= EXCHANGES_MAX || !(x = calloc(1, sizeof(*x))))
        return NULL;
    x->egress = egress;
    list_append(&egress->exchanges, &x->node);
    egress->exchange_count++;
    return x;
}

static void end_exchange(struct dns_exchange *x)
{
    struct egress *egress = x->egress;

    egress->exchange_count--;
    list_remove(&x->node);
    egress_lookup_cancel(x->lookup);
    if (x->is_stream) {
        loop_timer_stop(egress->service->loop, &x->timer);
        stream_close(&x->stream, egress->service->loop);
        buf_free(&x->in);
        buf_free(&x->out);
    }
    free(x);
}

void dns_stub_end_all(struct egress *egress)
{
    while (!list_empty(&egress->exchanges))
        end_exchange(container_of(egress->exchanges.next, struct dns_exchange, node));
}

/* --- answers --- */

static void send_datagram(const struct dns_exchange *x, uint8_t *answer, size_t size)
{
    struct iovec iov = { answer, size };
    struct msghdr message = { .msg_name = (void *)(uintptr_t)&x->peer,
                              .msg_namelen = x->peer_size,
                              .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = (void *)(uintptr_t)x->control,
                              .msg_controllen = x->control_size };

    /* What does not go out is asked for again. */
    if (sendmsg(x->egress->udp_io.fd, &message, MSG_DONTWAIT) < 0)
        x->egress->service->totals.failed++;
}

/* A datagram's exchange is over then. */
static void answer(struct dns_exchange *x, int code, const struct dns_address *addresses, size_t count)
{
    uint8_t out[2 + DNS_MESSAGE_MAX];
    size_t max = x->is_stream ? DNS_MESSAGE_MAX : x->question.udp_size;
    size_t size = dns_write_answer(&x->question, code, addresses, count, out + 2, max);

    if (!x->is_stream) {
        send_datagram(x, out + 2, size);
        end_exchange(x);
        return;
    }
    out[0] = (uint8_t)(size >> 8);
    out[1] = (uint8_t)size;
    x->busy = false;
    if (buf_append(&x->out, out, size + 2) < 0)
        end_exchange(x);
    else
        stream_go_on(x);
}

static void refuse(struct dns_exchange *x, const char *reason)
{
    x->egress->counters.denied_questions++;
    x->egress->service->totals.denied_questions++;
    egress_log_denial(x->egress, "question", reason, x->question.name, NULL, 0);
}

/* A connection has to come about before it can be offered to the interceptor. */
static void answer_stand_in(struct dns_exchange *x)
{
    struct dns_address address = { .ttl = STAND_IN_TTL_S };

    ip_parse(STR(EGRESS_STAND_IN), &address.ip);
    answer(x, DNS_OK, &address, 1);
}

static void take_result(struct dns_exchange *x, const struct resolve_result *result)
{
    const struct egress_policy *policy = x->egress->policy;
    struct dns_address addresses[DNS_ADDRESSES_MAX];
    const char *reason = NULL;
    size_t count = 0;

    if ((result->outcome != RESOLVE_OK || result->count == 0) &&
        interceptor_wants_name(x->egress, x->question.name)) {
        answer_stand_in(x);
        return;
    }
    if (result->outcome != RESOLVE_OK) {
        answer(x, result->outcome == RESOLVE_NO_NAME ? DNS_NO_NAME : DNS_SERVER_FAILURE, NULL, 0);
        return;
    }
    for (size_t i = 0; i < result->count; i++) {
        const struct dns_address *address = &result->addresses[i];
        const char *out = egress_out_of_bounds(policy, &address->ip);

        if (!out && !dial_impossible(policy, &address->ip))
            addresses[count++] = *address;
        else if (out)
            reason = out;
    }
    if (count == 0 && reason)
        refuse(x, reason);
    answer(x, DNS_OK, addresses, count);
}

static void on_resolved(const struct resolve_result *result, void *data)
{
    struct dns_exchange *x = data;

    x->lookup = NULL;
    take_result(x, result);
}

/* --- questions --- */

static void look_up(struct dns_exchange *x)
{
    struct egress_resolver *resolver = x->egress->service->resolver;
    struct resolve_result result;

    if (egress_resolver_cached(resolver, x->question.name, x->question.type, &result)) {
        take_result(x, &result);
        return;
    }
    x->lookup = egress_resolver_ask(resolver, x->question.name, x->question.type, on_resolved, x);
    if (!x->lookup)
        answer(x, DNS_SERVER_FAILURE, NULL, 0);
}

/* Ends the exchange, now or later, or (a connection's) goes on with it. */
static void handle(struct dns_exchange *x, const uint8_t *p, size_t n)
{
    int code = dns_parse_question(p, n, &x->question);
    const char *reason;

    x->egress->counters.questions++;
    x->egress->service->totals.questions++;
    if (code < 0) {
        end_exchange(x);
        return;
    }
    if (code > 0) {
        answer(x, code, NULL, 0);
    } else if (x->question.name.n == 0) {
        answer(x, DNS_NO_NAME, NULL, 0);
    } else if (egress_check_question(x->egress->policy, x->question.name, &reason) == EGRESS_DENY &&
               interceptor_wants_name(x->egress, x->question.name)) {
        answer_stand_in(x);
    } else if (egress_check_question(x->egress->policy, x->question.name, &reason) == EGRESS_DENY) {
        refuse(x, reason);
        answer(x, DNS_REFUSED, NULL, 0);
    } else if (x->question.type != DNS_TYPE_A && x->question.type != DNS_TYPE_AAAA) {
        answer(x, DNS_NOT_IMPLEMENTED, NULL, 0);
    } else {
        look_up(x);
    }
}

/* --- datagrams --- */

/* Answers from where the question was sent to, whatever interface the kernel thinks of. */
static void keep_destination(struct dns_exchange *x, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        size_t size = c->cmsg_len;

        if (size > sizeof(x->control))
            continue;
        if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo *info = (void *)CMSG_DATA(c);
            info->ipi_spec_dst = info->ipi_addr;
            info->ipi_ifindex = 0;
        } else if (c->cmsg_level != SOL_IPV6 || c->cmsg_type != IPV6_PKTINFO) {
            continue;
        }
        memcpy(x->control, c, size);
        x->control_size = size;
    }
}

/* -1: there are no more. */
static int take_datagram(struct egress *egress)
{
    uint8_t question[DNS_UDP_MAX + 1];
    char control[256] __attribute__((aligned(8)));
    struct sockaddr_storage peer;
    struct iovec iov = { question, sizeof(question) };
    struct msghdr message = { .msg_name = &peer,
                              .msg_namelen = sizeof(peer),
                              .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = control,
                              .msg_controllen = sizeof(control) };
    ssize_t n = recvmsg(egress->udp_io.fd, &message, MSG_DONTWAIT);
    struct dns_exchange *x;

    if (n < 0)
        return errno == EINTR ? 0 : -1;
    if (n > DNS_UDP_MAX || !(x = new_exchange(egress)))
        return 0;
    x->peer = peer;
    x->peer_size = message.msg_namelen;
    keep_destination(x, &message);
    handle(x, question, (size_t)n);
    return 0;
}

void dns_stub_on_datagram(struct loop_io *io, uint32_t events)
{
    struct egress *egress = container_of(io, struct egress, udp_io);

    (void)events;
    for (int i = 0; i < DATAGRAMS_AT_ONCE; i++)
        if (take_datagram(egress) < 0)
            return;
}

/* --- connections --- */

static void on_stream(struct loop_io *io, uint32_t events);

static void on_stream_timer(struct loop_timer *timer)
{
    end_exchange(container_of(timer, struct dns_exchange, timer));
}

/* A whole question in the buffer: its size with the two bytes before it; 0: not yet; -1: too long. */
static ssize_t next_question(const struct dns_exchange *x)
{
    const uint8_t *p = (const uint8_t *)buf_head(&x->in);
    size_t size;

    if (x->in.len < 2)
        return 0;
    size = (size_t)p[0] << 8 | p[1];
    if (size > STREAM_QUESTION)
        return -1;
    return x->in.len < size + 2 ? 0 : (ssize_t)size + 2;
}

static void flush_stream(struct dns_exchange *x)
{
    while (x->out.len > 0) {
        size_t n = stream_write(&x->stream, buf_head(&x->out), x->out.len);

        if (n == 0)
            break;
        buf_consume(&x->out, n);
    }
}

/* A question in hand is answered before the next one is looked at, and its answer goes out before that. */
static void stream_go_on(struct dns_exchange *x)
{
    struct loop *loop = x->egress->service->loop;
    ssize_t size = 0;

    flush_stream(x);
    if (!x->busy && x->out.len == 0)
        size = next_question(x);
    if (x->stream.broken || size < 0 || (x->stream.ended && size == 0 && !x->busy && x->out.len == 0)) {
        end_exchange(x);
        return;
    }
    if (size > 0) {
        uint8_t question[STREAM_QUESTION + 2];

        memcpy(question, buf_head(&x->in), (size_t)size);
        buf_consume(&x->in, (size_t)size);
        x->busy = true;
        loop_timer_start(loop, &x->timer, STREAM_IDLE_MS);
        handle(x, question + 2, (size_t)size - 2);
        return;
    }
    loop_io_modify(loop, &x->stream.io, x->out.len ? EPOLLOUT : x->busy || x->stream.ended ? 0 : EPOLLIN);
}

static void on_stream(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);
    struct dns_exchange *x = container_of(stream, struct dns_exchange, stream);
    char *room;

    if (events & (EPOLLERR | EPOLLHUP)) {
        end_exchange(x);
        return;
    }
    room = events & EPOLLIN ? buf_reserve(&x->in, STREAM_QUESTION) : NULL;
    if (room)
        buf_commit(&x->in, stream_read(stream, room, STREAM_QUESTION));
    stream_go_on(x);
}

void dns_stub_start_stream(struct egress *egress, int fd)
{
    struct dns_exchange *x = new_exchange(egress);

    if (!x) {
        close(fd);
        return;
    }
    x->is_stream = true;
    x->stream.io.fd = fd;
    buf_init(&x->in, 2 * (STREAM_QUESTION + 2));
    buf_init(&x->out, 2 * (DNS_MESSAGE_MAX + 2));
    loop_timer_init(&x->timer, on_stream_timer);
    loop_timer_start(egress->service->loop, &x->timer, STREAM_IDLE_MS);
    if (loop_io_add(egress->service->loop, &x->stream.io, fd, EPOLLIN, on_stream) < 0)
        end_exchange(x);
}
