#include "daemon/egress/tls_end.h"

#include "daemon/egress/client_hello.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#define HTTP_1_1    "\x08http/1.1"
#define READ_BUFFER ((size_t)64 << 10)

struct tls_ends {
    int ca_fd;
    BIO_METHOD *socket;
    SSL_CTX *server, *client; /* made when they are needed first */
};

/* --- sockets, with what was read from them before TLS was known --- */

struct wire {
    int fd;
    char *early; /* owned */
    size_t early_at, early_size;
};

static int wire_read(BIO *bio, char *p, int n)
{
    struct wire *wire = BIO_get_data(bio);
    size_t left = wire->early_size - wire->early_at;
    ssize_t got;

    BIO_clear_retry_flags(bio);
    if (left > 0) {
        got = (ssize_t)MIN(left, (size_t)n);
        memcpy(p, wire->early + wire->early_at, (size_t)got);
        wire->early_at += (size_t)got;
        return (int)got;
    }
    got = RETRY_EINTR(recv(wire->fd, p, (size_t)n, MSG_DONTWAIT));
    if (got < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    else if (got == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)got;
}

static int wire_write(BIO *bio, const char *p, int n)
{
    const struct wire *wire = BIO_get_data(bio);
    ssize_t done = RETRY_EINTR(send(wire->fd, p, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL));

    BIO_clear_retry_flags(bio);
    if (done < 0 && errno == EAGAIN)
        BIO_set_retry_write(bio);
    return (int)done;
}

static long wire_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH;
}

static int wire_free(BIO *bio)
{
    struct wire *wire = BIO_get_data(bio);

    if (wire)
        free(wire->early);
    free(wire);
    return 1;
}

static BIO_METHOD *new_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "egress");

    if (method && BIO_meth_set_read(method, wire_read) && BIO_meth_set_write(method, wire_write) &&
        BIO_meth_set_ctrl(method, wire_control) && BIO_meth_set_destroy(method, wire_free))
        return method;
    BIO_meth_free(method);
    return NULL;
}

static BIO *new_bio(const struct tls_ends *ends, int fd, struct str early)
{
    struct wire *wire = calloc(1, sizeof(*wire));
    BIO *bio = wire ? BIO_new(ends->socket) : NULL;

    if (!bio) {
        free(wire);
        return NULL;
    }
    BIO_set_data(bio, wire);
    BIO_set_init(bio, 1);
    wire->fd = fd;
    if (early.n > 0 && (wire->early = malloc(early.n))) {
        memcpy(wire->early, early.p, early.n);
        wire->early_size = early.n;
    }
    if (wire->early_size == early.n)
        return bio;
    BIO_free(bio);
    return NULL;
}

/* --- the contexts --- */

static SSL_CTX *new_context(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);

    if (!context)
        return NULL;
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_read_ahead(context, 1); /* else two calls for each record */
    SSL_CTX_set_default_read_buffer_len(context, READ_BUFFER);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

