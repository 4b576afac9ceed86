#include "tls_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#define CIPHERS_1_2                                                                                                \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

/* Files are told apart by what a replaced or rewritten one cannot keep. */
struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
};

struct certificate {
    char *file, *key;
    struct stamp file_stamp, key_stamp;
    SSL_CTX *context; /* connections hold references of their own */
};

struct tls {
    size_t count;
    struct certificate certificates[];
};

/* --- reading --- */

static int fail_tls(struct berm_error *err, const char *file, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    char text[256] = "";

    if (code)
        ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "%s: %s%s%s", file, what, *text ? ": " : "", text);
}

static int take_stamp(const char *file, struct stamp *ret)
{
    struct stat st;

    if (stat(file, &st) < 0)
        return -1;
    *ret = (struct stamp){ st.st_dev, st.st_ino, st.st_size, st.st_ctim };
    return 0;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

/* A key that asks for a pass phrase would make the daemon wait at a terminal. */
static int no_pass_phrase(char *out, int size, int writing, void *data)
{
    (void)out, (void)size, (void)writing, (void)data;
    return -1;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                           unsigned in_len, void *data)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *chosen;

    (void)ssl, (void)data;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int choose_certificate(SSL *ssl, int *alert, void *data);

static SSL_CTX *new_context(struct tls *tls)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (!context)
        return NULL;
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    /* What the queue holds is sent again from another place; an idle connection gives its buffers back. */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets only */
    SSL_CTX_set_default_passwd_cb(context, no_pass_phrase);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    SSL_CTX_set_tlsext_servername_callback(context, choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(context, tls);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(context, CIPHERS_1_2) == 1)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* Stamps are taken first: a file that changes meanwhile is read once more later. */
static int load(struct tls *tls, struct certificate *c, struct berm_error *err)
{
    const char *key = c->key ? c->key : c->file;
    SSL_CTX *context;

    ERR_clear_error();
    if (take_stamp(c->file, &c->file_stamp) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", c->file);
    if (take_stamp(key, &c->key_stamp) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", key);
    context = new_context(tls);
    if (!context)
        return fail_tls(err, c->file, "TLS cannot be set up");
    if (SSL_CTX_use_certificate_chain_file(context, c->file) != 1)
        fail_tls(err, c->file, "no certificate can be read");
    else if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        fail_tls(err, key, "no key of the certificate can be read");
    else {
        SSL_CTX_free(c->context);
        c->context = context;
        return 0;
    }
    SSL_CTX_free(context);
    return -1;
}

/* --- choosing --- */

/* X509_check_host() takes an empty name and one that begins with a dot for something else. */
static bool is_for(const struct certificate *c, const char *name, unsigned flags)
{
    X509 *x509 = SSL_CTX_get0_certificate(c->context);

    return *name && *name != '.' &&
           X509_check_host(x509, name, 0, flags | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
}

static const struct certificate *find(const struct tls *tls, const char *name)
{
    static const unsigned passes[] = { X509_CHECK_FLAG_NO_WILDCARDS, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS };

    for (size_t pass = 0; name && pass < ARRAY_SIZE(passes); pass++)
        for (size_t i = 0; i < tls->count; i++)
            if (is_for(&tls->certificates[i], name, passes[pass]))
                return &tls->certificates[i];
    return &tls->certificates[0];
}

static int choose_certificate(SSL *ssl, int *alert, void *data)
{
    const struct certificate *c = find(data, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));

    (void)alert;
    if (SSL_get_SSL_CTX(ssl) != c->context && !SSL_set_SSL_CTX(ssl, c->context))
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

SSL *tls_accept(struct tls *tls)
{
    return SSL_new(tls->certificates[0].context);
}

/* --- the object --- */

struct tls *tls_new(const struct tls_files *files, size_t count, struct berm_error *err)
{
    struct tls *tls = calloc(1, sizeof(*tls) + count * sizeof(tls->certificates[0]));

    if (!tls || count == 0)
        goto no_memory;
    tls->count = count;
    for (size_t i = 0; i < count; i++) {
        struct certificate *c = &tls->certificates[i];

        c->file = strdup(files[i].certificate);
        c->key = files[i].key ? strdup(files[i].key) : NULL;
        if (!c->file || (files[i].key && !c->key))
            goto no_memory;
        if (load(tls, c, err) < 0)
            goto fail;
    }
    return tls;

no_memory:
    berm_fail(err, BERM_E_SYSTEM, ENOMEM, "certificates");
fail:
    tls_free(tls);
    return NULL;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    for (size_t i = 0; i < tls->count; i++) {
        SSL_CTX_free(tls->certificates[i].context);
        free(tls->certificates[i].file);
        free(tls->certificates[i].key);
    }
    free(tls);
}

static bool has_changed(const struct certificate *c)
{
    struct stamp file, key;

    return take_stamp(c->file, &file) < 0 || take_stamp(c->key ? c->key : c->file, &key) < 0 ||
           !same_stamp(&file, &c->file_stamp) || !same_stamp(&key, &c->key_stamp);
}

size_t tls_reload(struct tls *tls, void (*failed)(const char *file, const struct berm_error *err))
{
    size_t replaced = 0;

    for (size_t i = 0; i < tls->count; i++) {
        struct certificate *c = &tls->certificates[i];
        struct berm_error err;

        if (!has_changed(c))
            continue;
        if (load(tls, c, &err) == 0)
            replaced++;
        else
            failed(c->file, &err);
    }
    return replaced;
}
