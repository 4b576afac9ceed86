/* fuzz_kernel_frame.c - any bytes from an interpreter: the frames found must not depend on how the bytes arrive. */
#include "agent/interpreter/frame.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    size_t frames, bytes;
    unsigned sum;
    bool bad;
};

static void take(struct buf *in, struct outcome *o)
{
    struct frame frame;
    enum frame_state state = FRAME_INCOMPLETE;

    while (!o->bad && (state = frame_peek(in, &frame)) == FRAME_COMPLETE) {
        assert(frame.size <= in->len && frame.payload.n + 5 == frame.size);
        assert(frame.size - 4 <= FRAME_MAX);
        o->frames++;
        o->bytes += frame.payload.n;
        o->sum = o->sum * 31 + (unsigned char)frame.kind;
        for (size_t i = 0; i < frame.payload.n; i++)
            o->sum = o->sum * 31 + (unsigned char)frame.payload.p[i];
        buf_consume(in, frame.size);
    }
    o->bad |= state == FRAME_BAD;
}

static struct outcome run(const uint8_t *data, size_t size, size_t step)
{
    struct outcome o = { 0 };
    struct buf in;

    buf_init(&in, size + 1);
    for (size_t at = 0; at < size; at += step) {
        assert(buf_append(&in, data + at, MIN(step, size - at)) == 0);
        take(&in, &o);
    }
    buf_free(&in);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole = run(data, size, size + 1), bytes = run(data, size, 1);

    assert(whole.frames == bytes.frames && whole.bytes == bytes.bytes && whole.sum == bytes.sum &&
           whole.bad == bytes.bad);
    return 0;
}
