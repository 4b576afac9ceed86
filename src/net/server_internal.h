/* server_internal.h - what the files of the server share; private to src/net. */
#pragma once

#include "base/list.h"
#include "base/recycle.h"
#include "channel.h"
#include "mux.h"
#include "outq.h"
#include "scratch.h"
#include "server.h"

#include <netinet/in.h>
#include <sys/socket.h>

/*
 * A connection is in one phase. HANDSHAKE: its channel is being set up. HEAD: waiting for a request or reading its
 * head. BODY: an exchange is there and its request body has not ended. WAIT: the body has ended, the response has
 * not. SKIP: the response is over, a short rest of the body is dropped so that the connection can be kept. LINGER:
 * our side is shut down and what still comes is dropped for a while, because closing with unread bytes would reset
 * the connection under the last response. MUX: it carries several exchanges, which a protocol of its own keeps
 * apart.
 */
enum conn_phase { CONN_HANDSHAKE, CONN_HEAD, CONN_BODY, CONN_WAIT, CONN_SKIP, CONN_LINGER, CONN_MUX };

enum conn_deadline {
    DEADLINE_NONE,
    DEADLINE_IDLE,
    DEADLINE_HANDSHAKE,
    DEADLINE_HEAD,
    DEADLINE_BODY,
    DEADLINE_SKIP,
    DEADLINE_LINGER,
    DEADLINE_MUX
};

/* In place of a listener's descriptor. */
enum { HTTP_NO_LISTENER = -1, HTTP_OWN_PEER = -2 };

union peer_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

struct http_listener {
    struct loop_io io;
    struct http_server *server;
    struct http_listener *next;
    /* What is put between the server and an accepted socket; NULL: nothing. */
    struct channel *(*open_channel)(void *data, int fd);
    void *channel_data;
};

struct http_server {
    struct loop *loop;
    struct http_limits limits;
    struct h1_limits head_limits;
    struct http_handler handler;
    const struct http_mux_ops *mux; /* NULL: HTTP/1.1 only */
    struct http_listener *listeners;
    struct loop_timer accept_timer; /* accepting goes on after descriptors ran out */
    struct http_conn *conns;
    struct list ready;       /* to be driven, in this order, when the batch of events is through */
    struct list dead;        /* to be freed then */
    struct http_pump *pumps; /* upgraded connections that still go through their channel */
    struct loop_deferred deferred;
    struct http_exchange *next_exchange; /* that the next head is parsed into */
    struct recycled exchanges;
    struct http_server_stats stats;
    int64_t date_second;
    char date[32];
    bool draining;
    void (*on_idle)(void *data);
    void *on_idle_data;
};

struct http_conn {
    struct http_server *server;
    struct http_conn *prev, *next;
    struct list turn; /* in server->ready, or among the dead */
    struct http_exchange *ex;
    void *mux; /* in phase MUX: the protocol's own */
    struct loop_io io;
    struct channel *channel; /* NULL: the socket itself */
    struct loop_timer timer; /* fires at or before the earlier deadline; 0 in the fields below is none */
    uint64_t read_deadline_ms;
    uint64_t write_deadline_ms;
    uint64_t linger_end_ms;
    struct buf in;    /* bytes that were read and could not be used yet */
    struct str input; /* while driving: the bytes that are left to use */
    struct h1_body body;
    uint64_t to_drop; /* SKIP, LINGER: bytes that may still come */
    uint32_t partial; /* HEAD: bytes of `in` that hold no complete head */
    enum conn_phase phase;
    enum conn_deadline deadline;
    int listener_fd;
    sa_family_t family;
    uint16_t port;
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint16_t budget;     /* moves left in this drive */
    bool secure;         /* came by a listener with a channel */
    bool yielded;        /* it was used up: go on in the next turn */
    bool used;           /* a request has come */
    bool keep_alive;     /* after the response in progress */
    bool driving;        /* inside drive(): callbacks need not wake the connection up */
    bool broken_off;     /* without the words by which a channel ends in order */
    bool failed;         /* to be closed without ceremony */
    bool blocked;        /* the socket took less than we had: waiting for EPOLLOUT */
    bool muted;          /* there is input that nobody may read yet: not waiting for EPOLLIN */
    bool peer_closed;    /* the peer sends no more */
    bool peer_left;      /* the same, as was known when it was last read: there may be input before that end */
    bool detached;       /* the socket has been handed over */
    bool progress;       /* bytes have been read since the deadline was set */
};

