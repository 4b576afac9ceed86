/*
 * file_stream.c - POST /api/read/stream: a file as events: metadata, chunks, complete. Once its head is out every
 * failure is an event, too, for that is the only form that clients of this route understand.
 */
#include "agent/agent.h"
#include "agent/http/event_stream.h"
#include "agent/http/routes.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "file_type.h"
#include "mime.h"

#include <fcntl.h>
#include <sys/stat.h>

#define CHUNK       ((size_t)65535) /* a multiple of three: clients decode each chunk's base64 by itself */
#define TURN_CHUNKS 16              /* to one client before the others get their turn */

struct file_stream {
    struct event_stream stream;
    struct file_request *f;
    struct file_type type;
    int fd;
    bool text;
    uint64_t size; /* as stat tells it */
    uint64_t done; /* bytes read */
    char carry[3]; /* the beginning of a character whose rest is in the next chunk */
    size_t carried;
    struct loop_deferred go_on;
};

static void free_stream(struct file_stream *s)
{
    loop_defer_cancel(s->f->rq->agent->loop, &s->go_on);
    event_stream_end(&s->stream);
    close_fd(&s->fd);
    file_done(s->f);
    free(s);
}

/* --- events --- */

static void put_error(struct event_stream *stream, const char *message)
{
    struct json_writer *w = event_stream_event(stream, "error");

    json_pair_cstring(w, "error", message);
    event_stream_send(stream);
}

/* Instead of the whole stream. */
static void fail(struct request *rq, const char *message)
{
    struct event_stream stream = { 0 };

    event_stream_begin(&stream, rq);
    put_error(&stream, message);
    event_stream_end(&stream);
}

static void put_metadata(struct file_stream *s, const char *mime)
{
    struct json_writer *w = event_stream_event(&s->stream, "metadata");

    json_pair_cstring(w, "mimeType", mime);
    json_pair_int(w, "size", (int64_t)s->size);
    json_pair_bool(w, "isBinary", !s->text);
    json_pair_cstring(w, "encoding", s->text ? "utf-8" : "base64");
    event_stream_send(&s->stream);
}

static void put_complete(struct file_stream *s)
{
    struct json_writer *w = event_stream_event(&s->stream, "complete");

    json_pair_int(w, "bytesRead", (int64_t)s->done);
    event_stream_send(&s->stream);
}

/* Base64 text needs no escaping, so it goes past the writer. */
static void put_chunk(struct file_stream *s, const char *p, size_t n)
{
    struct json_writer *w = event_stream_event(&s->stream, "chunk");

    json_key(w, "data");
    json_string_begin(w);
    if (s->text)
        json_string_part(w, (struct str){ p, n });
    else if (!w->failed && base64_append(w->out, p, n) < 0)
        w->failed = true;
    json_string_end(w);
    event_stream_send(&s->stream);
}

/* --- the file --- */

/* `n` bytes, of which the first are those carried over. A split character waits for its rest, but at the end. */
static void put_bytes(struct file_stream *s, const char *p, size_t n, bool last)
{
    size_t skip = 0, keep;

    if (s->text && s->done == n - s->carried && str_has_prefix((struct str){ p, n }, STR("\xef\xbb\xbf")))
        skip = 3;
    keep = s->text && !last ? utf8_incomplete_tail((struct str){ p, n }) : 0;
    if (n > skip + keep)
        put_chunk(s, p + skip, n - skip - keep);
    s->carried = keep;
    memcpy(s->carry, p + n - keep, keep);
}

/* Reads until a chunk is full or the file ends. The number of bytes, or -1 with errno. */
static ssize_t read_chunk(int fd, char *p)
{
    size_t have = 0;

    while (have < CHUNK) {
        ssize_t n = RETRY_EINTR(read(fd, p + have, CHUNK - have));
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

/* False: the stream is over and gone. */
static bool send_chunk(struct file_stream *s)
{
    static char room[3 + CHUNK];
    ssize_t n;

    memcpy(room, s->carry, s->carried);
    n = read_chunk(s->fd, room + s->carried);
    if (n > 0) {
        s->done += (uint64_t)n;
        put_bytes(s, room, s->carried + (size_t)n, false);
        return true;
    }
    if (n < 0) {
        put_error(&s->stream, strerror(errno));
    } else {
        if (s->carried > 0)
            put_bytes(s, room, s->carried, true);
        put_complete(s);
    }
    free_stream(s);
    return false;
}

static void pump(struct file_stream *s)
{
    for (unsigned i = 0; i < TURN_CHUNKS && !s->stream.blocked; i++)
        if (!send_chunk(s))
            return;
    if (!s->stream.blocked)
        loop_defer(s->f->rq->agent->loop, &s->go_on);
}

static void on_go_on(struct loop_deferred *deferred)
{
    pump(container_of(deferred, struct file_stream, go_on));
}

static void on_drain(struct event_stream *stream)
{
    pump(container_of(stream, struct file_stream, stream));
}

static void on_gone(struct event_stream *stream)
{
    free_stream(container_of(stream, struct file_stream, stream));
}

static void on_type(struct file_type *type, const char *mime)
{
    struct file_stream *s = container_of(type, struct file_stream, type);

    s->text = mime_is_text(mime);
    file_leave_session(s->f);
    s->stream.on_drain = on_drain;
    s->stream.on_gone = on_gone;
    event_stream_begin(&s->stream, s->f->rq);
    if (!event_stream_open(&s->stream)) {
        free_stream(s);
        return;
    }
    put_metadata(s, mime);
    pump(s);
}

static void work(struct file_request *f)
{
    uint64_t size = 0;
    _cleanup_close_ int fd = file_open(f, &size);
    struct file_stream *s = fd >= 0 ? calloc(1, sizeof(*s)) : NULL;

    if (!s) {
        if (fd >= 0)
            file_reply_failed(f, ENOMEM);
        file_done(f);
        return;
    }
    s->f = f;
    s->fd = TAKE_FD(fd);
    s->size = size;
    s->go_on.callback = on_go_on;
    file_type_find(&s->type, f, on_type);
}

void handle_read_stream(struct request *rq)
{
    const struct json *path = json_get(rq->body, "path");
    const char *problem = file_path_problem(path);

    if (problem)
        fail(rq, problem);
    else
        file_start_failing(rq, "file.read", path->string.p, work, fail);
}
