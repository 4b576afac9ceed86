#include "daemon/egress/authority.h"

#include "base/loop.h"
#include "daemon/egress/client_hello.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define SECONDS_A_DAY   86400L
#define CLOCK_SKEW_S    3600
#define AUTHORITY_DAYS  3650
#define LEAF_DAYS       7
#define LEAF_REUSE_MS   (INT64_C(24) * 3600 * 1000)
#define LEAVES_MAX      32
#define COMMON_NAME_MAX 64 /* X.520 */
#define PRIVATE_KEY_MAX 4096
#define AUTHORITY_NAME  "Berm sandbox egress"

/* A certificate for a name, signed for `leaf_key`. */
struct leaf {
    char name[HOST_NAME_MAX_BYTES + 1];
    X509 *certificate;
    int64_t made_ms;
};

struct authority {
    unsigned refs;
    EVP_PKEY *key, *leaf_key;
    X509 *certificate;
    char *pem;
    size_t pem_size;
    struct leaf leaves[LEAVES_MAX]; /* a ring: the oldest goes */
    size_t next_leaf;
};

struct authority *authority_ref(struct authority *authority)
{
    if (authority)
        authority->refs++;
    return authority;
}

void authority_unref(struct authority *authority)
{
    if (!authority || --authority->refs > 0)
        return;
    for (size_t i = 0; i < LEAVES_MAX; i++)
        X509_free(authority->leaves[i].certificate);
    EVP_PKEY_free(authority->key);
    EVP_PKEY_free(authority->leaf_key);
    X509_free(authority->certificate);
    free(authority->pem);
    free(authority);
}

/* --- certificates --- */

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;
    int ok;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    ok = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return ok ? 0 : -1;
}

/* Everything but the extensions and the signature. */
static X509 *begin_certificate(const char *name, EVP_PKEY *key, X509 *issuer, long days)
{
    X509 *certificate = X509_new();
    X509_NAME *subject = certificate ? X509_get_subject_name(certificate) : NULL;
    uint64_t serial;

    random_bytes(&serial, sizeof(serial));
    if (certificate && X509_set_version(certificate, X509_VERSION_3) &&
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -CLOCK_SKEW_S) &&
        X509_gmtime_adj(X509_getm_notAfter(certificate), days * SECONDS_A_DAY) &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) &&
        X509_set_issuer_name(certificate, issuer ? X509_get_subject_name(issuer) : subject) &&
        X509_set_pubkey(certificate, key))
        return certificate;
    X509_free(certificate);
    return NULL;
}

static X509 *make_root(EVP_PKEY *key)
{
    X509 *certificate = begin_certificate(AUTHORITY_NAME, key, NULL, AUTHORITY_DAYS);

    if (certificate &&
        add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") == 0 &&
        add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") == 0 &&
        add_extension(certificate, certificate, NID_subject_key_identifier, "hash") == 0 &&
        X509_sign(certificate, key, EVP_sha256()) > 0)
        return certificate;
    X509_free(certificate);
    return NULL;
}

/* No byte of a normalized name means anything in the text of an extension. */
static X509 *make_leaf(struct authority *authority, struct str name)
{
    const char *common = name.n <= COMMON_NAME_MAX ? name.p : "a long name";
    X509 *issuer = authority->certificate, *certificate;
    char alternative[sizeof("DNS:") + HOST_NAME_MAX_BYTES];

    snprintf(alternative, sizeof(alternative), "DNS:%.*s", (int)name.n, name.p);
    certificate = begin_certificate(common, authority->leaf_key, issuer, LEAF_DAYS);
    if (certificate && add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") == 0 &&
        add_extension(certificate, issuer, NID_key_usage, "critical,digitalSignature") == 0 &&
        add_extension(certificate, issuer, NID_ext_key_usage, "serverAuth") == 0 &&
        add_extension(certificate, issuer, NID_subject_alt_name, alternative) == 0 &&
        add_extension(certificate, issuer, NID_authority_key_identifier, "keyid") == 0 &&
        X509_sign(certificate, authority->key, EVP_sha256()) > 0)
        return certificate;
    X509_free(certificate);
    return NULL;
}

