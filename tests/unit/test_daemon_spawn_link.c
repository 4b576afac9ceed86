/* The link to berm-spawn against a peer that answers as it likes. */
#include "unit.h"

#include "base/sys.h"
#include "daemon/spawn_link.h"

#include <fcntl.h>
#include <sys/socket.h>

struct fixture {
    struct loop *loop;
    struct spawn_link *link;
    int peer;
    struct loop_deferred stop;
    int done, exits, volumes, restarts, losses;
    enum berm_err last_code;
    int last_errnum;
    uint64_t last_key;
    char order[64];
};

static struct fixture *f;
static uint64_t hand_ns; /* time stands still but in turn() */

#include "hand_clock.h"

static void on_stop(struct loop_deferred *deferred)
{
    (void)deferred;
    loop_stop(f->loop);
}

/* So much later everything that was under way has happened. */
static void turn(uint64_t ms)
{
    hand_ns += ms * 1000000;
    for (int i = 0; i < 20; i++) {
        loop_defer(f->loop, &f->stop);
        loop_run(f->loop);
    }
}

static void on_sandbox(uint64_t key, const struct spawn_sandbox *sandbox, void *data)
{
    (void)sandbox;
    (void)data;
    f->last_key = key;
}

static void on_volume(uint64_t number, void *data)
{
    (void)data;
    f->volumes++;
    f->last_key = number;
}

static void on_exit_event(uint64_t key, const struct spawn_sandbox *sandbox, void *data)
{
    (void)data;
    f->exits += 1 + sandbox->exit_status;
    f->last_key = key;
}

static void on_restarted(void *data)
{
    (void)data;
    f->restarts++;
}

static void on_lost(void *data)
{
    (void)data;
    f->losses++;
}

static void on_done(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    size_t n = strlen(f->order);

    (void)reply;
    f->done++;
    f->last_code = err->code;
    f->last_errnum = err->errnum;
    snprintf(f->order + n, sizeof(f->order) - n, "%s", (const char *)data);
}

static int setup(void **state)
{
    struct spawn_link_events events = { .on_sandbox = on_sandbox,
                                        .on_volume = on_volume,
                                        .on_exit = on_exit_event,
                                        .on_restarted = on_restarted,
                                        .on_lost = on_lost };
    struct berm_error err;
    int pair[2];

    (void)state;
    f = calloc(1, sizeof(*f));
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    clock_by_hand();
    f->loop = loop_new();
    f->stop.callback = on_stop;
    f->peer = pair[1];
    f->link = spawn_link_new(f->loop, pair[0], 100, &events, &err);
    assert_non_null(f->link);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    spawn_link_free(f->link);
    loop_free(f->loop);
    if (f->peer >= 0)
        close(f->peer);
    free(f);
    return 0;
}

static void send_one(uint64_t key, const char *name)
{
    struct spawn_request request = { .op = SPAWN_OP_CREATE, .key = key };
    struct berm_error err;

    assert_int_equal(spawn_link_send(f->link, &request, on_done, (void *)(uintptr_t)name, &err), 0);
}

static struct spawn_request receive_one(void)
{
    struct spawn_request request;

    assert_int_equal(recv(f->peer, &request, sizeof(request), 0), sizeof(request));
    assert_int_equal(request.version, SPAWN_WIRE_VERSION);
    return request;
}

static void answer(uint64_t serial, int error, const char *message)
{
    struct spawn_reply reply = {
        .version = SPAWN_WIRE_VERSION, .op = SPAWN_OP_CREATE, .serial = serial, .error = error
    };

    snprintf(reply.message, sizeof(reply.message), "%s", message);
    assert_int_equal(send(f->peer, &reply, sizeof(reply), 0), sizeof(reply));
}

static void tell(uint32_t event, uint64_t key)
{
    struct spawn_reply reply = { .version = SPAWN_WIRE_VERSION, .op = SPAWN_OP_EVENT, .event = event, .key = key };

    reply.sandbox.exit_status = 9;
    assert_int_equal(send(f->peer, &reply, sizeof(reply), 0), sizeof(reply));
}

static void answers_find_their_requests_in_any_order(void **state)
{
    struct spawn_request first, second;

    (void)state;
    send_one(1, "a");
    send_one(2, "b");
    first = receive_one();
    second = receive_one();
    assert_int_equal(first.key, 1);
    assert_true(first.serial != second.serial && first.serial && second.serial);
    answer(second.serial, 0, "");
    answer(first.serial, ENOSPC, "make the upper directory");
    turn(20);
    assert_string_equal(f->order, "ba");
    assert_int_equal(f->last_code, BERM_E_SYSTEM);
    assert_int_equal(f->last_errnum, ENOSPC);
}

