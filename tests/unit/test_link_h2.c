/* Links over HTTP/2, both ends in one process. */
#include "link_fixture.h"

struct pair {
    struct ends e;
    uint32_t edge_link, home_link;
};

/* One stream: bermd's end at the edge and at home. */
struct ways {
    int edge, home;
};

static void connect_pair(struct pair *p)
{
    struct heard up;

    ends_init(&p->e);
    ends_dial(&p->e, "localhost", DIAL_H2);
    up = expect(&p->e, &p->e.at_home, LINK_UP);
    assert_int_equal(up.message.transport, LINK_H2);
    p->home_link = up.message.link;
    up = expect(&p->e, &p->e.at_edge, LINK_UP);
    assert_non_null(strstr(up.message.text, "127.0.0.1:"));
    p->edge_link = up.message.link;
}

static struct ways open_way(struct pair *p)
{
    int ends[2];
    struct heard stream;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    tell(&p->e.at_edge, LINK_OPEN, p->edge_link, ends[1]);
    close(ends[1]);
    stream = expect(&p->e, &p->e.at_home, LINK_STREAM);
    assert_int_equal(stream.message.link, p->home_link);
    return (struct ways){ ends[0], stream.fd };
}

static void close_way(struct ways *w)
{
    close_fd(&w->edge);
    close_fd(&w->home);
}

/* --- waiting for bytes --- */

struct reading {
    int fd;
    char bytes[4096];
    size_t count, want; /* want 0: the end */
    bool ended, failed;
};

static bool have_read(void *data)
{
    struct reading *r = data;
    ssize_t n;

    while ((n = recv(r->fd, r->bytes + r->count, sizeof(r->bytes) - r->count, MSG_DONTWAIT)) > 0)
        r->count += (size_t)n;
    r->ended |= n == 0;
    r->failed |= n < 0 && errno != EAGAIN;
    return r->ended || r->failed || (r->want > 0 && r->count >= r->want);
}

static void expect_bytes(struct pair *p, int fd, const char *want)
{
    struct reading r = { .fd = fd, .want = strlen(want) };

    assert_true(run_until(p->e.loop, have_read, &r, WAIT_MS));
    assert_str((struct str){ r.bytes, r.count }, str_from(want));
}

/* Nothing more to read, then the end. */
static void expect_end(struct pair *p, int fd)
{
    struct reading r = { .fd = fd };

    assert_true(run_until(p->e.loop, have_read, &r, WAIT_MS));
    assert_true(r.ended);
    assert_int_equal(r.count, 0);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static bool no_streams(void *data)
{
    struct pair *p = data;

    return (!p->e.edge.links || p->e.edge.links->stream_count == 0) &&
           (!p->e.home.links || p->e.home.links->stream_count == 0);
}

static void end_pair(struct pair *p)
{
    assert_true(run_until(p->e.loop, no_streams, p, WAIT_MS));
    assert_int_equal(p->e.edge.bytes, 0);
    assert_int_equal(p->e.home.bytes, 0);
    ends_fini(&p->e);
}

/* --- tests --- */

static void bytes_pass_both_ways_and_each_way_ends_by_itself(void **state)
{
    static struct pair p;
    struct ways w;

    (void)state;
    connect_pair(&p);
    w = open_way(&p);
    say(w.edge, "request");
    shutdown(w.edge, SHUT_WR);
    expect_bytes(&p, w.home, "request");
    expect_end(&p, w.home);
    say(w.home, "answer");
    expect_bytes(&p, w.edge, "answer");
    say(w.home, " and more");
    close_fd(&w.home);
    expect_bytes(&p, w.edge, " and more");
    expect_end(&p, w.edge);
    close_way(&w);
    end_pair(&p);
}

static void what_is_written_before_a_close_arrives(void **state)
{
    static struct pair p;
    struct ways w;

    (void)state;
    connect_pair(&p);
    w = open_way(&p);
    say(w.home, "early answer");
    close_fd(&w.home);
    expect_bytes(&p, w.edge, "early answer");
    expect_end(&p, w.edge);
    close_way(&w);
    end_pair(&p);
}

static void a_client_that_goes_ends_the_stream_at_home(void **state)
{
    static struct pair p;
    struct ways w;

    (void)state;
    connect_pair(&p);
    w = open_way(&p);
    say(w.home, "event");
    expect_bytes(&p, w.edge, "event");
    close_fd(&w.edge);
    expect_end(&p, w.home);
    close_way(&w);
    end_pair(&p);
}

/* --- much --- */

#define MUCH ((size_t)24 << 20)

struct pouring {
    int from, to;
    size_t sent, got;
    uint64_t sent_sum, got_sum;
    bool held; /* nobody reads */
};

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 2654435761u >> 13);
}

