/* write.c - values to expressions. */
#include "base/base64.h"
#include "internal.h"

#include <math.h>

void cw_write_bytes(struct json_writer *w, const void *p, size_t n)
{
    char *room;

    json_array_begin(w);
    json_cstring(w, "bytes");
    json_string_begin(w);
    room = w->failed || n > SIZE_MAX / 2 ? NULL : buf_reserve(w->out, BASE64_ENCODED_SIZE(n));
    if (room)
        buf_commit(w->out, base64_encode(p, n, room) - (n % 3 == 0 ? 0 : 3 - n % 3)); /* unpadded */
    else
        w->failed = true;
    json_string_end(w);
    json_array_end(w);
}

void cw_write_path(struct json_writer *w, struct cw_path path)
{
    json_array_begin(w);
    for (size_t i = 0; i < path.count; i++) {
        if (path.keys[i].is_index)
            json_int(w, path.keys[i].index);
        else
            json_string(w, path.keys[i].name);
    }
    json_array_end(w);
}

/* [name, id] */
static void write_id(struct json_writer *w, const char *name, int64_t id)
{
    json_array_begin(w);
    json_cstring(w, name);
    json_int(w, id);
    json_array_end(w);
}

static void write_text(struct json_writer *w, const char *name, struct str text)
{
    json_array_begin(w);
    json_cstring(w, name);
    json_string(w, text);
    json_array_end(w);
}

static void write_word(struct json_writer *w, const char *name)
{
    json_array_begin(w);
    json_cstring(w, name);
    json_array_end(w);
}

static void write_number(struct json_writer *w, double number)
{
    if (isnan(number))
        write_word(w, "nan");
    else if (isinf(number))
        write_word(w, number > 0 ? "inf" : "-inf");
    else
        json_double(w, number == 0 ? 0 : number); /* -0 is 0, as JSON.stringify() has it */
}

static void write_date(struct json_writer *w, double ms)
{
    json_array_begin(w);
    json_cstring(w, "date");
    if (isfinite(ms))
        json_double(w, ms == 0 ? 0 : ms);
    else
        json_null(w);
    json_array_end(w);
}

/* Plain JSON as an expression: an array is an array in an array. */
static void write_json(struct json_writer *w, const struct json *json)
{
    if (json->type == JSON_ARRAY) {
        json_array_begin(w);
        json_array_begin(w);
        for (size_t i = 0; i < json->array.count && !w->failed; i++)
            write_json(w, &json->array.items[i]);
        json_array_end(w);
        json_array_end(w);
    } else if (json->type == JSON_OBJECT) {
        json_object_begin(w);
        for (size_t i = 0; i < json->object.count && !w->failed; i++) {
            json_key_str(w, json->object.members[i].key);
            write_json(w, &json->object.members[i].value);
        }
        json_object_end(w);
    } else if (json->type == JSON_DOUBLE) {
        write_number(w, json->number);
    } else {
        json_value(w, json);
    }
}

static void write_array(struct capnweb_session *s, struct json_writer *w, const struct capnweb_value *value,
                        unsigned depth)
{
    json_array_begin(w);
    json_array_begin(w);
    for (size_t i = 0; i < value->array.count && !w->failed; i++)
        cw_write_value(s, w, &value->array.items[i], depth + 1);
    json_array_end(w);
    json_array_end(w);
}

static void write_object(struct capnweb_session *s, struct json_writer *w, const struct capnweb_value *value,
                         unsigned depth)
{
    json_object_begin(w);
    for (size_t i = 0; i < value->object.count && !w->failed; i++) {
        json_key_str(w, value->object.members[i].key);
        cw_write_value(s, w, &value->object.members[i].value, depth + 1);
    }
    json_object_end(w);
}

static void write_error(struct capnweb_session *s, struct json_writer *w, const struct capnweb_error_value *error,
                        unsigned depth)
{
    json_array_begin(w);
    json_cstring(w, "error");
    json_string(w, error->name);
    json_string(w, error->message);
    if (error->props.type == CAPNWEB_OBJECT && error->props.object.count > 0) {
        json_null(w);
        cw_write_value(s, w, &error->props, depth);
    }
    json_array_end(w);
}

/* The body stands where the peer's own stood, as upstream has it. */
static void write_request(struct capnweb_session *s, struct json_writer *w, const struct capnweb_fetch *fetch,
                          unsigned depth)
{
    bool has_body = fetch->body.type != CAPNWEB_UNDEFINED;

    json_array_begin(w);
    json_cstring(w, "request");
    json_string(w, fetch->text);
    json_object_begin(w);
    for (size_t i = 0; fetch->init && i < fetch->init->object.count; i++) {
        const struct json_member *member = &fetch->init->object.members[i];
        bool is_body = str_is(member->key, "body");
        if (is_body && !has_body)
            continue;
        json_key_str(w, member->key);
        if (is_body)
            cw_write_value(s, w, &fetch->body, depth + 1);
        else
            json_value(w, &member->value);
        has_body &= !is_body;
    }
    if (has_body) {
        json_key(w, "body");
        cw_write_value(s, w, &fetch->body, depth + 1);
    }
    json_object_end(w);
    json_array_end(w);
}

