/* relay: bytes both ways, half-closed connections, back-pressure, broken ends. */
#include "net/relay.h"

#include "base/sys.h"
#include "unit.h"

#include <time.h>

static uint64_t hand_ns; /* time stands still but in run_for() */

#include "hand_clock.h"

struct fixture {
    struct loop *loop;
    struct relay *relay;
    int a, b; /* our ends */
    unsigned ended;
};

static void on_end(void *data)
{
    struct fixture *f = data;

    f->relay = NULL;
    f->ended++;
}

struct turn {
    struct loop_deferred deferred;
    struct loop_timer timer;
    struct loop *loop;
};

static void stop_now(struct loop_deferred *deferred)
{
    loop_stop(container_of(deferred, struct turn, deferred)->loop);
}

/* As many turns as anything that is under way can take. */
static void settle(struct fixture *f)
{
    struct turn turn = { .deferred.callback = stop_now, .loop = f->loop };

    for (int i = 0; i < 100; i++) {
        loop_defer(f->loop, &turn.deferred);
        assert_int_equal(loop_run(f->loop), 0);
    }
}

static void run_for(struct fixture *f, uint64_t ms)
{
    hand_ns += ms * 1000000;
    settle(f);
}

static void stop_at(struct loop_timer *timer)
{
    loop_stop(container_of(timer, struct turn, timer)->loop);
}

static void wait_for_ms(struct fixture *f, uint64_t ms)
{
    struct turn turn = { .loop = f->loop };

    loop_timer_init(&turn.timer, stop_at);
    loop_timer_start(f->loop, &turn.timer, ms);
    assert_int_equal(loop_run(f->loop), 0);
}

static int make_pair(int ret[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret);
}

static void set_up(struct fixture *f, struct str first)
{
    int a[2], b[2];

    clock_by_hand();
    *f = (struct fixture){ .loop = loop_new() };
    assert_non_null(f->loop);
    assert_int_equal(make_pair(a), 0);
    assert_int_equal(make_pair(b), 0);
    f->a = a[0];
    f->b = b[0];
    f->relay = relay_start(f->loop, a[1], b[1], first, on_end, f);
    assert_non_null(f->relay);
}

static void tear_down(struct fixture *f)
{
    relay_free(f->relay);
    close_fd(&f->a);
    close_fd(&f->b);
    loop_free(f->loop);
}

static void expect(int fd, const char *text)
{
    char got[64] = "";

    assert_int_equal(read(fd, got, sizeof(got)), strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void passes_bytes_both_ways_and_the_first_ones_first(void **state)
{
    struct fixture f;
    uint64_t to_b, to_a;

    (void)state;
    set_up(&f, STR("early "));
    assert_int_equal(write(f.a, "ping", 4), 4);
    assert_int_equal(write(f.b, "pong", 4), 4);
    settle(&f);
    expect(f.b, "early ping");
    expect(f.a, "pong");
    relay_counts(f.relay, &to_b, &to_a);
    assert_int_equal(to_b, 10);
    assert_int_equal(to_a, 4);
    tear_down(&f);
}

static void an_end_is_passed_on_while_the_other_way_stays_open(void **state)
{
    struct fixture f;
    char c;

    (void)state;
    set_up(&f, STR(""));
    assert_int_equal(write(f.a, "question", 8), 8);
    assert_int_equal(shutdown(f.a, SHUT_WR), 0);
    settle(&f);
    expect(f.b, "question");
    assert_int_equal(read(f.b, &c, 1), 0);
    assert_int_equal(f.ended, 0);
    assert_int_equal(write(f.b, "answer", 6), 6);
    close_fd(&f.b);
    settle(&f);
    expect(f.a, "answer");
    assert_int_equal(read(f.a, &c, 1), 0);
    assert_int_equal(f.ended, 1);
    tear_down(&f);
}

static size_t fill(int fd)
{
    static const char block[4096];
    size_t total = 0;
    ssize_t n;

    while ((n = write(fd, block, sizeof(block))) > 0)
        total += (size_t)n;
    return total;
}

static void a_peer_that_does_not_read_stops_the_one_that_writes(void **state)
{
    struct fixture f;
    size_t sent = 0, last;
    char drop[65536];
    size_t received = 0;

    (void)state;
    set_up(&f, STR(""));
    do {
        last = fill(f.a);
        sent += last;
        settle(&f);
    } while (last > 0 && sent < (64u << 20));
    assert_true(sent < (8u << 20)); /* kernel buffers and ours, and no more */
    close_fd(&f.a);
    while (received < sent) {
        ssize_t n = read(f.b, drop, sizeof(drop));

        if (n > 0)
            received += (size_t)n;
        else
            settle(&f);
    }
    assert_int_equal(received, sent);
    close_fd(&f.b);
    settle(&f);
    assert_int_equal(f.ended, 1);
    tear_down(&f);
}

static void what_a_closed_side_sent_before_is_delivered(void **state)
{
    struct fixture f;
    char c;

    (void)state;
    set_up(&f, STR(""));
    fill(f.b); /* for a, who never reads it */
    assert_int_equal(write(f.a, "last words", 10), 10);
    close_fd(&f.a);
    settle(&f);
    expect(f.b, "last words");
    settle(&f);
    assert_int_equal(f.ended, 1);
    while (read(f.b, &c, 1) > 0)
        ;
    tear_down(&f);
}

static void waiting_costs_no_turns_of_the_loop(void **state)
{
    struct fixture f;
    struct timespec before, after;

    (void)state;
    set_up(&f, STR(""));
    hand_ns = 0;
    assert_int_equal(shutdown(f.a, SHUT_RDWR), 0); /* hung up, as epoll sees it */
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before), 0);
    wait_for_ms(&f, 400);
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after), 0);
    assert_true((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 < 100);
    tear_down(&f);
}

