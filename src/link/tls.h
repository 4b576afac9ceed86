/*
 * tls.h - TLS 1.3 over a TCP socket, for the HTTP/2 transport. GnuTLS reads from and writes to memory here, so that
 * one recv(2) and one send(2) serve many records.
 */
#pragma once

#include "link/credentials.h"

#include "base/buf.h"

struct tls {
    gnutls_session_t session;
    struct credentials *credentials;
    int fd;
    char *in; /* read from the socket and not decrypted yet; NULL: nothing */
    size_t in_start, in_end;
    struct buf out; /* encrypted and not sent */
    bool ended;     /* the socket has no more */
    int failure;    /* of the handshake: what GnuTLS said */
};

/* Takes the socket, also when it fails. `host`: dialling, for session_check_peer(); NULL: accepted. -1 without
 * memory. */
int tls_init(struct tls *tls, int fd, struct credentials *credentials, const char *host);
void tls_fini(struct tls *tls); /* with the socket; idempotent, and for a zeroed one with fd -1 */

/* 1: done; 0: wait for the socket; -1: failed, see tls_failure(). Sends what it has to say in any case. */
int tls_handshake(struct tls *tls);
enum link_reason tls_failure(struct tls *tls, char *text, size_t text_size);

/* As recv(2). One record at the most. */
ssize_t tls_recv(struct tls *tls, void *p, size_t n);
/* Whether there may be more to get without waiting for the socket. */
bool tls_pending(const struct tls *tls);
/* Encrypts all of it, to be sent by tls_send(). -1: no memory or broken. */
int tls_put(struct tls *tls, const void *p, size_t n);
/* Tells the far side that no more comes, if the socket takes it. */
void tls_bye(struct tls *tls);
/* 0: all is sent; 1: the socket is full; -1: it is broken. */
int tls_send(struct tls *tls);
