/*
 * authority.h - a certificate authority of our own, for one sandbox or for the containers of the Docker API: where
 * TLS is intercepted it signs a certificate for the name that the client has asked for. Its key stays in the
 * daemon's store and memory; what trusts the authority is only the sandbox that got its certificate.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct ssl_st;
struct authority;

/* *ret has one reference. */
int authority_new(struct authority **ret, struct berm_error *err);
/* From what the next two told. */
int authority_load(struct str key_pem, struct str certificate_pem, struct authority **ret, struct berm_error *err);
struct authority *authority_ref(struct authority *authority); /* NULL is allowed, here and there */
void authority_unref(struct authority *authority);
struct str authority_certificate(const struct authority *authority); /* PEM, with a NUL behind it; borrowed */
int authority_write_key(const struct authority *authority, struct buf *out); /* PEM; -1 without memory */

/* Lets a server's end of TLS show a certificate for `name`, a normalized host name. -1: OpenSSL failed. */
int authority_show(struct authority *authority, struct str name, struct ssl_st *tls);
