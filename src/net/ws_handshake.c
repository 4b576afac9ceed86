/* ws_handshake.c - from HTTP to frames (RFC 6455, section 4). */
#include "ws_internal.h"

#include "base/base64.h"
#include "base/sha1.h"
#include "h1_chars.h"
#include "head_writer.h"

#include <stdio.h>

#define KEY_BYTES 16
#define KEY_SIZE  BASE64_ENCODED_SIZE(KEY_BYTES)

static const struct h1_limits answer_limits = { .max_head = 32 << 10, .max_headers = H1_MAX_HEADERS };

/* What proves that a server has seen the key. */
void ws_accept_key(struct str key, char ret[WS_ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char joined[KEY_SIZE + sizeof(guid)];
    uint8_t digest[SHA1_SIZE];

    memcpy(joined, key.p, KEY_SIZE);
    memcpy(joined + KEY_SIZE, guid, sizeof(guid));
    sha1((struct str){ joined, KEY_SIZE + sizeof(guid) - 1 }, digest);
    base64_encode(digest, sizeof(digest), ret);
}

bool ws_requested(const struct h1_head *head)
{
    return str_eq_nocase(head->upgrade, STR("websocket"));
}

/* --- server --- */

static bool key_allowed(struct str key)
{
    uint8_t bytes[KEY_SIZE / 4 * 3 + 3];
    size_t n;

    return key.n == KEY_SIZE && str_has_prefix((struct str){ key.p + KEY_SIZE - 2, 2 }, STR("==")) &&
           base64_decode(key, bytes, &n) == 0 && n == KEY_BYTES;
}

static bool handshake_allowed(const struct h1_head *head)
{
    return ws_requested(head) && str_is(head->method, "GET") && head->minor_version == 1 &&
           str_is(h1_header(head, "sec-websocket-version"), "13") &&
           key_allowed(h1_header(head, "sec-websocket-key"));
}

struct ws *ws_accept(struct loop *loop, struct http_exchange *ex, const struct ws_config *config,
                     const struct ws_callbacks *callbacks, void *data)
{
    char accept[WS_ACCEPT_SIZE + 1] = "";
    const struct http_field fields[] = { { "Upgrade", "websocket" }, { "Sec-WebSocket-Accept", accept } };
    struct ws *ws;
    struct buf rest;
    int fd;

    if (!handshake_allowed(http_request(ex)))
        return NULL;
    ws_accept_key(h1_header(http_request(ex), "sec-websocket-key"), accept);
    buf_init(&rest, NET_SCRATCH);
    fd = http_upgrade(ex, fields, ARRAY_SIZE(fields), &rest);
    ws = fd < 0 ? NULL : ws_new(loop, fd, false, buf_str(&rest), config, callbacks, data);
    buf_free(&rest);
    return ws;
}

/* --- client --- */

static int queue_request(struct ws *ws, const char *host, const char *target, const struct http_field *fields,
                         size_t field_count)
{
    uint8_t bytes[KEY_BYTES];
    char key[KEY_SIZE];
    struct head_writer w;
    int rc;

    random_bytes(bytes, sizeof(bytes));
    base64_encode(bytes, sizeof(bytes), key);
    ws_accept_key((struct str){ key, sizeof(key) }, ws->accept);
    head_writer_init(&w);
    head_add(&w, STR("GET "));
    head_add(&w, str_from(target));
    head_add(&w, STR(" HTTP/1.1\r\n"));
    head_add_field(&w, STR("Host"), str_from(host));
    head_add(&w, STR("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
    head_add_field(&w, STR("Sec-WebSocket-Key"), (struct str){ key, sizeof(key) });
    for (size_t i = 0; i < field_count; i++)
        head_add_field(&w, str_from(fields[i].name), str_from(fields[i].value));
    head_add(&w, STR("\r\n"));
    rc = w.failed ? -1 : outq_append(&ws->out, w.data, w.len);
    head_writer_free(&w);
    return rc;
}

static bool request_allowed(const char *host, const char *target, const struct http_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!h1_field_allowed(str_from(fields[i].name), str_from(fields[i].value)))
            return false;
    return h1_field_allowed(STR("Host"), str_from(host)) && target[0] == '/' && h1_all(str_from(target), H1_TARGET);
}

struct ws *ws_connect(struct loop *loop, int fd, const char *host, const char *target,
                      const struct http_field *fields, size_t field_count, const struct ws_config *config,
                      const struct ws_callbacks *callbacks, void *data)
{
    struct ws *ws;

    if (!request_allowed(host, target, fields, field_count)) {
        close_fd(&fd);
        errno = EINVAL;
        return NULL;
    }
    ws = ws_new(loop, fd, true, STR(""), config, callbacks, data);
    if (ws && queue_request(ws, host, target, fields, field_count) < 0) {
        ws_abort(ws);
        errno = ENOMEM;
        return NULL;
    }
    return ws;
}

static bool answer_allowed(const struct ws *ws, const struct h1_head *head)
{
    return ws_requested(head) &&
           str_eq(h1_header(head, "sec-websocket-accept"), (struct str){ ws->accept, sizeof(ws->accept) }) &&
           h1_header(head, "sec-websocket-extensions").n == 0 && h1_header(head, "sec-websocket-protocol").n == 0;
}

static bool answer_is_early(int status)
{
    return status >= 100 && status < 200 && status != 101;
}

ssize_t ws_take_answer(struct ws *ws, struct str bytes)
{
    char text[64];
    struct h1_head head;
    ssize_t took = 0, n;

    do {
        n = h1_parse_response(bytes.p + took, bytes.n - (size_t)took, &answer_limits, STR("GET"), &head);
        if (n == 0)
            return 0;
        took += n > 0 ? n : 0;
    } while (n > 0 && answer_is_early(head.status));
    if (n < 0 || (head.status == 101 && !answer_allowed(ws, &head))) {
        ws_lost(ws, WS_ABNORMAL, "the answer to the handshake is not one");
        return -1;
    }
    if (head.status != 101) {
        snprintf(text, sizeof(text), "the handshake was refused with status %d", head.status);
        ws_lost(ws, WS_ABNORMAL, text);
        return -1;
    }
    ws->state = WS_OPEN;
    ws->deadline_ms = 0;
    if (ws->callbacks.on_open)
        ws->callbacks.on_open(ws, ws->data);
    return took;
}
