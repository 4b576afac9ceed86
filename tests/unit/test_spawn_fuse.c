/* FUSE in real sandboxes: what works, what is refused, and that no server of theirs holds anything up. */
#include "spawn_live.h"

#include "spawn/fuse.h"
#include "spawn/range.h"

#include <sys/mount.h>

#define ASK(...) harness_ask(&live, __VA_ARGS__)

static uint64_t next_key = 0xf5e0000000000000;
static uint64_t box;
static uint32_t box_uid;
static int control = -EBADF;

static int start_group(void **state)
{
    (void)state;
    live_init("SPAWN_PROGRAM");
    control = fuse_control_open();
    if (control < 0)
        return -1;
    harness_start(&live);
    return 0;
}

static int end_group(void **state)
{
    (void)state;
    harness_stop(&live);
    WAIT_FOR(host_is_clean());
    harness_fini(&live);
    close_fd(&control);
    return 0;
}

static int create_box(void **state)
{
    struct spawn_reply reply = harness_create(&live, box = next_key++);

    (void)state;
    assert_done(reply);
    box_uid = reply.sandbox.uid_base;
    assert_contains(ASK(box, "mkdir /workspace/m"), "ok");
    return 0;
}

static int destroy_box(void **state)
{
    (void)state;
    harness_simple(&live, SPAWN_OP_DESTROY, box);
    WAIT_FOR(nothing_left());
    return 0;
}

static void a_file_system_of_its_own_can_be_mounted_and_unmounted(void **state)
{
    (void)state;
    assert_contains(ASK(box, "fuse serve /workspace/m"), "ok");
    assert_string_equal(ASK(box, "read /workspace/m/hello"), "hello from FUSE\n");
    assert_contains(ASK(box, "read /proc/self/mountinfo"), "/workspace/m rw,nosuid,nodev");
    assert_contains(ASK(box, "read /proc/self/mountinfo"), "fuse.probe probe");
    assert_contains(ASK(box, "umount /workspace/m 0"), "ok");
    assert_contains(ASK(box, "read /workspace/m/hello"), "error 2 ");
    assert_contains(ASK(box, "fuse serve /tmp"), "ok"); /* another file system than the root */
    assert_contains(ASK(box, "umount tmp 2"), "ok");    /* from its working directory, as fusermount3 does */
}

static void nothing_else_is_mounted(void **state)
{
    static const char *const calls[] = {
        "none /workspace/m tmpfs 0 x",
        "none /workspace/m proc 0 x",
        "none /workspace/m overlay 0 lowerdir=/:/tmp",
        "none /workspace/m sysfs 0 x",
        "/ /workspace/m none 0x1000 x",
        "x /workspace/m fuse 0x20 FUSE",
        "x /workspace/m fuse 0x1000 FUSE",
        "x /workspace/m fuse 0x2000 FUSE",
        "x /workspace/m fuse 0x40000 FUSE",
        "x /workspace/m fuseblk 0 FUSE",
        "x /workspace/m fuse. 0 FUSE",
        "x /workspace/m fusectl 0 FUSE",
        "x / fuse 0 FUSE",
        "x /proc fuse 0 FUSE",
        "x /proc/sys fuse 0 FUSE",
        "x /dev fuse 0 FUSE",
        "x /dev/shm fuse 0 FUSE",
        "x /sys fuse 0 FUSE",
        "x /workspace/../proc fuse 0 FUSE",
        "x /workspace//m fuse 0 FUSE",
        "x /./proc fuse 0 FUSE",
        "x . fuse 0 FUSE",
        "x /workspace/link fuse 0 FUSE",
        "x /workspace/link/sys fuse 0 FUSE",
    };

    (void)state;
    assert_contains(ASK(box, "symlink /proc /workspace/link"), "ok");
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        if (strncmp(ASK(box, "mount5 %s", calls[i]), "error 1 ", 8) != 0)
            fail_msg("%s: %s", calls[i], ASK(box, "mount5 %s", calls[i]));
    assert_contains(ASK(box, "mount5 x /workspace/none fuse 0 FUSE"), "error 2 ");
    assert_contains(ASK(box, "fill /workspace/file 1"), "written");
    assert_contains(ASK(box, "mount5 x /workspace/file fuse 0 FUSE"), "error 20 ");
    assert_contains(ASK(box, "mount5 x /workspace/m fuse 0 FUSE,context=x"), "error 22 ");
    assert_contains(ASK(box, "mount5 x /workspace/m fuse 0 fd=999,rootmode=40000,user_id=0,group_id=0"),
                    "error 9 ");
    assert_contains(ASK(box, "mount5 x /workspace/m fuse 0 rootmode=40000,user_id=0,group_id=0"), "error 22 ");
    assert_null(strstr(ASK(box, "read /proc/self/mountinfo"), "/workspace"));
}

