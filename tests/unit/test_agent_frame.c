#include "agent/interpreter/channel.h"
#include "unit.h"

#include <fcntl.h>
#include <sys/socket.h>

static void test_a_frame_comes_out_as_it_went_in(void **state)
{
    struct buf buf;
    struct frame frame;

    (void)state;
    buf_init(&buf, 1024);
    assert_int_equal(frame_append(&buf, 'r', STR("{}")), 0);
    assert_int_equal(frame_append(&buf, 'd', STR("")), 0);
    assert_int_equal(frame_peek(&buf, &frame), FRAME_COMPLETE);
    assert_int_equal(frame.kind, 'r');
    assert_true(str_is(frame.payload, "{}"));
    buf_consume(&buf, frame.size);
    assert_int_equal(frame_peek(&buf, &frame), FRAME_COMPLETE);
    assert_int_equal(frame.kind, 'd');
    assert_int_equal(frame.payload.n, 0);
    buf_consume(&buf, frame.size);
    assert_int_equal(frame_peek(&buf, &frame), FRAME_INCOMPLETE);
    buf_free(&buf);
}

static void test_part_of_a_frame_is_none_yet(void **state)
{
    struct buf whole, part;
    struct frame frame;

    (void)state;
    buf_init(&whole, 64);
    buf_init(&part, 64);
    assert_int_equal(frame_append(&whole, 'r', STR("abc")), 0);
    for (size_t n = 0; n < whole.len; n++) {
        buf_clear(&part);
        assert_int_equal(buf_append(&part, buf_head(&whole), n), 0);
        assert_int_equal(frame_peek(&part, &frame), FRAME_INCOMPLETE);
    }
    buf_free(&whole);
    buf_free(&part);
}

static void test_lengths_that_no_frame_has_are_refused_before_the_frame_is_there(void **state)
{
    static const unsigned char heads[][4] = { { 0, 0, 0, 0 }, { 1, 0, 0, 2 }, { 255, 255, 255, 255 } };
    struct buf buf;
    struct frame frame;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        buf_init(&buf, 64);
        assert_int_equal(buf_append(&buf, heads[i], 4), 0);
        assert_int_equal(frame_peek(&buf, &frame), FRAME_BAD);
        buf_free(&buf);
    }
}

static void test_a_frame_that_does_not_fit_leaves_nothing_behind(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 6);
    assert_int_equal(frame_append(&buf, 'r', STR("abc")), -1);
    assert_int_equal(buf.len, 0);
    buf_free(&buf);
}

/* --- channels --- */

struct fixture {
    struct loop *loop;
    struct channel channel;
    int peer;
    char kinds[16];
    size_t count;
    bool closed;
    char close_at; /* the kind at which the taker closes the channel from inside */
    char pause_at;
    struct loop_timer timer;
};

static void on_frame(struct channel *channel, const struct frame *frame)
{
    struct fixture *f = container_of(channel, struct fixture, channel);

    f->kinds[f->count++] = frame->kind;
    if (frame->kind == f->close_at)
        channel_close(channel);
    if (frame->kind == f->pause_at)
        channel_pause(channel);
}

static void on_close(struct channel *channel)
{
    struct fixture *f = container_of(channel, struct fixture, channel);

    assert_false(f->closed);
    f->closed = true;
    loop_stop(f->loop);
}

static void on_timer(struct loop_timer *timer)
{
    loop_stop(container_of(timer, struct fixture, timer)->loop);
}

static void run_for(struct fixture *f, uint64_t ms)
{
    loop_timer_start(f->loop, &f->timer, ms);
    assert_int_equal(loop_run(f->loop), 0);
    loop_timer_stop(f->loop, &f->timer);
}

static void set_up(struct fixture *f)
{
    int pair[2];

    *f = (struct fixture){ .loop = loop_new(), .channel = { .on_frame = on_frame, .on_close = on_close } };
    loop_timer_init(&f->timer, on_timer);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    f->peer = pair[1];
    assert_int_equal(channel_open(&f->channel, f->loop, pair[0]), 0);
}

static void tear_down(struct fixture *f)
{
    channel_close(&f->channel);
    close_fd(&f->peer);
    loop_free(f->loop);
}

static void give(struct fixture *f, const void *p, size_t n)
{
    assert_int_equal(write(f->peer, p, n), n);
}

#define GIVE(f, literal) give(f, literal, sizeof(literal) - 1)

static void test_frames_before_the_end_are_delivered_before_the_end(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    GIVE(&f, "\1\0\0\0a\3\0\0\0b{}\1\0");
    close_fd(&f.peer);
    run_for(&f, 5000);
    assert_true(f.closed);
    assert_string_equal(f.kinds, "ab");
    tear_down(&f);
}

static void test_a_taker_may_close_the_channel_in_the_middle(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    f.close_at = 'b';
    GIVE(&f, "\1\0\0\0a\1\0\0\0b\1\0\0\0c");
    run_for(&f, 20);
    assert_string_equal(f.kinds, "ab");
    assert_false(f.closed);
    assert_int_equal(channel_send(&f.channel, 'x', STR("")), 0); /* into nothing */
    tear_down(&f);
}

static void test_a_paused_channel_delivers_nothing_and_loses_nothing(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    f.pause_at = 'a';
    GIVE(&f, "\1\0\0\0a\1\0\0\0b");
    run_for(&f, 20);
    assert_string_equal(f.kinds, "a");
    GIVE(&f, "\1\0\0\0c");
    close_fd(&f.peer);
    run_for(&f, 20);
    assert_string_equal(f.kinds, "a");
    assert_false(f.closed);
    channel_resume(&f.channel);
    run_for(&f, 5000);
    assert_string_equal(f.kinds, "abc");
    assert_true(f.closed);
    tear_down(&f);
}

static void test_a_frame_against_the_rules_closes_the_channel(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    GIVE(&f, "\1\0\0\0a\377\377\377\377b");
    run_for(&f, 5000);
    assert_true(f.closed);
    assert_string_equal(f.kinds, "a");
    assert_true(f.channel.fd < 0);
    tear_down(&f);
}

static void test_more_than_a_socket_takes_is_sent_bit_by_bit(void **state)
{
    struct fixture f;
    size_t size = (size_t)4 * 1024 * 1024, got = 0;
    char *text = calloc(1, size), *room = malloc(size);

    (void)state;
    set_up(&f);
    assert_non_null(text);
    assert_non_null(room);
    assert_int_equal(channel_send(&f.channel, 'S', (struct str){ text, size }), 0);
    assert_int_equal(fcntl(f.peer, F_SETFL, O_NONBLOCK), 0);
    while (got < size + 5) {
        ssize_t n = read(f.peer, room, size);
        if (n > 0)
            got += (size_t)n;
        else
            run_for(&f, 1);
    }
    assert_int_equal(got, size + 5);
    free(text);
    free(room);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_frame_comes_out_as_it_went_in),
        cmocka_unit_test(test_part_of_a_frame_is_none_yet),
        cmocka_unit_test(test_lengths_that_no_frame_has_are_refused_before_the_frame_is_there),
        cmocka_unit_test(test_a_frame_that_does_not_fit_leaves_nothing_behind),
        cmocka_unit_test(test_frames_before_the_end_are_delivered_before_the_end),
        cmocka_unit_test(test_a_taker_may_close_the_channel_in_the_middle),
        cmocka_unit_test(test_a_paused_channel_delivers_nothing_and_loses_nothing),
        cmocka_unit_test(test_a_frame_against_the_rules_closes_the_channel),
        cmocka_unit_test(test_more_than_a_socket_takes_is_sent_bit_by_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
