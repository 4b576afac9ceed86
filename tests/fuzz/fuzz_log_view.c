/*
 * The log of a container's command as its agent tells it: the first two bytes choose what a reader wants, the rest
 * are records. Nothing is invented: what a reader gets is what was written, times apart, and no more lines than
 * were counted.
 */
#include "daemon/docker/log_view.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t bytes, lines;
    bool begun[LOG_STREAMS];
};

static void emit(void *data, int stream, struct str time, struct str text)
{
    struct seen *seen = data;

    assert(stream == 1 || stream == 2);
    assert(text.n > 0 && time.n < 64);
    for (size_t i = 0; i < text.n; i++) {
        seen->lines += !seen->begun[stream];
        seen->begun[stream] = text.p[i] != '\n';
    }
    seen->bytes += text.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = { (const char *)data + 2, size - 2 }, rest;
    struct seen seen = { 0 };
    struct log_record record;
    struct log_view view, counting;
    uint64_t lines = 0;

    if (size < 2)
        return 0;
    view = (struct log_view){ .streams = data[0] & 6,
                              .timestamps = data[0] & 1,
                              .since_ns = data[0] & 8 ? 1000 : 0,
                              .until_ns = data[0] & 16 ? UINT64_MAX / 2 : UINT64_MAX };
    counting = view;
    view.skip = data[1];
    for (rest = all; log_record_parse(rest, &record) == 0; rest.p += record.size, rest.n -= record.size)
        lines += log_view_count(&counting, &record);
    for (rest = all; log_record_parse(rest, &record) == 0; rest.p += record.size, rest.n -= record.size)
        log_view_take(&view, &record, emit, &seen);
    assert(seen.bytes <= size);
    assert(seen.lines == (lines > data[1] ? lines - data[1] : 0));
    return 0;
}
