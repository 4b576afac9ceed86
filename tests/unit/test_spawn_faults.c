/*
 * Every named step of making a sandbox is made to fail once. Each time the caller must be told which step it was,
 * and nothing may be left of the attempt.
 */
#include "spawn_live.h"

#include "spawn/step.h"

#define KEY 0xfa17000000000001

/* Kernels without landlock skip its steps; those of the OCI back end have a test of their own. */
static bool applies(enum step step)
{
    switch (step) {
    case STEP_LANDLOCK:
    case STEP_LANDLOCK_ENTER:
    case STEP_OCI_BUNDLE:
    case STEP_OCI_HOST:
    case STEP_OCI_EXEC:
        return false;
    default:
        return true;
    }
}

static void walk_one(enum step step)
{
    struct spawn_reply reply;
    char number[8];
    int fds, mounts;

    snprintf(number, sizeof(number), "%u", step);
    live.extra[0] = "--fail-at";
    live.extra[1] = number;
    harness_start(&live);
    assert_done(harness_simple(&live, SPAWN_OP_HELLO, 0));
    fds = count_worker_fds();
    mounts = count_worker_mounts();
    reply = harness_create(&live, KEY);
    if (reply.error == 0 && !applies(step)) {
        harness_simple(&live, SPAWN_OP_DESTROY, KEY);
    } else {
        if (reply.error != EIO || !strstr(reply.message, step_name(step)))
            fail_msg("step \"%s\": error %d, %s", step_name(step), reply.error, reply.message);
        assert_true(harness_simple(&live, SPAWN_OP_DESTROY, KEY).error == ENOENT);
    }
    WAIT_FOR(nothing_left());
    if (count_worker_fds() > fds + 1) /* the image stays mounted for a while, with its lock's descriptor */
        fail_msg("step \"%s\" leaves descriptors", step_name(step));
    if (count_worker_mounts() > mounts + 1)
        fail_msg("step \"%s\" leaves mounts", step_name(step));
    assert_int_equal(harness_stop(&live), 0);
    WAIT_FOR(host_is_clean());
}

static void a_failure_at_any_step_is_named_and_undone(void **state)
{
    (void)state;
    for (enum step step = 0; step < STEP_COUNT; step++)
        walk_one(step);
}

static void a_failure_while_slots_are_prepared_is_undone_too(void **state)
{
    static const enum step steps[] = { STEP_USERNS,    STEP_LISTEN, STEP_NETNS,  STEP_CGROUP,
                                       STEP_SUBVOLUME, STEP_QUOTA,  STEP_OVERLAY };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        char number[8];
        struct spawn_request r;
        snprintf(number, sizeof(number), "%u", steps[i]);
        live.extra[1] = number;
        harness_start(&live);
        r = harness_request(&live, SPAWN_OP_PREPARE, 0);
        r.prepare.slots = 3;
        assert_done(harness_call(&live, &r));
        pause_ms(20); /* it is tried at once, and then not again for a second */
        if (steps[i] != STEP_OVERLAY)
            WAIT_FOR(nothing_left());
        assert_int_equal(harness_stop(&live), 0);
        WAIT_FOR(host_is_clean());
    }
}

static int start_group(void **state)
{
    (void)state;
    return live_init("SPAWN_FAULTS_PROGRAM");
}

static int end_group(void **state)
{
    (void)state;
    harness_fini(&live);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_at_any_step_is_named_and_undone),
        cmocka_unit_test(a_failure_while_slots_are_prepared_is_undone_too),
    };

    return cmocka_run_group_tests(tests, start_group, end_group);
}
