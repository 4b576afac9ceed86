#include "ws_frame.h"

#include "base/utf8.h"

#define FINAL     0x80
#define RESERVED  0x70
#define OPCODE    0x0f
#define MASKED    0x80
#define LENGTH    0x7f
#define LENGTH_16 126
#define LENGTH_64 127

#define PROTOCOL  (-1002)
#define BAD_TEXT  (-1007)
#define TOO_BIG   (-1009)

void ws_parser_init(struct ws_parser *parser, bool masked, uint64_t max_message)
{
    *parser = (struct ws_parser){ .masked = masked, .max_message = max_message };
}

uint64_t ws_parser_expects(const struct ws_parser *parser)
{
    return parser->in_frame && parser->opcode < WS_OP_CLOSE ? parser->frame_left : 0;
}

static bool is_control(uint8_t opcode)
{
    return opcode >= WS_OP_CLOSE;
}

/* May the code be in a Close frame? */
static bool code_allowed(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/* --- heads --- */

/* Bytes that a head has in all, as far as its first `n` bytes say. */
static size_t head_size(const struct ws_parser *parser)
{
    size_t size = 2;

    if (parser->head_n < 2)
        return size;
    if ((parser->head[1] & LENGTH) == LENGTH_16)
        size += 2;
    else if ((parser->head[1] & LENGTH) == LENGTH_64)
        size += 8;
    return size + (parser->masked ? 4 : 0);
}

/* The first two bytes: judged before the rest has come. */
static int check_start(const struct ws_parser *parser)
{
    uint8_t opcode = parser->head[0] & OPCODE;
    bool final = parser->head[0] & FINAL;
    bool masked = parser->head[1] & MASKED;

    if (parser->head[0] & RESERVED || masked != parser->masked)
        return PROTOCOL;
    switch (opcode) {
    case WS_OP_CONTINUATION:
        return parser->in_message ? 0 : PROTOCOL;
    case WS_OP_TEXT:
    case WS_OP_BINARY:
        return parser->in_message ? PROTOCOL : 0;
    case WS_OP_CLOSE:
    case WS_OP_PING:
    case WS_OP_PONG:
        return final && (parser->head[1] & LENGTH) <= WS_CONTROL_MAX ? 0 : PROTOCOL;
    default:
        return PROTOCOL;
    }
}

/* 0, or -1 when there is a shorter form, or none. */
static int payload_length(const uint8_t *head, uint64_t *ret)
{
    unsigned bytes = (head[1] & LENGTH) == LENGTH_16 ? 2 : (head[1] & LENGTH) == LENGTH_64 ? 8 : 0;
    uint64_t n = bytes == 0 ? head[1] & LENGTH : 0;

    for (unsigned i = 0; i < bytes; i++)
        n = n << 8 | head[2 + i];
    *ret = n;
    if (bytes == 2)
        return n >= LENGTH_16 ? 0 : -1;
    return bytes == 0 || (n > UINT16_MAX && n >> 63 == 0) ? 0 : -1;
}

static int begin_frame(struct ws_parser *parser)
{
    uint64_t n;

    if (payload_length(parser->head, &n) < 0)
        return PROTOCOL;
    parser->opcode = parser->head[0] & OPCODE;
    if (!is_control(parser->opcode)) {
        if (parser->opcode != WS_OP_CONTINUATION) {
            parser->message_opcode = parser->opcode;
            parser->message_n = 0;
        }
        if (n > parser->max_message - parser->message_n)
            return TOO_BIG;
        parser->message_n += n;
        parser->final = parser->head[0] & FINAL;
        parser->in_message = true;
    }
    if (parser->masked)
        memcpy(parser->key, parser->head + parser->head_n - 4, 4);
    parser->key_at = 0;
    parser->frame_left = n;
    parser->in_frame = true;
    parser->head_n = 0;
    parser->control_n = 0;
    return 0;
}

/* Takes bytes of a head: how many, or a code. */
static ssize_t take_head(struct ws_parser *parser, const char *bytes, size_t n)
{
    size_t took = 0;
    int rc = 0;

    while (rc == 0 && took < n && !parser->in_frame) {
        size_t want = head_size(parser);
        size_t part = MIN(want - parser->head_n, n - took);
        memcpy(parser->head + parser->head_n, bytes + took, part);
        parser->head_n += (uint8_t)part;
        took += part;
        if (parser->head_n == 2)
            rc = check_start(parser);
        if (rc == 0 && parser->head_n >= 2 && parser->head_n == head_size(parser))
            rc = begin_frame(parser);
    }
    return rc < 0 ? rc : (ssize_t)took;
}

/* --- payloads --- */

void ws_mask(char *bytes, size_t n, const uint8_t key[4], size_t at)
{
    uint8_t turned[8];
    uint64_t key8, word;
    size_t i = 0;

    for (size_t k = 0; k < sizeof(turned); k++)
        turned[k] = key[(at + k) & 3];
    memcpy(&key8, turned, sizeof(key8));
    for (; i + sizeof(word) <= n; i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        word ^= key8;
        memcpy(bytes + i, &word, sizeof(word));
    }
    for (; i < n; i++)
        bytes[i] = (char)(bytes[i] ^ turned[i & 7]);
}

static void unmask(struct ws_parser *parser, char *bytes, size_t n)
{
    if (!parser->masked)
        return;
    ws_mask(bytes, n, parser->key, parser->key_at);
    parser->key_at = (uint8_t)((parser->key_at + n) & 3);
}

static void take_piece(struct ws_parser *parser, char *bytes, size_t n, struct ws_event *ret)
{
    unmask(parser, bytes, n);
    parser->in_frame = parser->frame_left > 0;
    ret->kind = WS_PIECE;
    ret->opcode = parser->message_opcode;
    ret->payload = (struct str){ bytes, n };
    ret->end = !parser->in_frame && parser->final;
    if (ret->end)
        parser->in_message = false;
}

static int check_close(struct str payload)
{
    struct str reason = { payload.p + 2, payload.n - 2 };

    if (payload.n == 0)
        return 0;
    if (payload.n == 1 || !code_allowed((unsigned)(uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1]))
        return PROTOCOL;
    return utf8_valid(reason) ? 0 : BAD_TEXT;
}

/* Control frames may be cut by reads as well, but come out whole. */
static int take_control(struct ws_parser *parser, char *bytes, size_t n, struct ws_event *ret)
{
    unmask(parser, bytes, n);
    if (n > 0)
        memcpy(parser->control + parser->control_n, bytes, n);
    parser->control_n += (uint8_t)n;
    if (parser->frame_left > 0)
        return 0;
    parser->in_frame = false;
    ret->kind = WS_CONTROL;
    ret->opcode = parser->opcode;
    ret->payload = (struct str){ parser->control, parser->control_n };
    return parser->opcode == WS_OP_CLOSE ? check_close(ret->payload) : 0;
}

ssize_t ws_parse(struct ws_parser *parser, char *bytes, size_t n, struct ws_event *ret)
{
    ssize_t head = 0;
    size_t part;
    int rc = 0;

    *ret = (struct ws_event){ .kind = WS_MORE };
    if (!parser->in_frame) {
        head = take_head(parser, bytes, n);
        if (head < 0 || !parser->in_frame)
            return head;
    }
    part = (size_t)MIN(parser->frame_left, (uint64_t)(n - (size_t)head));
    if (part == 0 && parser->frame_left > 0)
        return head;
    parser->frame_left -= part;
    if (is_control(parser->opcode))
        rc = take_control(parser, bytes + head, part, ret);
    else
        take_piece(parser, bytes + head, part, ret);
    return rc < 0 ? rc : head + (ssize_t)part;
}

/* --- writing --- */

size_t ws_frame_head(uint8_t head[WS_HEAD_MAX], enum ws_opcode opcode, uint64_t n, const uint8_t *key)
{
    unsigned bytes = n < LENGTH_16 ? 0 : n <= UINT16_MAX ? 2 : 8;
    size_t size = 2;

    head[0] = (uint8_t)(FINAL | opcode);
    head[1] = (uint8_t)(bytes == 0 ? n : bytes == 2 ? LENGTH_16 : LENGTH_64);
    for (unsigned i = bytes; i > 0; i--)
        head[size++] = (uint8_t)(n >> (8 * (i - 1)));
    if (key) {
        head[1] |= MASKED;
        memcpy(head + size, key, 4);
        size += 4;
    }
    return size;
}
