/*
 * The way out of a sandbox's network namespace: everything that leaves ends at the two sockets that come with the
 * reply, nothing else leaves, and nobody inside can change that. The sockets are read here, in place of the daemon;
 * the client is a child in the sandbox's namespace, as root of the sandbox's user namespace.
 */
#include "spawn_live.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#define KEY         0xe900000000000001
#define PATIENCE_MS 60000

static int fds[SPAWN_EGRESS_FDS];
static pid_t sandbox_pid;

static struct spawn_reply create(uint64_t key, uint32_t network)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_CREATE, key);

    r.create.network = network;
    harness_send(&live, &r);
    return harness_receive_fds(&live, fds, 0);
}

static int start(void **state)
{
    struct spawn_reply reply;

    (void)state;
    live_init("SPAWN_PROGRAM");
    harness_start(&live);
    reply = create(KEY, SPAWN_NETWORK_EGRESS);
    assert_done(reply);
    assert_true(fds[SPAWN_EGRESS_TCP] >= 0 && fds[SPAWN_EGRESS_UDP] >= 0);
    sandbox_pid = reply.sandbox.host_pid;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    close_fd(&fds[0]);
    close_fd(&fds[1]);
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, KEY));
    WAIT_FOR(nothing_left());
    assert_int_equal(harness_stop(&live), 0);
    harness_fini(&live);
    return 0;
}

/* --- the client --- */

static int enter(const char *kind)
{
    char path[64];
    _cleanup_close_ int fd = -EBADF;

    snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)sandbox_pid, kind);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : setns(fd, 0);
}

/* Runs `body` as root inside: what it returns, 0 or an errno. */
static int inside(int (*body)(void *data), void *data)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        if (enter("net") < 0 || enter("user") < 0 || setresuid(0, 0, 0) < 0)
            _exit(255);
        _exit(body(data));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
    return WEXITSTATUS(status);
}

struct target {
    int type;
    const char *source; /* NULL: any */
    const char *address;
    uint16_t port;
    bool hopeless; /* it may wait for nothing: not for long */
};

static struct sockaddr_in6 address_of(const char *text, uint16_t port)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

    assert_int_equal(inet_pton(AF_INET6, text, &a.sin6_addr), 1);
    return a;
}

/* Connects and, with datagrams, asks and waits for an answer. IPv4 by its mapped form. */
static int reach(void *data)
{
    const struct target *t = data;
    struct sockaddr_in6 to = address_of(t->address, t->port);
    _cleanup_close_ int sock = socket(AF_INET6, t->type, 0);
    struct timeval patience = { .tv_sec = t->hopeless ? 0 : 60, .tv_usec = 400000 };
    char answer[16];

    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (t->source) {
        struct sockaddr_in6 from = address_of(t->source, 0);
        if (bind(sock, (struct sockaddr *)&from, sizeof(from)) < 0)
            return errno;
    }
    if (connect(sock, (struct sockaddr *)&to, sizeof(to)) < 0)
        return errno;
    if (t->type == SOCK_STREAM)
        return 0;
    if (send(sock, "ask", 3, 0) < 0 || recv(sock, answer, sizeof(answer), 0) < 0)
        return errno;
    return 0;
}

static int try_target(int type, const char *address, uint16_t port)
{
    return inside(reach, &(struct target){ type, NULL, address, port, false });
}

static void assert_out_of_reach(int type, const char *address, uint16_t port)
{
    struct target t = { type, NULL, address, port, .hopeless = true };

    assert_int_not_equal(inside(reach, &t), 0);
}

static bool readable(int fd, int ms)
{
    struct pollfd p = { fd, POLLIN, 0 };

    return poll(&p, 1, ms) == 1;
}

static void assert_arrived(const char *address, uint16_t port)
{
    struct sockaddr_in6 was, wanted = address_of(address, port);
    socklen_t n = sizeof(was);
    _cleanup_close_ int conn = -EBADF;

    assert_true(readable(fds[SPAWN_EGRESS_TCP], PATIENCE_MS));
    conn = accept4(fds[SPAWN_EGRESS_TCP], NULL, NULL, SOCK_CLOEXEC);
    assert_true(conn >= 0);
    assert_int_equal(getsockname(conn, (struct sockaddr *)&was, &n), 0);
    assert_memory_equal(&was.sin6_addr, &wanted.sin6_addr, 16);
    assert_int_equal(was.sin6_port, wanted.sin6_port);
}

/* --- tests --- */

