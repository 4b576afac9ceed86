/*
 * h2_send.c - from streams to frames to records. A stream's bytes are encrypted from where they lie: nghttp2 makes
 * the heads of frames only, and what does not fill a record by itself is copied once.
 */
#include "link/h2.h"

#define OUT_ENOUGH ((size_t)64 << 10)
#define PARTS      8
#define FRAME_HEAD 9

static uint8_t record[RECORD]; /* of the one that is putting frames together */

/* How much of the stream the next frame has. h2_send_data() takes it from where it lies. */
ssize_t h2_read_stream(nghttp2_session *session, int32_t id, uint8_t *to, size_t n, uint32_t *flags,
                       nghttp2_data_source *source, void *data)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
    struct iovec parts[PARTS];
    size_t count, held = 0;
    bool fin;

    (void)to, (void)source, (void)data;
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    count = stream_out(stream, parts, PARTS, &fin);
    for (size_t i = 0; i < count; i++)
        held += parts[i].iov_len;
    fin = fin && held <= n;
    if (held == 0 && !fin)
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY | (fin ? NGHTTP2_DATA_FLAG_EOF : 0);
    return (ssize_t)MIN(held, n);
}

ssize_t h2_frame_length(nghttp2_session *session, uint8_t type, int32_t id, int32_t link_window,
                        int32_t stream_window, uint32_t most, void *data)
{
    (void)session, (void)type, (void)id, (void)data;
    return MIN(MIN((ssize_t)FRAME, (ssize_t)most), (ssize_t)MIN(link_window, stream_window));
}

int h2_on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    (void)session;
    if (frame->hd.type == NGHTTP2_DATA)
        ((struct h2_link *)data)->credit += 2; /* it is answered by at most one frame for the window of each kind */
    return 0;
}

/* Frames are put together to whole records; what is one by itself is not copied for it. -1: TLS cannot go on. */
static int put(struct h2_link *h2, const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t part = MIN(n, RECORD - h2->held);

        if (part < RECORD)
            memcpy(record + h2->held, p, part);
        h2->held += part;
        if (h2->held == RECORD) {
            if (tls_put(&h2->tls, part < RECORD ? record : p, RECORD) < 0)
                return -1;
            h2->held = 0;
        }
        p += part;
        n -= part;
    }
    return 0;
}

static bool has_enough(const struct h2_link *h2)
{
    return h2->tls.out.len + h2->held >= OUT_ENOUGH;
}

/* The frame is begun once there is room for it, and then whole. */
int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t n,
                 nghttp2_data_source *source, void *data)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    struct h2_link *h2 = data;
    struct iovec parts[PARTS];
    size_t left = n, count;
    bool fin;

    (void)source;
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (has_enough(h2))
        return NGHTTP2_ERR_WOULDBLOCK;
    count = stream_out(stream, parts, PARTS, &fin);
    if (put(h2, head, FRAME_HEAD) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t part = MIN(parts[i].iov_len, left);

        if (put(h2, parts[i].iov_base, part) < 0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        left -= part;
    }
    stream_sent(stream, n, frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    stream_acked(stream, n);
    return left == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

bool h2_fill(struct h2_link *h2)
{
    const uint8_t *p;
    ssize_t n = 1;

    while (!has_enough(h2) && (n = nghttp2_session_mem_send(h2->session, &p)) > 0)
        if (put(h2, p, (size_t)n) < 0)
            return false;
    if (n < 0 || (h2->held > 0 && tls_put(&h2->tls, record, h2->held) < 0))
        return false;
    h2->held = 0;
    return true;
}
