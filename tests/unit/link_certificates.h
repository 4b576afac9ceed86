/* link_certificates.h - an authority and what it signs, as PEM files in a directory of the test's. */
#pragma once

#include "unit.h"

#include "base/sys.h"

#include <arpa/inet.h>
#include <gnutls/x509.h>
#include <time.h>

struct authority {
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
};

static gnutls_x509_privkey_t new_key(void)
{
    gnutls_x509_privkey_t key;

    assert_int_equal(gnutls_x509_privkey_init(&key), 0);
    assert_int_equal(
        gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), 0);
    return key;
}

/* Valid from `from_s` to `to_s` seconds from now; unsigned yet. */
static gnutls_x509_crt_t new_crt(gnutls_x509_privkey_t key, const char *name, int from_s, int to_s)
{
    static unsigned char serial;
    gnutls_x509_crt_t crt;

    serial++;
    assert_int_equal(gnutls_x509_crt_init(&crt), 0);
    gnutls_x509_crt_set_version(crt, 3);
    gnutls_x509_crt_set_serial(crt, &serial, 1);
    gnutls_x509_crt_set_activation_time(crt, time(NULL) + from_s);
    gnutls_x509_crt_set_expiration_time(crt, time(NULL) + to_s);
    gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name));
    assert_int_equal(gnutls_x509_crt_set_key(crt, key), 0);
    return crt;
}

static void put_file(const char *path, const gnutls_datum_t *pem)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(pem->data, 1, pem->size, file), pem->size);
    assert_int_equal(fclose(file), 0);
}

static void put_crt(const char *path, gnutls_x509_crt_t crt)
{
    gnutls_datum_t pem;

    assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), 0);
    put_file(path, &pem);
    gnutls_free(pem.data);
}

static void authority_new(struct authority *ca, const char *path)
{
    ca->key = new_key();
    ca->crt = new_crt(ca->key, "berm test authority", -3600, 3600);
    gnutls_x509_crt_set_basic_constraints(ca->crt, 1, -1);
    gnutls_x509_crt_set_key_usage(ca->crt, GNUTLS_KEY_KEY_CERT_SIGN);
    assert_int_equal(gnutls_x509_crt_sign2(ca->crt, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0), 0);
    put_crt(path, ca->crt);
}

static void authority_free(struct authority *ca)
{
    gnutls_x509_crt_deinit(ca->crt);
    gnutls_x509_privkey_deinit(ca->key);
}

/* Of `name`, which may be an address, valid for `to_s` seconds more, into <prefix>.crt and <prefix>.key. */
static void authority_issue(const struct authority *ca, const char *name, int to_s, const char *prefix)
{
    gnutls_x509_privkey_t key = new_key();
    gnutls_x509_crt_t crt = new_crt(key, name, -7200, to_s);
    struct in_addr address;
    gnutls_datum_t pem;
    char path[256];

    if (inet_pton(AF_INET, name, &address) == 1)
        gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, &address, sizeof(address), GNUTLS_FSAN_SET);
    else
        gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name, (unsigned)strlen(name),
                                             GNUTLS_FSAN_SET);
    assert_int_equal(gnutls_x509_crt_sign2(crt, ca->crt, ca->key, GNUTLS_DIG_SHA256, 0), 0);
    snprintf(path, sizeof(path), "%s.crt", prefix);
    put_crt(path, crt);
    assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), 0);
    snprintf(path, sizeof(path), "%s.key", prefix);
    put_file(path, &pem);
    gnutls_free(pem.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}
