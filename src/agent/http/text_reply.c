#include "text_reply.h"

#include "base/base64.h"

#define PIECE     ((size_t)64 * 1024)
#define WHOLE_MAX ((size_t)64 * 1024)
/* A piece of control characters grows sixfold; the small members may hold a long command once more. */
#define OUT_MAX ((size_t)1024 * 1024 * 1024)

struct text_reply *text_reply_new(void)
{
    struct text_reply *reply = calloc(1, sizeof(*reply));

    if (!reply)
        return NULL;
    buf_init(&reply->out, OUT_MAX);
    json_writer_init(&reply->w, &reply->out);
    json_object_begin(&reply->w);
    return reply;
}

static void free_reply(struct text_reply *reply)
{
    for (unsigned i = 0; i < reply->count; i++)
        output_free(&reply->members[i].text);
    buf_free(&reply->out);
    free(reply);
}

void text_reply_add(struct text_reply *reply, const char *key, enum text_encoding encoding, struct output *text)
{
    reply->members[reply->count++] = (struct text_member){ .key = key, .encoding = encoding, .text = *text };
    *text = (struct output){ 0 };
}

/* --- writing --- */

static void put_base64(struct text_reply *reply, const void *p, size_t n)
{
    if (n > 0 && !reply->w.failed && base64_append(&reply->out, p, n) < 0)
        reply->w.failed = true;
}

/* Groups of three bytes may be split between chunks. Base64 text needs no escaping, so it goes past the writer. */
static void put_base64_part(struct text_reply *reply, const char *p, size_t n)
{
    size_t whole;

    while (reply->carried > 0 && reply->carried < 3 && n > 0) {
        reply->carry[reply->carried++] = (unsigned char)*p++;
        n--;
    }
    if (reply->carried == 3) {
        put_base64(reply, reply->carry, 3);
        reply->carried = 0;
    }
    whole = n / 3 * 3;
    put_base64(reply, p, whole);
    for (size_t i = whole; i < n; i++)
        reply->carry[reply->carried++] = (unsigned char)p[i];
}

static void open_member(struct text_reply *reply)
{
    json_key(&reply->w, reply->members[reply->current].key);
    json_string_begin(&reply->w);
    reply->open = true;
}

static void close_member(struct text_reply *reply)
{
    put_base64(reply, reply->carry, reply->carried);
    reply->carried = 0;
    json_string_end(&reply->w);
    reply->open = false;
    reply->current++;
}

/* `emit` takes what is in `out` after each piece and may say "no more now" (false). True when all is written. */
static bool write_members(struct text_reply *reply, bool (*emit)(struct text_reply *, void *), void *data)
{
    while (reply->current < reply->count) {
        struct text_member *member = &reply->members[reply->current];
        struct output_chunk *chunk;
        if (!reply->open)
            open_member(reply);
        while ((chunk = member->text.first)) {
            size_t n = MIN(chunk->len - chunk->taken, PIECE);
            if (member->encoding == TEXT_BASE64)
                put_base64_part(reply, chunk->bytes + chunk->taken, n);
            else
                json_string_part(&reply->w, (struct str){ chunk->bytes + chunk->taken, n });
            chunk->taken += n;
            if (chunk->taken == chunk->len)
                free(output_shift(&member->text));
            if (!emit(reply, data))
                return false;
        }
        close_member(reply);
    }
    json_object_end(&reply->w);
    return true;
}

/* --- small answers --- */

static bool keep(struct text_reply *reply, void *data)
{
    (void)reply, (void)data;
    return true;
}

static void send_whole(struct request *rq, struct text_reply *reply)
{
    write_members(reply, keep, NULL);
    if (json_writer_finish(&reply->w) < 0)
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "The answer does not fit in memory");
    else
        http_respond(rq->ex, 200, "application/json", buf_str(&reply->out));
    free_reply(reply);
}

/* --- large answers --- */

static bool emit_to_client(struct text_reply *reply, void *data)
{
    struct request *rq = data;
    bool more = true;

    if (reply->out.len >= PIECE) {
        more = http_respond_write(rq->ex, buf_head(&reply->out), reply->out.len);
        buf_clear(&reply->out);
    }
    return more && !reply->w.failed;
}

static void go_on(struct request *rq)
{
    struct text_reply *reply = rq->data;
    bool complete = write_members(reply, emit_to_client, rq);

    if (reply->w.failed) {
        http_exchange_abort(rq->ex); /* the text must not look complete */
        return;
    }
    if (!complete)
        return;
    rq->on_drain = NULL;
    http_respond_write(rq->ex, buf_head(&reply->out), reply->out.len);
    http_respond_end(rq->ex);
}

static void on_gone(struct request *rq, bool complete)
{
    (void)complete;
    free_reply(rq->data);
}

static void send_in_pieces(struct request *rq, struct text_reply *reply)
{
    static const struct http_field json = { "Content-Type", "application/json" };

    rq->data = reply;
    rq->on_drain = go_on;
    rq->on_gone = on_gone;
    http_respond_begin(rq->ex, 200, &json, 1, HTTP_CHUNKED);
    go_on(rq);
}

void text_reply_send(struct request *rq, struct text_reply *reply)
{
    size_t total = 0;

    if (!reply) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    for (unsigned i = 0; i < reply->count; i++)
        total += reply->members[i].text.total;
    if (!rq->ex)
        free_reply(reply);
    else if (total <= WHOLE_MAX)
        send_whole(rq, reply);
    else
        send_in_pieces(rq, reply);
}
