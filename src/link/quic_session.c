/* quic_session.c - TLS of QUIC connections, and the secrets that tokens are made with. */
#include "link/quic.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

/* What TLS over TCP does for the sake of old middleboxes would break QUIC. */
#define PRIORITY "%DISABLE_TLS13_COMPAT_MODE:" LINK_PRIORITY

static ngtcp2_conn *conn_of(ngtcp2_crypto_conn_ref *ref)
{
    return container_of(ref, struct quic_link, conn_ref)->conn;
}

int quic_session_init(struct quic_link *q, struct credentials *credentials, const char *host)
{
    gnutls_datum_t alpn = { (unsigned char *)(uintptr_t)LINK_ALPN_QUIC, sizeof(LINK_ALPN_QUIC) - 1 };
    unsigned side = host ? GNUTLS_CLIENT : GNUTLS_SERVER;

    if (gnutls_init(&q->session, side | GNUTLS_NO_TICKETS) < 0) {
        q->session = NULL;
        return -1;
    }
    q->credentials = credentials_ref(credentials);
    q->conn_ref = (ngtcp2_crypto_conn_ref){ conn_of, NULL };
    gnutls_session_set_ptr(q->session, &q->conn_ref);
    if (gnutls_priority_set_direct(q->session, PRIORITY, NULL) < 0 ||
        gnutls_credentials_set(q->session, GNUTLS_CRD_CERTIFICATE, credentials->x509) < 0 ||
        gnutls_alpn_set_protocols(q->session, &alpn, 1, GNUTLS_ALPN_MANDATORY) < 0)
        return -1;
    if (!host)
        return ngtcp2_crypto_gnutls_configure_server_session(q->session) == 0 ? 0 : -1;
    if (ngtcp2_crypto_gnutls_configure_client_session(q->session) != 0)
        return -1;
    return session_check_peer(q->session, host);
}

/* --- secrets --- */

static int expand(const gnutls_datum_t *secret, const char *label, uint8_t out[32])
{
    gnutls_datum_t info = { (unsigned char *)(uintptr_t)label, (unsigned)strlen(label) };

    return gnutls_hkdf_expand(GNUTLS_MAC_SHA256, secret, &info, out, 32) < 0 ? -1 : 0;
}

/* Hosts that share a certificate must not share these: a packet sent to the one with a connection's number of the
 * other's would be answered with what ends it. */
static int extract(const gnutls_datum_t *key, uint8_t out[32])
{
    char host[HOST_NAME_MAX + 1] = "";
    gnutls_datum_t salt = { (unsigned char *)host, 0 };

    gethostname(host, sizeof(host) - 1);
    salt.size = (unsigned)strlen(host);
    return gnutls_hkdf_extract(GNUTLS_MAC_SHA256, key, &salt, out) < 0 ? -1 : 0;
}

/* The private key as it is in its file; the caller frees it. */
static int export_key(const struct credentials *credentials, gnutls_datum_t *ret)
{
    gnutls_x509_privkey_t key;
    int rc;

    if (gnutls_certificate_get_x509_key(credentials->x509, 0, &key) < 0)
        return -1;
    rc = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_DER, ret);
    gnutls_x509_privkey_deinit(key);
    return rc < 0 ? -1 : 0;
}

int quic_secrets_derive(struct quic_secrets *secrets, const struct credentials *credentials)
{
    uint8_t secret[32];
    gnutls_datum_t key = { 0 }, prk = { secret, sizeof(secret) };
    int rc;

    if (export_key(credentials, &key) < 0)
        return -1;
    rc = extract(&key, secret);
    gnutls_memset(key.data, 0, key.size);
    gnutls_free(key.data);
    if (rc == 0 && (expand(&prk, "berm-link stateless reset", secrets->reset) < 0 ||
                    expand(&prk, "berm-link address token", secrets->token) < 0))
        rc = -1;
    gnutls_memset(secret, 0, sizeof(secret));
    return rc;
}