static void what_the_other_side_has_said_already_comes_first_as_well(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, STR("to b "));
    assert_int_equal(relay_give_a(f.relay, STR("to a ")), 0);
    assert_int_equal(write(f.a, "ping", 4), 4);
    assert_int_equal(write(f.b, "pong", 4), 4);
    settle(&f);
    expect(f.b, "to b ping");
    expect(f.a, "to a pong");
    tear_down(&f);
}

static void with_a_linger_time_an_end_ends_both_ways(void **state)
{
    struct fixture f;
    char c;

    (void)state;
    set_up(&f, STR(""));
    relay_set_linger(f.relay, 30);
    run_for(&f, 60);
    assert_int_equal(f.ended, 0);
    close_fd(&f.b);
    run_for(&f, 10);
    assert_int_equal(f.ended, 0);
    run_for(&f, 60);
    assert_int_equal(f.ended, 1);
    assert_int_equal(read(f.a, &c, 1), 0);
    tear_down(&f);
}

/* Writes `byte` until the socket is full. */
static size_t push(int fd, char byte)
{
    char block[8192];
    size_t total = 0;
    ssize_t n;

    memset(block, byte, sizeof(block));
    while ((n = write(fd, block, sizeof(block))) > 0)
        total += (size_t)n;
    return total;
}

/* Reads all there is, which must be `byte` throughout. */
static size_t drain(int fd, char byte)
{
    char block[65536];
    size_t total = 0;
    ssize_t n;

    while ((n = read(fd, block, sizeof(block))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(block[i], byte);
        total += (size_t)n;
    }
    return total;
}

/* Much at once goes through a pipe that all relays share: what one cannot get rid of must not come out of another.
 */
static void relays_do_not_mix_their_bytes(void **state)
{
    struct fixture stuck, broken, flowing;
    size_t sent = 0, got = 0, stuck_sent = 0, more;

    (void)state;
    set_up(&stuck, STR(""));
    set_up(&broken, STR(""));
    set_up(&flowing, STR(""));
    do { /* nobody reads, until everything is full */
        more = push(stuck.a, 'S');
        stuck_sent += more;
        settle(&stuck);
    } while (more > 0);
    push(broken.a, 'X');
    settle(&broken);
    push(broken.a, 'X');
    close_fd(&broken.b);
    settle(&broken);
    for (int i = 0; i < 50; i++) {
        sent += push(flowing.a, 'F');
        settle(&flowing);
        got += drain(flowing.b, 'F');
    }
    settle(&flowing);
    assert_int_equal(got + drain(flowing.b, 'F'), sent);
    assert_true(sent > 4 << 20);
    for (got = 0; got < stuck_sent; got += more) {
        more = drain(stuck.b, 'S');
        settle(&stuck);
    }
    assert_int_equal(got, stuck_sent);
    tear_down(&stuck);
    tear_down(&broken);
    tear_down(&flowing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_bytes_both_ways_and_the_first_ones_first),
        cmocka_unit_test(an_end_is_passed_on_while_the_other_way_stays_open),
        cmocka_unit_test(a_peer_that_does_not_read_stops_the_one_that_writes),
        cmocka_unit_test(what_a_closed_side_sent_before_is_delivered),
        cmocka_unit_test(waiting_costs_no_turns_of_the_loop),
        cmocka_unit_test(what_the_other_side_has_said_already_comes_first_as_well),
        cmocka_unit_test(with_a_linger_time_an_end_ends_both_ways),
        cmocka_unit_test(relays_do_not_mix_their_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
