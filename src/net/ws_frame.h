/*
 * ws_frame.h - the framing of RFC 6455: a strict incremental parser and the heads of frames. Pure functions over
 * bytes: no sockets, no allocation, no state between calls but struct ws_parser.
 *
 * Refused with 1002: reserved bits and opcodes, masking the wrong way round for the role, lengths not in their
 * shortest form or above 2^63, fragmented or long control frames, a continuation of nothing, a new message within
 * one, Close frames with half a code or one that may not be sent. With 1007: a Close reason that is not UTF-8 (the
 * text of messages is for the caller to judge, who has it whole). With 1009: messages over the limit, before their
 * bytes have come.
 */
#pragma once

#include "base/base.h"

#define WS_HEAD_MAX    14
#define WS_CONTROL_MAX 125
#define WS_REASON_MAX  (WS_CONTROL_MAX - 2)

enum ws_opcode {
    WS_OP_CONTINUATION = 0,
    WS_OP_TEXT = 1,
    WS_OP_BINARY = 2,
    WS_OP_CLOSE = 8,
    WS_OP_PING = 9,
    WS_OP_PONG = 10,
};

struct ws_parser {
    uint64_t max_message;
    uint64_t message_n;  /* bytes of the current message, up to the end of the current frame */
    uint64_t frame_left; /* payload bytes of the current frame that have not come */
    bool masked;         /* what the peer sends must be */
    bool in_frame;       /* the head is complete */
    bool in_message;     /* a message has begun and its last frame has not */
    bool final;          /* the current frame is the last of its message */
    uint8_t opcode;      /* of the current frame */
    uint8_t message_opcode;
    uint8_t key[4];
    uint8_t key_at;
    uint8_t head_n, control_n;
    uint8_t head[WS_HEAD_MAX];
    char control[WS_CONTROL_MAX];
};

enum ws_event_kind {
    WS_MORE,   /* all bytes were taken and more are needed */
    WS_PIECE,  /* of a text or binary message */
    WS_CONTROL /* a whole control frame; its payload lives in the parser until the next call */
};

struct ws_event {
    enum ws_event_kind kind;
    enum ws_opcode opcode;
    struct str payload;
    bool end; /* WS_PIECE: the message is complete */
};

/* A server's parser wants masked frames, a client's wants none that are. */
void ws_parser_init(struct ws_parser *parser, bool masked, uint64_t max_message);

/* Takes bytes, which it unmasks in place, up to the next event: how many, or minus the code to close with. */
ssize_t ws_parse(struct ws_parser *parser, char *bytes, size_t n, struct ws_event *ret);

/* Bytes of message payload that come next without a head between them. */
uint64_t ws_parser_expects(const struct ws_parser *parser);

/* The head of a final frame: its length. `key` is NULL for unmasked ones. */
size_t ws_frame_head(uint8_t head[WS_HEAD_MAX], enum ws_opcode opcode, uint64_t n, const uint8_t *key);

/* XORs with the key, beginning at its byte `at` mod 4. */
void ws_mask(char *bytes, size_t n, const uint8_t key[4], size_t at);
