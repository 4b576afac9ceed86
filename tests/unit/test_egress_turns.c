/* Who wants much and who wants little are served in turn, and the loop's events in between. */
#include "unit.h"

#include "daemon/egress/turns.h"

#define MANY 50

struct piece {
    struct turn turn;
    char owner;
};

static struct loop *loop;
static struct turns turns;
static struct turn_owner a, b;
static struct piece of_a[MANY], of_b[2];
static char order[MANY + 3];
static size_t run_count, events;
static bool two_between_events;
static int pipe_fds[2];
static struct loop_io io;

static void run(struct turn *turn)
{
    static size_t events_before;
    struct piece *piece = container_of(turn, struct piece, turn);

    two_between_events |= run_count > 0 && events == events_before;
    events_before = events;
    order[run_count++] = piece->owner;
    if (run_count == MANY + 2)
        loop_stop(loop);
}

/* Always readable: an event in each turn of the loop. */
static void on_event(struct loop_io *watched, uint32_t mask)
{
    (void)watched, (void)mask;
    events++;
}

static void want(struct turn_owner *owner, struct piece *piece, char name)
{
    *piece = (struct piece){ .turn.run = run, .owner = name };
    turn_want(&turns, owner, &piece->turn);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    turns_init(&turns, loop);
    turn_owner_init(&a);
    turn_owner_init(&b);
    run_count = events = 0;
    two_between_events = false;
    memset(order, 0, sizeof(order));
    return pipe(pipe_fds) == 0 && write(pipe_fds[1], "x", 1) == 1 &&
                   loop_io_add(loop, &io, pipe_fds[0], EPOLLIN, on_event) == 0
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    turn_owner_fini(&a);
    turn_owner_fini(&b);
    turns_fini(&turns);
    loop_io_remove(loop, &io);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    loop_free(loop);
    return 0;
}

static void who_wants_much_does_not_keep_others_waiting(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i++)
        want(&a, &of_a[i], 'a');
    want(&b, &of_b[0], 'b');
    want(&b, &of_b[1], 'b');
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(run_count, MANY + 2);
    assert_memory_equal(order, "ababaa", 6);
    assert_false(two_between_events);
}

static void what_is_not_wanted_any_more_is_not_run(void **state)
{
    (void)state;
    for (size_t i = 0; i < MANY; i++)
        want(&a, &of_a[i], 'a');
    want(&b, &of_b[0], 'b');
    turn_cancel(&of_b[0].turn);
    turn_cancel(&of_b[0].turn);
    turn_want(&turns, &a, &of_a[0].turn); /* keeps its place and is run once */
    want(&b, &of_b[0], 'c');
    want(&b, &of_b[1], 'c');
    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(run_count, MANY + 2);
    assert_null(strchr(order, 'b'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_wants_much_does_not_keep_others_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_wanted_any_more_is_not_run, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
