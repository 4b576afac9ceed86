/*
 * sender.h - who a request comes from and whether it was asked by https, as far as that can be believed. Pure.
 *
 * What a message says about its own way is the word of whoever sent it. It is believed only from proxies whose
 * addresses the operator has named (server.trusted_proxies), only in the one form that they were said to write
 * (server.proxy_header), and only back to the first address that is not such a proxy: what stands before that, the
 * client wrote. Where that cannot be read, the client is unknown, which is never local. A peer of this machine that
 * speaks for somebody else without being a named proxy is not local either: who is nearer to us than the loopback
 * address looks would otherwise need no key.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/egress/address.h"
#include "net/server.h"

/* The fields in which a hop tells of those before it: who passes a request on drops them and writes his own. */
#define SENDER_FIELDS                                                                                              \
    STR_INIT("Forwarded"), STR_INIT("X-Forwarded-For"), STR_INIT("X-Forwarded-Host"),                              \
        STR_INIT("X-Forwarded-Proto"), STR_INIT("X-Forwarded-Port"), STR_INIT("X-Forwarded-Prefix"),               \
        STR_INIT("X-Forwarded-Server"), STR_INIT("X-Real-IP"), STR_INIT("X-Original-URL")

struct trusted_proxies {
    struct cidr ranges[CONFIG_MAX_LISTEN];
    size_t count;
    bool forwarded; /* RFC 7239 is what they write, else X-Forwarded-For and -Proto */
};

/* The two settings; also to check them. -1 with *err. */
int trusted_proxies_parse(const struct config *config, struct trusted_proxies *ret, struct berm_error *err);

struct sender {
    char client[IP_TEXT_SIZE]; /* "203.0.113.7", "2001:db8::1", "unix", or "unknown" */
    bool local;                /* on this machine, and nobody in between */
    bool forwarded;            /* it was a trusted proxy that asked */
    bool https;
    bool https_known; /* else it came by plain HTTP and nobody says more */
};

/* The peer of a connection. */
struct sender_peer {
    struct ip ip;
    bool known; /* it has an address; else it is a unix socket's */
    bool local, secure;
};

struct sender_peer sender_peer_of(const struct http_exchange *exchange);

void sender_find(const struct trusted_proxies *trusted, const struct sender_peer *peer, const struct h1_head *head,
                 struct sender *ret);
/* For a request that came from the edge over a link: what the edge wrote is believed, and nobody is local. */
void sender_find_linked(const struct h1_head *head, struct sender *ret);
