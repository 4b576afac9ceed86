#include "unit.h"

#include "base/loop.h"
#include "base/sys.h"

#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "fail_alloc.h"

/* Callbacks have no data pointer: what they find around their watcher is this. */
static struct loop *loop;
static char trace[256];

static void note(char c)
{
    size_t n = strlen(trace);

    assert_true(n + 1 < sizeof(trace));
    trace[n] = c;
    trace[n + 1] = '\0';
}

static int set_up(void **state)
{
    (void)state;
    trace[0] = '\0';
    loop = loop_new();
    return loop ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    loop = NULL;
    return 0;
}

static int ready_fd(void)
{
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

    assert_true(fd >= 0);
    return fd;
}

/* --- timers --- */

struct named_timer {
    struct loop_timer timer;
    char name;
    void (*then)(struct named_timer *);
};

static void named_timer_fired(struct loop_timer *timer)
{
    struct named_timer *t = container_of(timer, struct named_timer, timer);

    assert_false(loop_timer_armed(timer));
    assert_true(timer->due_ms <= loop_now_ms(loop));
    note(t->name);
    if (t->then)
        t->then(t);
}

static void init_named(struct named_timer *t, char name, void (*then)(struct named_timer *))
{
    loop_timer_init(&t->timer, named_timer_fired);
    t->name = name;
    t->then = then;
}

static void stop_loop(struct named_timer *t)
{
    (void)t;
    loop_stop(loop);
}

static void timers_fire_in_the_order_of_their_time(void **state)
{
    static const unsigned delays[] = { 7, 3, 9, 1, 5, 8, 2, 6, 4, 0 };
    struct named_timer timers[ARRAY_SIZE(delays)], end;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(delays); i++) {
        init_named(&timers[i], (char)('0' + delays[i]), NULL);
        assert_int_equal(loop_timer_start(loop, &timers[i].timer, delays[i]), 0);
    }
    init_named(&end, '.', stop_loop);
    loop_timer_start(loop, &end.timer, 10);
    assert_int_equal(loop_run(loop), 0);
    assert_string_equal(trace, "0123456789.");
}

static void timers_of_the_same_time_fire_in_the_order_of_their_start(void **state)
{
    struct named_timer timers[26], end;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
        init_named(&timers[i], (char)('a' + i), NULL);
        loop_timer_start(loop, &timers[i].timer, 2);
    }
    loop_timer_start(loop, &timers[3].timer, 2); /* starting again goes to the end of the line */
    init_named(&end, '.', stop_loop);
    loop_timer_start(loop, &end.timer, 2);
    loop_run(loop);
    assert_string_equal(trace, "abcefghijklmnopqrstuvwxyzd.");
}

static void a_timer_is_rearmed_and_stopped(void **state)
{
    struct named_timer a, b, c, end;

    (void)state;
    init_named(&a, 'a', NULL);
    init_named(&b, 'b', NULL);
    init_named(&c, 'c', NULL);
    init_named(&end, '.', stop_loop);
    loop_timer_stop(loop, &a.timer);
    loop_timer_start(loop, &a.timer, 1);
    loop_timer_start(loop, &b.timer, 2);
    loop_timer_start(loop, &c.timer, 3);
    loop_timer_start(loop, &end.timer, 5);
    loop_timer_start(loop, &a.timer, 4);
    loop_timer_start(loop, &c.timer, 0);
    loop_timer_stop(loop, &b.timer);
    loop_timer_stop(loop, &b.timer);
    assert_true(loop_timer_armed(&a.timer));
    assert_false(loop_timer_armed(&b.timer));
    loop_run(loop);
    assert_string_equal(trace, "ca.");
}

static struct named_timer *victim;

static void stop_victim(struct named_timer *t)
{
    (void)t;
    loop_timer_stop(loop, &victim->timer);
}

static void a_timer_that_is_due_can_be_stopped_by_another(void **state)
{
    struct named_timer a, b, end;

    (void)state;
    victim = &b;
    init_named(&a, 'a', stop_victim);
    init_named(&b, 'b', NULL);
    init_named(&end, '.', stop_loop);
    loop_timer_start(loop, &a.timer, 0);
    loop_timer_start(loop, &b.timer, 0);
    loop_timer_start(loop, &end.timer, 1);
    loop_run(loop);
    assert_string_equal(trace, "a.");
}

