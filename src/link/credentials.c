#include "link/credentials.h"

#include <arpa/inet.h>

static struct credentials *new_credentials(struct berm_error *err)
{
    struct credentials *credentials = calloc(1, sizeof(*credentials));

    if (!credentials || gnutls_certificate_allocate_credentials(&credentials->x509) < 0) {
        free(credentials);
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "certificates");
        return NULL;
    }
    credentials->users = 1;
    return credentials;
}

struct credentials *credentials_for_dialling(const char *authority, struct berm_error *err)
{
    struct credentials *credentials = new_credentials(err);
    int rc;

    if (!credentials)
        return NULL;
    rc = authority ? gnutls_certificate_set_x509_trust_file(credentials->x509, authority, GNUTLS_X509_FMT_PEM)
                   : gnutls_certificate_set_x509_system_trust(credentials->x509);
    if (rc > 0)
        return credentials;
    credentials_unref(credentials);
    if (authority)
        berm_fail(err, BERM_E_INVALID_REQUEST, 0, "no authority in %s%s%s", authority, rc < 0 ? ": " : "",
                  rc < 0 ? gnutls_strerror(rc) : "");
    else
        berm_fail(err, BERM_E_INVALID_REQUEST, 0, "the system has no certificate authorities (ca-certificates)");
    return NULL;
}

struct credentials *credentials_for_listening(const char *certificate, const char *key, struct berm_error *err)
{
    struct credentials *credentials = new_credentials(err);
    int rc;

    if (!credentials)
        return NULL;
    rc = gnutls_certificate_set_x509_key_file(credentials->x509, certificate, key, GNUTLS_X509_FMT_PEM);
    if (rc >= 0)
        return credentials;
    credentials_unref(credentials);
    berm_fail(err, BERM_E_INVALID_REQUEST, 0, "certificate %s, key %s: %s", certificate, key, gnutls_strerror(rc));
    return NULL;
}

struct credentials *credentials_ref(struct credentials *credentials)
{
    credentials->users++;
    return credentials;
}

void credentials_unref(struct credentials *credentials)
{
    if (!credentials || --credentials->users > 0)
        return;
    gnutls_certificate_free_credentials(credentials->x509);
    free(credentials);
}

static bool is_address(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

int session_check_peer(gnutls_session_t session, const char *host)
{
    gnutls_session_set_verify_cert(session, host, 0);
    if (is_address(host))
        return 0;
    return gnutls_server_name_set(session, GNUTLS_NAME_DNS, host, strlen(host)) < 0 ? -1 : 0;
}

int session_check_alpn(gnutls_session_t session, const char *name)
{
    gnutls_datum_t chosen;

    if (gnutls_alpn_get_selected_protocol(session, &chosen) < 0)
        return -1;
    return str_is((struct str){ (const char *)chosen.data, chosen.size }, name) ? 0 : -1;
}

/* Also when it is QUIC's library that has seen the handshake fail: `rc` is its own number then, or 0. */
enum link_reason session_failure(gnutls_session_t session, int rc, char *text, size_t text_size)
{
    unsigned status = gnutls_session_get_verify_cert_status(session);
    gnutls_datum_t words = { 0 };

    if (status != 0 && status != (unsigned)-1) {
        gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &words, 0);
        snprintf(text, text_size, "%s", words.data ? (const char *)words.data : "the certificate is not trusted");
        gnutls_free(words.data);
        return LINK_UNTRUSTED;
    }
    if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        snprintf(text, text_size, "the far side refused: %s", gnutls_alert_get_name(gnutls_alert_get(session)));
        return LINK_PROTOCOL;
    }
    if (rc == GNUTLS_E_PREMATURE_TERMINATION || rc == GNUTLS_E_PULL_ERROR || rc == GNUTLS_E_PUSH_ERROR) {
        snprintf(text, text_size, "the connection ended in the handshake");
        return LINK_UNREACHABLE;
    }
    snprintf(text, text_size, "%s", rc < 0 ? gnutls_strerror(rc) : "the handshake failed");
    return rc == GNUTLS_E_MEMORY_ERROR ? LINK_NO_RESOURCES : LINK_PROTOCOL;
}
