/*
 * server.h - the HTTP/1.1 server of bermd and of berm-agent: keep-alive, pipelining, streamed bodies both ways.
 *
 * Theory of operation: a listener accepts connections; each connection parses one request at a time out of a
 * bounded input buffer and calls the handler with a `struct http_exchange`. Pipelined requests wait in the buffer
 * until the exchange before them is finished. The handler answers now or later. Both directions stream and both
 * push back:
 *   - request body: on_body() gets pieces as they arrive; http_body_pause() stops reading from the socket;
 *   - response body: http_respond_write() queues; once more than `high_water` is queued it tells so, and on_drain()
 *     comes when the queue has emptied below a quarter of it.
 * A client that sends slowly, never reads, or disappears costs its own connection and its bounded buffers only.
 * Deadlines: whole head, gaps in the body, idle keep-alive, and no progress while we have output (write stall).
 * Everything happens on the loop's thread. An exchange is valid until on_close has been called for it; on_close is
 * called exactly once, after the response was finished or the connection was lost, and no callback comes after it.
 * No function calls one of them before it returns, except http_server_free().
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"
#include "net/h1.h"

struct http_server;
struct http_exchange;

struct http_limits {
    size_t max_head;               /* 32 KiB */
    uint64_t max_body;             /* refused with 413 before (Content-Length) or while reading; default 128 MiB */
    size_t high_water;             /* queued response bytes before back-pressure; 256 KiB */
    uint32_t head_timeout_ms;      /* first byte of a head to its end; 10 s */
    uint32_t body_timeout_ms;      /* between two pieces of a request body; 30 s */
    uint32_t idle_timeout_ms;      /* between requests; 75 s */
    uint32_t write_timeout_ms;     /* no byte could be written although there are some; 60 s */
    uint32_t max_connections;      /* further ones are accepted and closed; 4096 */
    uint32_t max_connections_peer; /* per client, see http_same_client(); 0 = no limit */
};

void http_limits_default(struct http_limits *limits);

struct http_handler {
    /*
     * A request's head has arrived. `head` and all its slices live until on_close. Set the exchange's callbacks
     * with http_exchange_set() and answer, now or later. Without an on_body callback the body is collected up to
     * `collect_limit` (set by http_collect_body) or, if that is not called, read and dropped. A handler that needs
     * time to decide calls http_body_pause() first. Errors in the body (too large, broken, too slow) are answered
     * by the server; the handler then sees on_close(false), and anything it still writes is dropped.
     */
    void (*on_request)(struct http_exchange *ex, const struct h1_head *head, void *data);
    /* Errors that the server answers itself (400, 408, 413, 431, ...): fill the body. NULL: a short text. */
    void (*error_body)(int status, const char *reason, struct buf *body, const char **content_type, void *data);
    /* Extra fields for every response, e.g. CORS: complete lines "Name: value\r\n", or NULL. */
    const char *extra_headers;
    void *data;
};

struct http_exchange_callbacks {
    void (*on_body)(struct http_exchange *ex, struct str piece, void *data);
    void (*on_body_end)(struct http_exchange *ex, void *data); /* all of the body has come (also an empty one) */
    void (*on_drain)(struct http_exchange *ex, void *data);
    /* The end, see above. `complete`: the response was finished and handed to the kernel. */
    void (*on_close)(struct http_exchange *ex, bool complete, void *data);
};

struct http_server *http_server_new(struct loop *loop, const struct http_limits *limits,
                                    const struct http_handler *handler);
/* Takes over a listening socket (TCP or unix), non-blocking. Any number may be added. */
int http_server_listen_fd(struct http_server *server, int listen_fd);
/* Takes over a connected socket, as if accepted. */
int http_server_adopt_connection(struct http_server *server, int fd);
/* The same for a socket whose other end is in this program, which may read, and send its bodies, as slowly as
 * it likes. */
int http_server_adopt_own(struct http_server *server, int fd);
/* Stops accepting; idle connections are closed, busy ones after their exchange. on_idle when none is left. */
void http_server_drain(struct http_server *server, void (*on_idle)(void *), void *data);
/* Closes everything; open exchanges get their on_close(false). Not from a callback of this server. */
void http_server_free(struct http_server *server);
/* Re-entrant statistics for /metrics. */
struct http_server_stats {
    uint64_t connections_total, requests_total, refused_total, timeouts_total;
    uint32_t connections_open;
};
void http_server_stats(const struct http_server *server, struct http_server_stats *ret);

/* Listening TCP socket on "HOST:PORT" ("127.0.0.1:0", "[::1]:8787", "*:80"); -1 with *err. */
int tcp_listen(const char *host_port, struct berm_error *err);
/* The same for UDP, on another port than the text's. */
int udp_listen(const char *host_port, int port, struct berm_error *err);
/* Whether tcp_listen() would understand it. 0, or -1. */
int tcp_check_address(const char *host_port, struct berm_error *err);
/* The port a socket is bound to, for ":0". */
int socket_port(int fd);