static void pour_in(struct pouring *w)
{
    static uint8_t part[65536];

    while (w->sent < MUCH) {
        size_t want = MIN(sizeof(part), MUCH - w->sent);
        ssize_t n;

        for (size_t i = 0; i < want; i++)
            part[i] = byte_at(w->sent + i);
        n = send(w->from, part, want, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0)
            return;
        w->sent += (size_t)n;
        if (w->sent == MUCH)
            shutdown(w->from, SHUT_WR);
    }
}

static bool poured(void *data)
{
    static uint8_t part[65536];
    struct pouring *w = data;
    ssize_t n;

    pour_in(w);
    while (!w->held && (n = recv(w->to, part, sizeof(part), MSG_DONTWAIT)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(part[i], byte_at(w->got + (size_t)i));
        w->got += (size_t)n;
    }
    return w->got == MUCH;
}

static void a_large_body_arrives_whole(void **state)
{
    static struct pair p;
    struct ways w;

    (void)state;
    connect_pair(&p);
    w = open_way(&p);
    for (int way = 0; way < 2; way++) {
        struct pouring pouring = { .from = way ? w.home : w.edge, .to = way ? w.edge : w.home };

        assert_true(run_until(p.e.loop, poured, &pouring, WAIT_MS));
    }
    close_way(&w);
    end_pair(&p);
}

/* What a reader does not take is held up to the window, the writer is stopped, and others go on. */
static void a_reader_that_does_not_read_stalls_its_stream_only(void **state)
{
    static struct pair p;
    struct pouring pouring;
    struct ways slow, quick;
    size_t before;

    (void)state;
    connect_pair(&p);
    slow = open_way(&p);
    quick = open_way(&p);
    pouring = (struct pouring){ .from = slow.edge, .to = slow.home, .held = true };
    do {
        before = pouring.sent;
        run_until(p.e.loop, poured, &pouring, 100);
    } while (pouring.sent > before);
    assert_true(pouring.sent < MUCH / 2);
    assert_true(p.e.home.bytes <= LINK_STREAM_WINDOW);
    assert_true(p.e.edge.bytes <= LINK_STREAM_WINDOW);
    say(quick.edge, "ping");
    expect_bytes(&p, quick.home, "ping");
    pouring.held = false;
    assert_true(run_until(p.e.loop, poured, &pouring, WAIT_MS));
    close_way(&slow);
    close_way(&quick);
    end_pair(&p);
}

static void a_thousand_streams_at_once(void **state)
{
    static struct ways w[1000];
    static struct pair p;
    char text[32];

    (void)state;
    connect_pair(&p);
    for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
        w[i] = open_way(&p);
        snprintf(text, sizeof(text), "n %zu", i);
        say(w[i].edge, text);
    }
    for (size_t i = ARRAY_SIZE(w); i-- > 0;) {
        snprintf(text, sizeof(text), "n %zu", i);
        expect_bytes(&p, w[i].home, text);
        say(w[i].home, text);
    }
    for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
        snprintf(text, sizeof(text), "n %zu", i);
        expect_bytes(&p, w[i].edge, text);
        close_way(&w[i]);
    }
    end_pair(&p);
}

/* --- ends of links --- */

/* The end of a link. One without a number is a try of the dialler's that failed: whoever is drained looks for a
 * successor meanwhile. */
static struct heard expect_down(struct pair *p, struct bermd *b)
{
    struct heard down;

    do
        down = expect(&p->e, b, LINK_DOWN);
    while (down.message.link == 0);
    return down;
}

