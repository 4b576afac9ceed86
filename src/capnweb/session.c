/* session.c - messages, the queue, and the end. */
#include "internal.h"

#include <stdarg.h>

#define LARGE                  ((size_t)1024 * 1024)
#define JSON_LEVELS_OF_MESSAGE 8 /* around its values: ["stream",["pipeline",1,["write"],[ */

void capnweb_limits_default(struct capnweb_limits *limits)
{
    *limits = (struct capnweb_limits){ .max_message = (size_t)32 << 20,
                                       .max_sent = (size_t)256 << 20,
                                       .max_held = (size_t)64 << 20,
                                       .max_entries = 65536,
                                       .max_depth = 64,
                                       .max_pipelined = 1024,
                                       .window = (size_t)256 << 10 };
}

/* --- the queue --- */

void cw_queue_push(struct cw_queue *queue, struct cw_task *task)
{
    task->next = NULL;
    task->queued = true;
    if (queue->last)
        queue->last->next = task;
    else
        queue->first = task;
    queue->last = task;
}

struct cw_task *cw_queue_pop(struct cw_queue *queue)
{
    struct cw_task *task = queue->first;

    if (!task)
        return NULL;
    queue->first = task->next;
    if (!queue->first)
        queue->last = NULL;
    task->queued = false;
    return task;
}

void cw_enqueue(struct capnweb_session *s, struct cw_task *task)
{
    bool was_empty = !s->queue.first;

    cw_queue_push(&s->queue, task);
    if (was_empty && !s->running && !s->freed)
        s->transport.wake(s->transport.data);
}

void capnweb_run(struct capnweb_session *s)
{
    struct cw_task *task;

    if (s->running)
        return;
    s->running = true;
    cw_session_ref(s);
    while ((task = cw_queue_pop(&s->queue)))
        task->run(task);
    s->running = false;
    cw_session_unref(s);
}

/* --- sending --- */

void cw_message_begin(struct capnweb_session *s, struct cw_message *message, const char *kind)
{
    buf_clear(&s->out);
    message->first_negative = s->next_negative;
    json_writer_init(&message->w, &s->out);
    json_array_begin(&message->w);
    json_cstring(&message->w, kind);
}

/* One big result neither stays for the life of the session nor is copied once more. */
static void send_out(struct capnweb_session *s)
{
    struct held_text *text = s->out.len > LARGE && s->transport.send_text ? held_text_new(&s->out) : NULL;

    if (text)
        s->transport.send_text(STR(""), text, STR(""), s->transport.data);
    else
        s->transport.send(buf_str(&s->out), s->transport.data);
    held_text_unref(text);
    if (s->out.cap > LARGE)
        buf_free(&s->out);
}

size_t cw_message_finish(struct capnweb_session *s, struct cw_message *message)
{
    size_t n;

    json_array_end(&message->w);
    if (s->ended || json_writer_finish(&message->w) < 0) {
        for (int64_t id = message->first_negative; id > s->next_negative && !s->ended; id--)
            (void)cw_export_drop(s, id, 1);
        return 0;
    }
    n = s->out.len;
    send_out(s);
    return n;
}

/* Nothing may be appended to the message any more: it has no ids of objects, which would have to be given back. */
size_t cw_message_finish_text(struct capnweb_session *s, struct cw_message *message, struct held_text *text)
{
    size_t n = text->bytes.len;

    if (s->ended || message->w.failed || n > s->limits.max_sent || buf_append(&s->out, ",", 1) < 0)
        return 0;
    n += s->out.len + 1;
    if (s->transport.send_text) {
        s->transport.send_text(buf_str(&s->out), text, STR("]"), s->transport.data);
        return n;
    }
    if (buf_append_str(&s->out, buf_str(&text->bytes)) < 0 || buf_append(&s->out, "]", 1) < 0)
        return 0;
    send_out(s);
    return n;
}

void cw_send_release(struct capnweb_session *s, int64_t id, int64_t count)
{
    struct cw_message message;

    cw_message_begin(s, &message, "release");
    json_int(&message.w, id);
    json_int(&message.w, count);
    (void)cw_message_finish(s, &message);
}

void cw_send_pull(struct capnweb_session *s, int64_t id)
{
    struct cw_message message;

    cw_message_begin(s, &message, "pull");
    json_int(&message.w, id);
    (void)cw_message_finish(s, &message);
}

/* --- the end --- */

static void lose_exports(struct capnweb_session *s)
{
    struct id_table table = s->exports;

    s->exports = (struct id_table){ .slots = NULL };
    for (size_t i = 0; i < table.size; i++) {
        struct cw_export *export = table.slots[i].value;
        if (!export)
            continue;
        if (export->object.kind == CW_TARGET) {
            capnweb_target_unref(export->object.object);
        } else if (export->object.kind == CW_SINK) {
            cw_reader_lost(export->object.object, s->end_message);
            cw_sink_unref(export->object.object);
        } else {
            capnweb_promise_unref(export->object.object);
        }
        free(export);
    }
    id_table_free(&table);
}

