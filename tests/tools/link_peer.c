/*
 * link_peer.c - bermd's part of a link, for tests: starts berm-link, and connects every stream with a program that
 * answers as it likes. So a daemon or an edge that is hostile can be played by whoever speaks HTTP over a unix
 * socket.
 *
 *   link_peer dial SOCKET -- berm-link dial --host ... --port ...
 *     a stream that the edge opens is connected to SOCKET, where the test listens
 *   link_peer listen SOCKET -- berm-link listen --certificate ... --key ...
 *     a connection to SOCKET is a stream to the newest daemon
 *
 * Numbers of descriptors are added to the arguments. Prints "port N", "up N", "down N reason text", "stream N".
 */
#include "base/link_wire.h"
#include "base/loop.h"
#include "base/sys.h"
#include "net/relay.h"
#include "net/server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

struct peer {
    struct loop *loop;
    struct loop_io wire, listener;
    const char *path;
    uint32_t link; /* the newest */
};

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static int unix_socket(const char *path, bool listens)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || str_copy(str_from(path), address.sun_path, sizeof(address.sun_path)) < 0)
        die(path);
    if (listens ? bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0
                : connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die(path);
    return fd;
}

static void take_stream(struct peer *peer, int fd)
{
    if (set_nonblocking(fd) < 0 ||
        !relay_start(peer->loop, fd, unix_socket(peer->path, false), (struct str){ "", 0 }, NULL, NULL))
        die("a stream");
}

static void on_wire(struct loop_io *io, uint32_t events)
{
    struct peer *peer = container_of(io, struct peer, wire);
    struct link_message message;
    int fd = -EBADF;
    size_t fds = 0;

    (void)events;
    if (recv_fds(io->fd, &message, sizeof(message), &fd, 1, &fds) != (ssize_t)sizeof(message)) {
        loop_stop(peer->loop);
        return;
    }
    if (message.type == LINK_UP) {
        peer->link = message.link;
        printf("up %u\n", message.link);
    } else if (message.type == LINK_DOWN) {
        printf("down %u %u %s\n", message.link, message.reason, message.text);
    } else if (message.type == LINK_STREAM && fds == 1) {
        printf("stream %u\n", message.link);
        take_stream(peer, fd);
    }
    fflush(stdout);
}

static void on_connection(struct loop_io *io, uint32_t events)
{
    struct peer *peer = container_of(io, struct peer, listener);
    struct link_message message = { .version = LINK_WIRE_VERSION, .type = LINK_OPEN, .link = peer->link };
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    if (fd < 0 || send_fds(peer->wire.fd, &message, sizeof(message), &fd, 1) < 0)
        die("open a stream");
    close(fd);
}

/* On a port that the kernel chooses. */
static int open_port(void)
{
    struct berm_error err;
    int fd = tcp_listen("127.0.0.1:0", &err);

    if (fd < 0)
        die(err.message);
    printf("port %d\n", socket_port(fd));
    fflush(stdout);
    return fd;
}

static int start_berm_link(char **arguments, int count, bool listens)
{
    int tcp = listens ? open_port() : -EBADF;
    const char *argv[32] = { NULL };
    char number[16], tcp_number[16];
    int pair[2];
    pid_t pid;

    if (count > 26 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        die("socketpair");
    for (int i = 0; i < count; i++)
        argv[i] = arguments[i];
    snprintf(number, sizeof(number), "%d", pair[1]);
    argv[count] = "--wire";
    argv[count + 1] = number;
    snprintf(tcp_number, sizeof(tcp_number), "%d", tcp);
    if (listens) {
        argv[count + 2] = "--tcp";
        argv[count + 3] = tcp_number;
    }
    pid = fork();
    if (pid == 0) {
        fcntl(pair[1], F_SETFD, 0);
        if (listens)
            fcntl(tcp, F_SETFD, 0);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(pair[1]);
    if (pid < 0 || set_nonblocking(pair[0]) < 0)
        die("berm-link");
    return pair[0];
}

int main(int argc, char **argv)
{
    struct peer peer = { .loop = loop_new() };
    bool listens = argc > 1 && !strcmp(argv[1], "listen");

    if (argc < 6 || strcmp(argv[3], "--") != 0 || !peer.loop) {
        fputs("link_peer dial|listen SOCKET -- berm-link ...\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    peer.path = argv[2];
    if (loop_io_add(peer.loop, &peer.wire, start_berm_link(argv + 4, argc - 4, listens), EPOLLIN, on_wire) < 0 ||
        (listens && loop_io_add(peer.loop, &peer.listener, unix_socket(argv[2], true), EPOLLIN, on_connection) < 0))
        die("watch");
    return loop_run(peer.loop) < 0;
}
