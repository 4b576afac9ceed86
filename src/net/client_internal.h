/* client_internal.h - what the files of the client share; private to src/net. */
#pragma once

#include "base/list.h"
#include "client.h"
#include "head_writer.h"
#include "outq.h"

/* IDLE: in the pool. HEAD: a request is being sent, its final response head has not come. BODY: the rest of it. */
enum client_phase { CLIENT_IDLE, CLIENT_HEAD, CLIENT_BODY };

struct http_client {
    struct loop *loop;
    struct http_client_config config;
    struct client_conn *busy, *idle; /* those with a call, and the others: the last used one first */
    struct list ready;               /* to be driven, in this order, when the batch of events is through */
    struct list dead;                /* memory that a frame below may still point to */
    struct http_call *dead_calls;
    struct loop_deferred deferred;
    unsigned depth; /* frames of ours on the stack: nothing may be freed meanwhile */
    uint32_t idle_count;
    bool freed;
};

struct client_conn {
    struct http_client *client;
    struct client_conn *prev, *next;
    struct list turn; /* in client->ready, or among the dead */
    struct http_call *call;
    struct loop_io io;
    struct loop_timer timer;
    uint64_t since_ms; /* last byte, or the beginning of the phase */
    struct buf in;     /* read, but not usable yet */
    struct str input;  /* while driving: the bytes that are left to use */
    struct h1_body body;
    uint32_t partial; /* HEAD: bytes of `in` that hold no complete head */
    enum client_phase phase;
    bool reused;  /* it has carried a response before this one */
    bool blocked; /* waiting for EPOLLOUT */
    bool muted;   /* not waiting for EPOLLIN: the call is paused and there is something to read */
    bool parked;  /* out of epoll altogether: the call is paused and the peer has hung up */
    bool driving;
    bool yielded; /* too much at once: go on in the next turn */
    uint8_t flushes;
    bool failed; /* to be destroyed; the reason is in the call */
    bool gone;   /* destroyed, memory not freed yet */
};

struct http_call {
    struct http_client *client;
    struct client_conn *conn;
    struct http_call *next_dead;
    struct http_call_callbacks callbacks;
    void *data;
    struct outq out;
    uint64_t sent_before; /* out.sent when the connection was new to this call */
    uint64_t length_left; /* of the request body; HTTP_CHUNKED */
    uint64_t sent_at_ms;  /* when the last byte of the request was handed to the kernel; 0: not yet */
    uint32_t idle_timeout_ms;
    bool upgrade;     /* 101 is an answer */
    uint32_t interim; /* 1xx heads */
    bool has_body;    /* a request body was announced */
    bool body_open;   /* and has not ended */
    bool idempotent, is_head;
    bool retried;
    bool answered;   /* a byte of the response has come */
    bool write_lost; /* the peer takes no more of the request, but may still answer */
    bool dirty, want_drain, paused;
    struct berm_error error;
    char *head_bytes; /* the response head's, if not in `head_room` */
    struct head_writer request_head;
    struct h1_head head;
    char head_room[768];
};

/* client_conn.c */
struct client_conn *client_conn_new(struct http_client *client, struct berm_error *err);
/* Ready to carry a request? Bytes that came without one, or an end, show here before the loop tells of them. */
bool client_conn_fresh(const struct client_conn *conn);
void client_conn_attach(struct client_conn *conn, struct http_call *call);
void client_conn_fail(struct client_conn *conn, enum berm_err code, int errnum, const char *message);
void client_conn_destroy(struct client_conn *conn);
/* Hands the socket over: it, or -1 without memory for what was read and not used. */
int client_conn_detach(struct client_conn *conn, struct buf *ret_rest);
void client_conn_wake(struct client_conn *conn);
void client_run_ready(struct loop_deferred *deferred);
/* Hands the queue and `parts` to the socket. */
void client_conn_send(struct client_conn *conn, const struct iovec *parts, size_t count);

/* client.c */
/* Between these no memory of connections, calls or the client is freed. */
void client_enter(struct http_client *client);
void client_leave(struct http_client *client);
/* Calls on_end with call->error and lets the call go; it must have no connection any more. */
void client_call_finish(struct http_call *call);
/* The connection of `call` broke. Puts it on a new one if that cannot repeat anything: 0, or -1. */
int client_call_retry(struct http_call *call, bool reused);
struct str client_call_method(const struct http_call *call);