static void lose_imports(struct capnweb_session *s)
{
    struct id_table table = s->imports;

    s->imports = (struct id_table){ .slots = NULL };
    for (size_t i = 0; i < table.size; i++)
        if (table.slots[i].value)
            cw_import_lost(s, table.slots[i].value);
    id_table_free(&table);
}

void capnweb_end(struct capnweb_session *s, const char *message)
{
    if (s->ended)
        return;
    s->ended = true;
    snprintf(s->end_message, sizeof(s->end_message), "%s", message);
    cw_session_ref(s);
    lose_exports(s);
    lose_imports(s);
    buf_free(&s->out);
    cw_session_unref(s);
}

/* The peer is told first, while there still is a session. */
static void abort_session(struct capnweb_session *s, const char *name, struct str text)
{
    char reason[sizeof(s->end_message)];
    struct cw_message message;

    if (s->ended)
        return;
    cw_message_begin(s, &message, "abort");
    json_array_begin(&message.w);
    json_cstring(&message.w, "error");
    json_cstring(&message.w, name);
    json_string(&message.w, text);
    json_array_end(&message.w);
    (void)cw_message_finish(s, &message);
    snprintf(reason, sizeof(reason), "%.*s", (int)MIN(text.n, sizeof(reason) - 1), text.p);
    s->transport.fail(text, s->transport.data);
    capnweb_end(s, reason);
}

int cw_fatal(struct capnweb_session *s, const char *name, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    abort_session(s, name, str_from(text));
    return -1;
}

int cw_out_of_memory(struct capnweb_session *s)
{
    return cw_fatal(s, "Error", "out of memory");
}

int cw_fatal_json(struct capnweb_session *s, const char *name, const char *message, const struct json *json)
{
    struct json_writer w;
    struct buf text;

    buf_init(&text, 4096); /* what is longer is not repeated */
    (void)buf_append_str(&text, str_from(message));
    json_writer_init(&w, &text);
    json_value(&w, json);
    if (json_writer_finish(&w) < 0) {
        buf_clear(&text);
        (void)buf_append_str(&text, str_from(message));
        (void)buf_append_str(&text, STR("..."));
    }
    abort_session(s, name, buf_str(&text));
    buf_free(&text);
    return -1;
}

void capnweb_fail(struct capnweb_session *s, const char *name, const char *message)
{
    abort_session(s, name, str_from(message));
}

/* --- receiving --- */

static const struct json *part(const struct json *message, size_t i, enum json_type type)
{
    return i < message->array.count && message->array.items[i].type == type ? &message->array.items[i] : NULL;
}

static int bad_message(struct capnweb_session *s, const struct json *message)
{
    return cw_fatal_json(s, "Error", "bad RPC message: ", message);
}

static int receive_push(struct capnweb_session *s, struct cw_payload *payload, const struct json *message)
{
    bool is_stream = str_is(message->array.items[0].string, "stream");
    struct capnweb_promise *promise;
    struct cw_export *export;
    int64_t id = s->next_in;
    int rc;

    if (message->array.count < 2)
        return bad_message(s, message);
    promise = cw_evaluate_push(s, payload, &message->array.items[1]);
    if (!promise)
        return -1;
    promise->export_id = id;
    s->next_in++;
    rc = cw_export_add(s, id, (struct cw_ref){ CW_PROMISE, promise });
    capnweb_promise_unref(promise);
    if (rc < 0)
        return cw_fatal(s, "RangeError", "too many calls");
    if (!is_stream)
        return 0;
    export = cw_export_get(s, id);
    export->auto_release = true;
    return cw_export_pull(s, id);
}

static int receive_pipe(struct capnweb_session *s, struct cw_payload *payload, const struct json *message)
{
    struct capnweb_reader *reader = cw_reader_new(s);
    int rc;

    (void)payload;
    (void)message;
    if (!reader)
        return cw_out_of_memory(s);
    rc = cw_export_add(s, s->next_in, (struct cw_ref){ CW_SINK, reader });
    cw_sink_unref(reader);
    if (rc < 0)
        return cw_fatal(s, "RangeError", "too many streams");
    s->next_in++;
    return 0;
}

static int receive_pull(struct capnweb_session *s, struct cw_payload *payload, const struct json *message)
{
    const struct json *id = part(message, 1, JSON_INT);

    (void)payload;
    return id ? cw_export_pull(s, id->integer) : bad_message(s, message);
}

static int receive_release(struct capnweb_session *s, struct cw_payload *payload, const struct json *message)
{
    const struct json *id = part(message, 1, JSON_INT), *count = part(message, 2, JSON_INT);

    (void)payload;
    if (!id || !count || count->integer < 1)
        return bad_message(s, message);
    return cw_export_drop(s, id->integer, count->integer);
}