static void write_response(struct capnweb_session *s, struct json_writer *w, const struct capnweb_fetch *fetch,
                           unsigned depth)
{
    json_array_begin(w);
    json_cstring(w, "response");
    cw_write_value(s, w, &fetch->body, depth + 1);
    if (fetch->init) {
        json_value(w, fetch->init);
    } else {
        json_object_begin(w);
        json_object_end(w);
    }
    json_array_end(w);
}

static void write_blob(struct capnweb_session *s, struct json_writer *w, const struct capnweb_fetch *fetch,
                       unsigned depth)
{
    json_array_begin(w);
    json_cstring(w, "blob");
    json_string(w, fetch->text);
    cw_write_value(s, w, &fetch->body, depth + 1);
    json_array_end(w);
}

/* --- references --- */

static void export_object(struct capnweb_session *s, struct json_writer *w, const char *name, struct cw_ref object)
{
    int64_t id = s->next_negative;

    if (w->failed || !object.object || cw_export_add(s, id, object) < 0) {
        w->failed = true;
        return;
    }
    s->next_negative--;
    write_id(w, name, id);
}

static void write_promise(struct capnweb_session *s, struct json_writer *w, struct capnweb_promise *promise)
{
    int64_t id = s->next_negative;

    if (promise->export_id != 0) { /* one place only: the peer is told once */
        w->failed = true;
        return;
    }
    export_object(s, w, "promise", (struct cw_ref){ CW_PROMISE, promise });
    if (w->failed)
        return;
    cw_export_get(s, id)->pulled = true;
    promise->export_id = id;
    if (promise->state != CW_PENDING) {
        promise->refs++;
        cw_enqueue(s, &promise->announce);
    }
}

/* An object of the peer goes home; the result of a call stands for itself until it is there. */
static void write_import(struct capnweb_session *s, struct json_writer *w, const struct capnweb_import *import,
                         unsigned depth)
{
    bool ours = import->session == s;

    if (ours && import->in_table)
        write_id(w, import->result ? "pipeline" : "import", import->entry.id);
    else if (ours && import->result && import->result->state == CW_RESOLVED)
        cw_write_value(s, w, cw_promise_value(import->result), depth);
    else
        w->failed = true;
}

static void write_reference(struct capnweb_session *s, struct json_writer *w, const struct capnweb_value *value,
                            unsigned depth)
{
    int64_t id;

    switch (value->type) {
    case CAPNWEB_TARGET:
    case CAPNWEB_SINK:
        export_object(s, w, value->type == CAPNWEB_SINK ? "writable" : "export",
                      (struct cw_ref){ CW_TARGET, value->target });
        break;
    case CAPNWEB_STUB:
    case CAPNWEB_WRITABLE:
        write_import(s, w, value->import, depth);
        break;
    case CAPNWEB_PIPE:
        if (cw_pipe_refer(value->pipe, &id))
            write_id(w, "readable", id);
        else
            w->failed = true;
        break;
    case CAPNWEB_PROMISE:
        write_promise(s, w, value->promise);
        break;
    default: /* a stream of the peer cannot be sent back */
        w->failed = true;
    }
}

/* --- all together --- */

static void write_compound(struct capnweb_session *s, struct json_writer *w, const struct capnweb_value *value,
                           unsigned depth)
{
    switch (value->type) {
    case CAPNWEB_ARRAY:
        write_array(s, w, value, depth);
        break;
    case CAPNWEB_OBJECT:
        write_object(s, w, value, depth);
        break;
    case CAPNWEB_ERROR:
        write_error(s, w, value->error, depth);
        break;
    case CAPNWEB_REQUEST:
        write_request(s, w, value->fetch, depth);
        break;
    case CAPNWEB_RESPONSE:
        write_response(s, w, value->fetch, depth);
        break;
    case CAPNWEB_BLOB:
        write_blob(s, w, value->fetch, depth);
        break;
    case CAPNWEB_HEADERS:
        json_array_begin(w);
        json_cstring(w, "headers");
        json_value(w, value->json);
        json_array_end(w);
        break;
    case CAPNWEB_JSON:
        write_json(w, value->json);
        break;
    default:
        write_reference(s, w, value, depth);
    }
}

void cw_write_value(struct capnweb_session *s, struct json_writer *w, const struct capnweb_value *value,
                    unsigned depth)
{
    if (w->failed || depth > s->limits.max_depth) {
        w->failed = true;
        return;
    }
    switch (value->type) {
    case CAPNWEB_UNDEFINED:
        write_word(w, "undefined");
        break;
    case CAPNWEB_NULL:
        json_null(w);
        break;
    case CAPNWEB_BOOL:
        json_bool(w, value->boolean);
        break;
    case CAPNWEB_INT:
        json_int(w, value->integer);
        break;
    case CAPNWEB_DOUBLE:
        write_number(w, value->number);
        break;
    case CAPNWEB_STRING:
        json_string(w, value->string);
        break;
    case CAPNWEB_BYTES:
        cw_write_bytes(w, value->string.p, value->string.n);
        break;
    case CAPNWEB_BIGINT:
        write_text(w, "bigint", value->string);
        break;
    case CAPNWEB_DATE:
        write_date(w, value->number);
        break;
    default:
        write_compound(s, w, value, depth);
    }
}
