#include "daemon/docker/ca.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define DAYS          30
#define CLOCK_SKEW_S  3600
#define SECONDS_A_DAY 86400L

struct ca {
    EVP_PKEY *key;
    X509 *certificate;
    char *pem;
    size_t pem_size;
};

static void free_authority(struct ca *ca)
{
    if (!ca)
        return;
    EVP_PKEY_free(ca->key);
    X509_free(ca->certificate);
    free(ca->pem);
    free(ca);
}

static int add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;
    int ok;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    ok = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return ok ? 0 : -1;
}

static int fill(X509 *certificate, EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    uint64_t serial;

    random_bytes(&serial, sizeof(serial));
    if (!X509_set_version(certificate, X509_VERSION_3) ||
        !ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) ||
        !X509_gmtime_adj(X509_getm_notBefore(certificate), -CLOCK_SKEW_S) ||
        !X509_gmtime_adj(X509_getm_notAfter(certificate), DAYS * SECONDS_A_DAY) ||
        !X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"Berm sandbox egress", -1, -1,
                                    0) ||
        !X509_set_issuer_name(certificate, name) || !X509_set_pubkey(certificate, key))
        return -1;
    if (add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") < 0 ||
        add_extension(certificate, NID_key_usage, "critical,keyCertSign,cRLSign") < 0 ||
        add_extension(certificate, NID_subject_key_identifier, "hash") < 0)
        return -1;
    return X509_sign(certificate, key, EVP_sha256()) > 0 ? 0 : -1;
}

static int write_pem(struct ca *ca)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    long n;

    if (!bio || !PEM_write_bio_X509(bio, ca->certificate) || (n = BIO_get_mem_data(bio, &bytes)) <= 0) {
        BIO_free(bio);
        return -1;
    }
    ca->pem = str_dup((struct str){ bytes, (size_t)n });
    ca->pem_size = (size_t)n;
    BIO_free(bio);
    return ca->pem ? 0 : -1;
}

static struct ca *make(struct berm_error *err)
{
    struct ca *ca = calloc(1, sizeof(*ca));

    if (ca) {
        ca->key = EVP_EC_gen("P-256");
        ca->certificate = X509_new();
    }
    if (ca && ca->key && ca->certificate && fill(ca->certificate, ca->key) == 0 && write_pem(ca) == 0)
        return ca;
    free_authority(ca);
    berm_fail(err, BERM_E_SYSTEM, 0, "the certificate authority could not be made");
    return NULL;
}

int ca_certificate(struct docker *docker, struct str *ret_pem, struct berm_error *err)
{
    if (!docker->ca)
        docker->ca = make(err);
    if (!docker->ca)
        return -1;
    *ret_pem = (struct str){ docker->ca->pem, docker->ca->pem_size };
    return 0;
}

void ca_free(struct docker *docker)
{
    free_authority(docker->ca);
    docker->ca = NULL;
}
