/* What outlives what: sandboxes their worker, their keeper and a gap without any. */
#include "spawn_live.h"

#include <poll.h>

#define KEY      0xadadad0000000001

#define ASK(...) harness_ask(&live, __VA_ARGS__)

static int start_group(void **state)
{
    (void)state;
    return live_init("SPAWN_PROGRAM");
}

static int end_group(void **state)
{
    (void)state;
    harness_fini(&live);
    return 0;
}

static int start_with_box(void **state)
{
    (void)state;
    harness_start(&live);
    assert_done(harness_create(&live, KEY));
    return 0;
}

static int stop_and_look(void **state)
{
    (void)state;
    harness_simple(&live, SPAWN_OP_DESTROY, KEY);
    assert_int_equal(harness_stop(&live), 0);
    WAIT_FOR(host_is_clean()); /* the kernel detaches loop devices some time after their last user */
    return 0;
}

/* The one sandbox that LIST names; its state is 0 when there is none. */
static struct spawn_sandbox list(void)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_LIST, 0);
    struct spawn_reply reply;
    struct spawn_sandbox found = { 0 };

    harness_send(&live, &r);
    while ((reply = harness_receive(&live, NULL, 1)).op == SPAWN_OP_EVENT) {
        assert_int_equal(reply.event, SPAWN_EVENT_SANDBOX);
        assert_int_equal(reply.key, KEY);
        assert_int_equal(found.state, 0);
        found = reply.sandbox;
    }
    assert_int_equal(reply.error, 0);
    return found;
}

static void wait_restarted(void)
{
    struct spawn_reply event = harness_receive(&live, NULL, 1);

    assert_int_equal(event.op, SPAWN_OP_EVENT);
    assert_int_equal(event.event, SPAWN_EVENT_RESTARTED);
}

static struct spawn_reply wait_exit(void)
{
    struct spawn_reply event = harness_receive(&live, NULL, 1);

    assert_int_equal(event.op, SPAWN_OP_EVENT);
    assert_int_equal(event.event, SPAWN_EVENT_EXIT);
    assert_int_equal(event.key, KEY);
    return event;
}

static void kill_worker(void)
{
    pid_t worker = worker_pid();

    assert_true(worker > 1);
    assert_int_equal(kill(worker, SIGKILL), 0);
}

/* As a crash of the daemon and the spawner together would. */
static void kill_keeper(void)
{
    int status;

    assert_int_equal(kill(live.keeper, SIGKILL), 0);
    assert_int_equal(waitpid(live.keeper, &status, 0), live.keeper);
    live.keeper = 0;
    close_fd(&live.sock);
}

static void a_new_worker_takes_over_what_runs(void **state)
{
    struct spawn_sandbox before = list(), after;

    (void)state;
    kill_worker();
    wait_restarted();
    after = list();
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(after.state, SPAWN_STATE_RUNNING);
    assert_contains(ASK(KEY, "stat /"), "mode");
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, KEY));
    WAIT_FOR(nothing_left());
}

static void an_adopted_sandbox_can_do_everything(void **state)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_SOCKET, KEY);
    int fd = -EBADF;

    (void)state;
    kill_worker();
    wait_restarted();
    r.socket = (struct spawn_socket){ AF_INET, SOCK_STREAM };
    harness_send(&live, &r);
    assert_done(harness_receive(&live, &fd, 0));
    assert_true(fd >= 0);
    close_fd(&fd);
    assert_int_equal(harness_simple(&live, SPAWN_OP_STAT, KEY).stat.pids, 1);
    r = harness_request(&live, SPAWN_OP_SET_LIMITS, KEY);
    r.limits = harness_request(&live, SPAWN_OP_CREATE, KEY).create.limits;
    r.limits.pids = 5;
    assert_done(harness_call(&live, &r));
    assert_string_equal(ASK(KEY, "forks 100"), "made 4\n");
    assert_int_equal(list().limits.pids, 5);
}

static void an_adopted_sandbox_that_ends_is_told_with_its_status(void **state)
{
    struct spawn_reply event;

    (void)state;
    kill_worker();
    wait_restarted();
    assert_int_equal(list().state, SPAWN_STATE_RUNNING); /* and so taken over */
    ASK(KEY, "exit 7");
    event = wait_exit();
    assert_int_equal(event.sandbox.state, SPAWN_STATE_EXITED);
    assert_int_equal(event.sandbox.end_reason, SPAWN_END_EXITED);
    assert_int_equal(event.sandbox.exit_status, 7);
}

/* The keeper, which is asleep meanwhile, inherits the sandbox and reaps it before there is another worker. */
static void an_end_between_two_workers_is_told_with_its_status(void **state)
{
    pid_t pid = list().host_pid;
    struct spawn_sandbox found;
    int pidfd = pidfd_open_pid(pid);

    (void)state;
    assert_int_equal(kill(live.keeper, SIGSTOP), 0);
    kill_worker();
    ASK(KEY, "exit 7");
    assert_int_equal(poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 60000), 1);
    close_fd(&pidfd);
    assert_int_equal(kill(live.keeper, SIGCONT), 0);
    wait_restarted();
    found = list();
    assert_int_equal(found.state, SPAWN_STATE_EXITED);
    assert_int_equal(found.end_reason, SPAWN_END_EXITED);
    assert_int_equal(found.exit_status, 7);
}

