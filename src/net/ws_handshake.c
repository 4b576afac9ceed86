/* ws_handshake.c - from HTTP to frames (RFC 6455, section 4). */
#include "ws_internal.h"

#include "base/base64.h"
#include "base/sha1.h"

#define KEY_BYTES 16
#define KEY_SIZE  BASE64_ENCODED_SIZE(KEY_BYTES)

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
    ws = fd < 0 ? NULL : ws_new(loop, fd, buf_str(&rest), config, callbacks, data);
    buf_free(&rest);
    return ws;
}
