/* export.c - what the peer may refer to: results of its calls, objects given to it, streams that it writes to. */
#include "internal.h"

static void ref_object(struct cw_ref object)
{
    if (object.kind == CW_TARGET)
        capnweb_target_ref(object.object);
    else if (object.kind == CW_SINK)
        cw_sink_ref(object.object);
    else
        ((struct capnweb_promise *)object.object)->refs++;
}

static void unref_object(struct cw_ref object)
{
    if (object.kind == CW_TARGET)
        capnweb_target_unref(object.object);
    else if (object.kind == CW_SINK)
        cw_sink_unref(object.object);
    else
        capnweb_promise_unref(object.object);
}

struct cw_export *cw_export_get(struct capnweb_session *s, int64_t id)
{
    return id_table_get(&s->exports, id);
}

int cw_export_add(struct capnweb_session *s, int64_t id, struct cw_ref object)
{
    struct cw_export *export;

    if (s->exports.count >= s->limits.max_entries)
        return -1;
    export = malloc(sizeof(*export));
    if (!export)
        return -1;
    *export = (struct cw_export){ .id = id, .object = object, .refs = 1 };
    if (id_table_put(&s->exports, id, export) < 0) {
        free(export);
        return -1;
    }
    ref_object(object);
    return 0;
}

static void remove_export(struct capnweb_session *s, struct cw_export *export)
{
    struct cw_ref object = export->object;

    id_table_remove(&s->exports, export->id);
    free(export);
    if (object.kind == CW_SINK)
        cw_reader_lost(object.object, "WritableStream RPC stub was disposed without calling close()");
    unref_object(object);
}

int cw_export_drop(struct capnweb_session *s, int64_t id, int64_t count)
{
    struct cw_export *export = cw_export_get(s, id);

    if (!export)
        return cw_fatal(s, "Error", "no such export ID: %lld", (long long)id);
    if (export->refs < count)
        return cw_fatal(s, "Error", "refcount would go negative: %lld < %lld", (long long)export->refs,
                        (long long)count);
    export->refs -= count;
    if (export->refs == 0)
        remove_export(s, export);
    return 0;
}

/* --- settled --- */

static void send_failure(struct capnweb_session *s, int64_t id)
{
    struct cw_message message;

    cw_message_begin(s, &message, "reject");
    json_int(&message.w, id);
    json_array_begin(&message.w);
    json_cstring(&message.w, "error");
    json_cstring(&message.w, "Error");
    json_cstring(&message.w, "the result cannot be sent: it is too large, or of a kind that cannot be");
    json_array_end(&message.w);
    (void)cw_message_finish(s, &message);
}

static size_t finish_settlement(struct capnweb_session *s, struct cw_message *message,
                                struct capnweb_promise *promise)
{
    if (promise->payload && promise->payload->text)
        return cw_message_finish_text(s, message, promise->payload->text);
    cw_write_value(s, &message->w, cw_promise_value(promise), 0);
    return cw_message_finish(s, message);
}

static void send_settlement(struct capnweb_session *s, struct cw_export *export)
{
    struct capnweb_promise *promise = export->object.object;
    int64_t id = export->id;
    struct cw_message message;

    if (promise->payload)
        cw_open_pipes(promise->payload);
    cw_message_begin(s, &message, promise->state == CW_RESOLVED ? "resolve" : "reject");
    json_int(&message.w, id);
    if (finish_settlement(s, &message, promise) == 0) {
        if (promise->payload)
            cw_lose_pipes(promise->payload);
        send_failure(s, id);
    }
    /* Writing may have moved nothing but the table; the entry itself stays where it is. */
    if (export->auto_release)
        remove_export(s, export);
}

void cw_export_settled(struct capnweb_session *s, int64_t id)
{
    struct cw_export *export = cw_export_get(s, id);

    if (export && export->pulled && !s->ended)
        send_settlement(s, export);
}

int cw_export_pull(struct capnweb_session *s, int64_t id)
{
    struct cw_export *export = cw_export_get(s, id);
    struct capnweb_promise *promise;
    struct cw_message message;

    if (!export)
        return cw_fatal(s, "Error", "no such export ID: %lld", (long long)id);
    if (export->pulled)
        return 0;
    export->pulled = true;
    if (export->object.kind == CW_PROMISE) {
        promise = export->object.object;
        if (promise->state != CW_PENDING)
            send_settlement(s, export);
        return 0;
    }
    cw_message_begin(s, &message, "reject");
    json_int(&message.w, id);
    json_array_begin(&message.w);
    json_cstring(&message.w, "error");
    json_cstring(&message.w, "Error");
    json_cstring(&message.w, "only results and promises can be pulled");
    json_array_end(&message.w);
    (void)cw_message_finish(s, &message);
    return 0;
}
