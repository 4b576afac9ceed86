/*
 * tls_end.h - TLS (OpenSSL) on streams: towards a sandbox as the server that it wanted, with a certificate of its
 * authority; towards the real server as a client that verifies chain and name. Both speak HTTP/1.1 only, TLS 1.2 or
 * newer, without resumption: what one sandbox has agreed on means nothing to another.
 */
#pragma once

#include "base/error.h"
#include "daemon/egress/authority.h"
#include "daemon/egress/stream.h"

struct tls_ends;

/*
 * As root. `ca_file`: what signs the servers that are trusted, PEM; NULL: the system's. The file is opened here and
 * read when it is needed first. A system without one trusts nobody; that a named one is missing is an error.
 */
int tls_ends_new(const char *ca_file, struct tls_ends **ret, struct berm_error *err);
void tls_ends_free(struct tls_ends *ends); /* NULL is allowed */

/* Both lay TLS on a stream. `early`: what the client has said already. -1: no memory, no OpenSSL; nothing changed.
 */
int tls_end_accept(struct tls_ends *ends, struct authority *authority, struct str name, struct str early,
                   struct stream *stream);
int tls_end_connect(struct tls_ends *ends, struct str name, struct stream *stream);

/* 1: it is done. 0: call again when the socket is readable, or writable if `wants_write`. -1: failed. */
int tls_end_handshake(struct stream *stream);
/* After tls_end_connect() and a failed handshake: the server's certificate was not accepted. */
bool tls_end_distrusted(const struct stream *stream);

/* For stream.c. */
size_t tls_end_read(struct stream *stream, void *p, size_t n);
size_t tls_end_write(struct stream *stream, const void *p, size_t n);
void tls_end_shut(struct stream *stream);
void tls_end_free(struct stream *stream);
