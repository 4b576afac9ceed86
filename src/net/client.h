/*
 * client.h - the HTTP/1.1 client that bermd speaks to an agent with: one pool of keep-alive connections per peer,
 * streamed bodies both ways, back-pressure both ways.
 *
 * The peer is hostile (code in a sandbox may have taken the agent over): response heads go through h1.h with its
 * limits, framing errors end the connection, a response nobody asked for ends it too, and no deadline is left to
 * the peer. A request is sent on an idle connection or a new one; when a kept-alive connection turns out to be dead
 * before one response byte came, an idempotent request or one whose body has not been started is retried once on a
 * new connection.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "net/h1.h"
#include "net/server.h" /* struct http_field, HTTP_CHUNKED */

struct http_client;
struct http_call;

struct http_client_config {
    /* Makes a connected or connecting non-blocking socket (TCP: with TCP_NODELAY): fd, or -1 with *err. */
    int (*connect)(void *data, struct berm_error *err);
    void *data;
    uint32_t max_idle;        /* connections kept for reuse; 8 */
    uint32_t idle_timeout_ms; /* 60 s */
    uint32_t head_timeout_ms; /* request sent to response head; 0 = none (the caller has its own) */
    size_t high_water;        /* 256 KiB */
};

struct http_call_callbacks {
    /* Final response head (1xx are swallowed). Slices live until on_end. */
    void (*on_head)(struct http_call *call, const struct h1_head *head, void *data);
    void (*on_body)(struct http_call *call, struct str piece, void *data);
    /*
     * At most `most` bytes of the body, which has a length, may be taken out of the call's socket, as
     * http_respond_splice() does. As recv(2); ENOTSUP: they come by on_body. NULL: they always do.
     */
    ssize_t (*on_bulk)(struct http_call *call, int socket, size_t most, void *data);
    void (*on_drain)(struct http_call *call,
                     void *data); /* request body queue fell below a quarter of high_water */
    /*
     * Exactly once, last. err->code BERM_OK: the response is complete. Otherwise EXEC_TRANSPORT_ERROR, TIMED_OUT,
     * PROTOCOL... and the response, if started, is cut off. The call is gone after it.
     */
    void (*on_end)(struct http_call *call, const struct berm_error *err, void *data);
};

struct http_client *http_client_new(struct loop *loop, const struct http_client_config *config);
/* A client of a server of this program, over pairs of sockets that the server adopts as it would a client's. The
 * server must outlive it. */
struct http_client *http_client_to_own(struct loop *loop, struct http_server *server);
/* Fails all calls in flight (their on_end comes) and closes everything. */
void http_client_free(struct http_client *client);
/* Closes idle connections, e.g. because the sandbox sleeps. */
void http_client_drop_idle(struct http_client *client);

/*
 * Starts a call. `target` is origin-form. Body: `length` bytes or HTTP_CHUNKED through http_call_write(), then
 * http_call_end_body(); 0 means no body and no need for either. Host, Content-Length etc. are added here.
 * With a field Upgrade (Connection is added here) the answer may be a 101: on_head has to take the connection
 * then, or the call fails.
 * NULL with *err when it cannot even be queued; on_end is not called then. Callbacks never run inside this
 * function.
 */
struct http_call *http_call_start(struct http_client *client, const char *method, const char *target,
                                  const struct http_field *fields, size_t field_count, uint64_t length,
                                  const struct http_call_callbacks *callbacks, void *data, struct berm_error *err);
bool http_call_write(struct http_call *call, const void *p,
                     size_t n); /* false: over high_water, wait for on_drain */
void http_call_end_body(struct http_call *call);
/* Stops and restarts the reading of the response. */
void http_call_pause(struct http_call *call);
void http_call_resume(struct http_call *call);
/* Closes the connection under it: the peer sees a disconnect. on_end is NOT called. */
void http_call_cancel(struct http_call *call);
/*
 * In on_head of a 101: the socket, which is the caller's now, and what was read behind the head, appended to
 * `ret_rest`. The call is gone, without on_end. -1 without memory for the rest: everything is as before.
 */
int http_call_take_socket(struct http_call *call, struct buf *ret_rest);
/* No response head or body byte for this long: on_end with TIMED_OUT. 0 = off. Restarted by every byte. */
void http_call_set_idle_timeout(struct http_call *call, uint32_t ms);
void *http_call_data(const struct http_call *call);
