/*
 * The bytes inside of a link's TLS: frames for either role of the HTTP/2 transport, the core and its streams, with
 * a bermd at the wire that answers what it is sent. TLS itself is GnuTLS's, and stands still here.
 */
#include "base/sys.h"
#include "link/core.h"
#include "link/stream.h"
#include "link/tls.h"

#include <sys/resource.h>

#define TURNS 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    struct loop *loop;
    int listening;
    struct link_address address;
    const uint8_t *input;
    size_t size;
    int turns;
    struct core core;
    struct link_table table;
    int wire;
    struct loop_timer timer;
} fuzz;

/* --- TLS that only passes on --- */

int tls_init(struct tls *tls, int fd, struct credentials *credentials, const char *host)
{
    (void)credentials, (void)host;
    *tls = (struct tls){ .fd = fd };
    buf_init(&tls->out, (size_t)1 << 20);
    return 0;
}

void tls_fini(struct tls *tls)
{
    buf_free(&tls->out);
    close_fd(&tls->fd);
}

int tls_handshake(struct tls *tls)
{
    (void)tls;
    return 1;
}

enum link_reason tls_failure(struct tls *tls, char *text, size_t text_size)
{
    (void)tls;
    snprintf(text, text_size, "none");
    return LINK_PROTOCOL;
}

void tls_bye(struct tls *tls)
{
    (void)tls;
}

/* Small and large records, as the input has it. */
ssize_t tls_recv(struct tls *tls, void *p, size_t n)
{
    (void)tls;
    if (fuzz.size == 0) {
        errno = EAGAIN;
        return -1;
    }
    n = MIN(MIN(n, fuzz.size), (size_t)fuzz.input[0] * 8 + 1);
    memcpy(p, fuzz.input, n);
    fuzz.input += n;
    fuzz.size -= n;
    return (ssize_t)n;
}

bool tls_pending(const struct tls *tls)
{
    (void)tls;
    return fuzz.size > 0;
}

int tls_put(struct tls *tls, const void *p, size_t n)
{
    return buf_append(&tls->out, p, n);
}

int tls_send(struct tls *tls)
{
    buf_clear(&tls->out);
    return 0;
}

/* --- bermd --- */

static void answer(void)
{
    struct link_message message;
    int fd = -EBADF;
    size_t fds;
    char bytes[256];

    while (recv_fds(fuzz.wire, &message, sizeof(message), &fd, 1, &fds) > 0) {
        if (fds == 1) {
            ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

            if (n > 0)
                send(fd, bytes, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
            close(fd);
        }
    }
}

static void open_one(uint32_t link)
{
    const struct link_message message = { .version = LINK_WIRE_VERSION, .type = LINK_OPEN, .link = link };
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return;
    send_fds(fuzz.wire, &message, sizeof(message), &ends[1], 1);
    close(ends[1]);
    send(ends[0], "hello", 5, MSG_NOSIGNAL);
    close(ends[0]);
}

static void on_turn(struct loop_timer *timer)
{
    answer();
    if (fuzz.turns == TURNS && fuzz.core.role->opens_streams)
        open_one(fuzz.core.table->last_number);
    if (fuzz.turns-- == 0)
        loop_stop(fuzz.loop);
    else
        loop_timer_start(fuzz.loop, timer, 0);
}

static const struct core_role dialling = { 0 }, listening = { .opens_streams = true };

static void set_up(void)
{
    fuzz.address.v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    fuzz.address.len = sizeof(fuzz.address.v4);
    fuzz.listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fuzz.listening, &fuzz.address.any, fuzz.address.len) < 0 || listen(fuzz.listening, 16) < 0 ||
        getsockname(fuzz.listening, &fuzz.address.any, &fuzz.address.len) < 0)
        abort();
    fuzz.loop = loop_new();
    loop_timer_init(&fuzz.timer, on_turn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool dials;
    int wires[2], peer;

    if (size == 0)
        return 0;
    if (!fuzz.loop)
        set_up();
    dials = data[0] & 1;
    fuzz.input = data + 1;
    fuzz.size = size - 1;
    fuzz.turns = TURNS;
    memset(&fuzz.table, 0, sizeof(fuzz.table));
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, wires) < 0)
        abort();
    fuzz.wire = wires[0];
    if (core_init(&fuzz.core, fuzz.loop, wires[1], &fuzz.table, dials ? &dialling : &listening) < 0)
        abort();
    if (dials) {
        const struct link_target target = { fuzz.address, "localhost", NULL };

        if (!h2_dial(&fuzz.core, &target))
            abort();
        peer = accept4(fuzz.listening, NULL, NULL, SOCK_CLOEXEC);
    } else {
        int ends[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0 ||
            !h2_accept(&fuzz.core, ends[0], &fuzz.address, NULL))
            abort();
        peer = ends[1];
        send(peer, "", 1, 0); /* something to read */
    }
    loop_timer_start(fuzz.loop, &fuzz.timer, 0);
    loop_run(fuzz.loop);
    core_fini(&fuzz.core);
    answer();
    if (fuzz.core.bytes != 0)
        abort();
    close(peer);
    close(wires[0]);
    return 0;
}
