#include "frame.h"

enum frame_state frame_peek(const struct buf *in, struct frame *ret)
{
    const unsigned char *head = (const unsigned char *)buf_head(in);
    size_t size;

    if (in->len < 4)
        return FRAME_INCOMPLETE;
    size = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (size == 0 || size > FRAME_MAX)
        return FRAME_BAD;
    if (in->len < 4 + size)
        return FRAME_INCOMPLETE;
    *ret = (struct frame){ (char)head[4], { (const char *)head + 5, size - 1 }, 4 + size };
    return FRAME_COMPLETE;
}

int frame_append(struct buf *out, char kind, struct str payload)
{
    size_t size = payload.n + 1;
    char *at = buf_reserve(out, 4 + size);

    if (!at)
        return -1;
    for (int i = 0; i < 4; i++)
        at[i] = (char)(unsigned char)(size >> 8 * i);
    at[4] = kind;
    if (payload.n > 0)
        memcpy(at + 5, payload.p, payload.n);
    buf_commit(out, 4 + size);
    return 0;
}