static unsigned runs_in_turn, turns;

static void new_turn(struct loop_deferred *deferred)
{
    assert_true(runs_in_turn <= 1);
    runs_in_turn = 0;
    if (++turns == 20)
        loop_stop(loop);
    else
        loop_defer(loop, deferred);
}

static void restart_at_once(struct named_timer *t)
{
    runs_in_turn++;
    loop_timer_start(loop, &t->timer, 0);
}

static void a_timer_restarted_with_no_delay_waits_for_the_next_turn(void **state)
{
    struct named_timer many[50], again;
    struct loop_deferred turn = { .callback = new_turn };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
        init_named(&many[i], 'x', NULL);
        loop_timer_start(loop, &many[i].timer, 1000000);
    }
    init_named(&again, 'a', restart_at_once);
    loop_timer_start(loop, &again.timer, 0);
    runs_in_turn = turns = 0;
    loop_defer(loop, &turn);
    loop_run(loop);
    assert_int_equal(turns, 20);
    assert_true(strlen(trace) > 1);
}

static void a_delay_of_any_size_is_in_the_future(void **state)
{
    struct named_timer never, end;

    (void)state;
    init_named(&never, 'n', NULL);
    init_named(&end, '.', stop_loop);
    loop_timer_start(loop, &never.timer, UINT64_MAX);
    loop_timer_start(loop, &end.timer, 1);
    loop_run(loop);
    assert_string_equal(trace, ".");
    assert_true(loop_timer_armed(&never.timer));
}

static unsigned random_state = 12345;

static unsigned next_random(unsigned below)
{
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 8) % below;
}

static uint64_t last_due;
static unsigned fired;

static void check_order(struct loop_timer *timer)
{
    assert_true(timer->due_ms >= last_due);
    last_due = timer->due_ms;
    fired++;
}