static void every_connection_comes_to_the_listener_and_tells_where_it_wanted_to(void **state)
{
    static const struct target targets[] = {
        { SOCK_STREAM, NULL, "::ffff:1.2.3.4", 80, false },
        { SOCK_STREAM, NULL, "::ffff:169.254.169.254", 80, false },
        { SOCK_STREAM, NULL, "::ffff:10.1.2.3", 443, false },
        { SOCK_STREAM, NULL, "::ffff:1.2.3.4", 64998, false },
        { SOCK_STREAM, NULL, "2001:db8::1", 443, false },
        { SOCK_STREAM, NULL, "fd00:ec2::254", 80, false },
        { SOCK_STREAM, NULL, "64:ff9b::a9fe:a9fe", 65535, false },
        { SOCK_STREAM, NULL, "::ffff:9.9.9.9", 53, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        struct target t = targets[i];
        assert_int_equal(inside(reach, &t), 0);
        assert_arrived(t.address, t.port);
    }
}

static void its_own_loopback_stays_its_own(void **state)
{
    static const char *const own[] = { "::ffff:127.0.0.1", "::ffff:127.1.2.3", "::1", "::ffff:192.0.0.2",
                                       "fd5c:7be9:4d1f::2" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        assert_int_equal(try_target(SOCK_STREAM, own[i], 9), ECONNREFUSED);
    assert_false(readable(fds[SPAWN_EGRESS_TCP], 0));
}

static void datagrams_other_than_questions_are_refused(void **state)
{
    (void)state;
    assert_int_equal(try_target(SOCK_DGRAM, "::ffff:1.2.3.4", 123), EPERM);
    assert_int_equal(try_target(SOCK_DGRAM, "2001:db8::1", 443), EPERM);
    assert_int_equal(try_target(SOCK_DGRAM, "::ffff:1.2.3.4", 64998), EPERM);
    assert_false(readable(fds[SPAWN_EGRESS_UDP], 0));
}

static void nothing_leaves_with_another_source(void **state)
{
    struct target t = { SOCK_STREAM, "::ffff:127.0.0.1", "::ffff:1.2.3.4", 80, .hopeless = true };

    (void)state;
    assert_int_not_equal(inside(reach, &t), 0);
    t.source = "::ffff:9.9.9.9";
    assert_int_not_equal(inside(reach, &t), 0);
    assert_false(readable(fds[SPAWN_EGRESS_TCP], 0));
}

/* Answers one question from the address that it was sent to, as the resolver does. */
static void answer_one(const char *asked)
{
    char control[256] __attribute__((aligned(8))), question[16];
    struct iovec iov = { question, sizeof(question) };
    struct sockaddr_in6 from, wanted = address_of(asked, 53);
    struct msghdr m = { .msg_name = &from,
                        .msg_namelen = sizeof(from),
                        .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control,
                        .msg_controllen = sizeof(control) };
    const struct cmsghdr *c;
    ssize_t n;

    assert_true(readable(fds[SPAWN_EGRESS_UDP], PATIENCE_MS));
    n = recvmsg(fds[SPAWN_EGRESS_UDP], &m, 0);
    assert_int_equal(n, 3);
    c = CMSG_FIRSTHDR(&m);
    assert_true(c && c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_PKTINFO);
    assert_memory_equal(CMSG_DATA(c), &wanted.sin6_addr, 16);
    iov.iov_len = (size_t)n;
    assert_int_equal(sendmsg(fds[SPAWN_EGRESS_UDP], &m, 0), 3);
}

static void questions_come_to_the_resolver_and_answers_from_whom_was_asked(void **state)
{
    static const char *const servers[] = { "::ffff:192.0.0.1", "::ffff:8.8.8.8", "2001:4860:4860::8888" };
    const int on = 1;

    (void)state;
    assert_int_equal(setsockopt(fds[SPAWN_EGRESS_UDP], SOL_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)), 0);
    for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
        struct target t = { SOCK_DGRAM, NULL, servers[i], 53, false };
        pid_t pid = fork();
        int status;

        if (pid == 0)
            _exit(inside(reach, &t));
        answer_one(servers[i]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

/* One attempt to get hold of the netfilter configuration; the kernel asks for a right over the namespace. */
static int flush_rules(void *data)
{
    const struct {
        struct nlmsghdr header;
        uint8_t body[4];
    } message = { { sizeof(message), 10 << 8 | 2 /* delete tables */, NLM_F_REQUEST | NLM_F_ACK, 1, 0 }, { 0 } };
    int sock = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
    struct {
        struct nlmsghdr header;
        int error;
        char rest[256];
    } answer;

    (void)data;
    if (sock < 0 || send(sock, &message, sizeof(message), 0) < 0 || recv(sock, &answer, sizeof(answer), 0) < 0)
        return errno;
    return -answer.error;
}

static int become_transparent(void *data)
{
    const int on = 1;
    int sock = socket(AF_INET6, SOCK_STREAM, 0);

    (void)data;
    return setsockopt(sock, SOL_IPV6, IPV6_TRANSPARENT, &on, sizeof(on)) < 0 ? errno : 0;
}

static int take_port(void *data)
{
    const int on = 1;
    int sock = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 a = address_of(data, 64998);

    setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(sock, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (bind(sock, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(sock, 1) == 0)
        return 0;
    close(sock);
    return errno;
}

static void root_inside_has_no_right_over_rules_and_ports(void **state)
{
    static const char *const addresses[] = { "::", "::1", "::ffff:127.0.0.1", "::ffff:192.0.0.2" };

    (void)state;
    assert_int_equal(inside(flush_rules, NULL), EPERM);
    assert_int_equal(inside(become_transparent, NULL), EPERM);
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
        assert_int_equal(inside(take_port, (void *)(uintptr_t)addresses[i]), EADDRINUSE);
    assert_int_equal(try_target(SOCK_STREAM, "::ffff:1.2.3.4", 80), 0);
    assert_arrived("::ffff:1.2.3.4", 80);
}

/* --- without the daemon, and after it came back --- */

/* The port is free a moment after the last connection to the closed listener has been reset. */
static int hold_ports(void *data)
{
    const struct timespec pause_time = { .tv_nsec = 5000000 };
    char ready = 1;

    for (int i = 0; take_port((void *)(uintptr_t) "::") != 0; i++) {
        if (i == 12000) /* a minute */
            return 1;
        nanosleep(&pause_time, NULL);
    }
    if (write(*(int *)data, &ready, 1) != 1)
        return 1;
    pause();
    return 0;
}

static void renew(void)
{
    struct spawn_request r = harness_request(&live, SPAWN_OP_EGRESS, KEY);

    harness_send(&live, &r);
    assert_done(harness_receive_fds(&live, fds, 0));
    assert_true(fds[SPAWN_EGRESS_TCP] >= 0 && fds[SPAWN_EGRESS_UDP] >= 0);
}

static void without_the_sockets_nothing_leaves_until_they_are_made_again(void **state)
{
    (void)state;
    close_fd(&fds[0]);
    close_fd(&fds[1]);
    assert_out_of_reach(SOCK_STREAM, "::ffff:1.2.3.4", 80);
    assert_out_of_reach(SOCK_DGRAM, "::ffff:8.8.8.8", 53);
    renew();
    assert_int_equal(try_target(SOCK_STREAM, "::ffff:1.2.3.4", 80), 0);
    assert_arrived("::ffff:1.2.3.4", 80);
}

static void who_takes_the_port_meanwhile_gets_nothing_by_it(void **state)
{
    int pipes[2];
    pid_t holder;
    char ready;

    (void)state;
    close_fd(&fds[0]);
    close_fd(&fds[1]);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    holder = fork();
    if (holder == 0) {
        if (enter("net") < 0 || enter("user") < 0 || setresuid(0, 0, 0) < 0)
            _exit(255);
        _exit(hold_ports(&pipes[1]));
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &ready, 1), 1);
    close(pipes[0]);
    assert_out_of_reach(SOCK_STREAM, "::ffff:1.2.3.4", 80); /* not transparent: not handed to it */
    renew();
    assert_int_equal(try_target(SOCK_STREAM, "::ffff:1.2.3.4", 80), 0);
    assert_arrived("::ffff:1.2.3.4", 80);
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
}

static void a_sandbox_without_network_has_its_loopback_only(void **state)
{
    struct spawn_request r;
    int ready[SPAWN_EGRESS_FDS] = { fds[0], fds[1] };
    pid_t before = sandbox_pid;
    struct spawn_reply reply = create(KEY + 1, SPAWN_NETWORK_NONE);

    (void)state;
    assert_done(reply);
    assert_int_equal(fds[SPAWN_EGRESS_TCP], -EBADF);
    sandbox_pid = reply.sandbox.host_pid;
    assert_int_equal(try_target(SOCK_STREAM, "::ffff:1.2.3.4", 80), ENETUNREACH);
    assert_int_equal(try_target(SOCK_DGRAM, "::ffff:192.0.0.1", 53), ENETUNREACH);
    assert_int_equal(try_target(SOCK_STREAM, "2001:db8::1", 80), ENETUNREACH);
    r = harness_request(&live, SPAWN_OP_EGRESS, KEY + 1);
    assert_int_equal(harness_call(&live, &r).error, EOPNOTSUPP);
    assert_done(harness_simple(&live, SPAWN_OP_DESTROY, KEY + 1));
    sandbox_pid = before;
    memcpy(fds, ready, sizeof(ready));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_connection_comes_to_the_listener_and_tells_where_it_wanted_to),
        cmocka_unit_test(its_own_loopback_stays_its_own),
        cmocka_unit_test(datagrams_other_than_questions_are_refused),
        cmocka_unit_test(nothing_leaves_with_another_source),
        cmocka_unit_test(questions_come_to_the_resolver_and_answers_from_whom_was_asked),
        cmocka_unit_test(root_inside_has_no_right_over_rules_and_ports),
        cmocka_unit_test(without_the_sockets_nothing_leaves_until_they_are_made_again),
        cmocka_unit_test(who_takes_the_port_meanwhile_gets_nothing_by_it),
        cmocka_unit_test(a_sandbox_without_network_has_its_loopback_only),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
