/*
 * connection.h - one connection of a sandbox, shared by the files that have a part in its life: connection.c
 * (beginning, name, end), connection_dial.c (to where), connection_tls.c (interception), connection_pass.c (bytes).
 *
 *   SNIFFING   its first bytes are awaited, since the policy (or the interceptor) wants a name
 *   RESOLVING  the name is looked up
 *   DIALLING   one of its addresses is tried after the other
 *   ASKING     a proxy or the interceptor has been dialled instead, and its answer to CONNECT is awaited
 *   SECURING   it is intercepted: TLS is agreed on with the server, then with the client
 *   PASSING    bytes go both ways, by relay or, request by request, by gate
 *
 * Whatever refuses it resets it, after a 403 if it is known to be HTTP.
 */
#pragma once

#include "daemon/egress/credential.h"
#include "daemon/egress/http_gate.h"
#include "daemon/egress/internal.h"
#include "net/relay.h"

#define CONNECTION_HEAD_MAX ((size_t)32 << 10) /* of what is read before it is decided */
#define CANDIDATES_MAX      4                  /* addresses that are tried for one connection */

enum stage { SNIFFING, RESOLVING, DIALLING, ASKING, SECURING, PASSING };
enum content { CONTENT_UNKNOWN, CONTENT_TLS, CONTENT_HTTP };

struct connection {
    struct egress *egress;
    struct list node;
    enum stage stage;
    enum content content;
    struct stream client, server;
    struct loop_timer deadline;
    struct ip ip; /* where the sandbox wanted to go; then where we went */
    uint16_t port;
    struct buf head; /* what the client has said so far */
    char name_storage[HOST_NAME_MAX_BYTES + 1];
    struct str name; /* n == 0: it told none, or was not asked */
    struct egress_lookup *lookup;
    struct ip candidates[CANDIDATES_MAX];
    size_t candidate_count, next_candidate;
    struct turn handshake;   /* its next step */
    struct stream *securing; /* the end that it is of */
    bool sniffed;
    bool offering;     /* to the interceptor: on the way to it */
    bool taken;        /* by it */
    bool intercepted;  /* TLS ends here, and begins again if the server is not the interceptor */
    struct buf answer; /* to CONNECT */
    struct relay *relay;
    struct http_gate *gate;
    struct leak_guard guard;
    struct buf request;          /* what the policy has decided about in the last one that the gate let through */
    uint64_t moved, moved_at_ms; /* for the idle timeout */
};

/* connection.c. All but the first may free it. */
void connection_count_denial(struct connection *c, const char *what, const char *reason);
void connection_refuse(struct connection *c, const char *reason);
void connection_fail(struct connection *c);
/* The policy decides. */
void connection_evaluate(struct connection *c);
/* The relay or gate, if there was one, is somebody else's to free. */
void connection_release(struct connection *c);

/* connection_dial.c */
/* The next of the addresses that are left, after none or one that failed. */
void connection_dial_next(struct connection *c);
/* One address, which was allowed as such. */
void connection_dial_only(struct connection *c);
/* The same after a look whether this host can reach it. */
void connection_dial_address(struct connection *c);
/* The addresses of its name. */
void connection_resolve(struct connection *c);

/* connection_tls.c: the server, or the interceptor, is there. */
void connection_secure(struct connection *c);

/* connection_pass.c */
void connection_pass(struct connection *c);
/* Why the request that is under way would not pass now; NULL: there is none, or it would. */
const char *connection_check_request(const struct connection *c);