static void a_link_drains_from_either_side(void **state)
{
    for (int side = 0; side < 2; side++) {
        static struct pair p;
        struct bermd *here, *there;
        struct heard down;
        struct ways w;

        (void)state;
        connect_pair(&p);
        here = side ? &p.e.at_home : &p.e.at_edge;
        there = side ? &p.e.at_edge : &p.e.at_home;
        w = open_way(&p);
        tell(here, LINK_DRAIN, 0, -1);
        expect(&p.e, there, LINK_DRAINING);
        say(w.edge, "still");
        expect_bytes(&p, w.home, "still");
        close_way(&w);
        down = expect_down(&p, here);
        assert_int_equal(down.message.reason, LINK_CLOSED);
        down = expect_down(&p, there);
        assert_int_equal(down.message.reason, LINK_CLOSED);
        end_pair(&p);
    }
}

static void a_link_that_was_closed_is_dialled_again_under_a_new_number(void **state)
{
    static struct pair p;
    struct heard heard;
    struct ways w;

    (void)state;
    connect_pair(&p);
    w = open_way(&p);
    tell(&p.e.at_edge, LINK_CLOSE, p.edge_link, -1);
    heard = expect(&p.e, &p.e.at_home, LINK_DOWN);
    assert_int_equal(heard.message.link, p.home_link);
    assert_int_equal(heard.message.reason, LINK_CLOSED);
    assert_in_range(heard.message.retry_ms, 50, 100);
    expect_end(&p, w.home);
    expect_end(&p, w.edge);
    close_way(&w);
    heard = expect(&p.e, &p.e.at_home, LINK_UP);
    assert_int_not_equal(heard.message.link, p.home_link);
    end_pair(&p);
}

/* --- who is trusted --- */

static void refused_as(const char *name, int valid_s, const char *host)
{
    static struct pair p;
    struct berm_error err;
    struct heard down;
    char prefix[96];

    ends_init(&p.e);
    snprintf(prefix, sizeof(prefix), "%s/edge", p.e.dir);
    authority_issue(&p.e.ca, name, valid_s, prefix);
    assert_int_equal(listener_reload(p.e.listener, &err), 0);
    ends_dial(&p.e, host, DIAL_H2);
    down = expect(&p.e, &p.e.at_home, LINK_DOWN);
    assert_int_equal(down.message.link, 0);
    assert_int_equal(down.message.reason, LINK_UNTRUSTED);
    assert_true(down.message.text[0] != '\0');
    end_pair(&p);
}

static void a_certificate_of_another_name_is_not_trusted(void **state)
{
    (void)state;
    refused_as("edge.example.org", 3600, "localhost");
    refused_as("localhost", 3600, "127.0.0.1");
}

static void an_expired_certificate_is_not_trusted(void **state)
{
    (void)state;
    refused_as("localhost", -3600, "localhost");
}

static void a_certificate_of_another_authority_is_not_trusted(void **state)
{
    static struct pair p;
    struct authority other;
    struct berm_error err;
    struct heard down;
    char prefix[96];

    (void)state;
    ends_init(&p.e);
    snprintf(prefix, sizeof(prefix), "%s/other", p.e.dir);
    authority_new(&other, prefix);
    unlink(prefix);
    snprintf(prefix, sizeof(prefix), "%s/edge", p.e.dir);
    authority_issue(&other, "localhost", 3600, prefix);
    authority_free(&other);
    assert_int_equal(listener_reload(p.e.listener, &err), 0);
    ends_dial(&p.e, "localhost", DIAL_H2);
    down = expect(&p.e, &p.e.at_home, LINK_DOWN);
    assert_int_equal(down.message.reason, LINK_UNTRUSTED);
    end_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_pass_both_ways_and_each_way_ends_by_itself),
        cmocka_unit_test(what_is_written_before_a_close_arrives),
        cmocka_unit_test(a_client_that_goes_ends_the_stream_at_home),
        cmocka_unit_test(a_large_body_arrives_whole),
        cmocka_unit_test(a_reader_that_does_not_read_stalls_its_stream_only),
        cmocka_unit_test(a_thousand_streams_at_once),
        cmocka_unit_test(a_link_drains_from_either_side),
        cmocka_unit_test(a_link_that_was_closed_is_dialled_again_under_a_new_number),
        cmocka_unit_test(a_certificate_of_another_name_is_not_trusted),
        cmocka_unit_test(an_expired_certificate_is_not_trusted),
        cmocka_unit_test(a_certificate_of_another_authority_is_not_trusted),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
