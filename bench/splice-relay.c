/*
 * splice-relay.c - how fast bytes can go from one socket to another on this machine: accept, connect, and splice(2)
 * through a pipe, blocking, with nothing in between; as bermd has it, no loopback is paced by what the host has
 * chosen for the internet. Beside it bermd is measured.
 *
 *   splice-relay LISTEN_PORT TARGET_PORT NETNS [ADDRESS]   of 127.0.0.1; the target's are in NETNS
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIPE ((size_t)1 << 20)

struct direction {
    int from, to;
};

/* Until the end, which is passed on. */
static void *move(void *data)
{
    struct direction *d = data;
    int ends[2];
    ssize_t n;

    if (pipe(ends) < 0 || fcntl(ends[1], F_SETPIPE_SZ, (int)PIPE) < 0)
        err(1, "pipe");
    while ((n = splice(d->from, NULL, ends[1], NULL, PIPE, SPLICE_F_MOVE)) > 0)
        while (n > 0) {
            ssize_t moved = splice(ends[0], NULL, d->to, NULL, (size_t)n, SPLICE_F_MOVE);
            if (moved <= 0)
                goto out;
            n -= moved;
        }
out:
    shutdown(d->to, SHUT_WR);
    close(ends[0]);
    close(ends[1]);
    return NULL;
}

static struct sockaddr_in loopback(const char *port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)atoi(port)),
                                 .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static void relay(int client, const struct sockaddr_in *target)
{
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct direction up = { client, server }, down = { server, client };
    pthread_t thread;

    if (server < 0 || connect(server, (const struct sockaddr *)target, sizeof(*target)) < 0)
        err(1, "connect");
    if (pthread_create(&thread, NULL, move, &up) != 0)
        errx(1, "pthread_create");
    move(&down);
    shutdown(client, SHUT_RD);
    pthread_join(thread, NULL);
    close(server);
    close(client);
}

int main(int argc, char **argv)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in here, there;
    int netns;

    if (argc != 4 && argc != 5)
        errx(2, "usage: splice-relay LISTEN_PORT TARGET_PORT NETNS [ADDRESS]");
    here = loopback(argv[1]);
    there = loopback(argv[2]);
    if (argc == 5 && inet_pton(AF_INET, argv[4], &there.sin_addr) != 1)
        errx(2, "no address: %s", argv[4]);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, "reno", 4); /* and all that it accepts */
    if (bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(listener, 8) < 0)
        err(1, "listen");
    netns = open(argv[3], O_RDONLY | O_CLOEXEC);
    if (netns < 0 || setns(netns, CLONE_NEWNET) < 0)
        err(1, "%s", argv[3]);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0)
            relay(client, &there);
    }
}