static void nothing_that_the_sandbox_was_given_can_be_unmounted(void **state)
{
    static const char *const targets[] = { "/",    "/proc",      "/proc/sys",      "/proc/keys",
                                           "/dev", "/dev/shm",   "/dev/pts",       "/sys",
                                           "/tmp", "/workspace", "/workspace/link" };
    char before[8192];

    (void)state;
    assert_contains(ASK(box, "symlink /proc /workspace/link"), "ok");
    snprintf(before, sizeof(before), "%s", ASK(box, "read /proc/self/mountinfo"));
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
        for (int flags = 0; flags < 4; flags++)
            assert_contains(ASK(box, "umount %s %d", targets[i], flags), "error 1 ");
    assert_string_equal(ASK(box, "read /proc/self/mountinfo"), before);
}

static void there_is_a_limit_to_their_number(void **state)
{
    int done = 0;

    (void)state;
    while (strncmp(ASK(box, "mount5 x /workspace/m fuse 0 FUSE"), "ok", 2) == 0)
        done++;
    assert_int_equal(done, 64);
    for (int i = 0; i < done; i++)
        assert_contains(ASK(box, "umount /workspace/m 2"), "ok");
    assert_contains(ASK(box, "mount5 x /workspace/m fuse 0 FUSE"), "ok");
}

static bool is_of_box(const char *name)
{
    char path[NAME_MAX + 16];
    struct stat st;

    snprintf(path, sizeof(path), "%s/abort", name);
    return fstatat(control, path, &st, 0) == 0 && st.st_uid >= box_uid && st.st_uid - box_uid < RANGE_IDS;
}

/* Of the sandbox, as the kernel knows them. */
static int count_connections(void)
{
    int fd = openat(control, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
    DIR *dir = fdopendir(fd);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)))
        count += entry->d_name[0] != '.' && is_of_box(entry->d_name);
    closedir(dir);
    return count;
}

/* A second at most, on a machine that has one; on a slow one it is only not for ever. */
static void destroy_soon(void)
{
    harness_simple(&live, SPAWN_OP_DESTROY, box);
    WAIT_FOR(nothing_left() && count_connections() == 0);
}

static void what_is_held_out_of_sight_counts_as_well(void **state)
{
    (void)state;
    assert_contains(ASK(box, "fuse hoard /workspace/m"), "held 64, then error 28");
    assert_null(strstr(ASK(box, "read /proc/self/mountinfo"), "/workspace"));
    assert_int_equal(count_connections(), 64);
    assert_contains(ASK(box, "mount5 x /workspace/m fuse 0 FUSE"), "error 28 ");
    destroy_soon();
}

/* Also those that are made between its kill and its end. */
static void a_sandbox_that_never_stops_mounting_ends_all_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_contains(ASK(box, "fuse storm /workspace/m"), "ok");
        WAIT_FOR(count_connections() >= 3 + i);
        destroy_soon();
        create_box(NULL);
    }
}

static void mount_and_unmount(uint64_t times)
{
    for (uint64_t i = 0; i < times; i++) {
        assert_contains(ASK(box, "mount5 x /workspace/m fuse 0 FUSE"), "ok");
        assert_contains(ASK(box, "umount /workspace/m 2"), "ok");
    }
}

/* 128 are free and each has its second, so those that a slow machine earns while it makes the first ones come on
 * top. */
static void whoever_mounts_too_often_must_wait_for_it(void **state)
{
    const uint64_t from = clock_monotonic_ns(), second = 1000000000u;
    uint64_t more;

    (void)state;
    mount_and_unmount(128);
    more = (clock_monotonic_ns() - from) / second + 5;
    mount_and_unmount(more);
    assert_true(clock_monotonic_ns() - from > (more - 2) * second);
}

static void a_server_that_hangs_does_not_hold_up_the_end(void **state)
{
    (void)state;
    assert_contains(ASK(box, "fuse hang /workspace/m"), "ok");
    for (int i = 0; i < 5; i++)
        assert_contains(ASK(box, "look /workspace/m/x"), "ok");
    destroy_soon();
}

static void neither_does_one_that_waits_for_itself_also_when_it_is_out_of_sight(void **state)
{
    (void)state;
    assert_contains(ASK(box, "fuse deadlock /workspace/m"), "ok");
    WAIT_FOR(strstr(ASK(box, "look /workspace"), "ok"));
    pause_ms(100); /* until its thread waits; nothing tells */
    assert_contains(ASK(box, "umount /workspace/m 2"), "ok");
    destroy_soon();
}

