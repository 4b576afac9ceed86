/* Which messages berm-spawn takes for requests. */
#include "unit.h"

#include "spawn/imager.h"
#include "spawn/request.h"

#include <sys/socket.h>

static const struct spawn_policy policy = {
    .ceiling = { .memory_bytes = UINT64_C(4) << 30,
                 .disk_bytes = UINT64_C(8) << 30,
                 .cpu_millis = 2000,
                 .pids = 1000,
                 .nofile = 8192 },
};

static struct spawn_request good_create(void)
{
    struct spawn_request r = { .version = SPAWN_WIRE_VERSION, .op = SPAWN_OP_CREATE, .serial = 1, .key = 7 };

    r.create.limits = (struct spawn_limits){
        .memory_bytes = 1u << 30, .disk_bytes = 1u << 30, .cpu_millis = 1000, .pids = 512, .nofile = 1024
    };
    memcpy(r.create.hostname, "box", 4);
    return r;
}

static int check(const struct spawn_request *r, struct berm_error *err)
{
    struct spawn_request out;

    return spawn_request_check(r, sizeof(*r), &policy, &out, err);
}

#define assert_refused(request, number)                                                                            \
    do {                                                                                                           \
        struct berm_error err_ = { 0 };                                                                            \
        assert_int_equal(check(&(request), &err_), -1);                                                            \
        assert_int_equal(err_.errnum, (number));                                                                   \
    } while (0)

static void a_complete_create_is_accepted(void **state)
{
    struct spawn_request r = good_create();

    (void)state;
    assert_int_equal(check(&r, NULL), 0);
}

static void only_messages_of_exactly_one_request_are_requests(void **state)
{
    struct spawn_request r = good_create(), out;
    char longer[sizeof(r) + 1] = { 0 };
    struct berm_error err;

    (void)state;
    memcpy(longer, &r, sizeof(r));
    for (size_t n = 0; n <= sizeof(longer); n++) {
        int rc = spawn_request_check(longer, n, &policy, &out, &err);
        assert_int_equal(rc, n == sizeof(r) ? 0 : -1);
        if (rc < 0)
            assert_int_equal(err.errnum, EPROTO);
    }
}

static void another_wire_version_is_refused(void **state)
{
    struct spawn_request r = good_create();

    (void)state;
    r.version++;
    assert_refused(r, EPROTO);
}

static void serial_zero_belongs_to_events(void **state)
{
    struct spawn_request r = good_create();

    (void)state;
    r.serial = 0;
    assert_refused(r, EINVAL);
}

static void requests_about_a_sandbox_need_a_key(void **state)
{
    static const uint32_t keyed[] = { SPAWN_OP_CREATE,       SPAWN_OP_SET_LIMITS,    SPAWN_OP_KILL,
                                      SPAWN_OP_DESTROY,      SPAWN_OP_STAT,          SPAWN_OP_SOCKET,
                                      SPAWN_OP_FREEZE,       SPAWN_OP_VOLUME_CREATE, SPAWN_OP_VOLUME_DELETE,
                                      SPAWN_OP_VOLUME_MOUNT, SPAWN_OP_COMMIT,        SPAWN_OP_IMAGE_DELETE };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(keyed); i++) {
        struct spawn_request r = good_create();
        r.op = keyed[i];
        r.key = 0;
        assert_refused(r, EINVAL);
    }
}

static void unknown_operations_are_refused(void **state)
{
    static const uint32_t ops[] = { 0, 16, 50, SPAWN_OP_EVENT, UINT32_MAX };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
        struct spawn_request r = good_create();
        r.op = ops[i];
        assert_refused(r, EINVAL);
    }
}

