#include "http.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

struct conn *conn_open(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct conn *c = calloc(1, sizeof(*c));
    int one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!c)
        err(1, "memory");
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        err(1, "connect to port %d", port);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return c;
}

void conn_close(struct conn *c)
{
    close(c->fd);
    free(c->body);
    free(c);
}

static void fill(struct conn *c)
{
    ssize_t n;

    if (c->in_start > 0) {
        memmove(c->in, c->in + c->in_start, c->in_len);
        c->in_start = 0;
    }
    n = read(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len - 1);
    if (n <= 0)
        errx(1, "the daemon closed the connection");
    c->in_len += (size_t)n;
}

static void body_room(struct conn *c, size_t n)
{
    if (c->body_len + n + 1 <= c->body_cap)
        return;
    c->body_cap = (c->body_len + n + 1) * 2;
    c->body = realloc(c->body, c->body_cap);
    if (!c->body)
        err(1, "memory");
}

/* Moves exactly `n` bytes of the stream to the body: what is buffered first, then straight from the socket. */
static void take_body(struct conn *c, size_t n)
{
    size_t have = n < c->in_len ? n : c->in_len;

    body_room(c, n);
    memcpy(c->body + c->body_len, c->in + c->in_start, have);
    c->in_start += have;
    c->in_len -= have;
    c->body_len += have;
    n -= have;
    while (n > 0) {
        ssize_t got = read(c->fd, c->body + c->body_len, n);
        if (got <= 0)
            errx(1, "the daemon closed the connection in a body");
        c->body_len += (size_t)got;
        n -= (size_t)got;
    }
}

/* A line without its CRLF, in place. */
static char *take_line(struct conn *c)
{
    for (;;) {
        char *start = c->in + c->in_start;
        char *end = memmem(start, c->in_len, "\r\n", 2);
        if (end) {
            *end = '\0';
            c->in_len -= (size_t)(end - start) + 2;
            c->in_start += (size_t)(end - start) + 2;
            return start;
        }
        if (c->in_len >= sizeof(c->in) - 1)
            errx(1, "a line that is too long");
        fill(c);
    }
}

static void take_chunked(struct conn *c)
{
    for (;;) {
        size_t n = strtoul(take_line(c), NULL, 16);
        if (n > 0)
            take_body(c, n);
        if (*take_line(c) != '\0')
            errx(1, "broken chunk");
        if (n == 0)
            return;
    }
}

static void send_request(struct conn *c, const char *head, size_t head_len, const void *body, size_t body_len)
{
    struct iovec iov[2] = { { (void *)(uintptr_t)head, head_len }, { (void *)(uintptr_t)body, body_len } };
    size_t done = 0, total = head_len + body_len;

    while (done < total) {
        struct iovec rest[2];
        int count = 0;
        size_t skip = done;
        for (int i = 0; i < 2; i++) {
            size_t cut = skip < iov[i].iov_len ? skip : iov[i].iov_len;
            skip -= cut;
            if (iov[i].iov_len > cut)
                rest[count++] = (struct iovec){ (char *)iov[i].iov_base + cut, iov[i].iov_len - cut };
        }
        ssize_t n = writev(c->fd, rest, count);
        if (n < 0)
            err(1, "send");
        done += (size_t)n;
    }
}

int conn_request(struct conn *c, const char *method, const char *path, const char *content_type, const void *body,
                 size_t body_len)
{
    char head[2048];
    char *line;
    int status, n;
    long length = -1;
    int chunked = 0;

    n = snprintf(head, sizeof(head),
                 "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n", method,
                 path, content_type ? content_type : "application/json", body_len, c->headers ? c->headers : "");
    if (n < 0 || (size_t)n >= sizeof(head))
        errx(1, "request too long");
    send_request(c, head, (size_t)n, body, body_len);
    line = take_line(c);
    if (sscanf(line, "HTTP/1.1 %d", &status) != 1)
        errx(1, "not a status line: %s", line);
    while (*(line = take_line(c)) != '\0') {
        if (strncasecmp(line, "content-length:", 15) == 0)
            length = strtol(line + 15, NULL, 10);
        else if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            chunked = 1;
    }
    c->body_len = 0;
    body_room(c, 0);
    if (chunked)
        take_chunked(c);
    else if (length > 0)
        take_body(c, (size_t)length);
    c->body[c->body_len] = '\0';
    return status;
}

void conn_expect(struct conn *c, const char *method, const char *path, const char *json, int want)
{
    int status = conn_request(c, method, path, NULL, json, json ? strlen(json) : 0);

    if (status != want)
        errx(1, "%s %s: status %d: %.300s", method, path, status, c->body);
}