static void a_thousand_timers_survive_random_stops_and_restarts(void **state)
{
    static struct loop_timer timers[1000];
    struct named_timer end;
    unsigned armed = 0;

    (void)state;
    last_due = fired = 0;
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
        loop_timer_init(&timers[i], check_order);
    for (int i = 0; i < 20000; i++) {
        struct loop_timer *t = &timers[next_random(ARRAY_SIZE(timers))];
        if (next_random(3) == 0)
            loop_timer_stop(loop, t);
        else
            assert_int_equal(loop_timer_start(loop, t, next_random(10)), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
        armed += loop_timer_armed(&timers[i]);
    init_named(&end, '.', stop_loop);
    loop_timer_start(loop, &end.timer, 10);
    loop_run(loop);
    assert_int_equal(fired, armed);
}

/* --- descriptors --- */

struct named_io {
    struct loop_io io;
    char name;
    void (*then)(struct named_io *);
};

static struct named_io ios[4];

static void named_io_ready(struct loop_io *io, uint32_t events)
{
    struct named_io *n = container_of(io, struct named_io, io);

    assert_true(events & EPOLLIN);
    note(n->name);
    n->then(n);
}

static void watch(struct named_io *n, char name, int fd, void (*then)(struct named_io *))
{
    *n = (struct named_io){ .name = name, .then = then };
    assert_int_equal(loop_io_add(loop, &n->io, fd, EPOLLIN, named_io_ready), 0);
}

static void unwatch(struct named_io *n)
{
    int fd = n->io.fd;

    loop_io_remove(loop, &n->io);
    loop_io_remove(loop, &n->io);
    assert_false(loop_io_active(&n->io));
    close(fd);
}

static void remove_both(struct named_io *n)
{
    (void)n;
    unwatch(&ios[0]);
    unwatch(&ios[1]);
    loop_stop(loop);
}

static void end_at_the_end_of_turn(struct loop_deferred *deferred)
{
    (void)deferred;
    loop_stop(loop);
}

static void remove_both_and_go_on(struct named_io *n)
{
    static struct loop_deferred end = { .callback = end_at_the_end_of_turn };

    (void)n;
    unwatch(&ios[0]);
    unwatch(&ios[1]);
    loop_defer(loop, &end);
}

static void a_watcher_removed_in_a_callback_is_not_called_for_the_same_batch(void **state)
{
    (void)state;
    watch(&ios[0], 'a', ready_fd(), remove_both_and_go_on);
    watch(&ios[1], 'a', ready_fd(), remove_both_and_go_on);
    loop_run(loop);
    assert_string_equal(trace, "a");
}

static void never_called(struct named_io *n)
{
    (void)n;
    fail_msg("a stale event reached the watcher that took over the slot");
}

static void replace_the_other(struct named_io *n)
{
    static struct loop_deferred end = { .callback = end_at_the_end_of_turn };
    struct named_io *other = n == &ios[0] ? &ios[1] : &ios[0];

    unwatch(other);
    /* Not ready, and most likely in the slot and with the number of the one that went. */
    watch(&ios[2], 'c', eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), never_called);
    unwatch(n);
    loop_defer(loop, &end);
}

static void an_event_for_a_removed_watcher_never_reaches_its_successor(void **state)
{
    (void)state;
    watch(&ios[0], 'a', ready_fd(), replace_the_other);
    watch(&ios[1], 'a', ready_fd(), replace_the_other);
    loop_run(loop);
    assert_string_equal(trace, "a");
    unwatch(&ios[2]);
}

static struct named_io *crowd;

static void leave_crowd(struct named_io *n)
{
    unwatch(n);
    if (strlen(trace) == 100)
        loop_stop(loop);
}

static void add_crowd(struct named_io *n)
{
    (void)n;
    unwatch(&ios[0]);
    for (int i = 0; i < 100; i++)
        watch(&crowd[i], 'x', ready_fd(), leave_crowd);
    trace[0] = '\0';
}

static void many_watchers_can_be_added_in_a_callback(void **state)
{
    (void)state;
    crowd = calloc(100, sizeof(*crowd));
    watch(&ios[0], 'a', ready_fd(), add_crowd);
    loop_run(loop);
    assert_int_equal(strlen(trace), 100);
    free(crowd);
}

static void modify_changes_what_is_waited_for(void **state)
{
    struct named_timer end;

    (void)state;
    watch(&ios[0], 'a', ready_fd(), never_called);
    assert_int_equal(loop_io_modify(loop, &ios[0].io, 0), 0);
    init_named(&end, '.', stop_loop);
    loop_timer_start(loop, &end.timer, 1);
    loop_run(loop);
    assert_string_equal(trace, ".");
    watch(&ios[1], 'b', ready_fd(), remove_both);
    assert_int_equal(loop_io_modify(loop, &ios[1].io, EPOLLIN | EPOLLET), 0);
    loop_run(loop);
    assert_string_equal(trace, ".b");
}

static void a_watcher_that_is_not_active_cannot_be_modified(void **state)
{
    struct loop_io io = { .fd = -1 };

    (void)state;
    assert_int_equal(loop_io_modify(loop, &io, EPOLLIN), -1);
    assert_int_equal(errno, ENOENT);
    loop_io_remove(loop, &io);
}

static void a_bad_descriptor_is_refused_and_costs_no_slot(void **state)
{
    struct loop_io io = { .slot = 0 };

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(loop_io_add(loop, &io, -1, EPOLLIN, NULL), -1);
        assert_int_equal(errno, EBADF);
        assert_false(loop_io_active(&io));
    }
    watch(&ios[0], 'a', ready_fd(), never_called);
    assert_int_equal(ios[0].io.slot, 1);
    unwatch(&ios[0]);
}

/* --- deferred calls --- */

struct named_deferred {
    struct loop_deferred deferred;
    char name;
    void (*then)(struct named_deferred *);
};

static struct named_deferred calls[4];

static void named_deferred_ran(struct loop_deferred *deferred)
{
    struct named_deferred *d = container_of(deferred, struct named_deferred, deferred);

    note(d->name);
    if (d->then)
        d->then(d);
}