static void an_adopted_sandbox_that_is_killed_is_told_so(void **state)
{
    (void)state;
    kill_worker();
    wait_restarted();
    assert_done(harness_simple(&live, SPAWN_OP_KILL, KEY));
    assert_int_equal(wait_exit().sandbox.end_reason, SPAWN_END_KILLED);
}

static void a_sandbox_outlives_the_daemon_and_the_spawner(void **state)
{
    struct spawn_sandbox before = list(), after;

    (void)state;
    assert_contains(ASK(KEY, "fill /tmp/kept 100000"), "written");
    kill_keeper();
    assert_contains(ASK(KEY, "stat /tmp/kept"), "size 131072");
    harness_start(&live);
    after = list();
    assert_memory_equal(&before, &after, sizeof(before));
    assert_contains(ASK(KEY, "stat /tmp/kept"), "size 131072");
}

static void a_sandbox_outlives_an_orderly_stop(void **state)
{
    (void)state;
    assert_int_equal(harness_stop(&live), 0);
    assert_contains(ASK(KEY, "stat /"), "mode");
    harness_start(&live);
    assert_int_equal(list().state, SPAWN_STATE_RUNNING);
}

static void what_ended_while_nobody_watched_is_told_as_ended(void **state)
{
    pid_t pid = list().host_pid;
    struct spawn_sandbox found;

    (void)state;
    assert_int_equal(harness_stop(&live), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    WAIT_FOR(kill(pid, 0) < 0);
    harness_start(&live);
    found = list();
    assert_int_equal(found.state, SPAWN_STATE_EXITED);
    assert_int_equal(found.end_reason, SPAWN_END_UNKNOWN);
    assert_int_equal(found.host_pid, 0);
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, KEY));
    WAIT_FOR(nothing_left());
}

static void how_it_ended_is_remembered_across_restarts(void **state)
{
    struct spawn_sandbox found;

    (void)state;
    ASK(KEY, "exit 9");
    wait_exit();
    kill_keeper();
    harness_start(&live);
    found = list();
    assert_int_equal(found.state, SPAWN_STATE_EXITED);
    assert_int_equal(found.end_reason, SPAWN_END_EXITED);
    assert_int_equal(found.exit_status, 9);
}

static void meta_path(char path[400])
{
    snprintf(path, 400, "%s/run/%016llx.meta", live.data, (unsigned long long)KEY);
}

/* As when the worker died between starting the child and writing its file. */
static void what_has_no_record_is_killed_and_removed(void **state)
{
    char path[400];
    pid_t pid = list().host_pid;

    (void)state;
    kill_keeper();
    meta_path(path);
    assert_int_equal(unlink(path), 0);
    harness_start(&live);
    assert_int_equal(list().state, 0);
    WAIT_FOR(kill(pid, 0) < 0); /* reaped by the host's init */
    WAIT_FOR(nothing_left());
}

static void a_record_of_another_process_is_not_believed(void **state)
{
    char path[400], bytes[1024];
    _cleanup_close_ int fd = -EBADF;
    struct spawn_sandbox found = list();
    uint64_t start;
    ssize_t n;

    (void)state;
    kill_keeper();
    meta_path(path);
    n = read_small_file(AT_FDCWD, path, bytes, sizeof(bytes));
    assert_true(n > 24);
    memcpy(&start, bytes + 16, sizeof(start)); /* when the process started */
    start++;
    memcpy(bytes + 16, &start, sizeof(start));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, bytes, (size_t)n), n);
    harness_start(&live);
    found = list();
    assert_int_equal(found.state, SPAWN_STATE_EXITED);
    assert_int_equal(found.host_pid, 0);
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, KEY));
    WAIT_FOR(nothing_left());
}

static void rubbish_in_the_run_directory_is_cleared(void **state)
{
    static const char *const names[] = { "00000000000000aa.meta", "00000000000000ab.sock", ".s77.sock",
                                         "00000000000000ac.meta.new" };

    (void)state;
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, KEY));
    WAIT_FOR(nothing_left());
    kill_keeper();
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[400];
        _cleanup_close_ int fd = -EBADF;
        snprintf(path, sizeof(path), "%s/run/%s", live.data, names[i]);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
    }
    harness_start(&live);
    assert_int_equal(list().state, 0);
    WAIT_FOR(nothing_left());
}

static void a_second_spawner_for_the_same_data_is_refused(void **state)
{
    struct spawn_harness second = live;
    int status;

    (void)state;
    harness_start(&second);
    assert_int_equal(waitpid(second.keeper, &status, 0), second.keeper);
    assert_int_equal(WEXITSTATUS(status), 1);
    close_fd(&second.sock);
    assert_int_equal(list().state, SPAWN_STATE_RUNNING);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start_with_box, stop_and_look)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_new_worker_takes_over_what_runs),
        T(an_adopted_sandbox_can_do_everything),
        T(an_adopted_sandbox_that_ends_is_told_with_its_status),
        T(an_end_between_two_workers_is_told_with_its_status),
        T(an_adopted_sandbox_that_is_killed_is_told_so),
        T(a_sandbox_outlives_the_daemon_and_the_spawner),
        T(a_sandbox_outlives_an_orderly_stop),
        T(what_ended_while_nobody_watched_is_told_as_ended),
        T(how_it_ended_is_remembered_across_restarts),
        T(what_has_no_record_is_killed_and_removed),
        T(a_record_of_another_process_is_not_believed),
        T(rubbish_in_the_run_directory_is_cleared),
        T(a_second_spawner_for_the_same_data_is_refused),
    };

    return cmocka_run_group_tests(tests, start_group, end_group);
}