/* --- PEM --- */

static int keep_pem(struct authority *authority)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    long n;

    if (bio && PEM_write_bio_X509(bio, authority->certificate) && (n = BIO_get_mem_data(bio, &bytes)) > 0) {
        authority->pem = str_dup((struct str){ bytes, (size_t)n });
        authority->pem_size = (size_t)n;
    }
    BIO_free(bio);
    return authority->pem ? 0 : -1;
}

int authority_write_key(const struct authority *authority, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    int rc = -1;
    char *bytes;
    long n;

    if (bio && PEM_write_bio_PrivateKey(bio, authority->key, NULL, NULL, 0, NULL, NULL) &&
        (n = BIO_get_mem_data(bio, &bytes)) > 0 && n <= PRIVATE_KEY_MAX)
        rc = buf_append(out, bytes, (size_t)n);
    BIO_free(bio);
    return rc;
}

/* --- the whole --- */

static int finish(struct authority *authority, struct authority **ret, struct berm_error *err)
{
    if (authority)
        authority->refs = 1;
    if (authority && authority->key && authority->certificate && (authority->leaf_key = EVP_EC_gen("P-256")) &&
        X509_check_private_key(authority->certificate, authority->key) == 1 && keep_pem(authority) == 0) {
        *ret = authority;
        return 0;
    }
    authority_unref(authority);
    return berm_fail(err, BERM_E_SYSTEM, 0, "a certificate authority could not be made");
}

int authority_new(struct authority **ret, struct berm_error *err)
{
    struct authority *authority = calloc(1, sizeof(*authority));

    if (authority && (authority->key = EVP_EC_gen("P-256")))
        authority->certificate = make_root(authority->key);
    return finish(authority, ret, err);
}

int authority_load(struct str key_pem, struct str certificate_pem, struct authority **ret, struct berm_error *err)
{
    struct authority *authority = calloc(1, sizeof(*authority));
    BIO *key = BIO_new_mem_buf(key_pem.p, (int)key_pem.n);
    BIO *certificate = BIO_new_mem_buf(certificate_pem.p, (int)certificate_pem.n);

    if (authority && key && certificate) {
        authority->key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
        authority->certificate = PEM_read_bio_X509(certificate, NULL, NULL, NULL);
    }
    BIO_free(key);
    BIO_free(certificate);
    return finish(authority, ret, err);
}

struct str authority_certificate(const struct authority *authority)
{
    return (struct str){ authority->pem, authority->pem_size };
}

static X509 *find_leaf(const struct authority *authority, struct str name, int64_t now_ms)
{
    for (size_t i = 0; i < LEAVES_MAX; i++) {
        const struct leaf *leaf = &authority->leaves[i];

        if (leaf->certificate && str_is(name, leaf->name) && now_ms - leaf->made_ms < LEAF_REUSE_MS &&
            now_ms >= leaf->made_ms)
            return leaf->certificate;
    }
    return NULL;
}

static X509 *add_leaf(struct authority *authority, struct str name, int64_t now_ms)
{
    struct leaf *leaf = &authority->leaves[authority->next_leaf];
    X509 *certificate;

    if (str_copy(name, leaf->name, sizeof(leaf->name)) < 0)
        return NULL;
    certificate = make_leaf(authority, str_from(leaf->name));
    X509_free(leaf->certificate);
    leaf->certificate = certificate;
    leaf->made_ms = now_ms;
    authority->next_leaf = (authority->next_leaf + 1) % LEAVES_MAX;
    return certificate;
}

int authority_show(struct authority *authority, struct str name, struct ssl_st *tls)
{
    int64_t now_ms = clock_realtime_ms();
    X509 *leaf = find_leaf(authority, name, now_ms);

    if (!leaf)
        leaf = add_leaf(authority, name, now_ms);
    return leaf && SSL_use_certificate(tls, leaf) == 1 && SSL_use_PrivateKey(tls, authority->leaf_key) == 1 ? 0
                                                                                                            : -1;
}
