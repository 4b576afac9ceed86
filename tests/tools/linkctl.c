/*
 * linkctl.c - bermd's place at the wire of berm-link, for tests and measurements of links alone.
 *
 *   linkctl edge ADDRESS PORT SOCKET BERM_LINK listen --certificate FILE --key FILE
 *   linkctl home BERM_LINK dial --host NAME --port N ...
 *
 * The descriptors are made and named here. What berm-link says is printed, a line each:
 *
 *   up LINK quic|h2 PEER | down LINK REASON RETRY_MS TEXT | draining LINK | ended STATUS
 *
 * An edge listens on the unix socket SOCKET, too, and says "ready" then: each connection becomes a stream of the
 * newest link, if there was any, and is itself the stream's near end. A home serves streams by their first line:
 * "echo" sends everything back, "send N" N bytes, "sink" counts what comes and says how much at its end. On stdin,
 * "drain" and "close" are passed on for all links; at its end, all is over.
 */
#include "base/link_wire.h"
#include "base/loop.h"
#include "base/sys.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PART    ((size_t)256 << 10)
#define WIRE_FD 10
#define TCP_FD  11
#define UDP_FD  12

/* A stream at home. */
struct service {
    struct loop_io io;
    char line[32];
    size_t line_size;
    enum { ASKED, ECHOES, SENDS, SINKS } kind;
    uint64_t left, got;
    char *held; /* of an echo, or of the answer: not sent yet */
    size_t start, end;
    bool ended;
};

static struct {
    struct loop *loop;
    struct loop_io wire, local, commands, child;
    uint32_t newest;
    pid_t pid;
} ctl;

static void die(const char *what)
{
    fprintf(stderr, "linkctl: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void tell(uint16_t type, uint32_t link, int fd)
{
    const struct link_message message = { .version = LINK_WIRE_VERSION, .type = type, .link = link };

    send_fds(ctl.wire.fd, &message, sizeof(message), &fd, fd >= 0);
}

/* --- streams at home --- */

static void end_service(struct service *s)
{
    loop_io_remove(ctl.loop, &s->io);
    close(s->io.fd);
    free(s->held);
    free(s);
}

/* The first line; what came behind it is the beginning of an echo, or counts. */
static bool begin(struct service *s, char *bytes, size_t n)
{
    char *end = memchr(bytes, '\n', n);
    size_t size = end ? (size_t)(end - bytes) + 1 : n, rest = n - size;

    if (s->line_size + size >= sizeof(s->line))
        return false;
    memcpy(s->line + s->line_size, bytes, size);
    s->line_size += size;
    if (!end)
        return true;
    s->line[s->line_size] = '\0';
    if (strcmp(s->line, "echo\n") == 0)
        s->kind = ECHOES;
    else if (strcmp(s->line, "sink\n") == 0)
        s->kind = SINKS;
    else if (sscanf(s->line, "send %lu\n", &s->left) == 1)
        s->kind = SENDS;
    else
        return false;
    s->start = size;
    s->end = s->kind == ECHOES ? size + rest : size;
    s->got = rest;
    return true;
}

/* false: nothing more can be read. */
static bool take_in(struct service *s)
{
    ssize_t n = recv(s->io.fd, s->held, PART, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN;
    s->ended = n == 0;
    if (s->kind == ASKED)
        return n > 0 && begin(s, s->held, (size_t)n);
    s->got += (uint64_t)n;
    if (s->kind == ECHOES) {
        s->start = 0;
        s->end = (size_t)n;
    } else if (s->ended && s->kind == SINKS) {
        s->start = 0;
        s->end = (size_t)snprintf(s->held, PART, "%lu\n", s->got);
    }
    return true;
}

static bool give_out(struct service *s)
{
    ssize_t n;

    if (s->kind == SENDS && s->start == s->end) {
        s->start = 0;
        s->end = MIN(PART, s->left);
        s->left -= s->end;
    }
    if (s->start == s->end)
        return true;
    n = send(s->io.fd, s->held + s->start, s->end - s->start, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN;
    s->start += (size_t)n;
    return true;
}

static void on_service(struct loop_io *io, uint32_t events)
{
    struct service *s = container_of(io, struct service, io);
    bool empty = s->start == s->end, good = true, done;

    if (events & ~(uint32_t)EPOLLOUT && empty && !s->ended && s->kind != SENDS)
        good = take_in(s);
    good = good && give_out(s);
    empty = s->start == s->end;
    done = empty && (s->kind == SENDS ? s->left == 0 : s->ended);
    if (!good || done)
        end_service(s);
    else
        loop_io_modify(ctl.loop, io, (empty && s->kind != SENDS ? EPOLLIN : EPOLLOUT));
}

static void serve(int fd)
{
    struct service *s = calloc(1, sizeof(*s));

    if (!s || !(s->held = malloc(PART)) || set_nonblocking(fd) < 0 ||
        loop_io_add(ctl.loop, &s->io, fd, EPOLLIN, on_service) < 0)
        die("serve a stream");
}

/* --- the wire --- */

static void hear(const struct link_message *m, int fd)
{
    switch (m->type) {
    case LINK_UP:
        ctl.newest = m->link;
        printf("up %u %s %s\n", m->link, m->transport == LINK_QUIC ? "quic" : "h2", m->text);
        break;
    case LINK_DOWN:
        printf("down %u %u %u %s\n", m->link, m->reason, m->retry_ms, m->text);
        break;
    case LINK_DRAINING:
        printf("draining %u\n", m->link);
        break;
    case LINK_STREAM:
        serve(fd);
        break;
    default:
        errno = EPROTO;
        die("a message of berm-link");
    }
    fflush(stdout);
}

static void on_wire(struct loop_io *io, uint32_t events)
{
    struct link_message message;
    int fd = -EBADF;
    size_t fds;
    ssize_t n;

    (void)events;
    while ((n = recv_fds(io->fd, &message, sizeof(message), &fd, 1, &fds)) > 0)
        hear(&message, fd);
    if (n == 0)
        loop_io_remove(ctl.loop, io);
}

static void on_local(struct loop_io *io, uint32_t events)
{
    int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC);

    (void)events;
    if (fd >= 0 && ctl.newest > 0)
        tell(LINK_OPEN, ctl.newest, fd);
    close_fd(&fd);
}

static void on_command(struct loop_io *io, uint32_t events)
{
    char text[64];
    ssize_t n = read(io->fd, text, sizeof(text) - 1);

    (void)events;
    if (n <= 0) {
        loop_stop(ctl.loop);
        return;
    }
    text[n] = '\0';
    if (strstr(text, "drain"))
        tell(LINK_DRAIN, 0, -1);
    if (strstr(text, "close"))
        tell(LINK_CLOSE, ctl.newest, -1);
}

static void on_child(struct loop_io *io, uint32_t events)
{
    int status;

    (void)events;
    loop_io_remove(ctl.loop, io);
    if (waitpid(ctl.pid, &status, 0) == ctl.pid)
        printf("ended %d\n", status);
    loop_stop(ctl.loop);
}

/* --- starting --- */

static int bound(int type, const char *address, uint16_t *port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(*port) };
    socklen_t size = sizeof(in);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0 || inet_pton(AF_INET, address, &in.sin_addr) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&in, size) < 0 || getsockname(fd, (struct sockaddr *)&in, &size) < 0 ||
        (type == SOCK_STREAM && listen(fd, 1024) < 0))
        die("listen");
    *port = ntohs(in.sin_port);
    return fd;
}