static int choose_protocol(SSL *tls, const unsigned char **ret, unsigned char *ret_size,
                           const unsigned char *offered, unsigned offered_size, void *data)
{
    unsigned char *chosen;

    (void)tls;
    (void)data;
    if (SSL_select_next_proto(&chosen, ret_size, (const unsigned char *)HTTP_1_1, sizeof(HTTP_1_1) - 1, offered,
                              offered_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *server_context(struct tls_ends *ends)
{
    if (!ends->server && (ends->server = new_context(TLS_server_method())))
        SSL_CTX_set_alpn_select_cb(ends->server, choose_protocol, NULL);
    return ends->server;
}

/* The whole file: OpenSSL's own reading of descriptors takes a call for each byte. */
static BIO *read_file(int fd)
{
    char piece[16384];
    BIO *bio = BIO_new(BIO_s_mem());
    off_t at = 0;
    ssize_t n;

    while (bio && (n = pread(fd, piece, sizeof(piece), at)) > 0 && BIO_write(bio, piece, (int)n) == n)
        at += n;
    return bio;
}

/* Every certificate of the file. One that OpenSSL cannot read ends the list: those before it count. */
static void read_trusted(const struct tls_ends *ends, X509_STORE *store)
{
    BIO *bio = ends->ca_fd >= 0 ? read_file(ends->ca_fd) : NULL;
    X509 *certificate;

    while (bio && (certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL))) {
        X509_STORE_add_cert(store, certificate);
        X509_free(certificate);
    }
    BIO_free(bio);
    ERR_clear_error();
}

static SSL_CTX *client_context(struct tls_ends *ends)
{
    if (!ends->client && (ends->client = new_context(TLS_client_method()))) {
        SSL_CTX_set_verify(ends->client, SSL_VERIFY_PEER, NULL);
        read_trusted(ends, SSL_CTX_get_cert_store(ends->client));
    }
    return ends->client;
}

static int open_trusted(const char *ca_file)
{
    static const char *const usual[] = { "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                         "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem" };
    int fd = -EBADF;

    if (ca_file)
        return open(ca_file, O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(usual); i++)
        fd = open(usual[i], O_RDONLY | O_CLOEXEC);
    return fd;
}

int tls_ends_new(const char *ca_file, struct tls_ends **ret, struct berm_error *err)
{
    struct tls_ends *ends = calloc(1, sizeof(*ends));

    if (!ends || !(ends->socket = new_method())) {
        free(ends);
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "TLS");
    }
    ends->ca_fd = open_trusted(ca_file);
    if (ca_file && ends->ca_fd < 0) {
        berm_fail(err, BERM_E_SYSTEM, errno, "egress.ca_file: %s", ca_file);
        tls_ends_free(ends);
        return -1;
    }
    *ret = ends;
    return 0;
}

void tls_ends_free(struct tls_ends *ends)
{
    if (!ends)
        return;
    SSL_CTX_free(ends->server);
    SSL_CTX_free(ends->client);
    BIO_meth_free(ends->socket);
    close_fd(&ends->ca_fd);
    free(ends);
}

/* --- beginning --- */

static SSL *new_end(const struct tls_ends *ends, SSL_CTX *context, struct str early, const struct stream *stream)
{
    SSL *tls = context ? SSL_new(context) : NULL;
    BIO *bio = tls ? new_bio(ends, stream->io.fd, early) : NULL;

    if (!bio) {
        SSL_free(tls);
        return NULL;
    }
    SSL_set_bio(tls, bio, bio);
    return tls;
}

int tls_end_accept(struct tls_ends *ends, struct authority *authority, struct str name, struct str early,
                   struct stream *stream)
{
    SSL *tls = new_end(ends, server_context(ends), early, stream);

    if (!tls || authority_show(authority, name, tls) < 0) {
        SSL_free(tls);
        return -1;
    }
    SSL_set_accept_state(tls);
    stream->tls = tls;
    return 0;
}

int tls_end_connect(struct tls_ends *ends, struct str name, struct stream *stream)
{
    SSL *tls = new_end(ends, client_context(ends), STR(""), stream);
    char text[HOST_NAME_MAX_BYTES + 1];

    if (!tls || str_copy(name, text, sizeof(text)) < 0 || SSL_set1_host(tls, text) != 1 ||
        SSL_set_tlsext_host_name(tls, text) != 1 ||
        SSL_set_alpn_protos(tls, (const unsigned char *)HTTP_1_1, sizeof(HTTP_1_1) - 1) != 0) {
        SSL_free(tls);
        return -1;
    }
    SSL_set_hostflags(tls, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_set_connect_state(tls);
    stream->tls = tls;
    return 0;
}

/* --- passing --- */

/* What a call that got nothing done is waiting for, or that the end has come. */
static void take_outcome(struct stream *stream, int rc)
{
    switch (SSL_get_error(stream->tls, rc)) {
    case SSL_ERROR_WANT_READ:
        break;
    case SSL_ERROR_WANT_WRITE:
        stream->wants_write = true;
        break;
    case SSL_ERROR_ZERO_RETURN:
        stream->ended = true;
        break;
    default: /* an end without its alert among them: it could be somebody else's */
        stream->broken = stream->ended = true;
    }
    ERR_clear_error();
}

/* A server that chose another protocol than the one that it was offered would not be understood. */
static bool speaks_http_1(const SSL *tls)
{
    const unsigned char *chosen;
    unsigned size;

    SSL_get0_alpn_selected(tls, &chosen, &size);
    return size == 0 || str_is((struct str){ (const char *)chosen, size }, "http/1.1");
}

int tls_end_handshake(struct stream *stream)
{
    int rc;

    stream->wants_write = false;
    ERR_clear_error();
    rc = SSL_do_handshake(stream->tls);
    if (rc == 1)
        return speaks_http_1(stream->tls) ? 1 : -1;
    take_outcome(stream, rc);
    return stream->ended ? -1 : 0;
}

bool tls_end_distrusted(const struct stream *stream)
{
    return stream->tls && SSL_get_verify_result(stream->tls) != X509_V_OK;
}

size_t tls_end_read(struct stream *stream, void *p, size_t n)
{
    size_t got = 0;
    int rc;

    stream->wants_write = false;
    rc = SSL_read_ex(stream->tls, p, n, &got);
    if (rc <= 0)
        take_outcome(stream, rc);
    return rc > 0 ? got : 0;
}

size_t tls_end_write(struct stream *stream, const void *p, size_t n)
{
    size_t done = 0;
    int rc = SSL_write_ex(stream->tls, p, n, &done);

    if (rc > 0)
        return done;
    if (SSL_get_error(stream->tls, rc) != SSL_ERROR_WANT_WRITE)
        stream->broken = true;
    ERR_clear_error();
    return 0;
}

void tls_end_shut(struct stream *stream)
{
    if (!stream->broken && SSL_is_init_finished(stream->tls))
        SSL_shutdown(stream->tls);
    ERR_clear_error();
}

void tls_end_free(struct stream *stream)
{
    SSL_free(stream->tls);
    stream->tls = NULL;
}
