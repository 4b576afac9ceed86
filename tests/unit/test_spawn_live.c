/* Real sandboxes, seen from inside by the probe that runs in place of the agent, and from outside. */
#include "spawn_live.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/file.h>

#define ASK(...) harness_ask(&live, __VA_ARGS__)

static uint64_t next_key = 0xabc0000000000000;
static uint64_t box; /* of the running test */

static int start_group(void **state)
{
    (void)state;
    live_init("SPAWN_PROGRAM");
    harness_start(&live);
    return 0;
}

static int end_group(void **state)
{
    (void)state;
    harness_stop(&live);
    WAIT_FOR(host_is_clean()); /* the kernel detaches loop devices some time after their last user */
    harness_fini(&live);
    return 0;
}

static int create_box(void **state)
{
    (void)state;
    box = next_key++;
    assert_done(harness_create(&live, box));
    return 0;
}

static int destroy_box(void **state)
{
    (void)state;
    harness_simple(&live, SPAWN_OP_DESTROY, box);
    WAIT_FOR(nothing_left());
    return 0;
}

/* --- from inside --- */

static void the_root_is_the_image_with_a_writable_layer(void **state)
{
    (void)state;
    assert_contains(ASK(box, "stat /"), "mode 40755 uid 0 gid 0");
    assert_contains(ASK(box, "stat /workspace"), "mode 40755 uid 0 gid 0");
    assert_contains(ASK(box, "stat /tmp"), "mode 41777");
    assert_contains(ASK(box, "mkdir /workspace/new"), "ok");
    assert_contains(ASK(box, "fill /etc/passwd 100"), "written 65536");
    assert_contains(ASK(box, "rename /usr /bin/usr"), "ok"); /* a directory of the image */
}

static void nothing_of_the_host_is_mounted(void **state)
{
    const char *mounts;

    (void)state;
    mounts = ASK(box, "read /proc/self/mountinfo");
    assert_null(strstr(mounts, live.base));
    assert_null(strstr(mounts, "btrfs"));
    assert_null(strstr(mounts, "ext4"));
    assert_contains(mounts, " / / rw,nosuid,nodev");
}

static void only_four_descriptors_are_open(void **state)
{
    const char *fds = ASK(box, "fds");

    (void)state;
    assert_contains(fds, "0 /dev/null\n1 /dev/null\n2 /dev/null\n3 socket:");
    assert_contains(fds, "4 socket:"); /* the connection that asks */
    assert_null(strstr(fds, "\n5 "));
}

static void root_inside_has_few_rights_and_cannot_get_more(void **state)
{
    const char *status = ASK(box, "read /proc/self/status");

    (void)state;
    assert_contains(status, "CapInh:\t0000000000000000");
    assert_contains(status, "CapPrm:\t00000000800405fb");
    assert_contains(status, "CapEff:\t00000000800405fb");
    assert_contains(status, "CapBnd:\t00000000800405fb");
    assert_contains(status, "CapAmb:\t0000000000000000");
    assert_contains(status, "NoNewPrivs:\t1");
    assert_contains(status, "Seccomp:\t2");
    assert_contains(status, "Groups:\t \n");
    assert_contains(status, "NSpid:\t1\n");
    assert_contains(status, "SigIgn:\t0000000000000000");
    assert_contains(status, "SigBlk:\t0000000000000000");
}

static void its_ids_are_nobody_outside(void **state)
{
    char path[64], line[64];
    struct spawn_reply list;

    (void)state;
    assert_contains(ASK(box, "read /proc/self/uid_map"), "65536");
    harness_send(&live,
                 &(struct spawn_request){ .version = SPAWN_WIRE_VERSION, .op = SPAWN_OP_LIST, .serial = 1000000 });
    list = harness_receive(&live, NULL, 1);
    harness_receive(&live, NULL, 0);
    snprintf(path, sizeof(path), "/proc/%d/status", list.sandbox.host_pid);
    snprintf(line, sizeof(line), "Uid:\t%u\t%u\t%u\t%u", list.sandbox.uid_base, list.sandbox.uid_base,
             list.sandbox.uid_base, list.sandbox.uid_base);
    assert_true(list.sandbox.uid_base >= 0x80000000);
    assert_int_equal(count_lines(path, line), 1);
}