static void unknown_and_repeated_serials_are_ignored(void **state)
{
    struct spawn_request request;

    (void)state;
    send_one(1, "a");
    request = receive_one();
    answer(request.serial + ((uint64_t)1 << 32), 0, "");
    answer(0, 0, "");
    answer(UINT64_MAX, 0, "");
    answer(request.serial, 0, "");
    answer(request.serial, 0, "");
    turn(20);
    assert_int_equal(f->done, 1);
}

static void a_silent_spawner_is_a_timeout_and_a_late_answer_is_nobodys(void **state)
{
    struct spawn_request late;

    (void)state;
    send_one(1, "a");
    late = receive_one();
    turn(150);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->last_code, BERM_E_TIMED_OUT);
    send_one(2, "b"); /* takes the same slot */
    answer(late.serial, 0, "");
    turn(20);
    assert_int_equal(f->done, 1);
    answer(receive_one().serial, 0, "");
    turn(20);
    assert_string_equal(f->order, "ab");
    assert_int_equal(f->last_code, BERM_OK);
}

static void a_restart_fails_what_was_pending_and_then_is_told(void **state)
{
    (void)state;
    send_one(1, "a");
    send_one(2, "b");
    tell(SPAWN_EVENT_RESTARTED, 0);
    turn(20);
    assert_string_equal(f->order, "ab");
    assert_int_equal(f->last_code, BERM_E_SPAWNER_UNAVAILABLE);
    assert_int_equal(f->restarts, 1);
    assert_true(spawn_link_alive(f->link));
}

static void events_carry_their_key(void **state)
{
    (void)state;
    tell(SPAWN_EVENT_EXIT, 77);
    turn(20);
    assert_int_equal(f->last_key, 77);
    assert_int_equal(f->exits, 10);
    tell(SPAWN_EVENT_SANDBOX, 78);
    turn(20);
    assert_int_equal(f->last_key, 78);
    tell(SPAWN_EVENT_VOLUME, 80);
    turn(20);
    assert_int_equal(f->last_key, 80);
    assert_int_equal(f->volumes, 1);
    tell(12345, 79); /* of a later version: not ours to know */
    turn(20);
    assert_int_equal(f->last_key, 80);
}

static void a_closed_socket_is_told_once(void **state)
{
    struct spawn_request request = { .op = SPAWN_OP_LIST };
    struct berm_error err;

    (void)state;
    send_one(1, "a");
    close(f->peer);
    f->peer = -1;
    turn(20);
    assert_int_equal(f->losses, 1);
    assert_int_equal(f->last_code, BERM_E_SPAWNER_UNAVAILABLE);
    assert_false(spawn_link_alive(f->link));
    assert_int_equal(spawn_link_send(f->link, &request, NULL, NULL, &err), -1);
    turn(20);
    assert_int_equal(f->losses, 1);
}

static void a_message_of_another_size_or_version_ends_the_link(void **state)
{
    struct spawn_reply reply = { .version = SPAWN_WIRE_VERSION + 1 };

    (void)state;
    assert_int_equal(send(f->peer, &reply, sizeof(reply), 0), sizeof(reply));
    turn(20);
    assert_int_equal(f->losses, 1);
}

static void a_forgotten_request_has_no_callback(void **state)
{
    static const char name[] = "a";

    (void)state;
    send_one(1, name);
    spawn_link_forget(f->link, name);
    answer(receive_one().serial, 0, "");
    turn(20);
    assert_int_equal(f->done, 0);
}

static void requests_wait_when_the_socket_is_full_and_keep_their_order(void **state)
{
    enum { COUNT = 5000 };

    (void)state;
    for (uint64_t i = 1; i <= COUNT; i++)
        send_one(i, "");
    for (uint64_t i = 1; i <= COUNT; i++) {
        struct spawn_request request;

        while (recv(f->peer, &request, sizeof(request), MSG_DONTWAIT) < 0)
            turn(0);
        assert_int_equal(request.key, i);
        answer(request.serial, 0, "");
        if (i % 50 == 0)
            turn(0);
    }
    turn(20);
    assert_int_equal(f->done, COUNT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_find_their_requests_in_any_order),
        TEST(unknown_and_repeated_serials_are_ignored),
        TEST(a_silent_spawner_is_a_timeout_and_a_late_answer_is_nobodys),
        TEST(a_restart_fails_what_was_pending_and_then_is_told),
        TEST(events_carry_their_key),
        TEST(a_closed_socket_is_told_once),
        TEST(a_message_of_another_size_or_version_ends_the_link),
        TEST(a_forgotten_request_has_no_callback),
        TEST(requests_wait_when_the_socket_is_full_and_keep_their_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
