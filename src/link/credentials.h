/*
 * credentials.h - certificates and authorities for GnuTLS, shared by the transports, and what both check of a peer.
 */
#pragma once

#include "base/error.h"
#include "base/link_wire.h"

#include <gnutls/gnutls.h>

struct credentials {
    gnutls_certificate_credentials_t x509;
    unsigned users;
};

/* Trusts `authority`, a PEM file, or what the system trusts if NULL. */
struct credentials *credentials_for_dialling(const char *authority, struct berm_error *err);
/* PEM files; the certificate's has the chain. */
struct credentials *credentials_for_listening(const char *certificate, const char *key, struct berm_error *err);
/* A session keeps what it began with, also when SIGHUP has brought newer ones. */
struct credentials *credentials_ref(struct credentials *credentials);
void credentials_unref(struct credentials *credentials);

/* TLS 1.3 only, no resumption, no early data: priority string for gnutls_priority_set_direct(). QUIC's has what
 * ngtcp2 asks for besides. */
#define LINK_PRIORITY "SECURE128:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"

/*
 * Dialling: has GnuTLS verify in the handshake that the peer's certificate is for `host` (a name or an address) and
 * signed by an authority of the session's credentials, and sends the name (SNI) unless it is an address. `host` has
 * to live as long as the session. 0 or -1.
 */
int session_check_peer(gnutls_session_t session, const char *host);
/* The protocol that was agreed on is `name`, and nothing else is accepted: -1 if not. */
int session_check_alpn(gnutls_session_t session, const char *name);
/* Why a handshake failed with `rc`: LINK_UNTRUSTED with words, LINK_PROTOCOL, ... */
enum link_reason session_failure(gnutls_session_t session, int rc, char *text, size_t text_size);
