#include "link/tls.h"

#include "link/transport.h"

#include <sys/socket.h>

#define IN_SIZE ((size_t)64 << 10)
#define OUT_MAX ((size_t)1 << 20) /* who calls tls_put() sends in between, and never comes near */

static ssize_t pull(gnutls_transport_ptr_t data, void *p, size_t n)
{
    struct tls *tls = data;

    if (!tls->in) {
        ssize_t got;

        tls->in = malloc(IN_SIZE);
        got = tls->in ? RETRY_EINTR(recv(tls->fd, tls->in, IN_SIZE, MSG_DONTWAIT)) : -1;
        if (got <= 0) {
            int error = tls->in ? errno : ENOMEM;

            free_ptr(&tls->in);
            tls->ended |= got == 0;
            gnutls_transport_set_errno(tls->session, error);
            return got;
        }
        tls->in_start = 0;
        tls->in_end = (size_t)got;
    }
    n = MIN(n, tls->in_end - tls->in_start);
    memcpy(p, tls->in + tls->in_start, n);
    tls->in_start += n;
    if (tls->in_start == tls->in_end)
        free_ptr(&tls->in);
    return (ssize_t)n;
}

static ssize_t push(gnutls_transport_ptr_t data, const void *p, size_t n)
{
    struct tls *tls = data;

    if (buf_append(&tls->out, p, n) == 0)
        return (ssize_t)n;
    gnutls_transport_set_errno(tls->session, ENOMEM);
    return -1;
}

static int set_up(struct tls *tls, const char *alpn, const char *host)
{
    const gnutls_datum_t protocol = { (unsigned char *)(uintptr_t)alpn, (unsigned)strlen(alpn) };

    if (gnutls_priority_set_direct(tls->session, LINK_PRIORITY, NULL) < 0 ||
        gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, tls->credentials->x509) < 0 ||
        gnutls_alpn_set_protocols(tls->session, &protocol, 1, GNUTLS_ALPN_MANDATORY) < 0)
        return -1;
    gnutls_transport_set_ptr(tls->session, tls);
    gnutls_transport_set_pull_function(tls->session, pull);
    gnutls_transport_set_push_function(tls->session, push);
    return host ? session_check_peer(tls->session, host) : 0;
}

int tls_init(struct tls *tls, int fd, struct credentials *credentials, const char *host)
{
    unsigned flags =
        (host ? GNUTLS_CLIENT : GNUTLS_SERVER) | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS;

    *tls = (struct tls){ .fd = fd, .credentials = credentials_ref(credentials) };
    buf_init(&tls->out, OUT_MAX);
    if (gnutls_init(&tls->session, flags) >= 0 && set_up(tls, LINK_ALPN_H2, host) == 0)
        return 0;
    tls_fini(tls);
    return -1;
}

void tls_fini(struct tls *tls)
{
    if (tls->session)
        gnutls_deinit(tls->session);
    credentials_unref(tls->credentials);
    free_ptr(&tls->in);
    buf_free(&tls->out);
    close_fd(&tls->fd);
    *tls = (struct tls){ .fd = -EBADF };
}

int tls_handshake(struct tls *tls)
{
    int rc;

    do {
        rc = gnutls_handshake(tls->session);
    } while (rc == GNUTLS_E_INTERRUPTED || rc == GNUTLS_E_WARNING_ALERT_RECEIVED);
    if (rc < 0 && rc != GNUTLS_E_AGAIN)
        gnutls_alert_send_appropriate(tls->session, rc);
    if (tls_send(tls) < 0 && rc >= 0)
        rc = GNUTLS_E_PUSH_ERROR;
    tls->failure = rc;
    if (rc == GNUTLS_E_AGAIN)
        return 0;
    if (rc < 0)
        return -1;
    return session_check_alpn(tls->session, LINK_ALPN_H2) < 0 ? -1 : 1;
}

enum link_reason tls_failure(struct tls *tls, char *text, size_t text_size)
{
    return session_failure(tls->session, tls->failure, text, text_size);
}

ssize_t tls_recv(struct tls *tls, void *p, size_t n)
{
    ssize_t got;

    do {
        got = gnutls_record_recv(tls->session, p, n);
    } while (got == GNUTLS_E_INTERRUPTED);
    if (got >= 0)
        return got;
    errno = got == GNUTLS_E_AGAIN ? EAGAIN : ECONNRESET;
    return -1;
}

bool tls_pending(const struct tls *tls)
{
    return tls->in || gnutls_record_check_pending(tls->session) > 0;
}

int tls_put(struct tls *tls, const void *p, size_t n)
{
    const char *at = p;

    while (n > 0) {
        ssize_t put = gnutls_record_send(tls->session, at, n);

        if (put <= 0)
            return -1;
        at += put;
        n -= (size_t)put;
    }
    return 0;
}

int tls_send(struct tls *tls)
{
    while (tls->out.len > 0) {
        ssize_t n = RETRY_EINTR(send(tls->fd, buf_head(&tls->out), tls->out.len, MSG_DONTWAIT | MSG_NOSIGNAL));

        if (n < 0)
            return errno == EAGAIN ? 1 : -1;
        buf_consume(&tls->out, (size_t)n);
    }
    buf_release_if_empty(&tls->out);
    return 0;
}

void tls_bye(struct tls *tls)
{
    gnutls_bye(tls->session, GNUTLS_SHUT_WR);
    tls_send(tls);
}