static void names_are_its_own(void **state)
{
    char name[40];

    (void)state;
    snprintf(name, sizeof(name), "box-%llx\n", (unsigned long long)box);
    assert_string_equal(ASK(box, "read /etc/hostname"), name);
    assert_string_equal(ASK(box, "read /proc/sys/kernel/hostname"), name);
    assert_contains(ASK(box, "read /etc/hosts"), "127.0.0.1\tlocalhost");
    assert_contains(ASK(box, "read /etc/hosts"), name);
}

static void its_network_is_a_loopback(void **state)
{
    (void)state;
    assert_contains(ASK(box, "list /sys/class/net"), "lo");
    assert_null(strstr(ASK(box, "read /proc/net/dev"), "eth"));
    assert_contains(ASK(box, "read /proc/sys/net/ipv4/ip_unprivileged_port_start"), "0\n");
    assert_contains(ASK(box, "read /proc/sys/net/ipv4/tcp_congestion_control"), "reno\n");
}

static void control_groups_look_like_roots(void **state)
{
    const char *groups = ASK(box, "read /proc/self/cgroup");

    (void)state;
    assert_null(strstr(groups, "berm"));
    assert_contains(groups, ":/\n");
}

static void masked_and_read_only_paths_are_so(void **state)
{
    static const char *const writes[] = { "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
                                          "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger",
                                          "/sys/kernel/mm/ksm/run",        "/sys/kernel/uevent_helper" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
        assert_contains(ASK(box, "write %s 1", writes[i]), "error");
    assert_string_equal(ASK(box, "read /proc/keys"), "");
    assert_string_equal(ASK(box, "read /proc/interrupts"), "");
    assert_contains(ASK(box, "read /proc/timer_list"), "error");
    assert_string_equal(ASK(box, "list /sys/firmware"), ".\n..\n");
    assert_contains(ASK(box, "read /proc/kmsg"), "error");
    assert_contains(ASK(box, "fill /dev/new 1"), "error 30");
    assert_contains(ASK(box, "fill /dev/shm/new 1"), "written");
}

static void the_agent_is_out_of_reach_of_root_inside(void **state)
{
    (void)state;
    assert_contains(ASK(box, "open /proc/1/mem 2"), "error 13");
    assert_contains(ASK(box, "open /proc/1/environ 0"), "error 13");
    assert_contains(ASK(box, "list /proc/1/fd"), ""); /* its own, for it is pid 1 that asks */
    assert_contains(ASK(box, "trace1"), "error 1");
    assert_contains(ASK(box, "kill1"), "ok");
    assert_contains(ASK(box, "stat /"), "mode"); /* still there */
    assert_contains(ASK(box, "open /proc/1/exe 1"), "error");
}

static void no_device_namespace_or_mount_can_be_made(void **state)
{
    (void)state;
    assert_contains(ASK(box, "mknod /tmp/null"), "error 1");
    assert_contains(ASK(box, "mount /tmp"), "error 1");
    assert_contains(ASK(box, "syscall 272 0x10000000"), "error 1"); /* unshare(CLONE_NEWUSER) */
    assert_contains(ASK(box, "syscall 435 0 0"), "error 38");       /* clone3 */
    assert_contains(ASK(box, "syscall 41 38 5 0"), "error 97");     /* socket(AF_ALG) */
    assert_contains(ASK(box, "call32"), "signal 31");
}

/* --- limits --- */

static void the_disk_limit_is_exact_and_not_a_memory_limit(void **state)
{
    struct spawn_reply reply;
    const char *answer;
    long long written;

    (void)state;
    answer = ASK(box, "fill /tmp/big 300000000");
    assert_contains(answer, "error 122");
    written = strtoll(strstr(answer, "written") + 8, NULL, 10);
    assert_true(written <= 64 << 20 && written > 62 << 20);
    reply = harness_simple(&live, SPAWN_OP_STAT, box);
    assert_done(reply);
    assert_int_equal(reply.stat.oom_kills, 0);
    assert_true(reply.stat.disk_bytes >= (uint64_t)written && reply.stat.disk_bytes <= 64 << 20);
    /* A full disk can be cleared up. */
    assert_contains(ASK(box, "unlink /tmp/big"), "ok");
    assert_contains(ASK(box, "fill /tmp/small 1000000"), "written 1048576");
}

static void the_memory_limit_kills_inside_only(void **state)
{
    struct spawn_reply reply;

    (void)state;
    assert_contains(ASK(box, "alloc 600000000"), "signal 9");
    reply = harness_simple(&live, SPAWN_OP_STAT, box);
    assert_done(reply);
    assert_int_equal(reply.stat.oom_kills, 1);
    assert_true(reply.stat.memory_peak_bytes <= 256 << 20);
    assert_contains(ASK(box, "alloc 100000000"), "exit 0");
}

static void the_pids_limit_holds(void **state)
{
    (void)state;
    assert_string_equal(ASK(box, "forks 200"), "made 63\n");
}

static void limits_can_be_changed_while_it_runs(void **state)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_SET_LIMITS, box);

    (void)state;
    r.limits = harness_request(&live, SPAWN_OP_CREATE, box).create.limits;
    r.limits.pids = 10;
    r.limits.disk_bytes = 8 << 20;
    r.limits.memory_bytes = 512 << 20;
    assert_done(harness_call(&live, &r));
    assert_string_equal(ASK(box, "forks 200"), "made 9\n");
    assert_contains(ASK(box, "fill /tmp/big 20000000"), "error 122");
    assert_contains(ASK(box, "alloc 400000000"), "exit 0");
}

