/* server_body.c - the request side of an exchange: what the handler sees of a request and of its body. */
#include "server_internal.h"

#define FIRST_COLLECT ((size_t)64 << 10)

void http_exchange_set(struct http_exchange *ex, const struct http_exchange_callbacks *callbacks, void *data)
{
    ex->callbacks = *callbacks;
    ex->data = data;
}

const struct h1_head *http_request(const struct http_exchange *ex)
{
    return &ex->head;
}

struct str http_body(const struct http_exchange *ex)
{
    return (struct str){ ex->collected ? ex->collected : "", ex->collected_len };
}

void http_watch_disconnect(struct http_exchange *ex)
{
    ex->watched = true;
    if (ex->conn->peer_closed)
        http_conn_fail(ex->conn);
}

bool http_client_left(const struct http_exchange *ex)
{
    return ex->closed || ex->conn->peer_left;
}

void http_body_pause(struct http_exchange *ex)
{
    ex->paused = true;
}

void http_body_unhurried(struct http_exchange *ex)
{
    ex->unhurried = true;
    if (!ex->closed)
        http_conn_wake(ex->conn);
}

void http_body_resume(struct http_exchange *ex)
{
    if (ex->closed || !ex->paused)
        return;
    ex->paused = false;
    http_conn_wake(ex->conn);
}

void http_body_ignore(struct http_exchange *ex)
{
    ex->callbacks.on_body = NULL;
    http_body_resume(ex);
}

/* --- collecting --- */

void http_collect_body(struct http_exchange *ex, size_t limit)
{
    ex->collecting = true;
    ex->collect_limit = limit;
    if (!ex->closed && !ex->started && ex->head.framing == H1_CONTENT_LENGTH && ex->head.content_length > limit)
        http_exchange_refuse(ex, 413);
}

/*
 * Room for `n` more bytes. A length that is only promised costs nothing: the memory doubles as bytes arrive, up to
 * the promise or the limit, so that the last step fits exactly.
 */
static int grow(struct http_exchange *ex, size_t n)
{
    size_t need = ex->collected_len + n;
    size_t most = ex->head.framing == H1_CONTENT_LENGTH ? (size_t)ex->head.content_length : ex->collect_limit;
    size_t cap = MAX(MAX(ex->collected_cap * 2, need), FIRST_COLLECT);
    char *bytes;

    if (need <= ex->collected_cap)
        return 0;
    bytes = realloc(ex->collected, MIN(cap, MAX(most, need)));
    if (!bytes)
        return -1;
    ex->collected = bytes;
    ex->collected_cap = MIN(cap, MAX(most, need));
    return 0;
}

char *http_exchange_body_room(struct http_exchange *ex, size_t *room)
{
    uint64_t left = ex->conn->body.remaining;

    if (!ex->collecting || ex->ended || ex->head.framing != H1_CONTENT_LENGTH || left == 0)
        return NULL;
    if (ex->collected_len == ex->collected_cap && grow(ex, 1) < 0)
        return NULL;
    *room = (size_t)MIN(left, (uint64_t)(ex->collected_cap - ex->collected_len));
    return ex->collected + ex->collected_len;
}

static void collect(struct http_exchange *ex, struct str piece)
{
    if (piece.n > ex->collect_limit - ex->collected_len) {
        http_exchange_refuse(ex, 413);
        return;
    }
    /* It may have been read right to where it belongs. */
    if (!ex->collected || piece.p != ex->collected + ex->collected_len) {
        if (grow(ex, piece.n) < 0) {
            http_exchange_fail(ex);
            return;
        }
        memcpy(ex->collected + ex->collected_len, piece.p, piece.n);
    }
    ex->collected_len += piece.n;
}

void http_exchange_body(struct http_exchange *ex, struct str piece)
{
    ex->body_received += piece.n;
    if (ex->ended)
        return;
    if (ex->body_received > ex->conn->server->limits.max_body)
        http_exchange_refuse(ex, 413);
    else if (ex->collecting)
        collect(ex, piece);
    else if (ex->callbacks.on_body)
        ex->callbacks.on_body(ex, piece, ex->data);
}
