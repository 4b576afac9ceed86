/* QUIC links: what they carry, with both ends here and the real core between them and the test. */
#include "quic_fixture.h"

/* --- bytes that are checked --- */

struct flow {
    int from, to;
    uint64_t size, sent, got;
    bool bad, ended;
};

static void flow_send(struct flow *flow)
{
    char p[16384];
    size_t size = MIN(sizeof(p), flow->size - flow->sent);
    ssize_t n = 0;

    fill_pattern(p, size, flow->sent);
    if (size > 0)
        n = send(flow->from, p, size, MSG_NOSIGNAL);
    if (n <= 0)
        return;
    flow->sent += (uint64_t)n;
    if (flow->sent == flow->size)
        shutdown(flow->from, SHUT_WR);
}

static void flow_receive(struct flow *flow)
{
    char p[16384];
    ssize_t n = recv(flow->to, p, sizeof(p), 0);

    if (n > 0) {
        flow->bad |= !is_pattern((struct str){ p, (size_t)n }, flow->got);
        flow->got += (uint64_t)n;
    }
    flow->ended |= n == 0;
}

static bool flow_done(struct flow *flow)
{
    for (int i = 0; i < 8; i++) {
        flow_send(flow);
        flow_receive(flow);
    }
    return flow->ended;
}

static void assert_flow(struct flow *flow)
{
    WAIT_FOR(flow_done(flow));
    assert_false(flow->bad);
    assert_int_equal(flow->got, flow->size);
}

static bool reads(int fd, const char *text)
{
    char p[64];
    ssize_t n = recv(fd, p, sizeof(p), 0);

    return n == (ssize_t)strlen(text) && memcmp(p, text, (size_t)n) == 0;
}

static bool ended(int fd)
{
    char byte;

    return recv(fd, &byte, 1, 0) == 0;
}

/* Reset, or closed with nothing more: what a stream that was given up looks like. */
static bool gone(int fd)
{
    char p[4096];
    ssize_t n;

    while ((n = recv(fd, p, sizeof(p), 0)) > 0)
        ;
    return n == 0 || errno != EAGAIN;
}

static int setup_connected(void **state)
{
    setup(state);
    connect_ends(&listener_address);
    return 0;
}

static int setup_relayed(void **state)
{
    setup(state);
    relay_start();
    connect_ends(&relay.address);
    return 0;
}

static int teardown_relayed(void **state)
{
    relay_stop();
    return teardown(state);
}

/* --- tests --- */

static void test_each_end_learns_who_the_other_is(void **state)
{
    char text[LINK_TEXT];

    (void)state;
    link_address_print(&listener_address, text, sizeof(text));
    assert_string_equal(dialler.up.text, text);
    assert_int_equal(strncmp(listener.up.text, "127.0.0.1:", 10), 0);
    assert_int_equal(dialler.up.transport, LINK_QUIC);
    assert_int_equal(listener.up.transport, LINK_QUIC);
}

static void test_bytes_go_both_ways_and_each_way_ends_by_itself(void **state)
{
    int far, near = open_pair(&far);

    (void)state;
    assert_int_equal(write(near, "request", 7), 7);
    shutdown(near, SHUT_WR);
    WAIT_FOR(reads(far, "request"));
    WAIT_FOR(ended(far));
    assert_int_equal(write(far, "answer", 6), 6);
    WAIT_FOR(reads(near, "answer"));
    shutdown(far, SHUT_WR);
    WAIT_FOR(ended(near));
    close(near);
    close(far);
    WAIT_FOR(dialler.link->stream_count == 0 && listener.link->stream_count == 0);
    WAIT_FOR(dialler.core.bytes + listener.core.bytes == 0);
}

static void test_many_bytes_arrive_as_they_were(void **state)
{
    int far, near = open_pair(&far);
    struct flow down = { .from = near, .to = far, .size = 4 << 20 };
    struct flow up = { .from = far, .to = near, .size = 4 << 20 };

    (void)state;
    assert_flow(&down);
    assert_flow(&up);
    close(near);
    close(far);
}