/* --- control --- */

static void a_socket_made_inside_reaches_its_loopback(void **state)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_SOCKET, box);
    struct spawn_reply reply;
    int fd = -EBADF;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(3000) };

    (void)state;
    r.socket = (struct spawn_socket){ AF_INET, SOCK_STREAM };
    harness_send(&live, &r);
    reply = harness_receive(&live, &fd, 0);
    assert_done(reply);
    assert_true(fd >= 0);
    address.sin_addr.s_addr = htonl(0x7f000001);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, ECONNREFUSED); /* the probe does not listen there; the host's port is another one */
    close_fd(&fd);
    /* Its namespace has no route anywhere. */
    harness_send(&live, &(struct spawn_request){ .version = SPAWN_WIRE_VERSION,
                                                 .op = SPAWN_OP_SOCKET,
                                                 .serial = ++live.serial,
                                                 .key = box,
                                                 .socket = { AF_INET, SOCK_DGRAM } });
    assert_done(harness_receive(&live, &fd, 0));
    address.sin_addr.s_addr = htonl(0x08080808);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, ENETUNREACH);
    close_fd(&fd);
}

static void freezing_stops_it_and_thawing_goes_on(void **state)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_FREEZE, box);

    (void)state;
    r.freeze.on = 1;
    assert_done(harness_call(&live, &r));
    r = harness_request(&live, SPAWN_OP_FREEZE, box);
    assert_done(harness_call(&live, &r));
    assert_contains(ASK(box, "stat /"), "mode");
}

static void a_frozen_sandbox_can_be_destroyed(void **state)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_FREEZE, box);

    (void)state;
    r.freeze.on = 1;
    assert_done(harness_call(&live, &r));
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, box));
    WAIT_FOR(nothing_left());
}

/* --- the end --- */

static struct spawn_reply wait_exit(void)
{
    struct spawn_reply event = harness_receive(&live, NULL, 1);

    assert_int_equal(event.op, SPAWN_OP_EVENT);
    assert_int_equal(event.event, SPAWN_EVENT_EXIT);
    assert_int_equal(event.key, box);
    assert_int_equal(event.sandbox.state, SPAWN_STATE_EXITED);
    return event;
}

