/*
 * A dialler that moves from one network to another: two of them lead from its network namespace to the listener's.
 * Needs root, for the namespaces.
 */
#include "quic_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>

static int outside, edge_side = -1;

static void in_namespace(int fd)
{
    assert_int_equal(setns(fd, CLONE_NEWNET), 0);
}

static int own_namespace(void)
{
    return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* ip(8) with these words, in the namespace that we are in. */
static void ip(const char *words)
{
    char line[128], *argv[16] = { (char *)(uintptr_t) "ip" }, *rest = line;
    size_t n = 1;
    int status;
    pid_t pid;

    snprintf(line, sizeof(line), "%s", words);
    while ((argv[n] = strsep(&rest, " ")))
        n++;
    assert_int_equal(posix_spawnp(&pid, "ip", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("ip %s", words);
}

/* The listener is at 10.9.9.9, behind 10.1.0.1 and behind 10.2.0.1. We are left in the dialler's namespace. */
static void make_networks(void)
{
    char words[128];

    assert_int_equal(unshare(CLONE_NEWNET), 0);
    edge_side = own_namespace();
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    for (int i = 1; i <= 2; i++) {
        snprintf(words, sizeof(words), "link add home%d type veth peer name edge%d netns /proc/%d/fd/%d", i, i,
                 getpid(), edge_side);
        ip(words);
        snprintf(words, sizeof(words), "address add 10.%d.0.2/24 dev home%d", i, i);
        ip(words);
        snprintf(words, sizeof(words), "link set home%d up", i);
        ip(words);
    }
    ip("route add default via 10.1.0.1");
}

static void make_edge_side(void)
{
    ip("link set lo up");
    ip("address add 10.9.9.9/32 dev lo");
    ip("address add 10.1.0.1/24 dev edge1");
    ip("address add 10.2.0.1/24 dev edge2");
    ip("link set edge1 up");
    ip("link set edge2 up");
}

static int setup_networks(void **state)
{
    struct berm_error err = { 0 };
    int home;

    (void)state;
    if (geteuid() != 0)
        return 0;
    outside = own_namespace();
    make_networks();
    home = own_namespace();
    loop = loop_new();
    make_files();
    listener_address = (struct link_address){ .v4 = { .sin_family = AF_INET }, .len = sizeof(struct sockaddr_in) };
    in_namespace(edge_side);
    make_edge_side();
    start_listener(); /* at any address: it answers from the one that was asked */
    in_namespace(home);
    close(home);
    listener_address.v4.sin_addr.s_addr = inet_addr("10.9.9.9");
    end_start(&dialler, &dialler_role, credentials_for_dialling(file_named("authority.crt"), &err));
    return 0;
}

static int teardown_networks(void **state)
{
    if (geteuid() != 0)
        return 0;
    teardown(state);
    in_namespace(outside);
    close(edge_side);
    close(outside);
    return 0;
}

static void skip_without_root(void)
{
    if (geteuid() != 0)
        skip();
}

/* Where the listener sends to now. */
static struct in_addr seen_address(void)
{
    const ngtcp2_addr *remote = &ngtcp2_conn_get_path(quic_link_of(listener.link)->conn)->remote;
    struct sockaddr_in address;

    memcpy(&address, remote->addr, sizeof(address));
    return address.sin_addr;
}

/* Bytes cross in both directions. */
static bool crosses(int near, int far)
{
    static char p[1 << 16];
    bool there, back;

    if (write(near, "there", 5) < 0 || write(far, "back", 4) < 0)
        return false;
    turn();
    there = read(far, p, sizeof(p)) > 0;
    back = read(near, p, sizeof(p)) > 0;
    return there && back;
}

static void test_another_way_is_taken_when_routes_change(void **state)
{
    int near, far;

    (void)state;
    skip_without_root();
    connect_ends(&listener_address);
    near = open_pair(&far);
    WAIT_FOR(crosses(near, far));
    assert_int_equal(seen_address().s_addr, inet_addr("10.1.0.2"));
    /* The old way is still there, but it is not the one to take. */
    ip("route replace default via 10.2.0.1");
    WAIT_FOR((crosses(near, far), seen_address().s_addr == inet_addr("10.2.0.2")));
    WAIT_FOR(crosses(near, far));
    /* And back, by pulling the plug. */
    ip("link set home2 down");
    ip("route replace default via 10.1.0.1");
    WAIT_FOR((crosses(near, far), seen_address().s_addr == inet_addr("10.1.0.2")));
    WAIT_FOR(crosses(near, far));
    assert_int_equal(dialler.downs + listener.downs, 0);
    close(near);
    close(far);
}

static void test_without_any_way_a_link_waits_for_one(void **state)
{
    int near, far;

    (void)state;
    skip_without_root();
    connect_ends(&listener_address);
    near = open_pair(&far);
    ip("link set home1 down");
    for (uint64_t end = clock_monotonic_ns() + 1500000000; clock_monotonic_ns() < end;)
        crosses(near, far);
    assert_int_equal(dialler.downs + listener.downs, 0);
    ip("route add default via 10.2.0.1");
    WAIT_FOR((crosses(near, far), seen_address().s_addr == inet_addr("10.2.0.2")));
    WAIT_FOR(crosses(near, far));
    assert_int_equal(dialler.downs + listener.downs, 0);
    close(near);
    close(far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_another_way_is_taken_when_routes_change, setup_networks,
                                        teardown_networks),
        cmocka_unit_test_setup_teardown(test_without_any_way_a_link_waits_for_one, setup_networks,
                                        teardown_networks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
