/*
 * link_peer.c - the load for links, and plain TLS over TCP to compare them with.
 *
 *   berm-link-peer serve ADDRESS PORT CERTIFICATE KEY     TLS 1.3; serves one connection after another
 *   berm-link-peer load (tls ADDRESS PORT | unix PATH) (bytes N | pings COUNT)
 *
 * What is asked for is the first line ("send N" or "echo"), as tests/tools/linkctl serves it at the other end of a
 * link. "bytes" prints MB/s, "pings" the median and the 99th percentile of a 100-byte echo in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PART 262144
#define PING 100

static char part[PART];

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "berm-link-peer: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Through TLS, or not. */
struct way {
    int fd;
    SSL *ssl;
};

static size_t get(const struct way *way, void *p, size_t n)
{
    ssize_t got = way->ssl ? SSL_read(way->ssl, p, (int)n) : read(way->fd, p, n);

    return got > 0 ? (size_t)got : 0;
}

static void put(const struct way *way, const void *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = way->ssl ? SSL_write(way->ssl, p, (int)n) : write(way->fd, p, n);

        if (sent <= 0)
            return;
        p = (const char *)p + sent;
        n -= (size_t)sent;
    }
}

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct sockaddr_in address_of(const char *address, const char *port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10)) };

    if (inet_pton(AF_INET, address, &in.sin_addr) != 1)
        die(address);
    return in;
}

/* --- the server --- */

static void serve_one(const struct way *way)
{
    char line[32];
    size_t n = get(way, line, sizeof(line) - 1);
    unsigned long left;

    line[n] = '\0';
    if (sscanf(line, "send %lu", &left) == 1) {
        for (; left > 0; left -= n) {
            n = left < PART ? left : PART;
            put(way, part, n);
        }
        return;
    }
    while ((n = get(way, part, PART)) > 0)
        put(way, part, n);
}

static int serve(char **argv)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    struct sockaddr_in in = address_of(argv[0], argv[1]);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    if (SSL_CTX_use_certificate_chain_file(context, argv[2]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[3], SSL_FILETYPE_PEM) != 1)
        die("the certificate");
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listening, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(listening, 16) < 0)
        die("listen");
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct way way = { .fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC), .ssl = SSL_new(context) };

        setsockopt(way.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        SSL_set_fd(way.ssl, way.fd);
        if (SSL_accept(way.ssl) == 1) {
            serve_one(&way);
            SSL_shutdown(way.ssl);
        }
        SSL_free(way.ssl);
        close(way.fd);
    }
}

/* --- the load --- */

static struct way connect_tls(const char *address, const char *port)
{
    struct sockaddr_in in = address_of(address, port);
    struct way way = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                       .ssl = SSL_new(SSL_CTX_new(TLS_client_method())) };
    int on = 1;

    if (connect(way.fd, (struct sockaddr *)&in, sizeof(in)) < 0)
        die("connect");
    setsockopt(way.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    SSL_set_fd(way.ssl, way.fd);
    if (SSL_connect(way.ssl) != 1)
        die("TLS");
    return way;
}

static struct way connect_unix(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct way way = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    if (connect(way.fd, (struct sockaddr *)&un, sizeof(un)) < 0)
        die(path);
    return way;
}

/* The first byte is not counted: it waits for the stream to begin. */
static void load_bytes(const struct way *way, unsigned long bytes)
{
    unsigned long got = 0;
    double began;
    char line[32];
    size_t n;

    put(way, line, (size_t)snprintf(line, sizeof(line), "send %lu\n", bytes));
    got = get(way, part, 1);
    began = seconds();
    while (got < bytes && (n = get(way, part, PART)) > 0)
        got += n;
    if (got != bytes)
        die("the end came early");
    printf("%.1f\n", (double)bytes / 1e6 / (seconds() - began));
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void load_pings(const struct way *way, unsigned long count)
{
    double *took = calloc(count, sizeof(*took));

    put(way, "echo\n", 5);
    for (unsigned long i = 0; i < count; i++) {
        double began = seconds();

        put(way, part, PING);
        for (size_t got = 0, n; got < PING; got += n)
            if ((n = get(way, part + PING, PING - got)) == 0)
                die("the end came early");
        took[i] = (seconds() - began) * 1e6;
    }
    qsort(took, count, sizeof(*took), compare);
    printf("%.0f %.0f\n", took[count / 2], took[count * 99 / 100]);
    free(took);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 6 && strcmp(argv[1], "serve") == 0)
        return serve(argv + 2);
    if (argc >= 6 && strcmp(argv[1], "load") == 0) {
        int tls = strcmp(argv[2], "tls") == 0;
        struct way way = tls ? connect_tls(argv[3], argv[4]) : connect_unix(argv[3]);
        char **what = argv + (tls ? 5 : 4);

        if (what + 2 == argv + argc) {
            unsigned long n = strtoul(what[1], NULL, 10);

            if (strcmp(what[0], "bytes") == 0)
                load_bytes(&way, n);
            else
                load_pings(&way, n);
            return 0;
        }
    }
    fprintf(stderr, "berm-link-peer: see the head of bench/link_peer.c\n");
    return 2;
}
