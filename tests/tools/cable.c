/*
 * cable.c - a cable between two new network namespaces, which is as long and as bad as a test wants it.
 *
 *   cable
 *
 * Prints "A PID PID" with the process that holds each namespace (for nsenter --net --target PID), in each of which
 * there is an interface `cable0` without an address. Lines on stdin say what the cable does from then on:
 *
 *   delay MS | loss PERCENT | udp yes|no | cut | mend
 *
 * Each is answered with "ok". At the end of stdin the namespaces go. (netem would do it, but not every kernel has
 * it.)
 */
#include "base/loop.h"
#include "base/sys.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#define PACKET_MAX         2048
#define QUEUE_MAX          4096 /* packets on their way in one direction */
#define PER_TURN           256
#define VERSION_OF(packet) ((packet)[0] >> 4)

struct packet {
    uint64_t due_ms;
    size_t size;
    uint8_t bytes[PACKET_MAX];
};

struct direction {
    struct loop_io io; /* where packets come in */
    int to;
    struct packet *queue; /* a ring */
    size_t first, count;
    struct loop_timer timer;
};

static struct {
    struct loop *loop;
    struct direction ways[2];
    struct loop_io commands;
    char line[256];
    size_t held;
    uint64_t delay_ms;
    unsigned loss_permille;
    bool cut, no_udp;
    uint64_t dropped, passed;
} cable;

static void die(const char *what)
{
    fprintf(stderr, "cable: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- packets --- */

static bool is_udp(const struct packet *packet)
{
    if (packet->size >= 20 && VERSION_OF(packet->bytes) == 4)
        return packet->bytes[9] == IPPROTO_UDP;
    return packet->size >= 40 && VERSION_OF(packet->bytes) == 6 && packet->bytes[6] == IPPROTO_UDP;
}

static bool is_lost(const struct packet *packet)
{
    uint32_t random;

    random_bytes(&random, sizeof(random));
    return cable.cut || (cable.no_udp && is_udp(packet)) || random % 1000 < cable.loss_permille;
}

static void deliver(struct direction *way)
{
    while (way->count > 0 && way->queue[way->first].due_ms <= loop_now_ms(cable.loop)) {
        struct packet *packet = &way->queue[way->first];

        if (write(way->to, packet->bytes, packet->size) < 0 && errno != EIO &&
            errno != EAGAIN) /* EIO: it is down */
            die("write a packet");
        way->first = (way->first + 1) % QUEUE_MAX;
        way->count--;
        cable.passed++;
    }
    if (way->count > 0)
        loop_timer_start(cable.loop, &way->timer, way->queue[way->first].due_ms - loop_now_ms(cable.loop));
}

static void on_due(struct loop_timer *timer)
{
    deliver(container_of(timer, struct direction, timer));
}

static void on_packet(struct loop_io *io, uint32_t events)
{
    struct direction *way = container_of(io, struct direction, io);
    struct packet spare;

    (void)events;
    for (int i = 0; i < PER_TURN; i++) {
        bool full = way->count == QUEUE_MAX;
        struct packet *packet = full ? &spare : &way->queue[(way->first + way->count) % QUEUE_MAX];
        ssize_t n = read(io->fd, packet->bytes, sizeof(packet->bytes));

        if (n <= 0)
            break;
        packet->size = (size_t)n;
        if (full || is_lost(packet)) {
            cable.dropped++;
            continue;
        }
        packet->due_ms = loop_now_ms(cable.loop) + cable.delay_ms;
        way->count++;
    }
    deliver(way);
}

/* --- commands --- */

static bool obey(const char *line)
{
    unsigned value;
    char word[8];

    if (sscanf(line, "delay %u", &value) == 1)
        cable.delay_ms = value;
    else if (sscanf(line, "loss %u", &value) == 1)
        cable.loss_permille = value * 10;
    else if (sscanf(line, "udp %7s", word) == 1)
        cable.no_udp = strcmp(word, "no") == 0;
    else if (strcmp(line, "cut") == 0 || strcmp(line, "mend") == 0)
        cable.cut = line[0] == 'c';
    else
        return false;
    return true;
}

static void on_command(struct loop_io *io, uint32_t events)
{
    ssize_t n = read(io->fd, cable.line + cable.held, sizeof(cable.line) - cable.held - 1);
    char *end;

    (void)events;
    if (n <= 0) {
        loop_stop(cable.loop);
        return;
    }
    cable.held += (size_t)n;
    cable.line[cable.held] = '\0';
    while ((end = strchr(cable.line, '\n'))) {
        *end = '\0';
        printf("%s\n", obey(cable.line) ? "ok" : "no such command");
        fflush(stdout);
        cable.held -= (size_t)(end + 1 - cable.line);
        memmove(cable.line, end + 1, cable.held + 1);
    }
}

/* --- namespaces --- */

/* A process that does nothing but keep its network namespace. */
static pid_t hold_namespace(void)
{
    int ready[2];
    char byte;
    pid_t pid;

    if (pipe2(ready, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        die("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) < 0)
            die("a network namespace");
        if (write(ready[1], "r", 1) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        die("a network namespace");
    close(ready[0]);
    return pid;
}

static int open_tun(pid_t pid)
{
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    char path[64];
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there, tun;

    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    there = open(path, O_RDONLY | O_CLOEXEC);
    if (home < 0 || there < 0 || setns(there, CLONE_NEWNET) < 0)
        die("enter a network namespace");
    tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "cable0");
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) < 0 || setns(home, CLONE_NEWNET) < 0)
        die("a tunnel interface");
    close(there);
    close(home);
    return tun;
}

int main(void)
{
    pid_t holders[2] = { hold_namespace(), hold_namespace() };
    int ends[2] = { open_tun(holders[0]), open_tun(holders[1]) };

    cable.loop = loop_new();
    if (!cable.loop)
        die("loop");
    for (int i = 0; i < 2; i++) {
        struct direction *way = &cable.ways[i];

        way->to = ends[!i];
        way->queue = calloc(QUEUE_MAX, sizeof(*way->queue));
        loop_timer_init(&way->timer, on_due);
        if (!way->queue || loop_io_add(cable.loop, &way->io, ends[i], EPOLLIN, on_packet) < 0)
            die("watch a tunnel interface");
    }
    if (loop_io_add(cable.loop, &cable.commands, STDIN_FILENO, EPOLLIN, on_command) < 0)
        die("watch stdin");
    printf("A %d %d\n", (int)holders[0], (int)holders[1]);
    fflush(stdout);
    loop_run(cable.loop);
    for (int i = 0; i < 2; i++)
        kill(holders[i], SIGKILL);
    return 0;
}
