/*
 * egress.h - the way out of the sandboxes: connections and DNS questions that berm-spawn's rules lead to two
 * sockets of ours in each sandbox's network namespace (src/spawn/egress.h).
 *
 * Theory of operation. A *service* is the daemon's: the operator's bounds, the resolver, limits. An *egress* is one
 * running instance's: its sockets, its policy, its connections, counters and the log of what was refused. An
 * accepted connection (connection.c) tells where it wanted to go; the policy decides by that address, or by the
 * name that its first bytes tell (TLS: SNI; HTTP: Host); a name is looked up by us, and the address that we dial is
 * one that we looked up or one that was allowed as such. Then bytes are relayed, or, for HTTP whose policy names
 * hosts, requests are read one by one (http_gate.c), so that a later one cannot name another host. Where a policy
 * says something about requests, TLS ends at us and begins again towards the server (tls_end.h). A question
 * (dns_stub.c) is answered if the policy lets the sandbox know the name, with those addresses only that it might
 * connect to.
 *
 * Without sockets (the host has no tproxy, berm-spawn failed) an egress is *down*: there is no network then.
 */
#pragma once

#include "base/loop.h"
#include "daemon/config.h"
#include "daemon/egress/authority.h"
#include "daemon/egress/policy.h"
#include "daemon/egress/secrets.h"

#define EGRESS_LOG_MAX 100

struct egress_service;
struct egress;

/* As root: reads the host's resolvers. Errors name the option. */
int egress_service_new(const struct config *config, struct egress_service **ret, struct berm_error *err);
void egress_service_start(struct egress_service *service, struct loop *loop);
/* After every egress is freed and the loop has run what was deferred. NULL is allowed. */
void egress_service_free(struct egress_service *service);

const struct egress_ceiling *egress_service_ceiling(const struct egress_service *service);
/* Of sandboxes that name none. Borrowed. */
struct egress_policy *egress_service_policy(const struct egress_service *service);

/* Of all sandboxes since the start, for /metrics. */
struct egress_totals {
    uint64_t connections, denied_connections, questions, denied_questions, failed;
    uint64_t intercepted, credentialed; /* connections whose TLS ended here; requests that got a credential */
    uint64_t bytes_out, bytes_in;       /* of connections that have ended */
    uint64_t open;                      /* now */
};
/* Borrowed. What policies name; a change holds from the next request on. */
struct secrets *egress_service_secrets(struct egress_service *service);
const struct egress_totals *egress_service_totals(const struct egress_service *service);

/* Down until it gets its sockets. `policy` is referenced. NULL without memory. */
struct egress *egress_new(struct egress_service *service, struct egress_policy *policy);
void egress_free(struct egress *egress); /* ends every connection; NULL is allowed */

/* Takes over both. -1 with errno: they are closed and it is down. */
int egress_set_sockets(struct egress *egress, int tcp_fd, int udp_fd);
bool egress_is_up(const struct egress *egress);

/* Holds for what comes from now on, and ends connections that it would not have allowed. */
void egress_set_policy(struct egress *egress, struct egress_policy *policy);

struct egress_counters {
    uint64_t connections, denied_connections, failed_connections; /* failed: the other end could not be reached */
    uint64_t intercepted_connections, credentialed_requests;
    uint64_t questions, denied_questions;
    uint64_t bytes_out, bytes_in; /* as the sandbox sees it; with those of open connections */
    uint64_t open_connections;
};
void egress_get_counters(const struct egress *egress, struct egress_counters *ret);

/*
 * Who signs where TLS is intercepted. Referenced; NULL: nobody, and what would have to be intercepted is refused.
 * Connections that are open keep what they have.
 */
void egress_set_authority(struct egress *egress, struct authority *authority);
const struct authority *egress_authority(const struct egress *egress);

/*
 * Who serves connections to DESK_ADDRESS (base/desk.h), whatever the policy says; `take` owns each socket. Without
 * anybody they are what the policy makes of them.
 */
void egress_set_desk(struct egress *egress, void (*take)(int fd, void *data), void *data);

/* What was refused, the newest EGRESS_LOG_MAX of it, oldest first. */
struct egress_denial {
    int64_t time_ms;
    const char *what;   /* "connection", "request" or "question" */
    const char *reason; /* a static text */
    char name[254];     /* "" if none was told */
    struct ip ip;       /* of a connection */
    uint16_t port;      /* 0: a question */
};
void egress_each_denial(const struct egress *egress, void (*each)(const struct egress_denial *denial, void *data),
                        void *data);

/*
 * Somebody else may take the traffic (the Docker API's: workerd). Every connection that the operator's bounds allow
 * is offered to it by `CONNECT address:port`, on port 80 with the Host as `X-Hostname` and on port 443 with the SNI
 * as `X-Tls-Sni`, if the client told one: 200, it takes the bytes, those inside of TLS if there is an authority;
 * 202, the policy decides as if it were not there; anything else, refused. It is dialled on this host, outside of
 * every policy.
 *
 * `names`: NULL-terminated, copied, "*" stands for any run of bytes. Questions for them that would go unanswered
 * get EGRESS_STAND_IN, so that a connection comes about and can be offered. NULL: none.
 */
#define EGRESS_STAND_IN "11.0.0.1"
struct egress_interceptor {
    struct ip ip;
    uint16_t port;
    const char *const *names;
};
/* NULL: nobody any more. -1 without memory. Connections that are open stay as they are. */
int egress_set_interceptor(struct egress *egress, const struct egress_interceptor *interceptor);
