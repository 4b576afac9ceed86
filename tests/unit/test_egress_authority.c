/* Certificates: what an authority signs, who trusts it, and that its key comes back from what was stored. */
#include "unit.h"

#include "daemon/egress/authority.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static X509 *read_certificate(const struct authority *authority)
{
    struct str pem = authority_certificate(authority);
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    BIO_free(bio);
    assert_non_null(certificate);
    return certificate;
}

/* The leaf that is shown for `name`, of a connection whose parts are freed. */
static X509 *shown(struct authority *authority, const char *name)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    SSL *tls = SSL_new(context);
    X509 *leaf;

    assert_int_equal(authority_show(authority, str_from(name), tls), 0);
    leaf = SSL_get_certificate(tls);
    X509_up_ref(leaf);
    assert_int_equal(SSL_check_private_key(tls), 1);
    SSL_free(tls);
    SSL_CTX_free(context);
    return leaf;
}

static bool trusted(const struct authority *by, X509 *leaf, const char *name)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    X509 *root = read_certificate(by);
    bool ok;

    X509_STORE_add_cert(store, root);
    X509_STORE_CTX_init(context, store, leaf, NULL);
    X509_STORE_CTX_set_default(context, "ssl_server");
    X509_VERIFY_PARAM_set1_host(X509_STORE_CTX_get0_param(context), name, 0);
    ok = X509_verify_cert(context) == 1;
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_free(root);
    return ok;
}

static struct authority *new_authority(void)
{
    struct authority *authority;
    struct berm_error err;

    assert_int_equal(authority_new(&authority, &err), 0);
    return authority;
}

static void a_leaf_is_for_its_name_and_trusted_by_its_authority_alone(void **state)
{
    struct authority *one = new_authority(), *other = new_authority();
    X509 *leaf = shown(one, "a.example.com"), *again = shown(one, "a.example.com");

    (void)state;
    assert_true(trusted(one, leaf, "a.example.com"));
    assert_false(trusted(one, leaf, "b.example.com"));
    assert_false(trusted(one, leaf, "x.a.example.com"));
    assert_false(trusted(other, leaf, "a.example.com"));
    assert_ptr_equal(leaf, again);
    assert_int_equal(X509_check_ca(leaf), 0);
    X509_free(leaf);
    X509_free(again);
    authority_unref(one);
    authority_unref(other);
}

static void long_names_and_many_names_get_theirs(void **state)
{
    static const char label[] = "abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz0123456789";
    struct authority *authority = new_authority();
    char name[254];

    (void)state;
    snprintf(name, sizeof(name), "%s.%s.%s.example.com", label, label, label);
    for (int i = 0; i < 40; i++) {
        X509 *leaf = shown(authority, name);

        assert_true(trusted(authority, leaf, name));
        X509_free(leaf);
        if (i % 2)
            snprintf(name, sizeof(name), "n%d.example.com", i);
    }
    authority_unref(authority);
}

static void what_was_stored_is_the_same_authority(void **state)
{
    struct authority *one = new_authority(), *two;
    struct berm_error err;
    struct buf key;
    X509 *leaf;

    (void)state;
    buf_init(&key, 4096);
    assert_int_equal(authority_write_key(one, &key), 0);
    assert_int_equal(authority_load(buf_str(&key), authority_certificate(one), &two, &err), 0);
    leaf = shown(two, "a.example.com");
    assert_true(trusted(one, leaf, "a.example.com"));
    X509_free(leaf);
    authority_unref(two);
    two = new_authority();
    assert_int_equal(authority_load(buf_str(&key), authority_certificate(two), &two, &err), -1);
    assert_int_equal(authority_load(STR("no key"), authority_certificate(one), &two, &err), -1);
    authority_unref(two);
    authority_unref(one);
    buf_free(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leaf_is_for_its_name_and_trusted_by_its_authority_alone),
        cmocka_unit_test(long_names_and_many_names_get_theirs),
        cmocka_unit_test(what_was_stored_is_the_same_authority),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
