/*
 * listen.h - the daemon's listeners for clients, plain and TLS, and the certificates of the latter.
 *
 * Opened as root, for ports below 1024 and for keys that only root may read. Certificates are read again when their
 * files change: at SIGHUP, and within a minute; what server.user may not read by then stays as it was.
 */
#pragma once

#include "daemon/config.h"
#include "net/server.h"

struct tls;

struct listeners {
    const struct config *config;
    int plain[CONFIG_MAX_LISTEN], secure[CONFIG_MAX_LISTEN];
    size_t plain_count, secure_count;
    struct tls *tls; /* NULL: no TLS */
    struct loop *loop;
    struct loop_timer check_timer;
};

int listeners_open(struct listeners *listeners, const struct config *config, struct berm_error *err);
/* Logs the addresses, with the ports that ":0" became. */
void listeners_announce(const struct listeners *listeners);
/* Hands the descriptors over to the server. */
int listeners_serve(struct listeners *listeners, struct http_server *server, struct loop *loop,
                    struct berm_error *err);
/* Looks at once whether certificates have changed. */
void listeners_check_certificates(struct listeners *listeners);
/* After the server. */
void listeners_free(struct listeners *listeners);