static void the_exit_status_is_told(void **state)
{
    struct spawn_reply event;

    (void)state;
    ASK(box, "exit 3");
    event = wait_exit();
    assert_int_equal(event.sandbox.end_reason, SPAWN_END_EXITED);
    assert_int_equal(event.sandbox.exit_status, 3);
    assert_int_equal(harness_simple(&live, SPAWN_OP_SOCKET, box).error, EINVAL); /* no family */
    assert_int_equal(count_subvolumes(), 1);                                     /* until DESTROY */
}

static void an_agent_out_of_memory_is_told_apart(void **state)
{
    struct spawn_reply event;

    (void)state;
    ASK(box, "eat 900000000");
    event = wait_exit();
    assert_int_equal(event.sandbox.end_reason, SPAWN_END_OOM);
    assert_int_equal(event.sandbox.exit_status, SIGKILL);
    assert_true(event.sandbox.oom_kills > 0);
}

static void kill_ends_every_process(void **state)
{
    struct spawn_reply event;

    (void)state;
    assert_contains(ASK(box, "leave"), "ok");
    assert_contains(ASK(box, "leave"), "ok");
    WAIT_FOR(harness_simple(&live, SPAWN_OP_STAT, box).stat.pids == 3);
    assert_done(harness_simple(&live, SPAWN_OP_KILL, box));
    event = wait_exit();
    assert_int_equal(event.sandbox.end_reason, SPAWN_END_KILLED);
    WAIT_FOR(harness_simple(&live, SPAWN_OP_STAT, box).stat.pids == 0);
}

static void destroyed_means_unknown_and_its_key_can_be_used_again(void **state)
{
    (void)state;
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, box));
    WAIT_FOR(nothing_left());
    assert_int_equal(harness_simple(&live, SPAWN_OP_STAT, box).error, ENOENT);
    assert_int_equal(harness_simple(&live, SPAWN_OP_DESTROY, box).error, ENOENT);
    assert_done(harness_create(&live, box));
    assert_int_equal(harness_create(&live, box).error, EEXIST);
    assert_contains(ASK(box, "stat /"), "mode");
}

static void the_next_sandbox_finds_nothing_of_the_last(void **state)
{
    (void)state;
    assert_contains(ASK(box, "fill /workspace/secret 1000"), "written");
    assert_contains(ASK(box, "fill /dev/shm/secret 1000"), "written");
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, box));
    box = next_key++;
    assert_done(harness_create(&live, box));
    assert_contains(ASK(box, "stat /workspace/secret"), "error 2");
    assert_contains(ASK(box, "stat /dev/shm/secret"), "error 2");
}

/* --- refusals --- */

static void an_image_that_is_not_installed_is_not_found(void **state)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_CREATE, next_key++);

    (void)state;
    memset(r.create.image_digest, 9, sizeof(r.create.image_digest));
    assert_int_equal(harness_call(&live, &r).error, ENOENT);
    WAIT_FOR(nothing_left());
}

static void an_image_that_others_can_write_is_refused(void **state)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_CREATE, next_key++);
    char tree[300], file[450], hex[65];
    uint8_t before[32];

    (void)state;
    memcpy(before, live.digest, sizeof(before));
    snprintf(tree, sizeof(tree), "%s/tree", live.base);
    harness_install_image(&live, tree, 2);
    memcpy(r.create.image_digest, live.digest, sizeof(live.digest));
    hex_encode(live.digest, 32, hex);
    snprintf(file, sizeof(file), "%s/%s/rootfs.erofs", live.images, hex);
    assert_int_equal(chmod(file, 0666), 0);
    assert_int_equal(harness_call(&live, &r).error, EACCES);
    memcpy(live.digest, before, sizeof(before));
    WAIT_FOR(nothing_left());
}

