/*
 * resolver.h - addresses of names, asked of the host's resolvers (c-ares on the loop), with a cache.
 *
 * One for the daemon: what a name means does not depend on who asks. What a sandbox may ask, and which of the
 * addresses it may see, is decided by the caller.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "daemon/egress/dns_message.h"

struct egress_resolver;
struct egress_lookup;

enum resolve_outcome {
    RESOLVE_OK,      /* `count` may be 0: the name has no address of this kind */
    RESOLVE_NO_NAME, /* there is no such name */
    RESOLVE_FAILED   /* nobody answered, or nonsense */
};

struct resolve_result {
    enum resolve_outcome outcome;
    struct dns_address addresses[DNS_ADDRESSES_MAX]; /* TTLs count from now */
    size_t count;
};

/*
 * `servers`: "1.2.3.4", "1.2.3.4:5353" or "[2001:db8::1]:53", separated by commas; NULL: those of the host's
 * /etc/resolv.conf, which is read here and now.
 */
int egress_resolver_new(const char *servers, struct egress_resolver **ret, struct berm_error *err);
/* Before the first lookup. */
void egress_resolver_start(struct egress_resolver *resolver, struct loop *loop);
/* Lookups under way end without their callback. */
void egress_resolver_free(struct egress_resolver *resolver);

/* False: not in the cache. `name` is normalized, `type` DNS_TYPE_A or DNS_TYPE_AAAA. */
bool egress_resolver_cached(struct egress_resolver *resolver, struct str name, uint16_t type,
                            struct resolve_result *ret);
/*
 * `done` comes later, once, from the loop. NULL: there are too many lookups under way, or no memory. Cancelled, it
 * does not come.
 */
struct egress_lookup *egress_resolver_ask(struct egress_resolver *resolver, struct str name, uint16_t type,
                                          void (*done)(const struct resolve_result *result, void *data),
                                          void *data);
void egress_lookup_cancel(struct egress_lookup *lookup); /* NULL is allowed */
