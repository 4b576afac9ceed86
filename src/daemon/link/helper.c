#include "daemon/link/helper.h"

#include "base/log.h"
#include "net/server.h"

#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#define DIALLER               "berm-link"
#define DIALLER_FALLBACK_ID   62738 /* when the system has no user of that name */
#define CONNECTOR             "berm-connector"
#define CONNECTOR_FALLBACK_ID 62739

#define PORT_WAIT_MS          2000
#define PORT_PAUSE_MS         10

/* `argv` has room for "--wire" and its number at `at`. */
static int start(const char **argv, size_t at, const int *sockets, size_t count, const struct launch *as,
                 struct link_helper *ret, struct berm_error *err)
{
    int pair[2], fds[3];
    char number[16];

    if (access(argv[0], X_OK) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", argv[0]);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socketpair");
    for (size_t i = 0; i < count; i++)
        fds[i + 1] = sockets[i];
    fds[0] = pair[1];
    snprintf(number, sizeof(number), "%d", pair[1]);
    argv[at] = "--wire";
    argv[at + 1] = number;
    ret->pid = launch_program(argv, fds, count + 1, as);
    close(pair[1]);
    ret->fd = pair[0];
    if (ret->pid < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "start %s", argv[0]);
    return 0;
}

static struct launch user_called(const char *name, uid_t otherwise)
{
    const struct passwd *user = getpwnam(name);

    return (struct launch){ .uid = user ? user->pw_uid : otherwise, .gid = user ? user->pw_gid : otherwise };
}

int link_helper_dial(const struct config *config, struct link_helper *ret, struct berm_error *err)
{
    const struct launch as = user_called(DIALLER, DIALLER_FALLBACK_ID);
    const char *colon = strrchr(config->edge_link, ':'); /* checked with the settings */
    struct str name = { config->edge_link, (size_t)(colon - config->edge_link) };
    const char *argv[16] = { config->link_program,        "dial",   "--port", colon + 1, "--transport",
                             config->edge_link_transport, "--host", NULL };
    char host[256];

    if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']') /* an IPv6 address */
        name = (struct str){ name.p + 1, name.n - 2 };
    if (str_copy(name, host, sizeof(host)) < 0)
        return berm_fail_field(err, "link", "edge.link: the host is too long");
    argv[7] = host;
    if (config->edge_link_authority) {
        argv[8] = "--authority";
        argv[9] = config->edge_link_authority;
    }
    return start(argv, config->edge_link_authority ? 10 : 8, NULL, 0, &as, ret, err);
}

/*
 * The TCP and, if asked for, the UDP socket of the links. A predecessor that was killed leaves a berm-link that the
 * kernel ends a moment later; it has them until then, and nothing tells when the port is free.
 */
static int listen_for_links(const char *address, bool quic, int *ret_tcp, int *ret_udp, struct berm_error *err)
{
    const struct timespec pause = { .tv_nsec = PORT_PAUSE_MS * 1000000L };

    for (int tries = PORT_WAIT_MS / PORT_PAUSE_MS;; tries--) {
        _cleanup_close_ int tcp = tcp_listen(address, err);
        _cleanup_close_ int udp = -EBADF;

        if (tcp >= 0 && (!quic || (udp = udp_listen(address, socket_port(tcp), err)) >= 0)) {
            *ret_tcp = TAKE_FD(tcp);
            *ret_udp = TAKE_FD(udp);
            return 0;
        }
        if (err->errnum != EADDRINUSE || tries == 0)
            return -1;
        nanosleep(&pause, NULL);
    }
}

/* The certificate that browsers get first is the one that daemons ask for, too. Without UDP there is no QUIC. */
int link_helper_listen(const struct config *config, const struct launch *as, struct link_helper *ret,
                       struct berm_error *err)
{
    const char *argv[16] = { config->link_program,
                             "listen",
                             "--certificate",
                             config->tls_certificate.items[0],
                             "--key",
                             config->tls_key.count ? config->tls_key.items[0] : config->tls_certificate.items[0] };
    bool quic = strcmp(config->edge_link_transport, "h2") != 0;
    _cleanup_close_ int tcp = -EBADF, udp = -EBADF;
    char numbers[2][16];

    if (listen_for_links(config->edge_link_listen, quic, &tcp, &udp, err) < 0)
        return -1;
    snprintf(numbers[0], sizeof(numbers[0]), "%d", tcp);
    snprintf(numbers[1], sizeof(numbers[1]), "%d", udp);
    argv[6] = "--tcp";
    argv[7] = numbers[0];
    if (quic) {
        argv[8] = "--udp";
        argv[9] = numbers[1];
    }
    log_info("link.listening", "address", config->edge_link_listen, "port", log_num(socket_port(tcp)), "transport",
             quic ? "quic h2" : "h2");
    return start(argv, quic ? 10 : 8, (const int[]){ tcp, udp }, quic ? 2 : 1, as, ret, err);
}

int link_helper_connector(const struct config *config, int port, struct link_helper *ret, struct berm_error *err)
{
    const struct launch as = user_called(CONNECTOR, CONNECTOR_FALLBACK_ID);
    const char *argv[16] = { config->connector_program, "--origin", NULL, NULL };
    char origin[40];

    snprintf(origin, sizeof(origin), "http://127.0.0.1:%d", port);
    argv[2] = origin;
    if (config->edge_cloudflared) {
        argv[3] = "--program";
        argv[4] = config->edge_cloudflared;
    }
    return start(argv, config->edge_cloudflared ? 5 : 3, NULL, 0, &as, ret, err);
}

void link_helper_reload(const struct link_helper *helper)
{
    if (helper->pid > 0)
        kill(-helper->pid, SIGHUP);
}

void link_helper_wait(const struct link_helper *helper)
{
    launch_wait(helper->pid);
}