static void an_image_in_use_is_locked(void **state)
{
    char path[450], hex[65];
    _cleanup_close_ int fd = -EBADF;

    (void)state;
    hex_encode(live.digest, 32, hex);
    snprintf(path, sizeof(path), "%s/%s", live.images, hex);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, box));
    WAIT_FOR(flock(fd, LOCK_EX | LOCK_NB) == 0);
    box = next_key++;
    assert_int_equal(harness_create(&live, box).error, ENOENT); /* it is being removed */
    flock(fd, LOCK_UN);
    box = next_key++;
    assert_done(harness_create(&live, box));
}

static void nonsense_is_answered_with_an_error(void **state)
{
    char bytes[sizeof(struct spawn_request) + 100] = { 0 };
    const size_t sizes[] = { 1,
                             16,
                             sizeof(struct spawn_request) - 1,
                             sizeof(struct spawn_request),
                             sizeof(struct spawn_request) + 1,
                             sizeof(bytes) };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_int_equal(send(live.sock, bytes, sizes[i], 0), (ssize_t)sizes[i]);
        assert_int_equal(harness_receive(&live, NULL, 0).error, EPROTO);
    }
    assert_contains(ASK(box, "stat /"), "mode");
}

/* An image whose every interesting name is a trap. */
static void a_hostile_image_leads_nowhere(void **state)
{
    static const char *const links[][2] = {
        { "/etc", "proc" },         { "/proc/self/fd", "dev" },       { "../../../../../etc", "sys" },
        { "/root/nowhere", "tmp" }, { "/proc/self/root/etc", "etc" }, { "/dev/shm", "workspace" },
    };
    char tree[300], path[400], hosts[256];
    uint8_t before[32];
    uint64_t key = next_key++;
    struct spawn_request r;
    struct stat st;

    (void)state;
    assert_int_equal(stat("/etc/hostname", &st) == 0 || errno == ENOENT, 1);
    memcpy(before, live.digest, sizeof(before));
    snprintf(tree, sizeof(tree), "%s/hostile", live.base);
    assert_int_equal(mkdir(tree, 0755), 0);
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        snprintf(path, sizeof(path), "%s/%s", tree, links[i][1]);
        assert_int_equal(symlink(links[i][0], path), 0);
    }
    harness_install_image(&live, tree, 3);
    r = harness_request(&live, SPAWN_OP_CREATE, key);
    memcpy(live.digest, before, sizeof(before));
    assert_done(harness_call(&live, &r));
    assert_contains(ASK(key, "stat /proc"), "mode 40555");
    assert_contains(ASK(key, "stat /dev"), "mode 40755");
    assert_contains(ASK(key, "stat /tmp"), "mode 41777");
    assert_contains(ASK(key, "stat /workspace"), "mode 40755");
    assert_contains(ASK(key, "read /proc/self/status"), "NoNewPrivs");
    snprintf(hosts, sizeof(hosts), "box-%llx\n", (unsigned long long)key);
    assert_string_equal(ASK(key, "read /etc/hostname"), hosts);
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, key));
    WAIT_FOR(nothing_left());
}

/* --- many --- */

static void ready_slots_are_used_and_made_again(void **state)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_PREPARE, 0);
    int fds;

    (void)state;
    r.prepare.slots = 4;
    assert_done(harness_call(&live, &r));
    WAIT_FOR(harness_simple(&live, SPAWN_OP_HELLO, 0).hello.ready_slots == 4);
    fds = count_worker_fds();
    for (int i = 0; i < 6; i++) {
        char name[40];
        assert_done(harness_create(&live, next_key + (uint64_t)i));
        /* The slot was made for the name of the sandbox before. */
        snprintf(name, sizeof(name), "box-%llx\n", (unsigned long long)next_key + (unsigned)i);
        assert_string_equal(ASK(next_key + (uint64_t)i, "read /etc/hostname"), name);
        assert_contains(ASK(next_key + (uint64_t)i, "read /etc/hosts"), name);
    }
    for (int i = 0; i < 6; i++)
        assert_done(harness_simple(&live, SPAWN_OP_DESTROY, next_key++));
    WAIT_FOR(harness_simple(&live, SPAWN_OP_HELLO, 0).hello.ready_slots == 4);
    WAIT_FOR(count_worker_fds() <= fds);
    r = harness_request(&live, SPAWN_OP_PREPARE, 0);
    assert_done(harness_call(&live, &r));
    WAIT_FOR(nothing_left()); /* slots that are not wanted any more go */
}

