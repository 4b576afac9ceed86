/* h2_peer.h - a client of HTTP/2 made of bytes: frames as a test wants them, also those that no library would send.
 */
#pragma once

#include "server_fixture.h"

#include "net/h2.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum frame_type {
    F_DATA,
    F_HEADERS,
    F_PRIORITY,
    F_RST_STREAM,
    F_SETTINGS,
    F_PUSH_PROMISE,
    F_PING,
    F_GOAWAY,
    F_WINDOW_UPDATE,
    F_CONTINUATION,
    F_NONE /* the connection has ended */
};
enum frame_flag { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum h2_error {
    H2_NO_ERROR,
    H2_PROTOCOL_ERROR,
    H2_INTERNAL_ERROR,
    H2_FLOW_CONTROL_ERROR,
    H2_CANCEL = 8,
    H2_ENHANCE_YOUR_CALM = 11
};

/* A block of fields as literals without indexing. */
struct block {
    char bytes[200000];
    size_t n;
};

static inline void add_length(struct block *b, size_t n)
{
    if (n < 127) {
        b->bytes[b->n++] = (char)n;
        return;
    }
    b->bytes[b->n++] = 127;
    for (n -= 127; n >= 128; n >>= 7)
        b->bytes[b->n++] = (char)(n % 128 + 128);
    b->bytes[b->n++] = (char)n;
}

static inline void add_bytes(struct block *b, const char *p, size_t n)
{
    add_length(b, n);
    memcpy(b->bytes + b->n, p, n);
    b->n += n;
}

static inline void add_field_n(struct block *b, const char *name, const char *value, size_t n)
{
    b->bytes[b->n++] = 0;
    add_bytes(b, name, strlen(name));
    add_bytes(b, value, n);
}

static inline void add_field(struct block *b, const char *name, const char *value)
{
    add_field_n(b, name, value, strlen(value));
}

static inline void start_block(struct block *b, const char *method, const char *path)
{
    b->n = 0;
    add_field(b, ":method", method);
    add_field(b, ":scheme", "http");
    add_field(b, ":authority", "a");
    add_field(b, ":path", path);
}

static inline void send_frame(enum frame_type type, int flags, uint32_t stream, const void *p, size_t n)
{
    const char head[9] = { (char)(n >> 16),      (char)(n >> 8),      (char)n,
                           (char)type,           (char)flags,         (char)(stream >> 24),
                           (char)(stream >> 16), (char)(stream >> 8), (char)stream };

    peer_send(&peer, (struct str){ head, sizeof(head) });
    peer_send(&peer, (struct str){ p, n });
}

static inline void send_word(enum frame_type type, uint32_t stream, uint32_t word)
{
    const char bytes[4] = { (char)(word >> 24), (char)(word >> 16), (char)(word >> 8), (char)word };

    send_frame(type, 0, stream, bytes, sizeof(bytes));
}

static inline void send_block(const struct block *b, int flags, uint32_t stream)
{
    send_frame(F_HEADERS, flags | END_HEADERS, stream, b->bytes, b->n);
}

static inline void send_request(const char *method, const char *path, int flags, uint32_t stream)
{
    static struct block b;

    start_block(&b, method, path);
    send_block(&b, flags, stream);
}

struct frame {
    enum frame_type type;
    int flags;
    uint32_t stream;
    const uint8_t *p; /* good until the next one */
    size_t n;
};

/* The next frame; at the end of the connection F_NONE. */
static inline struct frame next_frame(void)
{
    static uint8_t body[1 << 20];
    struct frame frame = { .type = F_NONE };
    const uint8_t *head;

    WAIT_FOR((peer_has(&peer, "") || true) && (peer.in.len >= 9 || peer.closed));
    if (peer.in.len < 9)
        return frame;
    head = (const uint8_t *)buf_head(&peer.in);
    frame.n = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    frame.type = head[3];
    frame.flags = head[4];
    frame.stream = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];
    WAIT_FOR((peer_has(&peer, "") || true) && peer.in.len >= 9 + frame.n);
    memcpy(body, buf_head(&peer.in) + 9, frame.n);
    buf_consume(&peer.in, 9 + frame.n);
    frame.p = body;
    return frame;
}

static inline uint32_t word_at(const struct frame *frame, size_t at)
{
    const uint8_t *p = frame->p + at;

    assert_true(frame->n >= at + 4);
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Passes over settings, window updates and pings to the next frame of `type`. */
static inline struct frame expect_frame(enum frame_type type)
{
    for (;;) {
        struct frame frame = next_frame();

        if (frame.type == type)
            return frame;
        if (frame.type != F_SETTINGS && frame.type != F_WINDOW_UPDATE && frame.type != F_PING)
            fail_msg("frame %d of stream %u instead of %d", (int)frame.type, frame.stream, (int)type);
    }
}

static inline void expect_reset(uint32_t stream, enum h2_error code)
{
    struct frame frame = expect_frame(F_RST_STREAM);

    assert_int_equal(frame.stream, stream);
    assert_int_equal(word_at(&frame, 0), code);
}

/* Until then other streams may be answered. */
static inline void expect_goaway(enum h2_error code)
{
    for (;;) {
        struct frame frame = next_frame();

        if (frame.type == F_GOAWAY) {
            assert_int_equal(word_at(&frame, 4), code);
            return;
        }
        if (frame.type == F_NONE)
            fail_msg("the connection ended without GOAWAY");
    }
}

/* Of an answer: a byte of HPACK's static table, or a literal for its eighth name, plain where Huffman gains
 * nothing. */
static inline int status_of(const struct frame *frame)
{
    static const int indexed[] = { 200, 204, 206, 304, 400, 404, 500 };
    const uint8_t *p = frame->p;

    if (p[0] >= 0x88 && p[0] <= 0x8e)
        return indexed[p[0] - 0x88];
    assert_int_equal(p[0], 0x48);
    if (p[1] == 3)
        return (p[2] - '0') * 100 + (p[3] - '0') * 10 + p[4] - '0';
    assert_int_equal(p[1], 0x82);
    if (p[2] == 0x08 && p[3] == 0x01)
        return 100;
    assert_true(p[2] == 0x6c && p[3] == 0x01);
    return 501;
}

static inline void expect_status(uint32_t stream, int status)
{
    struct frame frame = expect_frame(F_HEADERS);

    assert_int_equal(frame.stream, stream);
    assert_int_equal(status_of(&frame), status);
}

/* The whole of a body that ends with its stream. */
static inline void expect_body(uint32_t stream, const char *text)
{
    struct buf got;

    buf_init(&got, 1 << 20);
    for (;;) {
        struct frame frame = expect_frame(F_DATA);

        assert_int_equal(frame.stream, stream);
        assert_int_equal(buf_append(&got, frame.p, frame.n), 0);
        if (frame.flags & END_STREAM)
            break;
    }
    assert_str(buf_str(&got), str_from(text));
    buf_free(&got);
}

/* Whether it is among what has come, which stays. */
static inline bool goaway_has_come(void)
{
    const uint8_t *p;
    size_t at = 0, n;

    if (peer_sees_end(&peer))
        return true;
    for (; at + 9 <= peer.in.len; at += 9 + n) {
        p = (const uint8_t *)buf_head(&peer.in) + at;
        n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        if (p[3] == F_GOAWAY)
            return true;
    }
    return false;
}

static inline int setup_h2(void **state)
{
    if (setup(state) < 0)
        return -1;
    http_server_enable_h2(server);
    send_text(PREFACE);
    send_frame(F_SETTINGS, 0, 0, "", 0);
    send_frame(F_SETTINGS, ACK, 0, "", 0);
    return 0;
}