static void defer(size_t i, void (*then)(struct named_deferred *))
{
    calls[i] =
        (struct named_deferred){ .deferred.callback = named_deferred_ran, .name = (char)('a' + i), .then = then };
    loop_defer(loop, &calls[i].deferred);
}

static void end_loop(struct named_deferred *d)
{
    (void)d;
    loop_stop(loop);
}

static void deferred_calls_run_once_and_in_order(void **state)
{
    (void)state;
    defer(0, NULL);
    defer(1, NULL);
    loop_defer(loop, &calls[0].deferred);
    defer(2, end_loop);
    loop_run(loop);
    assert_string_equal(trace, "abc");
}

static void again_twice(struct named_deferred *d)
{
    if (strlen(trace) < 5)
        loop_defer(loop, &d->deferred);
    else
        loop_stop(loop);
}

static void a_deferred_call_may_defer_itself_to_the_next_turn(void **state)
{
    (void)state;
    defer(0, again_twice);
    defer(1, NULL);
    loop_run(loop);
    assert_string_equal(trace, "abaaa");
}

static void cancel_the_next(struct named_deferred *d)
{
    loop_defer_cancel(loop, &(d + 1)->deferred);
    loop_defer_cancel(loop, &(d + 1)->deferred);
}

static void a_deferred_call_can_be_taken_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        defer(i, NULL);
    loop_defer_cancel(loop, &calls[0].deferred);
    loop_defer_cancel(loop, &calls[3].deferred); /* the last: what is queued next must not be lost */
    loop_defer_cancel(loop, &calls[1].deferred);
    defer(1, cancel_the_next);
    defer(3, end_loop);
    loop_run(loop);
    assert_string_equal(trace, "cbd");
    trace[0] = '\0';
    defer(0, NULL);
    loop_defer_cancel(loop, &calls[0].deferred);
    defer(1, cancel_the_next);
    defer(2, NULL);
    defer(3, end_loop);
    loop_run(loop);
    assert_string_equal(trace, "bd");
}

struct object {
    struct loop_io io;
    struct loop_deferred release;
};

static void release_object(struct loop_deferred *deferred)
{
    free(container_of(deferred, struct object, release));
    loop_stop(loop);
}

static void object_ready(struct loop_io *io, uint32_t events)
{
    struct object *object = container_of(io, struct object, io);

    (void)events;
    loop_io_remove(loop, io);
    close(io->fd);
    loop_defer(loop, &object->release);
}

static void an_object_frees_itself_through_a_deferred_call(void **state)
{
    struct object *object = calloc(1, sizeof(*object));

    (void)state;
    object->release.callback = release_object;
    assert_int_equal(loop_io_add(loop, &object->io, ready_fd(), EPOLLIN, object_ready), 0);
    loop_run(loop);
}

/* --- processes and signals --- */

static void reap(struct named_io *n)
{
    siginfo_t info = { .si_pid = 0 };

    assert_int_equal(waitid(P_PIDFD, (id_t)n->io.fd, &info, WEXITED), 0);
    assert_int_equal(info.si_code, CLD_KILLED);
    assert_int_equal(info.si_status, SIGKILL);
    unwatch(n);
    loop_stop(loop);
}

static void the_end_of_a_process_makes_its_pidfd_readable(void **state)
{
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        for (;;)
            pause();
    watch(&ios[0], 'p', pidfd_open_pid(pid), reap);
    assert_int_equal(pidfd_signal(ios[0].io.fd, 0), 0);
    assert_int_equal(pidfd_signal(ios[0].io.fd, SIGKILL), 0);
    loop_run(loop);
    assert_string_equal(trace, "p");
    assert_int_equal(kill(pid, 0), -1);
}

static void on_signal(struct loop *l, const struct signalfd_siginfo *info, void *data)
{
    assert_ptr_equal(l, loop);
    assert_ptr_equal(data, trace);
    assert_int_equal(info->ssi_pid, (unsigned)getpid());
    note(info->ssi_signo == SIGUSR1 ? '1' : '2');
    if (strlen(trace) == 2)
        loop_stop(loop);
}

