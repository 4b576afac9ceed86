/* What a listener and a link take from peers that are nobody, broken, frozen or hostile. */
#include "link_fixture.h"

#include <signal.h>
#include <sys/wait.h>

static void dial_works(struct ends *e)
{
    ends_dial(e, "localhost", DIAL_H2);
    expect(e, &e->at_home, LINK_UP);
    expect(e, &e->at_edge, LINK_UP);
}

static int connect_raw(const struct ends *e)
{
    const struct sockaddr_in address = { .sin_family = AF_INET,
                                         .sin_port = htons(e->port),
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(set_nonblocking(fd), 0);
    return fd;
}

/* Whatever may still come is dropped: it has ended. */
static bool has_ended(void *data)
{
    const int *fd = data;
    char bytes[4096];
    ssize_t n;

    while ((n = recv(*fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        continue;
    return n == 0 || errno != EAGAIN;
}

static void garbage_ends_its_own_connection(void **state)
{
    static struct ends e;
    uint8_t bytes[2000];
    int fd;

    (void)state;
    ends_init(&e);
    for (int i = 0; i < 8; i++) {
        random_bytes(bytes, sizeof(bytes));
        if (i % 2)
            memcpy(bytes, "\x16\x03\x01\x02\x00\x01", 6); /* the beginning of a ClientHello */
        if (i == 2)
            memcpy(bytes, "GET / HTTP/1.1\r\n\r\n", 18);
        fd = connect_raw(&e);
        send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR); /* random bytes may promise a long record */
        assert_true(run_until(e.loop, has_ended, &fd, WAIT_MS));
        close(fd);
    }
    dial_works(&e);
    ends_fini(&e);
}

/* --- a TLS client that is not ours --- */

struct client {
    int fd;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int rc;
};

static bool has_shaken(void *data)
{
    struct client *c = data;

    c->rc = gnutls_handshake(c->session);
    return c->rc != GNUTLS_E_AGAIN && c->rc != GNUTLS_E_INTERRUPTED;
}

static void client_init(struct client *c, struct ends *e, const char *alpn)
{
    c->fd = connect_raw(e);
    gnutls_certificate_allocate_credentials(&c->credentials);
    gnutls_init(&c->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    gnutls_set_default_priority(c->session);
    gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, c->credentials);
    gnutls_transport_set_int(c->session, c->fd);
    if (alpn) {
        const gnutls_datum_t name = { (unsigned char *)(uintptr_t)alpn, (unsigned)strlen(alpn) };

        gnutls_alpn_set_protocols(c->session, &name, 1, 0);
    }
    assert_true(run_until(e->loop, has_shaken, c, WAIT_MS));
}

static void client_fini(struct client *c)
{
    gnutls_deinit(c->session);
    gnutls_certificate_free_credentials(c->credentials);
    close(c->fd);
}

static void tls_for_another_protocol_is_refused(void **state)
{
    static const char *const names[] = { NULL, "h2", "http/1.1", LINK_ALPN_QUIC };
    static struct ends e;
    struct client c;

    (void)state;
    ends_init(&e);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        client_init(&c, &e, names[i]);
        assert_true(run_until(e.loop, has_ended, &c.fd, WAIT_MS));
        client_fini(&c);
    }
    bermd_read(&e.at_edge);
    assert_int_equal(e.at_edge.count, 0); /* none of them was a link */
    dial_works(&e);
    ends_fini(&e);
}

/* --- floods inside of TLS --- */

struct flood {
    struct client c;
    struct bermd *edge;
    const char *frames;
    size_t size;
    struct heard down;
};

static bool is_thrown_out(void *data)
{
    struct flood *f = data;

    for (int i = 0; i < 50; i++)
        if (gnutls_record_send(f->c.session, f->frames, f->size) < 0)
            break;
    return bermd_take(f->edge, LINK_DOWN, &f->down);
}

/* Many frames that each want an answer, which is not read. */
static void flood_with(const char *frame, size_t frame_size)
{
    static const char settings[] = "\0\0\0\4\0\0\0\0\0";
    static char many[16000];
    static struct ends e;
    struct flood f = { .edge = &e.at_edge, .frames = many };

    ends_init(&e);
    client_init(&f.c, &e, LINK_ALPN_H2);
    assert_int_equal(f.c.rc, GNUTLS_E_SUCCESS);
    assert_int_equal(gnutls_record_send(f.c.session, settings, sizeof(settings) - 1), sizeof(settings) - 1);
    expect(&e, &e.at_edge, LINK_UP);
    while (f.size + frame_size <= sizeof(many)) {
        memcpy(many + f.size, frame, frame_size);
        f.size += frame_size;
    }
    assert_true(run_until(e.loop, is_thrown_out, &f, WAIT_MS));
    assert_int_equal(f.down.message.reason, LINK_PROTOCOL);
    client_fini(&f.c);
    ends_fini(&e);
}

static void floods_end_the_link(void **state)
{
    (void)state;
    flood_with("\0\0\10\6\0\0\0\0\0"
               "12345678",
               17);                      /* PING */
    flood_with("\0\0\0\4\0\0\0\0\0", 9); /* SETTINGS */
}

static void bytes_for_a_stream_that_is_none_end_the_link(void **state)
{
    (void)state;
    flood_with("\0\0\5\0\0\0\0\0\1hello", 14); /* DATA */
}

/* --- an edge of bytes --- */

struct raw_edge {
    struct client c;
    int listening;
};

static bool has_accepted(void *data)
{
    struct raw_edge *edge = data;

    edge->c.fd = accept4(edge->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return edge->c.fd >= 0;
}

/* The dialler's link is up; the edge is whatever sends to `edge->c`. */
static void raw_edge_init(struct raw_edge *edge, struct ends *e)
{
    static const char begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    const gnutls_datum_t name = { (unsigned char *)(uintptr_t)LINK_ALPN_H2, sizeof(LINK_ALPN_H2) - 1 };

    ends_init(e);
    edge->listening = listening_socket(&e->port);
    assert_int_equal(set_nonblocking(edge->listening), 0);
    ends_dial(e, "localhost", DIAL_H2);
    assert_true(run_until(e->loop, has_accepted, edge, WAIT_MS));
    gnutls_certificate_allocate_credentials(&edge->c.credentials);
    assert_int_equal(
        gnutls_certificate_set_x509_key_file(edge->c.credentials, e->certificate, e->key, GNUTLS_X509_FMT_PEM),
        GNUTLS_E_SUCCESS);
    gnutls_init(&edge->c.session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    gnutls_set_default_priority(edge->c.session);
    gnutls_credentials_set(edge->c.session, GNUTLS_CRD_CERTIFICATE, edge->c.credentials);
    gnutls_alpn_set_protocols(edge->c.session, &name, 1, 0);
    gnutls_transport_set_int(edge->c.session, edge->c.fd);
    assert_true(run_until(e->loop, has_shaken, &edge->c, WAIT_MS));
    assert_int_equal(edge->c.rc, GNUTLS_E_SUCCESS);
    assert_int_equal(gnutls_record_send(edge->c.session, begin, sizeof(begin) - 1), sizeof(begin) - 1);
    expect(e, &e->at_home, LINK_UP);
}

static void raw_edge_fini(struct raw_edge *edge, struct ends *e)
{
    client_fini(&edge->c);
    close(edge->listening);
    ends_fini(e);
}

#define BEGIN_AND_RESET 37
#define AT_ONCE         300

/* A stream, and in the same record that it is not wanted any more. */
static void put_begin_and_reset(char *to, uint32_t id)
{
    static const char frames[] = "\0\0\17\1\4....\2\7CONNECT\1\4berm"
                                 "\0\0\4\3\0....\0\0\0\10";
    const uint32_t number = htonl(id);

    memcpy(to, frames, BEGIN_AND_RESET);
    memcpy(to + 5, &number, 4);
    memcpy(to + 24 + 5, &number, 4);
}

struct resets {
    struct raw_edge edge;
    struct ends *e;
    uint32_t next, most; /* ids */
    char pending[AT_ONCE * BEGIN_AND_RESET];
    bool sending;
    struct heard down;
};

/* There is room for whatever else is heard. */
static void forget_streams(struct bermd *b)
{
    struct heard stream;

    while (bermd_take(b, LINK_STREAM, &stream))
        close_fd(&stream.fd);
}

static void read_away(struct raw_edge *edge)
{
    char bytes[4096];

    while (gnutls_record_recv(edge->c.session, bytes, sizeof(bytes)) > 0)
        continue;
}

static bool all_are_sent(void *data)
{
    struct resets *r = data;

    read_away(&r->edge);
    for (int i = 0; i < 20 && r->next < r->most; i++) {
        ssize_t n;

        if (!r->sending)
            for (uint32_t j = 0; j < AT_ONCE; j++)
                put_begin_and_reset(r->pending + (size_t)j * BEGIN_AND_RESET, r->next + 2 * j);
        n = r->sending ? gnutls_record_send(r->edge.c.session, NULL, 0)
                       : gnutls_record_send(r->edge.c.session, r->pending, sizeof(r->pending));
        r->sending = n == GNUTLS_E_AGAIN;
        if (n < 0)
            break;
        r->next += 2 * AT_ONCE;
    }
    return r->next >= r->most;
}

/* It is not about how fast this machine is: there are as many of them already as are forgiven, or nearly. */
static bool is_closed_for_it(void *data)
{
    struct resets *r = data;
    struct link *link = r->e->home.links;

    if (link)
        link->giving.resets_milli = MAX(link->giving.resets_milli, ((uint64_t)64 << 10) * 1000 - 1000);
    forget_streams(&r->e->at_home);
    all_are_sent(r);
    return bermd_take(&r->e->at_home, LINK_DOWN, &r->down);
}

/* 12,000 visitors may go away at once: the library's own limit (1,000) would end the link of all others. */
static void streams_that_are_taken_back_end_a_link_only_without_end(void **state)
{
    static struct resets r;
    static struct ends e;
    uint64_t began = clock_monotonic_ns();
    size_t given;

    (void)state;
    r = (struct resets){ .e = &e, .next = 1, .most = 2 * 12000 };
    raw_edge_init(&r.edge, &e);
    assert_true(run_until(e.loop, all_are_sent, &r, WAIT_MS));
    bermd_read(&e.at_home);
    given = e.at_home.count;
    assert_in_range(given, 1, LINK_STREAMS_MAX + (clock_monotonic_ns() - began) / 1000000 + 100);
    assert_false(bermd_take(&e.at_home, LINK_DOWN, &r.down));
    r.most = 2 * 10000000;
    assert_true(run_until(e.loop, is_closed_for_it, &r, WAIT_MS));
    assert_int_equal(r.down.message.reason, LINK_PROTOCOL);
    assert_in_range(r.next / 2, LINK_STREAMS_MAX, 10000000);
    raw_edge_fini(&r.edge, &e);
}

/* --- half-open connections --- */

#define MANY 1000

struct crowd {
    int fds[MANY];
    size_t open;
};

static bool few_are_left(void *data)
{
    struct crowd *crowd = data;

    for (size_t i = 0; i < MANY; i++)
        if (crowd->fds[i] >= 0 && has_ended(&crowd->fds[i])) {
            close_fd(&crowd->fds[i]);
            crowd->open--;
        }
    return crowd->open <= 16;
}

static void half_open_connections_are_bounded(void **state)
{
    static struct crowd crowd;
    static struct ends e;

    (void)state;
    ends_init(&e);
    for (crowd.open = 0; crowd.open < MANY; crowd.open++)
        crowd.fds[crowd.open] = connect_raw(&e);
    assert_true(run_until(e.loop, few_are_left, &crowd, WAIT_MS));
    assert_in_range(e.edge.handshakes, 1, 16);
    for (size_t i = 0; i < MANY; i++)
        close_fd(&crowd.fds[i]);
    dial_works(&e);
    ends_fini(&e);
}

/* --- silence --- */

/* A dialler in a process of its own, which can be stopped. */
static pid_t fork_home(struct ends *e)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    e->loop = loop_new();
    ends_dial(e, "localhost", DIAL_H2);
    loop_run(e->loop);
    _exit(0);
}

/* A peer that stands still and one that never begins: both cost no longer than they may. */
static void silence_ends_links_and_handshakes(void **state)
{
    static struct ends e;
    uint64_t began;
    pid_t home;
    int idle;

    (void)state;
    ends_init(&e);
    home = fork_home(&e);
    expect(&e, &e.at_edge, LINK_UP);
    idle = connect_raw(&e);
    kill(home, SIGSTOP);
    began = clock_monotonic_ns() / 1000000;
    assert_int_equal(expect(&e, &e.at_edge, LINK_DOWN).message.reason, LINK_LOST);
    assert_true(clock_monotonic_ns() / 1000000 - began >= (LINK_SILENT_MAX_MS - LINK_KEEP_ALIVE_MS) / 2);
    assert_true(run_until(e.loop, has_ended, &idle, WAIT_MS));
    assert_int_equal(e.edge.link_count, 0);
    close(idle);
    kill(home, SIGKILL);
    waitpid(home, NULL, 0);
    ends_fini(&e);
}

/* --- bermd --- */

static bool loop_has_stopped(void *data)
{
    const struct core *core = data;

    return core->misled;
}

static void a_bermd_that_says_what_it_may_not_is_left(void **state)
{
    static const uint16_t types[] = { 0, LINK_UP, LINK_STREAM, LINK_OPEN, 999 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        static struct ends e;

        ends_init(&e);
        tell(&e.at_edge, types[i], 1, -1); /* OPEN has no descriptor here */
        run_until(e.loop, loop_has_stopped, &e.edge, WAIT_MS);
        assert_true(e.edge.misled);
        ends_fini(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_ends_its_own_connection),
        cmocka_unit_test(tls_for_another_protocol_is_refused),
        cmocka_unit_test(floods_end_the_link),
        cmocka_unit_test(bytes_for_a_stream_that_is_none_end_the_link),
        cmocka_unit_test(streams_that_are_taken_back_end_a_link_only_without_end),
        cmocka_unit_test(half_open_connections_are_bounded),
        cmocka_unit_test(silence_ends_links_and_handshakes),
        cmocka_unit_test(a_bermd_that_says_what_it_may_not_is_left),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