static void limits_outside_the_operators_bounds_are_refused(void **state)
{
    const struct spawn_limits good = good_create().create.limits;
    struct spawn_limits bad[10];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        bad[i] = good;
    bad[0].memory_bytes = policy.ceiling.memory_bytes + 1;
    bad[1].memory_bytes = SPAWN_MIN_MEMORY - 1;
    bad[2].disk_bytes = policy.ceiling.disk_bytes + 1;
    bad[3].disk_bytes = 0;
    bad[4].cpu_millis = policy.ceiling.cpu_millis + 1;
    bad[5].cpu_millis = 0;
    bad[6].pids = policy.ceiling.pids + 1;
    bad[7].pids = 0;
    bad[8].nofile = policy.ceiling.nofile + 1;
    bad[9].nofile = 0;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct spawn_request r = good_create();
        r.create.limits = bad[i];
        assert_refused(r, ERANGE);
        r = good_create();
        r.op = SPAWN_OP_SET_LIMITS;
        r.limits = bad[i];
        assert_refused(r, ERANGE);
    }
}

static void host_names_are_letters_digits_and_hyphens(void **state)
{
    static const char *const bad[] = { "", "a b", "a/b", "..", "a\nb", "caf\xc3\xa9", "a_b", "a.b" };
    struct spawn_request r = good_create();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        memset(r.create.hostname, 0, sizeof(r.create.hostname));
        memcpy(r.create.hostname, bad[i], strlen(bad[i]));
        assert_refused(r, EINVAL);
    }
    memset(r.create.hostname, 'a', sizeof(r.create.hostname)); /* no end */
    assert_refused(r, EINVAL);
    r.create.hostname[63] = '\0';
    assert_int_equal(check(&r, NULL), 0);
}

static void back_ends_and_networks_must_be_known(void **state)
{
    struct spawn_request r = good_create(), out;
    struct spawn_policy with_oci = policy, with_egress = policy;

    (void)state;
    r.create.network = 2;
    assert_refused(r, EINVAL);
    r.create.network = SPAWN_NETWORK_EGRESS;
    assert_refused(r, EOPNOTSUPP);
    with_egress.egress = true;
    assert_int_equal(spawn_request_check(&r, sizeof(r), &with_egress, &out, NULL), 0);
    r = good_create();
    r.create.backend = 2;
    assert_refused(r, EINVAL);
    r.create.backend = SPAWN_BACKEND_OCI;
    assert_refused(r, EOPNOTSUPP);
    with_oci.oci = true;
    assert_int_equal(spawn_request_check(&r, sizeof(r), &with_oci, &out, NULL), 0);
}

static void sockets_are_internet_streams_or_datagrams(void **state)
{
    struct spawn_request r = { .version = SPAWN_WIRE_VERSION, .op = SPAWN_OP_SOCKET, .serial = 1, .key = 7 };

    (void)state;
    r.socket = (struct spawn_socket){ AF_INET, SOCK_STREAM };
    assert_int_equal(check(&r, NULL), 0);
    r.socket = (struct spawn_socket){ AF_INET6, SOCK_DGRAM };
    assert_int_equal(check(&r, NULL), 0);
    r.socket = (struct spawn_socket){ AF_INET, SOCK_RAW };
    assert_refused(r, EINVAL);
    r.socket = (struct spawn_socket){ AF_INET, SOCK_STREAM | SOCK_NONBLOCK };
    assert_refused(r, EINVAL);
    r.socket = (struct spawn_socket){ AF_PACKET, SOCK_DGRAM };
    assert_refused(r, EINVAL);
}

static void counts_and_switches_have_bounds(void **state)
{
    struct spawn_request r = { .version = SPAWN_WIRE_VERSION, .op = SPAWN_OP_PREPARE, .serial = 1, .key = 7 };

    (void)state;
    r.prepare.slots = SPAWN_MAX_READY + 1;
    assert_refused(r, ERANGE);
    r.op = SPAWN_OP_FREEZE;
    r.freeze.on = 2;
    assert_refused(r, EINVAL);
}

