/*
 * tls_channel.c - a connection's TLS: the channel that the server reads and writes through.
 *
 * Parts are gathered into whole records, so that a head and a small body are one. A write that the socket did not
 * take must be repeated with at least the same bytes: the callers keep what was not taken at the front of a queue.
 */
#include "channel.h"
#include "h2.h"
#include "server_internal.h"
#include "tls_internal.h"

#include <openssl/err.h>
#include <sys/socket.h>

#define RECORD               ((size_t)16 << 10)
#define TLS_HANDSHAKE_RECORD 22

struct tls_channel {
    struct channel channel;
    SSL *ssl;
    bool begun;  /* something that may be TLS has arrived */
    bool broken; /* OpenSSL forbids any further call */
};

static struct tls_channel *self(const struct channel *channel)
{
    return container_of(channel, struct tls_channel, channel);
}

/* As a system call that failed would tell it. */
static ssize_t failure(struct tls_channel *tls, int rc)
{
    int error = SSL_get_error(tls->ssl, rc);

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    tls->broken = true;
    ERR_clear_error();
    errno = ECONNRESET;
    return -1;
}

static enum channel_state handshake(struct channel *channel)
{
    struct tls_channel *tls = self(channel);
    int rc;

    if (!tls->begun) {
        unsigned char first;
        ssize_t n = recv(SSL_get_fd(tls->ssl), &first, 1, MSG_PEEK | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return CHANNEL_WANTS_INPUT;
        if (n <= 0)
            return CHANNEL_BROKEN;
        if (first != TLS_HANDSHAKE_RECORD)
            return CHANNEL_FOREIGN;
        tls->begun = true;
    }
    ERR_clear_error();
    rc = SSL_accept(tls->ssl);
    if (rc == 1)
        return CHANNEL_READY;
    if (SSL_get_error(tls->ssl, rc) == SSL_ERROR_WANT_WRITE)
        return CHANNEL_WANTS_OUTPUT;
    return failure(tls, rc) < 0 && errno == EAGAIN ? CHANNEL_WANTS_INPUT : CHANNEL_BROKEN;
}

static ssize_t tls_recv(struct channel *channel, void *p, size_t n)
{
    struct tls_channel *tls = self(channel);
    size_t got = 0;

    ERR_clear_error();
    while (got < n && (got == 0 || n - got >= RECORD)) {
        size_t part;
        int rc = SSL_read_ex(tls->ssl, (char *)p + got, n - got, &part);

        if (rc != 1) {
            /* An end or an error is told by the next read, behind what came before it. */
            return got > 0 ? (ssize_t)got : failure(tls, rc);
        }
        got += part;
    }
    return (ssize_t)got;
}

/* The next record's bytes: where they lie if the first part fills one, else put together in `room`. */
static struct str next_record(const struct iovec *parts, size_t count, size_t skip, char *room)
{
    struct str record = { room, 0 };

    for (; count > 0 && skip >= parts->iov_len; count--, parts++)
        skip -= parts->iov_len;
    if (count > 0 && parts->iov_len - skip >= RECORD)
        return (struct str){ (const char *)parts->iov_base + skip, RECORD };
    for (; count > 0 && record.n < RECORD; count--, parts++) {
        size_t n = MIN(parts->iov_len - skip, RECORD - record.n);

        memcpy(room + record.n, (const char *)parts->iov_base + skip, n);
        record.n += n;
        skip = 0;
    }
    return record;
}

static ssize_t tls_send(struct channel *channel, const struct iovec *parts, size_t count)
{
    struct tls_channel *tls = self(channel);
    char room[RECORD];
    size_t done = 0;

    ERR_clear_error();
    for (;;) {
        struct str record = next_record(parts, count, done, room);
        size_t part;
        int rc;

        if (record.n == 0)
            return (ssize_t)done;
        rc = SSL_write_ex(tls->ssl, record.p, record.n, &part);
        if (rc == 1) {
            done += part;
            continue;
        }
        if (failure(tls, rc) == 0)
            errno = EPIPE;
        return done > 0 && errno == EAGAIN ? (ssize_t)done : -1;
    }
}

static bool pending(const struct channel *channel)
{
    return SSL_pending(self(channel)->ssl) > 0;
}

static void end(struct channel *channel)
{
    struct tls_channel *tls = self(channel);

    if (tls->broken || SSL_in_init(tls->ssl) || (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN))
        return;
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

static bool is_h2(const struct channel *channel)
{
    const unsigned char *name;
    unsigned n;

    SSL_get0_alpn_selected(self(channel)->ssl, &name, &n);
    return n == 2 && memcmp(name, "h2", 2) == 0;
}

static void tls_channel_free(struct channel *channel)
{
    struct tls_channel *tls = self(channel);

    SSL_free(tls->ssl);
    free(tls);
}

static const struct channel_ops tls_channel_ops = {
    .handshake = handshake,
    .recv = tls_recv,
    .send = tls_send,
    .pending = pending,
    .end = end,
    .is_h2 = is_h2,
    .free = tls_channel_free,
};

static struct channel *tls_channel_new(void *data, int fd)
{
    struct tls_channel *tls = calloc(1, sizeof(*tls));

    if (!tls)
        return NULL;
    tls->channel.ops = &tls_channel_ops;
    tls->ssl = tls_accept(data);
    if (tls->ssl && SSL_set_fd(tls->ssl, fd) == 1)
        return &tls->channel;
    ERR_clear_error();
    SSL_free(tls->ssl);
    free(tls);
    return NULL;
}

int http_server_listen_tls(struct http_server *server, int listen_fd, struct tls *tls)
{
    if (http_server_listen_fd(server, listen_fd) < 0)
        return -1;
    http_server_enable_h2(server);
    server->listeners->open_channel = tls_channel_new;
    server->listeners->channel_data = tls;
    return 0;
}
