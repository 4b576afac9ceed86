/* tls_internal.h - between tls.c, which has the certificates, and tls_channel.c, which has the connections. */
#pragma once

#include "tls.h"

#include <openssl/ssl.h>

/* A new connection's state with the right context in it, or NULL. */
SSL *tls_accept(struct tls *tls);