static void volumes_have_limits_and_numbers(void **state)
{
    struct spawn_request r = { .version = SPAWN_WIRE_VERSION, .op = SPAWN_OP_VOLUME_CREATE, .serial = 1, .key = 7 };

    (void)state;
    r.volume.disk_bytes = policy.ceiling.disk_bytes;
    assert_int_equal(check(&r, NULL), 0);
    r.volume.disk_bytes++;
    assert_refused(r, ERANGE);
    r.volume.disk_bytes = 0;
    assert_refused(r, ERANGE);
    r.op = SPAWN_OP_VOLUME_MOUNT;
    r.volume_mount = (struct spawn_volume_mount){ .number = 1, .fd = 7, .read_only = 1 };
    assert_int_equal(check(&r, NULL), 0);
    r.volume_mount.read_only = 2;
    assert_refused(r, EINVAL);
    r.volume_mount = (struct spawn_volume_mount){ .number = 1, .fd = UINT32_C(0x80000000) };
    assert_refused(r, EINVAL);
    r.volume_mount = (struct spawn_volume_mount){ .number = 0 };
    assert_refused(r, EINVAL);
    r = (struct spawn_request){ .version = SPAWN_WIRE_VERSION, .op = SPAWN_OP_VOLUME_LIST, .serial = 1 };
    assert_int_equal(check(&r, NULL), 0);
}

static void images_of_sandboxes_have_numbers(void **state)
{
    struct spawn_request r = { .version = SPAWN_WIRE_VERSION, .op = SPAWN_OP_COMMIT, .serial = 1, .key = 7 };

    (void)state;
    assert_refused(r, EINVAL);
    r.commit.number = UINT64_MAX;
    assert_int_equal(check(&r, NULL), 0);
    r = (struct spawn_request){ .version = SPAWN_WIRE_VERSION, .op = SPAWN_OP_IMAGE_LIST, .serial = 1 };
    assert_int_equal(check(&r, NULL), 0);
    r.op = SPAWN_OP_IMAGE_DELETE;
    assert_refused(r, EINVAL);
}

/* Other daemons have images in the same store, and people give names, too. */
static void only_a_whole_name_of_ours_is_the_number_of_an_image(void **state)
{
    static const char *const others[] = { "commit-ab-12-0123456789abcde",
                                          "commit-ab-12-0123456789abcdeg",
                                          "commit-ab-12-0123456789ABCDEF",
                                          "commit-ab-120123456789abcdef",
                                          "commit-ab-1-0123456789abcdef",
                                          "commit-0123456789abcdef",
                                          "commit-ab-12-10123456789abcdef",
                                          "base",
                                          "",
                                          "-" };
    char name[IMAGER_NAME_SIZE];
    uint64_t number;

    (void)state;
    imager_name("ab-12", UINT64_C(0x0123456789abcdef), name);
    assert_string_equal(name, "commit-ab-12-0123456789abcdef");
    assert_true(imager_number("ab-12", name, &number));
    assert_int_equal(number, UINT64_C(0x0123456789abcdef));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_false(imager_number("ab-12", others[i], &number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_of_sandboxes_have_numbers),
        cmocka_unit_test(only_a_whole_name_of_ours_is_the_number_of_an_image),
        cmocka_unit_test(a_complete_create_is_accepted),
        cmocka_unit_test(only_messages_of_exactly_one_request_are_requests),
        cmocka_unit_test(another_wire_version_is_refused),
        cmocka_unit_test(serial_zero_belongs_to_events),
        cmocka_unit_test(requests_about_a_sandbox_need_a_key),
        cmocka_unit_test(unknown_operations_are_refused),
        cmocka_unit_test(limits_outside_the_operators_bounds_are_refused),
        cmocka_unit_test(host_names_are_letters_digits_and_hyphens),
        cmocka_unit_test(back_ends_and_networks_must_be_known),
        cmocka_unit_test(sockets_are_internet_streams_or_datagrams),
        cmocka_unit_test(counts_and_switches_have_bounds),
        cmocka_unit_test(volumes_have_limits_and_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
