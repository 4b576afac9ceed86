/*
 * Connections that go through somebody else: an upstream proxy, or an interceptor that takes, leaves or refuses
 * them. The sandbox is a child that connects to the egress's listener; its address is on the loopback, which the
 * operator of this test allows.
 */
#include "unit.h"

#include "daemon/egress/egress.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

static struct loop *loop;

static int listener(uint16_t *ret_port, int type)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

/* --- children --- */

/* Answers one CONNECT that has to name `port`, says something, and echoes once. Its status is 0 when all was right.
 */
static _Noreturn void be_proxy(int fd, uint16_t port, const char *answer)
{
    char head[1024] = "", wanted[64], piece[64];
    int conn = accept(fd, NULL, NULL);
    size_t n = 0;
    ssize_t got;

    while (!strstr(head, "\r\n\r\n") && (got = read(conn, head + n, 1)) == 1 && n < sizeof(head) - 2)
        n++;
    snprintf(wanted, sizeof(wanted), "CONNECT 127.0.0.1:%u HTTP/1.1\r\n", port);
    if (strncmp(head, wanted, strlen(wanted)) != 0)
        _exit(1);
    if (write(conn, answer, strlen(answer)) < 0)
        _exit(2);
    got = read(conn, piece, sizeof(piece));
    if (got > 0 && write(conn, piece, (size_t)got) != got)
        _exit(3);
    _exit(0);
}

/* What it hears goes to `out`. */
static _Noreturn void be_client(uint16_t port, int out)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char piece[64];
    ssize_t n;

    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        _exit(1);
    if (send(fd, "hello", 5, MSG_NOSIGNAL) != 5)
        _exit(errno == ECONNRESET || errno == EPIPE ? 3 : 1);
    while ((n = read(fd, piece, sizeof(piece))) > 0)
        if (write(out, piece, (size_t)n) != n)
            _exit(2);
    _exit(n < 0 ? 3 : 0); /* 3: reset */
}

static pid_t client;
static int client_status;

static void on_tick(struct loop_timer *timer)
{
    if (waitpid(client, &client_status, WNOHANG) == client)
        loop_stop(loop);
    else
        loop_timer_start(loop, timer, 5);
}

static const char *heard(int fd)
{
    static char text[256];
    ssize_t n = read(fd, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* --- one round --- */

struct round {
    const char *mode, *answer;
    bool proxy; /* else the interceptor */
    bool hasty; /* the connection is not waited for long */
    char text[256];
    int status; /* of the client */
    char reason[64];
};

static void keep_reason(const struct egress_denial *denial, void *data)
{
    snprintf(data, 64, "%s", denial->reason);
}

static struct egress_service *make_service(const struct round *r, uint16_t proxy_port)
{
    char range[] = "127.0.0.0/8", resolvers[] = "127.0.0.1:9", proxy[32], mode[8];
    struct config config = { .egress_allow_cidrs = { { range }, 1 },
                             .egress_resolvers = resolvers,
                             .egress_mode = mode,
                             .egress_max_connections = 8,
                             .egress_connect_timeout_ms = r->hasty ? 500 : 60000,
                             .egress_idle_timeout_ms = 60000 };
    struct egress_service *service;
    struct berm_error err;

    snprintf(mode, sizeof(mode), "%s", r->mode);
    snprintf(proxy, sizeof(proxy), "127.0.0.1:%u", proxy_port);
    if (r->proxy)
        config.egress_proxy = proxy;
    if (egress_service_new(&config, &service, &err) < 0)
        fail_msg("%s", err.message);
    egress_service_start(service, loop);
    return service;
}

static void play(struct round *r)
{
    uint16_t port, udp_port, proxy_port;
    int tcp = listener(&port, SOCK_STREAM), udp = listener(&udp_port, SOCK_DGRAM);
    int proxy = listener(&proxy_port, SOCK_STREAM), pipes[2];
    struct egress_interceptor interceptor = { .port = proxy_port };
    struct loop_timer tick;
    struct egress_service *service;
    struct egress *egress;
    pid_t server;

    loop = loop_new();
    service = make_service(r, proxy_port);
    egress = egress_new(service, egress_service_policy(service));
    assert_int_equal(fcntl(tcp, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(egress_set_sockets(egress, tcp, udp), 0);
    assert_int_equal(ip_parse(STR("127.0.0.1"), &interceptor.ip), 0);
    if (!r->proxy)
        assert_int_equal(egress_set_interceptor(egress, &interceptor), 0);
    if ((server = fork()) == 0)
        be_proxy(proxy, port, r->answer);
    assert_int_equal(pipe(pipes), 0);
    if ((client = fork()) == 0)
        be_client(port, pipes[1]);
    close(pipes[1]);
    loop_timer_init(&tick, on_tick);
    loop_timer_start(loop, &tick, 0);
    loop_run(loop);
    snprintf(r->text, sizeof(r->text), "%s", heard(pipes[0]));
    close(pipes[0]);
    r->status = WEXITSTATUS(client_status);
    r->reason[0] = '\0';
    egress_each_denial(egress, keep_reason, r->reason);
    egress_free(egress);
    egress_service_free(service);
    loop_free(loop);
    close(proxy);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

static void through_a_proxy_goes_the_address_that_was_checked(void **state)
{
    struct round r = { "allow", "HTTP/1.1 200 OK\r\n\r\nearly ", .proxy = true };

    (void)state;
    play(&r);
    assert_string_equal(r.text, "early hello");
    assert_int_equal(r.status, 0);
}

static void a_proxy_that_refuses_or_talks_nonsense_resets_the_connection(void **state)
{
    static const char *const answers[] = { "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "SSH-2.0-x\r\n\r\n",
                                           "HTTP/1.1 101 Odd\r\n\r\n", "" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        struct round r = { "allow", answers[i], .proxy = true, .hasty = answers[i][0] == '\0' };

        play(&r);
        assert_string_equal(r.text, "");
        assert_int_equal(r.status, 3);
    }
}

static void what_the_policy_refuses_never_gets_to_the_proxy(void **state)
{
    struct round r = { "deny", "HTTP/1.1 200 OK\r\n\r\n", .proxy = true };

    (void)state;
    play(&r);
    assert_string_equal(r.text, "");
    assert_string_equal(r.reason, "address not allowed");
}

static void an_interceptor_takes_a_connection_whatever_the_policy_says(void **state)
{
    struct round r = { "deny", "HTTP/1.1 200 OK\r\n\r\nearly " };

    (void)state;
    play(&r);
    assert_string_equal(r.text, "early hello");
}

static void one_that_it_leaves_is_the_policys(void **state)
{
    struct round r = { "deny", "HTTP/1.1 202 Accepted\r\n\r\n" };

    (void)state;
    play(&r);
    assert_string_equal(r.text, "");
    assert_int_equal(r.status, 3);
    assert_string_equal(r.reason, "address not allowed");
}

static void one_that_it_refuses_is_refused(void **state)
{
    struct round r = { "allow", "HTTP/1.1 400 Bad Request\r\n\r\n" };

    (void)state;
    play(&r);
    assert_int_equal(r.status, 3);
    assert_string_equal(r.reason, "refused by the interceptor");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_a_proxy_goes_the_address_that_was_checked),
        cmocka_unit_test(a_proxy_that_refuses_or_talks_nonsense_resets_the_connection),
        cmocka_unit_test(what_the_policy_refuses_never_gets_to_the_proxy),
        cmocka_unit_test(an_interceptor_takes_a_connection_whatever_the_policy_says),
        cmocka_unit_test(one_that_it_leaves_is_the_policys),
        cmocka_unit_test(one_that_it_refuses_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