static void test_a_thousand_streams_at_once(void **state)
{
    enum { COUNT = 1000 };
    static int near[COUNT];
    char byte;

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        near[i] = open_stream();
        assert_int_equal(write(near[i], &(char){ (char)i }, 1), 1);
        if (i % 32 == 0)
            turn();
    }
    WAIT_FOR(dialler.stream_count == COUNT);
    assert_int_equal(dialler.link->stream_count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        WAIT_FOR(read(dialler.streams[i], &byte, 1) == 1);
        assert_int_equal(write(dialler.streams[i], &byte, 1), 1);
        close_fd(&dialler.streams[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        WAIT_FOR(read(near[i], &byte, 1) == 1);
        assert_int_equal(byte, (char)i);
        close(near[i]);
    }
    WAIT_FOR(listener.link->stream_count == 0 && dialler.link->stream_count == 0);
    connect_ends(&listener_address); /* and nobody is worse for it */
}

/* One that does not read: it fills its own window and the sockets, and nothing else. */
static void test_a_reader_that_stops_holds_up_nobody_else(void **state)
{
    int slow_far, slow_near = open_pair(&slow_far), far, near = open_pair(&far);
    struct flow slow = { .from = slow_near, .to = slow_far, .size = (uint64_t)64 << 20 };
    struct flow quick = { .from = near, .to = far, .size = 4 << 20 };
    uint64_t before;

    (void)state;
    do {
        before = slow.sent;
        for (int i = 0; i < 200; i++) {
            flow_send(&slow);
            turn();
        }
    } while (slow.sent > before);
    assert_true(slow.sent < (uint64_t)8 << 20);
    assert_true(listener.core.bytes <= LINK_STREAM_WINDOW);
    assert_true(dialler.core.bytes <= LINK_STREAM_WINDOW);
    assert_flow(&quick);
    slow.size = slow.sent;
    shutdown(slow_near, SHUT_WR);
    assert_flow(&slow);
    close(slow_near), close(slow_far), close(near), close(far);
}

static void test_a_reset_ends_both_directions(void **state)
{
    int far, near = open_pair(&far);

    (void)state;
    /* Closed with something unread: bermd has given it up. */
    assert_int_equal(write(far, "unread", 6), 6);
    WAIT_FOR(recv(near, &(char){ 0 }, 1, MSG_PEEK) == 1);
    close(near);
    WAIT_FOR(gone(far));
    close(far);
    near = open_pair(&far);
    assert_int_equal(write(near, "unread", 6), 6);
    WAIT_FOR(recv(far, &(char){ 0 }, 1, MSG_PEEK) == 1);
    close(far);
    WAIT_FOR(gone(near));
    close(near);
    WAIT_FOR(listener.link->stream_count == 0 && dialler.link->stream_count == 0);
    WAIT_FOR(dialler.core.bytes + listener.core.bytes == 0);
}

/* The library sends bytes of a reset stream again when they were lost: they must still be there. */
static void test_a_reset_under_way_touches_no_freed_bytes(void **state)
{
    (void)state;
    relay.lose = 4;
    for (int i = 0; i < 20; i++) {
        int far, near = open_pair(&far);
        struct flow flow = { .from = i % 2 ? far : near, .to = i % 2 ? near : far, .size = 1 << 20 };

        while (flow.got < 100000) {
            flow_send(&flow);
            flow_receive(&flow);
            turn();
        }
        close(near);
        close(far);
    }
    relay.lose = 0;
    WAIT_FOR(listener.link->stream_count == 0 && dialler.link->stream_count == 0);
    WAIT_FOR(quic_link_of(listener.link)->held == 0 && quic_link_of(dialler.link)->held == 0);
    /* A stream rests with the library until the other side has acknowledged its end. */
    WAIT_FOR(list_empty(&quic_link_of(dialler.link)->streams) && list_empty(&quic_link_of(listener.link)->streams));
}

/* It has what it needs, while the other side goes on talking: that is told to stop, and this is no failure. */
static void test_who_has_read_enough_may_go(void **state)
{
    int far, near = open_pair(&far);
    struct flow flow = { .from = far, .to = near, .size = 64 << 20 };

    (void)state;
    shutdown(near, SHUT_WR);
    WAIT_FOR(ended(far));
    while (flow.got < 100000) {
        flow_send(&flow);
        flow_receive(&flow);
        turn();
    }
    close(near);
    WAIT_FOR((flow_send(&flow), send(far, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE));
    close(far);
    WAIT_FOR(listener.link->stream_count == 0 && dialler.link->stream_count == 0);
}

static void test_lost_packets_lose_no_bytes(void **state)
{
    int far, near = open_pair(&far);
    struct flow down = { .from = near, .to = far, .size = 1 << 20 };
    struct flow up = { .from = far, .to = near, .size = 1 << 20 };

    (void)state;
    relay.lose = 20;
    assert_flow(&down);
    assert_flow(&up);
    close(near);
    close(far);
}

static void test_a_link_follows_its_dialler_to_another_address(void **state)
{
    int far, near = open_pair(&far);
    struct flow down = { .from = near, .to = far, .size = 3 << 20 };
    struct flow up = { .from = far, .to = near, .size = 3 << 20 };

    (void)state;
    WAIT_FOR((flow_done(&down), down.got > 1 << 20));
    relay_rebind();
    assert_flow(&down);
    relay_rebind();
    assert_flow(&up);
    assert_int_equal(listener.downs + dialler.downs, 0);
    close(near);
    close(far);
}

static void test_draining_is_told_and_waits_for_what_is_open(void **state)
{
    int far, near = open_pair(&far);

    (void)state;
    tell(&dialler, LINK_DRAIN, dialler.up.link, -1);
    WAIT_FOR(listener.drainings == 1);
    assert_int_equal(write(far, "still", 5), 5);
    WAIT_FOR(reads(near, "still"));
    shutdown(near, SHUT_WR);
    shutdown(far, SHUT_WR);
    WAIT_FOR(ended(near) && ended(far));
    close(near);
    close(far);
    WAIT_FOR(listener.downs == 1);
    assert_int_equal(listener.reason, LINK_CLOSED);

    connect_ends(&listener_address);
    tell(&listener, LINK_DRAIN, listener.up.link, -1);
    WAIT_FOR(dialler.drainings == 1);
    WAIT_FOR(dialler.downs == 1);
    assert_int_equal(dialler.reason, LINK_CLOSED);
}

static void test_a_close_says_why(void **state)
{
    (void)state;
    tell(&listener, LINK_CLOSE, listener.up.link, -1);
    WAIT_FOR(dialler.downs == 1);
    assert_int_equal(dialler.reason, LINK_CLOSED);
    assert_string_equal(dialler.text, "closed by the far side");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CONNECTED(name) cmocka_unit_test_setup_teardown(name, setup_connected, teardown)
#define RELAYED(name)   cmocka_unit_test_setup_teardown(name, setup_relayed, teardown_relayed)
        CONNECTED(test_each_end_learns_who_the_other_is),
        CONNECTED(test_bytes_go_both_ways_and_each_way_ends_by_itself),
        CONNECTED(test_many_bytes_arrive_as_they_were),
        CONNECTED(test_a_thousand_streams_at_once),
        CONNECTED(test_a_reader_that_stops_holds_up_nobody_else),
        CONNECTED(test_a_reset_ends_both_directions),
        RELAYED(test_a_reset_under_way_touches_no_freed_bytes),
        CONNECTED(test_who_has_read_enough_may_go),
        RELAYED(test_lost_packets_lose_no_bytes),
        RELAYED(test_a_link_follows_its_dialler_to_another_address),
        CONNECTED(test_draining_is_told_and_waits_for_what_is_open),
        CONNECTED(test_a_close_says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