#define MANY 100

static void many_at_once_all_succeed(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < MANY; i++) {
        struct spawn_request r = harness_request(&live, SPAWN_OP_CREATE, next_key + i);
        harness_send(&live, &r);
    }
    for (int i = 0; i < MANY; i++)
        assert_done(harness_receive(&live, NULL, 0));
    for (uint64_t i = 0; i < MANY; i++)
        assert_contains(ASK(next_key + i, "stat /"), "mode");
    for (uint64_t i = 0; i < MANY; i++) {
        struct spawn_request r = harness_request(&live, SPAWN_OP_DESTROY, next_key + i);
        harness_send(&live, &r);
    }
    for (int i = 0; i < MANY; i++)
        assert_done(harness_receive(&live, NULL, 0));
    next_key += MANY;
    WAIT_FOR(nothing_left());
}

static void rounds_leave_the_worker_as_it_was(void **state)
{
    int fds = 0, mounts = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        if (i == 20) {
            WAIT_FOR(nothing_left());
            fds = count_worker_fds();
            mounts = count_worker_mounts();
        }
        assert_done(harness_create(&live, next_key));
        assert_done(harness_simple(&live, SPAWN_OP_DESTROY, next_key++));
    }
    WAIT_FOR(nothing_left());
    WAIT_FOR(count_worker_fds() <= fds && count_worker_mounts() <= mounts);
}

#define WITH_BOX(name) cmocka_unit_test_setup_teardown(name, create_box, destroy_box)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BOX(the_root_is_the_image_with_a_writable_layer),
        WITH_BOX(nothing_of_the_host_is_mounted),
        WITH_BOX(only_four_descriptors_are_open),
        WITH_BOX(root_inside_has_few_rights_and_cannot_get_more),
        WITH_BOX(its_ids_are_nobody_outside),
        WITH_BOX(names_are_its_own),
        WITH_BOX(its_network_is_a_loopback),
        WITH_BOX(control_groups_look_like_roots),
        WITH_BOX(masked_and_read_only_paths_are_so),
        WITH_BOX(the_agent_is_out_of_reach_of_root_inside),
        WITH_BOX(no_device_namespace_or_mount_can_be_made),
        WITH_BOX(the_disk_limit_is_exact_and_not_a_memory_limit),
        WITH_BOX(the_memory_limit_kills_inside_only),
        WITH_BOX(the_pids_limit_holds),
        WITH_BOX(limits_can_be_changed_while_it_runs),
        WITH_BOX(a_socket_made_inside_reaches_its_loopback),
        WITH_BOX(freezing_stops_it_and_thawing_goes_on),
        WITH_BOX(a_frozen_sandbox_can_be_destroyed),
        WITH_BOX(the_exit_status_is_told),
        WITH_BOX(an_agent_out_of_memory_is_told_apart),
        WITH_BOX(kill_ends_every_process),
        WITH_BOX(destroyed_means_unknown_and_its_key_can_be_used_again),
        WITH_BOX(the_next_sandbox_finds_nothing_of_the_last),
        cmocka_unit_test(an_image_that_is_not_installed_is_not_found),
        cmocka_unit_test(an_image_that_others_can_write_is_refused),
        WITH_BOX(an_image_in_use_is_locked),
        WITH_BOX(nonsense_is_answered_with_an_error),
        cmocka_unit_test(a_hostile_image_leads_nowhere),
        cmocka_unit_test(ready_slots_are_used_and_made_again),
        cmocka_unit_test(many_at_once_all_succeed),
        cmocka_unit_test(rounds_leave_the_worker_as_it_was),
    };

    return cmocka_run_group_tests(tests, start_group, end_group);
}
