/*
 * fuzz_ws.c - the parser of WebSocket frames.
 *
 * The first byte of the input says the role, the rest is what the peer sends. What is checked: the same bytes cut
 * differently give the same events and the same verdict, no message grows over the limit, control frames are whole
 * and short, and what comes out is what an independent reading of the frames says.
 */
#include "net/ws_frame.h"

#include "base/utf8.h"

#include <assert.h>

#define LIMIT 3000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A run's events, flattened: what must not depend on how the bytes are cut. */
struct trace {
    uint64_t hash;
    size_t messages, controls;
    size_t payload;  /* bytes of messages */
    ssize_t verdict; /* 0, or minus a code */
};

static void mix(struct trace *trace, const void *p, size_t n)
{
    const uint8_t *bytes = p;

    for (size_t i = 0; i < n; i++)
        trace->hash = (trace->hash ^ bytes[i]) * 1099511628211u;
}

static void add_event(struct trace *trace, const struct ws_event *event, size_t *message_n)
{
    uint8_t mark = (uint8_t)event->opcode;

    if (event->kind == WS_CONTROL) {
        assert(event->payload.n <= WS_CONTROL_MAX);
        assert(event->opcode == WS_OP_CLOSE || event->opcode == WS_OP_PING || event->opcode == WS_OP_PONG);
        if (event->opcode == WS_OP_CLOSE && event->payload.n > 2)
            assert(utf8_valid((struct str){ event->payload.p + 2, event->payload.n - 2 }));
        mix(trace, &mark, 1);
        mix(trace, event->payload.p, event->payload.n);
        trace->controls++;
        return;
    }
    assert(event->opcode == WS_OP_TEXT || event->opcode == WS_OP_BINARY);
    *message_n += event->payload.n;
    assert(*message_n <= LIMIT);
    mix(trace, event->payload.p, event->payload.n);
    trace->payload += event->payload.n;
    if (!event->end)
        return;
    mix(trace, &mark, 1);
    *message_n = 0;
    trace->messages++;
}

/* `step` 0: pieces of changing size. */
static struct trace run(const uint8_t *data, size_t size, bool masked, size_t step)
{
    struct trace trace = { .hash = 14695981039346656037u };
    char *copy = malloc(size + 1);
    struct ws_parser parser;
    size_t message_n = 0;
    uint32_t random = (uint32_t)size;

    assert(copy);
    memcpy(copy, data, size);
    ws_parser_init(&parser, masked, LIMIT);
    for (size_t at = 0; at < size && trace.verdict == 0;) {
        size_t end;
        random = random * 1664525u + 1013904223u;
        end = MIN(size, at + (step > 0 ? step : 1 + (random >> 8) % 40));
        for (struct ws_event event = { .kind = WS_PIECE }; event.kind != WS_MORE;) {
            ssize_t took = ws_parse(&parser, copy + at, end - at, &event);
            if (took < 0) {
                trace.verdict = took;
                break;
            }
            assert((size_t)took <= end - at);
            at += (size_t)took;
            if (event.kind != WS_MORE)
                add_event(&trace, &event, &message_n);
        }
        assert(trace.verdict < 0 || at == end);
    }
    free(copy);
    return trace;
}

/* Reads frames that are all there in a plain way; false where the stream ends or breaks. */
static bool plain_frame(const uint8_t *p, size_t n, bool masked, size_t *ret_size, uint64_t *ret_payload,
                        uint8_t *ret_op)
{
    size_t at = 2;
    uint64_t length;

    if (n < 2)
        return false;
    length = p[1] & 0x7f;
    if (length >= 126) {
        unsigned bytes = length == 126 ? 2 : 8;
        if (n < at + bytes)
            return false;
        length = 0;
        for (unsigned i = 0; i < bytes; i++)
            length = length << 8 | p[at++];
    }
    at += masked ? 4 : 0;
    if (at > n || length > n - at)
        return false;
    *ret_size = at + (size_t)length;
    *ret_payload = length;
    *ret_op = p[0] & 0x0f;
    return true;
}

/* Where the parser had no complaint, the payload of all whole data frames must have come out, and no less. */
static void compare(const struct trace *trace, const uint8_t *p, size_t n, bool masked)
{
    uint64_t payload = 0, length;
    size_t controls = 0, size;
    uint8_t opcode;

    if (trace->verdict < 0)
        return;
    for (; plain_frame(p, n, masked, &size, &length, &opcode); p += size, n -= size) {
        if (opcode >= 8)
            controls++;
        else
            payload += length;
    }
    assert(controls == trace->controls);
    assert(trace->payload >= payload && trace->payload <= payload + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace whole, cut;
    bool masked;

    if (size < 1)
        return 0;
    masked = data[0] & 1;
    data++;
    size--;
    whole = run(data, size, masked, size + 1);
    for (size_t step = 0; step < 3; step++) {
        cut = run(data, size, masked, step);
        assert(cut.hash == whole.hash && cut.verdict == whole.verdict);
        assert(cut.messages == whole.messages && cut.controls == whole.controls);
    }
    compare(&whole, data, size, masked);
    return 0;
}
