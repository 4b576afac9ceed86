/* h2_internal.h - what the files of HTTP/2 share; private to src/net. */
#pragma once

#include "h2.h"
#include "mux.h"
#include "server_internal.h"

#include <nghttp2/nghttp2.h>

#define H2_STREAMS    100
#define H2_WINDOW     ((size_t)256 << 10) /* of a stream: what a paused one may hold */
#define H2_CONNECTION ((size_t)2 << 20)   /* of all streams of a connection together */

struct h2_request;
struct h2_tunnel;

struct h2_stream {
    struct h2 *h2;
    struct h2_stream *prev, *next;
    int32_t id;
    struct http_exchange *ex;   /* NULL: there is none yet, or it was upgraded */
    struct h2_request *request; /* while its head arrives */
    struct h2_tunnel *tunnel;   /* once it was upgraded */
    struct buf in;              /* content that nobody may take yet */
    uint64_t progress_ms;       /* when bytes last moved */
    bool connect;               /* an extended CONNECT: no body, but bytes after an upgrade */
    bool input_ended;           /* the client sends no more */
    bool answered;              /* the end of our side has been sent */
};

struct h2 {
    struct http_conn *conn;
    nghttp2_session *session;
    struct h2_stream *streams;
    struct buf wire; /* frames that the socket has not taken */
    uint64_t wire_sent;
    uint64_t active_ms;
    int64_t credit; /* see spend() */
    uint64_t credit_ms;
    uint64_t header_ms; /* when a head that is not complete began, or 0 */
    bool going_away;
    bool expelled;
};

static inline uint64_t h2_now(const struct h2 *h2)
{
    return loop_now_ms(h2->conn->server->loop);
}

/* h2.c */
void h2_reset(struct h2_stream *stream, uint32_t code);
void h2_consume(struct h2_stream *stream, size_t n);
void h2_wake(struct h2_stream *stream);

/* h2_head.c */
struct h2_request *h2_request_new(size_t max);
void h2_request_free(struct h2_request *request);
/* 0, or -1: the request must be refused without an answer. */
int h2_request_add(struct h2_request *request, struct str name, struct str value);
/* Whether it is an extended CONNECT. */
bool h2_request_is_connect(const struct h2_request *request);
/*
 * The head as HTTP/1.1 would have it, into `out`. 0, or the status to answer with. `ended`: no body follows.
 */
int h2_request_write(const struct h2_request *request, bool ended, struct buf *out);
/* Sends a head of HTTP/1.1; `body`: NULL when none follows. 0 or -1. */
int h2_submit_head(struct h2_stream *stream, struct str head, const nghttp2_data_provider *body);

/* h2_stream.c */
/* The head has arrived: calls the handler, or answers itself. */
void h2_stream_begin(struct h2_stream *stream);
void h2_stream_data(struct h2_stream *stream, struct str piece);
/* What can be done now: body to the handler, its end, 100-continue, output. */
void h2_stream_move(struct h2_stream *stream);
void h2_stream_drained(struct h2_stream *stream);
void h2_stream_free(struct h2_stream *stream, bool complete);
bool h2_stream_wants_body(const struct h2_stream *stream);
bool h2_stream_has_output(const struct h2_stream *stream);
void h2_exchange_head(struct http_exchange *ex, struct str head);
void h2_exchange_reset(struct http_exchange *ex);
int h2_exchange_upgrade(struct http_exchange *ex, struct str head);

/* h2_tunnel.c: the bytes of an upgraded stream, between it and a socket. */
struct h2_tunnel *h2_tunnel_new(struct h2_stream *stream, int fd); /* takes it over */
void h2_tunnel_free(struct h2_tunnel *tunnel);
void h2_tunnel_move(struct h2_tunnel *tunnel);
struct outq *h2_tunnel_out(struct h2_tunnel *tunnel);
bool h2_tunnel_ended(const struct h2_tunnel *tunnel);