void http_exchange_set(struct http_exchange *ex, const struct http_exchange_callbacks *callbacks, void *data);
const struct h1_head *http_request(const struct http_exchange *ex);
/* True when the peer is a unix socket, or an IP address of the loopback range. */
bool http_peer_is_local(const struct http_exchange *ex);
/* Whether it came over http_server_adopt_own(): from this program. */
bool http_peer_is_own(const struct http_exchange *ex);
/* Which listener it came by: the fd given to http_server_listen_fd. */
int http_exchange_listener(const struct http_exchange *ex);
/* Whether the request came over TLS. */
bool http_exchange_secure(const struct http_exchange *ex);
/* The peer's IP address of 16 bytes, IPv4 as ::ffff:a.b.c.d; NULL when it has none, as on a unix socket. */
const uint8_t *http_peer_address(const struct http_exchange *ex);
/*
 * Whether two such addresses are one client's for limits. One customer has an address of IPv4, but 2^64 of IPv6.
 * Loopback is everybody's on this machine, so never.
 */
bool http_same_client(const uint8_t a[16], const uint8_t b[16]);
/* "203.0.113.7:51200" or "unix". */
void http_peer_name(const struct http_exchange *ex, char *out, size_t out_size);

/*
 * Collects the whole body (at most `limit`, else 413) instead of giving it to on_body, and calls on_body_end; the
 * bytes are then at http_body(), until on_close. To be called in on_request, or while the body is paused since
 * then.
 */
void http_collect_body(struct http_exchange *ex, size_t limit);
struct str http_body(const struct http_exchange *ex);
void http_body_pause(struct http_exchange *ex);
void http_body_resume(struct http_exchange *ex);
/*
 * Nobody wants the rest of the body: it is dropped, and if it is long the client is told that the connection ends.
 * Only an answer below 400 needs it: an error says it by itself. But a body that is paused goes on by it.
 */
void http_body_ignore(struct http_exchange *ex);
/*
 * Between two pieces of the body there may be any time from now on: it is somebody's typing, and its sender reads
 * the answer meanwhile. Not before it is known that something waits for it.
 */
void http_body_unhurried(struct http_exchange *ex);

struct http_field {
    const char *name;
    const char *value; /* CR, LF and NUL in a value are refused: the response becomes a 500 */
};

#define HTTP_CHUNKED UINT64_MAX

/*
 * Starts the response. `length` is the exact body length, or HTTP_CHUNKED (HTTP/1.0 clients get close-delimited).
 * Date, Content-Length / Transfer-Encoding and Connection are added here. HEAD requests get no body bytes: writes
 * are then counted and dropped. 100-continue is sent by the server when a body is first wanted.
 */
void http_respond_begin(struct http_exchange *ex, int status, const struct http_field *fields, size_t field_count,
                        uint64_t length);
/* Queues (copies) body bytes. false: the queue is over high_water, wait for on_drain. Never blocks. */
bool http_respond_write(struct http_exchange *ex, const void *p, size_t n);
/*
 * Up to `most` of the body bytes that the stream socket `from` has ready, moved to the client's by splice(2), in
 * order with writes. As recv(2); ENOTSUP: something lies between (TLS, HTTP/2, a full queue), so they are to be
 * read and written. What the client's socket does not take is queued, and on_drain comes. The program must ignore
 * SIGPIPE.
 */
ssize_t http_respond_splice(struct http_exchange *ex, int from, size_t most);
/* `count` bytes of a regular file by sendfile(2); takes the fd over. In order with writes. */
void http_respond_file(struct http_exchange *ex, int fd, uint64_t offset, uint64_t count);
void http_respond_end(struct http_exchange *ex);
/* Begin + write + end. `content_type` NULL: none. */
void http_respond(struct http_exchange *ex, int status, const char *content_type, struct str body);
/* Gives up on this exchange: the connection is closed, so that a started body is not mistaken for a complete one.
 */
void http_exchange_abort(struct http_exchange *ex);
bool http_response_started(const struct http_exchange *ex);
size_t http_respond_queued(const struct http_exchange *ex);
/* When on, a lost client is noticed although nothing is read or written (EPOLLRDHUP): on_close(false) comes at
 * once. */
void http_watch_disconnect(struct http_exchange *ex);
/* Whether the client had left already when what was last read of it was read. */
bool http_client_left(const struct http_exchange *ex);

/*
 * Takes the connection away from HTTP (Upgrade): writes the 101 head with `fields`, and returns the socket and any
 * bytes that were read beyond the request head (owned by the caller). on_close is called. -1 if not possible.
 */
int http_upgrade(struct http_exchange *ex, const struct http_field *fields, size_t field_count,
                 struct buf *ret_rest);