static void start(char **argv, int tcp, int udp)
{
    static char wire_name[] = "--wire", wire_fd[] = "10", tcp_name[] = "--tcp", tcp_fd[] = "11",
                udp_name[] = "--udp", udp_fd[] = "12";
    char *more[] = { wire_name, wire_fd, tcp_name, tcp_fd, udp_name, udp_fd }, *all[40];
    int wires[2];
    size_t n = 0;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, wires) < 0 || (ctl.pid = fork()) < 0)
        die("start");
    if (ctl.pid > 0) {
        close(wires[1]);
        close_fd(&tcp);
        close_fd(&udp);
        if (loop_io_add(ctl.loop, &ctl.wire, wires[0], EPOLLIN, on_wire) < 0 ||
            loop_io_add(ctl.loop, &ctl.child, pidfd_open_pid(ctl.pid), EPOLLIN, on_child) < 0)
            die("start");
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(wires[1], WIRE_FD);
    if (tcp >= 0)
        dup2(tcp, TCP_FD);
    if (udp >= 0)
        dup2(udp, UDP_FD);
    while (argv[n] && n < ARRAY_SIZE(all) - ARRAY_SIZE(more) - 1) {
        all[n] = argv[n];
        n++;
    }
    for (size_t i = 0; i < (size_t)(udp >= 0 ? 6 : tcp >= 0 ? 4 : 2); i++)
        all[n++] = more[i];
    all[n] = NULL;
    execv(all[0], all);
    die(all[0]);
}

static int bound_here(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    unlink(path);
    if (fd < 0 || str_copy(str_from(path), un.sun_path, sizeof(un.sun_path)) < 0 ||
        bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || listen(fd, 1024) < 0)
        die(path);
    return fd;
}

static uint16_t port_of(const char *text)
{
    uint64_t port;

    if (str_to_u64(str_from(text), &port) < 0 || port > UINT16_MAX) {
        errno = EINVAL;
        die(text);
    }
    return (uint16_t)port;
}

int main(int argc, char **argv)
{
    ctl.loop = loop_new();
    if (argc >= 3 && strcmp(argv[1], "home") == 0) {
        start(argv + 2, -1, -1);
    } else if (argc >= 6 && strcmp(argv[1], "edge") == 0) {
        uint16_t port = port_of(argv[3]);
        int tcp = bound(SOCK_STREAM, argv[2], &port), udp = bound(SOCK_DGRAM, argv[2], &port);

        if (loop_io_add(ctl.loop, &ctl.local, bound_here(argv[4]), EPOLLIN, on_local) < 0)
            die("listen");
        start(argv + 5, tcp, udp);
        printf("port %u\nready\n", port);
        fflush(stdout);
    } else {
        fprintf(stderr, "usage: linkctl edge|home ...\n");
        return 2;
    }
    if (loop_io_add(ctl.loop, &ctl.commands, STDIN_FILENO, EPOLLIN, on_command) < 0)
        die("watch stdin");
    signal(SIGPIPE, SIG_IGN);
    loop_run(ctl.loop);
    close(ctl.wire.fd);
    return waitpid(ctl.pid, NULL, 0) == ctl.pid || errno == ECHILD ? 0 : 1;
}
