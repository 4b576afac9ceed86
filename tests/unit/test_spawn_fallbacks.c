/*
 * Older and poorer hosts: a build that can be told to do without what this kernel has makes the same sandboxes in
 * the other ways.
 */
#include "spawn_live.h"

#define KEY      0xfb00000000000001

#define ASK(...) harness_ask(&live, __VA_ARGS__)

/* A data directory of its own each time, for the kind of quota is a property of the pool. */
static void start_without(const char *feature)
{
    live_init("SPAWN_FAULTS_PROGRAM");
    live.extra[0] = "--without";
    live.extra[1] = feature;
    harness_start(&live);
}

static void stop(void)
{
    assert_int_equal(harness_stop(&live), 0);
    WAIT_FOR(host_is_clean());
    harness_fini(&live);
}

static void try_life(void)
{
    assert_done(harness_create(&live, KEY));
    assert_contains(ASK(KEY, "stat /workspace"), "mode 40755");
    assert_contains(ASK(KEY, "read /proc/self/status"), "NoNewPrivs:\t1");
    assert_contains(ASK(KEY, "list /dev"), "null");
    assert_contains(ASK(KEY, "fill /dev/shm/x 1"), "written");
    assert_contains(ASK(KEY, "mount /tmp"), "error 1");
    assert_string_equal(ASK(KEY, "forks 200"), "made 63\n");
    assert_contains(ASK(KEY, "fill /tmp/big 300000000"), "error 122");
    assert_contains(ASK(KEY, "alloc 600000000"), "signal 9");
    assert_contains(ASK(KEY, "leave"), "ok");
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, KEY));
    WAIT_FOR(nothing_left());
}

static void try_rounds(void)
{
    int fds = 0, mounts = 0;

    for (uint64_t i = 1; i <= 20; i++) {
        if (i == 10) {
            WAIT_FOR(nothing_left());
            fds = count_worker_fds();
            mounts = count_worker_mounts();
        }
        assert_done(harness_create(&live, KEY + i));
        assert_done(harness_simple(&live, SPAWN_OP_DESTROY, KEY + i));
    }
    WAIT_FOR(nothing_left());
    WAIT_FOR(count_worker_fds() <= fds && count_worker_mounts() <= mounts);
}

static void trees_are_built_attached_before_linux_6_15(void **state)
{
    (void)state;
    start_without("detached-trees");
    try_life();
    try_rounds();
    stop();
}

static void images_come_through_a_loop_device_before_linux_6_12(void **state)
{
    (void)state;
    start_without("file-images");
    assert_false(harness_simple(&live, SPAWN_OP_HELLO, 0).hello.features & SPAWN_FEATURE_EROFS_FILE);
    try_life();
    assert_int_equal(count_worker_mounts_of(" /loop/loop"), 1);
    try_rounds();
    stop();
}

static void killing_works_without_cgroup_v2(void **state)
{
    struct spawn_request r;

    (void)state;
    start_without("cgroup-v2");
    assert_false(harness_simple(&live, SPAWN_OP_HELLO, 0).hello.features & SPAWN_FEATURE_CGROUP_KILL);
    try_life();
    assert_done(harness_create(&live, KEY));
    r = harness_request(&live, SPAWN_OP_FREEZE, KEY);
    r.freeze.on = 1;
    assert_int_equal(harness_call(&live, &r).error, EOPNOTSUPP);
    assert_done(harness_simple(&live, SPAWN_OP_STAT, KEY));
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, KEY));
    stop();
}

/* The sweep must find and kill what has no record by the v1 groups alone. */
static void what_has_no_record_is_killed_without_cgroup_v2(void **state)
{
    char path[400];
    struct spawn_reply created;

    (void)state;
    start_without("cgroup-v2");
    created = harness_create(&live, KEY);
    assert_done(created);
    assert_int_equal(harness_stop(&live), 0);
    snprintf(path, sizeof(path), "%s/run/%016llx.meta", live.data, (unsigned long long)KEY);
    assert_int_equal(unlink(path), 0);
    harness_start(&live);
    assert_done(harness_simple(&live, SPAWN_OP_HELLO, 0));
    WAIT_FOR(kill(created.sandbox.host_pid, 0) < 0);
    WAIT_FOR(nothing_left());
    stop();
}

static void the_filter_stands_without_landlock(void **state)
{
    (void)state;
    start_without("landlock");
    assert_int_equal(harness_simple(&live, SPAWN_OP_HELLO, 0).hello.landlock_abi, 0);
    try_life();
    stop();
}

static void full_quota_groups_limit_before_linux_6_7(void **state)
{
    (void)state;
    start_without("simple-quota");
    assert_false(harness_simple(&live, SPAWN_OP_HELLO, 0).hello.features & SPAWN_FEATURE_SIMPLE_QUOTA);
    try_life();
    try_rounds();
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_are_built_attached_before_linux_6_15),
        cmocka_unit_test(images_come_through_a_loop_device_before_linux_6_12),
        cmocka_unit_test(killing_works_without_cgroup_v2),
        cmocka_unit_test(what_has_no_record_is_killed_without_cgroup_v2),
        cmocka_unit_test(the_filter_stands_without_landlock),
        cmocka_unit_test(full_quota_groups_limit_before_linux_6_7),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
