/* client_fixture.h - a client whose connections end in peers of plain bytes, and calls that note what they are
 * told. */
#pragma once

#include "net_peer.h"

#include "net/client.h"
#include "net/server.h"

static struct http_client *client;
static struct http_client_config config;

/* The other ends of the connections that the client made. */
static struct peer peers[8];
static int made;
static bool refuse_connect;

struct result {
    struct http_call *call;
    int heads, ends, drains;
    int status;
    struct berm_error error;
    struct buf body;
    bool pause_at_head, cancel_at_head, cancel_at_body, free_at_end, again_at_end;
    struct h1_head head;
    char field[64];
};

static struct result results[8];

static inline int make_connection(void *data, struct berm_error *err)
{
    assert_ptr_equal(data, peers);
    if (refuse_connect)
        return berm_fail(err, BERM_E_SANDBOX_DIED, ECONNREFUSED, "connect");
    assert_true(made < (int)ARRAY_SIZE(peers));
    return peer_pair(&peers[made++]);
}

static inline void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    struct result *result = data;

    assert_ptr_equal(call, result->call);
    assert_ptr_equal(http_call_data(call), result);
    result->heads++;
    result->status = head->status;
    str_copy(h1_header(head, "X-Field"), result->field, sizeof(result->field));
    if (result->pause_at_head)
        http_call_pause(call);
    if (result->cancel_at_head)
        http_call_cancel(call);
}

static inline void on_body(struct http_call *call, struct str piece, void *data)
{
    struct result *result = data;

    assert_int_equal(result->heads, 1);
    assert_int_equal(result->ends, 0);
    assert_int_equal(buf_append_str(&result->body, piece), 0);
    if (result->cancel_at_body)
        http_call_cancel(call);
}

static inline void on_drain(struct http_call *call, void *data)
{
    (void)call;
    ((struct result *)data)->drains++;
}

static inline void on_end(struct http_call *call, const struct berm_error *err, void *data);

static const struct http_call_callbacks callbacks = {
    .on_head = on_head, .on_body = on_body, .on_drain = on_drain, .on_end = on_end
};

static inline struct http_call *start(int i, const char *method, const char *target, uint64_t length)
{
    struct berm_error err;

    results[i].call = http_call_start(client, method, target, NULL, 0, length, &callbacks, &results[i], &err);
    assert_non_null(results[i].call);
    return results[i].call;
}

static inline void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct result *result = data;

    assert_ptr_equal(call, result->call);
    result->ends++;
    result->error = *err;
    http_call_cancel(call); /* must not matter any more */
    if (result->free_at_end) {
        http_client_free(client);
        client = NULL;
    }
    if (result->again_at_end) {
        result->again_at_end = false;
        start(7, "GET", "/again", 0);
    }
}

static inline int setup(void **state)
{
    (void)state;
    loop = loop_new();
    config = (struct http_client_config){
        .connect = make_connection, .data = peers, .max_idle = 2, .idle_timeout_ms = 60000, .high_water = 256 << 10
    };
    made = 0;
    refuse_connect = false;
    for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
        results[i] = (struct result){ .call = NULL };
        buf_init(&results[i].body, 300 << 20);
    }
    return 0;
}

static inline int setup_client(void **state)
{
    setup(state);
    client = http_client_new(loop, &config);
    return client ? 0 : -1;
}

static inline int teardown(void **state)
{
    (void)state;
    http_client_free(client);
    client = NULL;
    loop_free(loop);
    hand_ns = 0;
    for (int i = 0; i < made; i++)
        peer_close(&peers[i]);
    for (size_t i = 0; i < ARRAY_SIZE(results); i++)
        buf_free(&results[i].body);
    return 0;
}

static inline void reply(int peer, const char *text)
{
    peer_send(&peers[peer], str_from(text));
}

/* The request that peer `i` gets is exactly this. */
static inline void expect_request(int i, const char *text)
{
    WAIT_FOR(made > i);
    assert_str(peer_take(&peers[i], "\r\n\r\n"), str_from(text));
}

static inline void expect_end(int i, enum berm_err code, const char *body)
{
    WAIT_FOR(results[i].ends > 0);
    if (results[i].error.code != code)
        fail_msg("ended with %d: %s", (int)results[i].error.code, results[i].error.message);
    assert_str(buf_str(&results[i].body), str_from(body));
    buf_clear(&results[i].body);
    results[i].ends = results[i].heads = 0;
}

static inline void expect_peer_closed(int i)
{
    WAIT_FOR(peer_sees_end(&peers[i]));
}

#define POST_A "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
#define GET_A  "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define OK_5   "HTTP/1.1 200 OK\r\nX-Field: value\r\nContent-Length: 5\r\n\r\nhello"