/* OPEN: the protocol below knows where it ends. */
enum response_framing { RESPONSE_LENGTH, RESPONSE_CHUNKED, RESPONSE_UNTIL_CLOSE, RESPONSE_OPEN };

struct h2_stream;

struct http_exchange {
    struct http_conn *conn;
    struct h2_stream *stream; /* NULL: it has the connection for itself */
    struct http_exchange_callbacks callbacks;
    void *data;
    struct outq out;
    uint64_t length_left;   /* of the response body, with RESPONSE_LENGTH */
    uint64_t body_received; /* content bytes of the request body */
    enum response_framing framing;
    bool started, ended; /* the response */
    bool no_body;        /* HEAD, 204, 304: body bytes are dropped */
    bool dirty;          /* there may be something to send at once */
    bool want_drain;     /* over high_water has been told */
    bool paused;
    bool unhurried;
    bool watched;
    bool closed;           /* on_close has been called */
    bool own;              /* the response is the server's; the handler's calls have no effect any more */
    bool collecting;       /* the request body goes to `collected` */
    bool body_end_pending; /* on_body_end is due */
    bool continue_pending; /* 100-continue is due once the body is wanted */
    char *collected;
    size_t collected_len, collected_cap, collect_limit;
    char *head_bytes; /* the head's bytes, if not in `head_room` */
    struct h1_head head;
    char head_room[768];
};

/* server_conn.c */
int http_conn_new(struct http_server *server, int fd, int listener_fd, const union peer_address *peer,
                  const struct http_listener *listener);
/* Calls on_close if there is an exchange, and takes the connection out of everything. Freed by the deferred call.
 */
void http_conn_destroy(struct http_conn *conn);
/* The connection is lost; it is destroyed once control is back in the loop's or the deferred callback. */
void http_conn_fail(struct http_conn *conn);
/*
 * Hands the socket over, or one with the plain bytes of what went through a channel; the exchange is complete and
 * the rest of the connection goes the way of a failed one. -1 if that cannot be made.
 */
int http_conn_detach(struct http_conn *conn);
/* Drives the connection after the current batch of events, unless it is being driven. */
void http_conn_wake(struct http_conn *conn);
void http_conn_run_ready(struct loop_deferred *deferred);
void http_conn_free_dead(struct http_server *server);

/* server.c */
bool http_address_is_loopback(const uint8_t address[16]);

/* server_drive.c */
/* Moves forward with `input`; what could not be used is left in conn->input. */
void http_conn_drive(struct http_conn *conn, struct str input);
/* A response of the server's own, after which the connection is closed. */
void http_conn_error(struct http_conn *conn, int status);
/* Our side is shut down; what still comes is dropped for a while, so that the peer gets to read what we sent. */
void http_conn_linger(struct http_conn *conn);
void http_conn_start_mux(struct http_conn *conn);
/*
 * The exchange that a head is to be parsed into; NULL without memory. http_exchange_take() gives it to `conn`, with
 * a copy of the head's bytes.
 */
struct http_exchange *http_exchange_spare(struct http_server *server);
struct http_exchange *http_exchange_take(struct http_conn *conn, struct str bytes);
void http_conn_error_because(struct http_conn *conn, int status, const char *reason);
void http_exchange_close(struct http_exchange *ex, bool complete);

/* server_head.c */
const char *http_status_text(int status);
/* Queues the head: 0, or -1 when a field may not be sent. */
int http_exchange_begin(struct http_exchange *ex, int status, const struct http_field *fields, size_t count,
                        uint64_t length);

/* server_respond.c */
void http_exchange_error(struct http_exchange *ex, int status, const char *reason);
/* An answer of the server's own to this exchange; or it fails, if it has been answered. */
void http_exchange_refuse(struct http_exchange *ex, int status);
/* It cannot be answered (any more) as it should be. */
void http_exchange_fail(struct http_exchange *ex);
void http_exchange_flush(struct http_exchange *ex);
/* Sends a head, final or interim. */
void http_exchange_head(struct http_exchange *ex, struct str head);
void http_exchange_continue(struct http_exchange *ex);

/* server_pump.c */
/* Takes over both. The other end of a new socket pair, or -1. */
int http_pump_start(struct http_server *server, int fd, struct channel *channel);
void http_pumps_free(struct http_server *server);

/* server_body.c */
/* A piece of the request body: to the handler, to the collection, or dropped. */
void http_exchange_body(struct http_exchange *ex, struct str piece);
/* Where the next `*room` bytes of a collected body of known length belong, or NULL. */
char *http_exchange_body_room(struct http_exchange *ex, size_t *room);