static void signals_arrive_in_the_loop(void **state)
{
    sigset_t set;

    (void)state;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    assert_int_equal(loop_signals(loop, &set, on_signal, trace), 0);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
    loop_run(loop);
    assert_true(strcmp(trace, "12") == 0 || strcmp(trace, "21") == 0);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* --- the whole --- */

static void a_stopped_loop_can_run_again(void **state)
{
    (void)state;
    defer(0, end_loop);
    loop_run(loop);
    defer(1, end_loop);
    loop_run(loop);
    assert_string_equal(trace, "ab");
}

static void the_clock_stands_still_within_a_turn_and_never_goes_back(void **state)
{
    uint64_t before = clock_monotonic_ns();
    uint64_t now = loop_now_ms(loop);

    (void)state;
    while (clock_monotonic_ns() - before < 3000000)
        assert_true(loop_now_ms(loop) == now);
    defer(0, end_loop);
    loop_run(loop);
    assert_true(loop_now_ms(loop) >= now + 2);
    assert_true(clock_realtime_ms() > INT64_C(1600000000000));
}

static void the_failure_of_any_allocation_is_an_error(void **state)
{
    static struct named_timer timers[17];
    static struct named_io watchers[17];
    int fd = ready_fd();
    size_t i;

    (void)state;
    allocations_left = 1;
    assert_null(loop_new());
    for (i = 0; i < 17; i++) {
        init_named(&timers[i], 't', NULL);
        if (i % 16 == 0) {
            allocations_left = 1;
            assert_int_equal(loop_timer_start(loop, &timers[i].timer, 5), -1);
            assert_false(loop_timer_armed(&timers[i].timer));
            allocations_left = 1;
            assert_int_equal(loop_io_add(loop, &watchers[i].io, fd, EPOLLIN, named_io_ready), -1);
            assert_int_equal(errno, ENOMEM);
            assert_false(loop_io_active(&watchers[i].io));
        }
        assert_int_equal(loop_timer_start(loop, &timers[i].timer, 5), 0);
        watch(&watchers[i], 'w', dup(fd), never_called);
    }
    for (i = 0; i < 17; i++)
        unwatch(&watchers[i]);
    close(fd);
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(timers_fire_in_the_order_of_their_time),
        WITH_LOOP(timers_of_the_same_time_fire_in_the_order_of_their_start),
        WITH_LOOP(a_timer_is_rearmed_and_stopped),
        WITH_LOOP(a_timer_that_is_due_can_be_stopped_by_another),
        WITH_LOOP(a_timer_restarted_with_no_delay_waits_for_the_next_turn),
        WITH_LOOP(a_delay_of_any_size_is_in_the_future),
        WITH_LOOP(a_thousand_timers_survive_random_stops_and_restarts),
        WITH_LOOP(a_watcher_removed_in_a_callback_is_not_called_for_the_same_batch),
        WITH_LOOP(an_event_for_a_removed_watcher_never_reaches_its_successor),
        WITH_LOOP(many_watchers_can_be_added_in_a_callback),
        WITH_LOOP(modify_changes_what_is_waited_for),
        WITH_LOOP(a_watcher_that_is_not_active_cannot_be_modified),
        WITH_LOOP(a_bad_descriptor_is_refused_and_costs_no_slot),
        WITH_LOOP(deferred_calls_run_once_and_in_order),
        WITH_LOOP(a_deferred_call_may_defer_itself_to_the_next_turn),
        WITH_LOOP(a_deferred_call_can_be_taken_back),
        WITH_LOOP(an_object_frees_itself_through_a_deferred_call),
        WITH_LOOP(the_end_of_a_process_makes_its_pidfd_readable),
        WITH_LOOP(signals_arrive_in_the_loop),
        WITH_LOOP(a_stopped_loop_can_run_again),
        WITH_LOOP(the_clock_stands_still_within_a_turn_and_never_goes_back),
        WITH_LOOP(the_failure_of_any_allocation_is_an_error),
    };

    alarm(250); /* a loop that never stops fails the test instead of hanging it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