/* Of what we do not know any more, the expression is evaluated all the same: what is in it has to be released. */
static int receive_settlement(struct capnweb_session *s, struct cw_payload *payload, const struct json *message)
{
    bool ok = str_is(message->array.items[0].string, "resolve");
    const struct json *id = part(message, 1, JSON_INT);
    struct cw_import *entry;

    if (!id || message->array.count < 3)
        return bad_message(s, message);
    if (cw_evaluate(s, payload, &message->array.items[2]) < 0)
        return -1;
    entry = cw_import_get(s, id->integer);
    if (entry)
        cw_import_settle(s, entry, ok, cw_payload_ref(payload));
    return 0;
}

static int receive_abort(struct capnweb_session *s, struct cw_payload *payload, const struct json *message)
{
    const struct json *error = part(message, 1, JSON_ARRAY);
    const struct json *text = error ? part(error, 2, JSON_STRING) : NULL;
    struct str reason = text ? text->string : STR("the peer aborted the session");

    (void)payload;
    s->transport.fail(reason, s->transport.data);
    capnweb_end(s, text ? text->string.p : reason.p);
    return -1;
}

static const struct {
    const char *name;
    int (*receive)(struct capnweb_session *s, struct cw_payload *payload, const struct json *message);
} kinds[] = {
    { "push", receive_push },         { "pull", receive_pull },   { "resolve", receive_settlement },
    { "release", receive_release },   { "stream", receive_push }, { "pipe", receive_pipe },
    { "reject", receive_settlement }, { "abort", receive_abort },
};

static int dispatch(struct capnweb_session *s, struct cw_payload *payload, const struct json *message)
{
    if (message->type == JSON_ARRAY && part(message, 0, JSON_STRING))
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
            if (str_is(message->array.items[0].string, kinds[i].name))
                return kinds[i].receive(s, payload, message);
    return bad_message(s, message);
}

static void receive(struct capnweb_session *s, struct str text)
{
    struct cw_block *block = cw_block_new(s, text.n * 8);
    struct cw_payload *payload = block ? cw_payload_new(s, block) : NULL;
    unsigned max_depth = 2 * s->limits.max_depth + JSON_LEVELS_OF_MESSAGE;
    const struct json *message;
    struct berm_error err;

    if (!payload) {
        cw_out_of_memory(s);
    } else if (json_parse_utf16(&block->arena, text, max_depth, &message, &err) < 0) {
        cw_fatal(s, "SyntaxError", "%s", err.message);
    } else {
        payload->weight = text.n;
        (void)dispatch(s, payload, message);
        cw_block_account(block);
    }
    cw_block_unref(block);
    cw_payload_unref(payload);
}

void capnweb_receive(struct capnweb_session *s, struct str message)
{
    cw_session_ref(s);
    if (!s->ended) {
        if (message.n > s->limits.max_message)
            cw_fatal(s, "RangeError", "a message of %zu bytes is too long", message.n);
        else
            receive(s, message);
    }
    capnweb_run(s);
    cw_session_unref(s);
}

/* --- its life --- */

void cw_session_ref(struct capnweb_session *s)
{
    s->refs++;
}

void cw_session_unref(struct capnweb_session *s)
{
    if (--s->refs > 0)
        return;
    id_table_free(&s->exports);
    id_table_free(&s->imports);
    buf_free(&s->out);
    free(s);
}

static int add_mains(struct capnweb_session *s, struct capnweb_target *main)
{
    struct capnweb_import *import = calloc(1, sizeof(*import));

    if (!import)
        return -1;
    *import = (struct capnweb_import){
        .entry = { CW_MAIN, 0 }, .session = s, .refs = 1, .memory_refs = 2, .remote_refs = 1, .in_table = true
    };
    if (cw_import_add(s, &import->entry) < 0) {
        free(import);
        return -1;
    }
    cw_session_ref(s);
    s->main = import;
    return cw_export_add(s, 0, (struct cw_ref){ CW_TARGET, main });
}

struct capnweb_session *capnweb_session_new(const struct capnweb_transport *transport,
                                            const struct capnweb_limits *limits, struct capnweb_target *main)
{
    struct capnweb_session *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->refs = 1;
    s->transport = *transport;
    s->limits = *limits;
    s->next_in = s->next_out = 1;
    s->next_negative = -1;
    buf_init(&s->out, limits->max_sent);
    if (add_mains(s, main) < 0) {
        s->freed = true;
        capnweb_session_free(s);
        return NULL;
    }
    return s;
}

void capnweb_session_free(struct capnweb_session *s)
{
    if (!s)
        return;
    s->freed = true;
    capnweb_end(s, "the session is over");
    capnweb_run(s);
    if (s->main)
        capnweb_import_unref(s->main);
    s->main = NULL;
    cw_session_unref(s);
}

void capnweb_session_stats(const struct capnweb_session *s, struct capnweb_stats *ret)
{
    *ret = (struct capnweb_stats){ .exports = (uint32_t)s->exports.count,
                                   .imports = (uint32_t)s->imports.count,
                                   .held = s->held };
}

void *capnweb_session_data(const struct capnweb_session *session)
{
    return session->transport.data;
}
