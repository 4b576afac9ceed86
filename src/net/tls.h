/*
 * tls.h - TLS for the listeners of a server (OpenSSL): certificates, the choice among them, and their renewal.
 *
 * Theory of operation: a `struct tls` holds certificates, each with its key, read from PEM files. A connection gets
 * the first one that is for the name it asks for (SNI): exact names before wildcards, which stand for one label,
 * and the first certificate where nothing fits or no name was sent. The names are the certificate's own
 * (subjectAltName). tls_reload() reads those again whose files have changed; a file that is broken, or does not fit
 * its key, leaves the certificate that was there in use. Connections keep what they began with. TLS 1.2 with
 * ephemeral keys and AEAD ciphers, and TLS 1.3; stateless session tickets; no renegotiation, no compression, no
 * early data. A client whose ALPN offers nothing that we speak is refused, which keeps connections that were meant
 * for another protocol from being read as HTTP. The program must ignore SIGPIPE: OpenSSL writes with write(2).
 */
#pragma once

#include "net/server.h"

struct tls;

/*
 * `key` may be NULL: it is in the same file as the certificate. Files are read now and by tls_reload(); NULL with
 * *err when one cannot be used.
 */
struct tls_files {
    const char *certificate, *key;
};

struct tls *tls_new(const struct tls_files *files, size_t count, struct berm_error *err);
void tls_free(struct tls *tls); /* NULL is allowed; connections may outlive it only inside of a freed server */

/*
 * The number of certificates that were replaced. For each one that could not be, `failed` is called with its file
 * and the reason.
 */
size_t tls_reload(struct tls *tls, void (*failed)(const char *file, const struct berm_error *err));

/* As http_server_listen_fd(). Plain HTTP on such a listener is answered with 400. `tls` is borrowed. */
int http_server_listen_tls(struct http_server *server, int listen_fd, struct tls *tls);
