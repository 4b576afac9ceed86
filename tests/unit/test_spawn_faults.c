/*
 * Every named step of making a sandbox is made to fail once. Each time the caller must be told which step it was,
 * and nothing may be left of the attempt.
 */
#include "spawn_live.h"

#include "spawn/step.h"

#define KEY 0xfa17000000000001

/* Kernels without landlock skip its steps; those of the OCI back end and of the way out have tests of their own. */
static bool applies(enum step step)
{
    switch (step) {
    case STEP_LANDLOCK:
    case STEP_LANDLOCK_ENTER:
    case STEP_EGRESS_SOCKETS:
    case STEP_EGRESS_RULES:
    case STEP_EGRESS_ROUTES:
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

static struct spawn_reply create_with_egress(void)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_CREATE, KEY);

    r.create.network = SPAWN_NETWORK_EGRESS;
    return harness_call(&live, &r);
}

/* `after` so many times: 0, the host cannot do it, as is found at the start; else it could then, and cannot any
 * more.
 */
static void fail_egress_at(enum step step, const char *after)
{
    bool could = *after != '0';
    char number[8];
    struct spawn_reply reply;

    snprintf(number, sizeof(number), "%u", step);
    live.extra[0] = "--fail-at";
    live.extra[1] = number;
    live.extra[2] = "--fail-after";
    live.extra[3] = after;
    harness_start(&live);
    reply = harness_simple(&live, SPAWN_OP_HELLO, 0);
    assert_done(reply);
    assert_int_equal((reply.hello.features & SPAWN_FEATURE_EGRESS) != 0, could);
    reply = create_with_egress();
    assert_int_equal(reply.error, could ? EIO : EOPNOTSUPP);
    if (could)
        assert_contains(reply.message, step_name(STEP_NETNS));
    assert_true(harness_simple(&live, SPAWN_OP_DESTROY, KEY).error == ENOENT);
    WAIT_FOR(nothing_left());
    assert_done(harness_create(&live, KEY + 1)); /* without a network there are sandboxes still */
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, KEY + 1));
    WAIT_FOR(nothing_left());
    assert_int_equal(harness_stop(&live), 0);
    WAIT_FOR(host_is_clean());
}

/* D7: there is no sandbox whose way out is not guarded. */
static void a_way_out_that_cannot_be_set_up_is_none(void **state)
{
    (void)state;
    for (enum step step = STEP_EGRESS_SOCKETS; step <= STEP_EGRESS_ROUTES; step++) {
        fail_egress_at(step, "0");
        fail_egress_at(step, step == STEP_EGRESS_ROUTES ? "2" : "1"); /* of IPv4, of IPv6 */
    }
    live.extra[2] = NULL;
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
        cmocka_unit_test(a_way_out_that_cannot_be_set_up_is_none),
    };

    return cmocka_run_group_tests(tests, start_group, end_group);
}
