/* internal.h - shared by the files of this directory. */
#pragma once

#include "base/list.h"
#include "daemon/egress/client_hello.h"
#include "daemon/egress/egress.h"
#include "daemon/egress/resolver.h"
#include "daemon/egress/secrets.h"
#include "daemon/egress/stream.h"
#include "daemon/egress/tls_end.h"
#include "daemon/egress/turns.h"

struct egress_service {
    struct loop *loop;
    struct egress_ceiling ceiling;
    struct cidr allow[CONFIG_MAX_LISTEN], deny[CONFIG_MAX_LISTEN];
    struct egress_policy *policy;
    struct egress_resolver *resolver;
    struct egress_totals totals;
    struct ip proxy_ip;
    uint16_t proxy_port;       /* 0: none */
    char *proxy_authorization; /* "Basic ..."; NULL: none */
    struct tls_ends *tls;
    struct turns handshakes;
    struct secrets secrets;
    uint64_t max_open; /* connections of all sandboxes: the daemon has other uses for its descriptors */
    uint64_t max_connections, connect_timeout_ms, idle_timeout_ms;
};

struct dns_exchange;

struct egress {
    struct egress_service *service;
    struct egress_policy *policy;
    struct loop_io tcp_io, udp_io;  /* fd -EBADF: down */
    struct loop_timer accept_timer; /* after a failure to accept */
    struct loop_timer idle_timer;
    struct list connections;
    size_t connection_count;
    struct list exchanges; /* DNS questions under way */
    size_t exchange_count;
    struct egress_counters counters; /* bytes: of connections that have ended */
    struct egress_denial *log;       /* a ring, allocated when it is needed */
    size_t log_count;                /* ever */
    struct ip interceptor_ip;
    uint16_t interceptor_port;             /* 0: none */
    char **interceptor_names;              /* NULL-terminated; NULL: none */
    void (*take_desk)(int fd, void *data); /* NULL: nobody */
    void *desk_data;
    struct turn_owner handshakes;
    struct authority *authority; /* signs where TLS is intercepted; NULL: nowhere; a reference */
};

void egress_log_denial(struct egress *egress, const char *what, const char *reason, struct str name,
                       const struct ip *ip, uint16_t port);

/* connection.c */
struct connection;
/* Takes over the socket, which wants to go there. */
void connection_start(struct egress *egress, int client_fd, const struct ip *ip, uint16_t port);
void connection_end(struct connection *connection);
struct connection *connection_of(struct list *node);
void connection_get_bytes(const struct connection *connection, uint64_t *ret_out, uint64_t *ret_in);
/* Ends it if nothing has moved for the idle timeout. */
void connection_check_idle(struct connection *connection, uint64_t now_ms);
/* Ends it if the egress's policy, which is new, would not have allowed it. */
void connection_check_policy(struct connection *connection);

/* interceptor.c */
bool interceptor_wants_name(const struct egress *egress, struct str name);
void interceptor_clear(struct egress *egress);

/* connect.c: the question to a proxy or an interceptor, and its answer. */
int connect_write(struct buf *out, const struct ip *ip, uint16_t port, const char *header, struct str value);
/* > 0: the status, with *ret_size the bytes of the head; 0: more bytes are needed; -1: nonsense. */
int connect_read(struct str answer, size_t *ret_size);

/* dial.c */
/*
 * Whether the host could send to it, and not to itself: 0, else why not. (The sandbox must not reach what listens
 * on the host's own addresses, public ones included.)
 */
const char *dial_impossible(const struct egress_policy *policy, const struct ip *ip);
/* A socket that connects, non-blocking; -1 with errno. */
int dial_start(const struct ip *ip, uint16_t port);
/* The connection has come about or failed: 0, or the errno. */
int dial_result(int fd);

/* dns_stub.c */
void dns_stub_on_datagram(struct loop_io *io, uint32_t events);
/* A connection to port 53 from inside: served here, whatever its destination. Takes over the socket. */
void dns_stub_start_stream(struct egress *egress, int fd);
void dns_stub_end_all(struct egress *egress);