static void a_second_sandbox_is_not_held_up(void **state)
{
    uint64_t other = next_key++;

    (void)state;
    assert_contains(ASK(box, "fuse hang /workspace/m"), "ok");
    assert_done(harness_create(&live, other));
    assert_contains(ASK(other, "mkdir /workspace/m"), "ok");
    assert_contains(ASK(other, "fuse serve /workspace/m"), "ok");
    assert_contains(ASK(box, "mount5 x /workspace/m/in fuse 0 FUSE"), "error");
    assert_string_equal(ASK(other, "read /workspace/m/hello"), "hello from FUSE\n");
    harness_simple(&live, SPAWN_OP_DESTROY, other);
}

/* The broker: a child of the worker's. */
static pid_t broker_pid(void)
{
    return child_named(worker_pid(), "berm-broker");
}

static void it_goes_on_without_the_worker(void **state)
{
    pid_t first = worker_pid();

    (void)state;
    assert_contains(ASK(box, "fuse serve /workspace/m"), "ok");
    assert_int_equal(kill(first, SIGKILL), 0);
    WAIT_FOR(successor(first, worker_pid) > 0 && broker_pid() > 0);
    assert_string_equal(ASK(box, "read /workspace/m/hello"), "hello from FUSE\n");
    assert_contains(ASK(box, "umount /workspace/m 2"), "ok");
    assert_contains(ASK(box, "fuse deadlock /workspace/m"), "ok");
    WAIT_FOR(harness_simple(&live, SPAWN_OP_STAT, box).error == 0);
    destroy_soon();
}

/* The one of its two processes that answers. */
static pid_t answering_pid(void)
{
    return broker_pid() > 0 ? child_named(broker_pid(), "berm-broker") : 0;
}

static void a_broker_that_died_is_followed_by_one_that_answers_the_same_sandboxes(void **state)
{
    pid_t first = answering_pid();

    (void)state;
    assert_true(first > 0);
    assert_contains(ASK(box, "fuse serve /workspace/m"), "ok");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kill(first, SIGKILL), 0);
        pid_t next = 0;
        WAIT_FOR((next = successor(first, answering_pid)) > 0);
        first = next;
        assert_contains(ASK(box, "umount /workspace/m 2"), "ok");
        assert_contains(ASK(box, "fuse serve /workspace/m"), "ok");
        assert_string_equal(ASK(box, "read /workspace/m/hello"), "hello from FUSE\n");
        assert_contains(ASK(box, "umount / 2"), "error");
    }
}

static void without_both_of_its_processes_the_calls_do_not_exist_until_there_is_a_new_one(void **state)
{
    pid_t first = broker_pid(), answering = answering_pid();
    uint64_t other = next_key++;

    (void)state;
    assert_true(first > 0);
    assert_true(answering > 0);
    assert_contains(ASK(box, "fuse serve /workspace/m"), "ok");
    assert_int_equal(kill(first, SIGKILL), 0);
    assert_true(kill(answering, SIGKILL) == 0 || errno == ESRCH); /* it does not outlive the other */
    WAIT_FOR(successor(first, broker_pid) > 0);
    assert_contains(ASK(box, "umount /workspace/m 2"), "error 38 ");
    assert_string_equal(ASK(box, "read /workspace/m/hello"), "hello from FUSE\n");
    assert_done(harness_create(&live, other));
    assert_contains(ASK(other, "mkdir /workspace/m"), "ok");
    assert_contains(ASK(other, "fuse serve /workspace/m"), "ok");
    harness_simple(&live, SPAWN_OP_DESTROY, other);
}

int main(void)
{
#define LIVE(f) cmocka_unit_test_setup_teardown(f, create_box, destroy_box)
    const struct CMUnitTest tests[] = {
        LIVE(a_file_system_of_its_own_can_be_mounted_and_unmounted),
        LIVE(nothing_else_is_mounted),
        LIVE(nothing_that_the_sandbox_was_given_can_be_unmounted),
        LIVE(there_is_a_limit_to_their_number),
        LIVE(what_is_held_out_of_sight_counts_as_well),
        LIVE(a_sandbox_that_never_stops_mounting_ends_all_the_same),
        LIVE(whoever_mounts_too_often_must_wait_for_it),
        LIVE(a_server_that_hangs_does_not_hold_up_the_end),
        LIVE(neither_does_one_that_waits_for_itself_also_when_it_is_out_of_sight),
        LIVE(a_second_sandbox_is_not_held_up),
        LIVE(it_goes_on_without_the_worker),
        LIVE(a_broker_that_died_is_followed_by_one_that_answers_the_same_sandboxes),
        LIVE(without_both_of_its_processes_the_calls_do_not_exist_until_there_is_a_new_one),
    };

    return cmocka_run_group_tests_name("fuse", tests, start_group, end_group);
}
