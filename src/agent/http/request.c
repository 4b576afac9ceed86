#include "request.h"

#include "base/loop.h"
#include "base/sys.h"

#include <stdarg.h>
#include <stdio.h>

#define REPLY_MAX ((size_t)1024 * 1024 * 1024)

static const struct {
    const char *wire;
    int status;
    const char *suggestion;
} codes[] = {
#define AGENT_ERR(name, status, suggestion) [AGENT_E_##name] = { #name, status, suggestion },
#include "agent/agent_errors.def"
#undef AGENT_ERR
};

/* --- life --- */

struct request *request_hold(struct request *rq)
{
    rq->refs++;
    return rq;
}

void request_unhold(struct request *rq)
{
    if (--rq->refs > 0)
        return;
    arena_free(&rq->arena);
    free(rq);
}

void request_let_go(struct request *rq)
{
    rq->on_piece = NULL;
    rq->on_body_end = NULL;
    rq->on_drain = NULL;
    rq->on_gone = NULL;
    if (rq->ex)
        http_body_resume(rq->ex);
    request_unhold(rq);
}

/* --- success --- */

void json_pair_timestamp(struct json_writer *w)
{
    char stamp[25];

    format_timestamp(clock_realtime_ms(), stamp);
    json_pair_cstring(w, "timestamp", stamp);
}

void reply_begin(struct reply *reply)
{
    buf_init(&reply->buf, REPLY_MAX);
    json_writer_init(&reply->w, &reply->buf);
    json_object_begin(&reply->w);
    json_pair_bool(&reply->w, "success", true);
}

static void reply_out_of_memory(struct request *rq)
{
    static const char text[] = "{\"code\":\"INTERNAL_ERROR\",\"message\":\"The answer does not fit in memory\","
                               "\"context\":{},\"httpStatus\":500,\"timestamp\":\"1970-01-01T00:00:00.000Z\"}";

    http_respond(rq->ex, 500, "application/json", STR(text));
}

void reply_send(struct request *rq, struct reply *reply)
{
    json_pair_timestamp(&reply->w);
    reply_send_unstamped(rq, reply);
}

static void respond(struct request *rq, struct str body)
{
    struct http_field fields[] = { { "Content-Type", "application/json" }, rq->field };

    http_respond_begin(rq->ex, 200, fields, rq->field.name ? 2 : 1, body.n);
    http_respond_write(rq->ex, body.p, body.n);
    http_respond_end(rq->ex);
}

void reply_send_unstamped(struct request *rq, struct reply *reply)
{
    json_object_end(&reply->w);
    if (rq->ex) {
        if (json_writer_finish(&reply->w) < 0)
            reply_out_of_memory(rq);
        else
            respond(rq, buf_str(&reply->buf));
    }
    buf_free(&reply->buf);
}

/* --- errors --- */

static const struct context_item *find_item(const struct context_item *context, size_t count, struct str key)
{
    for (size_t i = 0; i < count; i++)
        if (str_is(key, context[i].key))
            return &context[i];
    return NULL;
}

static void put_item_text(struct json_writer *w, const struct context_item *item)
{
    char number[24];

    if (!item || item->type == CONTEXT_NULL) {
        json_string_part(w, STR("unknown"));
    } else if (item->type == CONTEXT_STRING) {
        json_string_part(w, item->string);
    } else if (item->type == CONTEXT_INT) {
        int n = snprintf(number, sizeof(number), "%lld", (long long)item->integer);
        json_string_part(w, (struct str){ number, (size_t)n });
    }
}

static void put_suggestion(struct json_writer *w, const char *text, const struct context_item *context,
                           size_t count)
{
    json_key(w, "suggestion");
    json_string_begin(w);
    while (*text) {
        size_t run = strcspn(text, "{");
        json_string_part(w, (struct str){ text, run });
        text += run;
        if (*text == '{') {
            size_t name = strcspn(text + 1, "}");
            put_item_text(w, find_item(context, count, (struct str){ text + 1, name }));
            text += name + 2;
        }
    }
    json_string_end(w);
}

static void put_invalid(struct json_writer *w, const struct context_item *item)
{
    json_array_begin(w);
    json_object_begin(w);
    json_pair_cstring(w, "field", item->invalid.field);
    json_pair_cstring(w, "message", item->invalid.message);
    json_pair_cstring(w, "code", item->invalid.code);
    json_object_end(w);
    json_array_end(w);
}

static void put_context(struct json_writer *w, const char *name, const struct context_item *context, size_t count)
{
    json_key(w, name);
    json_object_begin(w);
    for (size_t i = 0; i < count; i++) {
        json_key(w, context[i].key);
        switch (context[i].type) {
        case CONTEXT_STRING:
            json_string(w, context[i].string);
            break;
        case CONTEXT_INT:
            json_int(w, context[i].integer);
            break;
        case CONTEXT_NULL:
            json_null(w);
            break;
        case CONTEXT_JSON:
            json_value(w, context[i].json);
            break;
        case CONTEXT_INVALID:
            put_invalid(w, &context[i]);
            break;
        }
    }
    json_object_end(w);
}

static int write_error(struct buf *out, enum agent_code code, int status, const char *message,
                       const struct context_item *context, size_t count, bool with_details)
{
    const struct context_item *operation = find_item(context, count, STR("operation"));
    struct json_writer w;

    json_writer_init(&w, out);
    json_object_begin(&w);
    json_pair_cstring(&w, "code", codes[code].wire);
    json_pair_cstring(&w, "message", message);
    put_context(&w, "context", context, count);
    if (operation && operation->type == CONTEXT_STRING)
        json_pair_string(&w, "operation", operation->string);
    json_pair_int(&w, "httpStatus", status);
    json_pair_timestamp(&w);
    if (codes[code].suggestion)
        put_suggestion(&w, codes[code].suggestion, context, count);
    if (with_details) {
        json_pair_cstring(&w, "error", message);
        put_context(&w, "details", context, count);
    }
    json_object_end(&w);
    return json_writer_finish(&w);
}

int error_body(struct buf *out, enum agent_code code, int status, const char *message,
               const struct context_item *context, size_t count)
{
    return write_error(out, code, status, message, context, count, false);
}

enum agent_code agent_code_for_status(int status)
{
    if (status == 404)
        return AGENT_E_UNKNOWN_ERROR; /* what upstream's router answers */
    if (status == 501)
        return AGENT_E_NOT_IMPLEMENTED;
    return status < 500 ? AGENT_E_VALIDATION_FAILED : AGENT_E_INTERNAL_ERROR;
}

void reply_error(struct request *rq, enum agent_code code, const struct context_item *context, size_t count,
                 const char *format, ...)
{
    /* No route is an UNKNOWN_ERROR with another status than the table's; it is answered by the router. */
    int status = codes[code].status;
    char *message = NULL;
    struct buf body;
    va_list args;

    if (!rq->ex)
        return;
    va_start(args, format);
    if (vasprintf(&message, format, args) < 0)
        message = NULL;
    va_end(args);
    buf_init(&body, REPLY_MAX);
    if (!message || error_body(&body, code, status, message, context, count) < 0)
        reply_out_of_memory(rq);
    else
        http_respond(rq->ex, status, "application/json", buf_str(&body));
    buf_free(&body);
    free(message);
}

void reply_error_with_details(struct request *rq, enum agent_code code, const struct context_item *context,
                              size_t count, const char *message)
{
    struct buf body;

    if (!rq->ex)
        return;
    buf_init(&body, REPLY_MAX);
    if (write_error(&body, code, codes[code].status, message, context, count, true) < 0)
        reply_out_of_memory(rq);
    else
        http_respond(rq->ex, codes[code].status, "application/json", buf_str(&body));
    buf_free(&body);
}

void reply_invalid(struct request *rq, const char *field, const char *message, const char *code)
{
    struct context_item context[] = { CTX_INVALID("validationErrors", field, message, code) };

    reply_error(rq, AGENT_E_VALIDATION_FAILED, context, 1, "%s: %s", field, message);
}

void reply_invalid_field(struct request *rq, const struct berm_error *err)
{
    reply_invalid(rq, err->field[0] ? err->field : "body", err->message, "INVALID_VALUE");
}

void reply_session_terminated(struct request *rq, const char *session_id, int exit_code)
{
    struct context_item context[] = { CTX_STR("sessionId", session_id), CTX_INT("exitCode", exit_code) };

    reply_error(rq, AGENT_E_SESSION_TERMINATED, context, 2, "Session '%s' shell exited (exit code: %d)", session_id,
                exit_code);
}

/* --- decoding --- */

int request_field_ms(const struct json *body, const char *key, int64_t *ret, struct berm_error *err)
{
    const struct json *value = json_get(body, key);

    if (!value || value->type == JSON_NULL)
        return 0;
    if (value->type == JSON_INT)
        *ret = MAX(value->integer, (int64_t)0);
    else if (value->type == JSON_DOUBLE)
        *ret = value->number <= 0 ? 0 : value->number >= 9e15 ? (int64_t)9e15 : (int64_t)value->number;
    else
        return berm_fail_field(err, key, "must be a number");
    return 0;
}

int request_field_text(const struct json *body, const char *key, const char **ret, struct berm_error *err)
{
    const char *text = NULL;

    if (json_field_cstring(body, key, &text, err) < 0)
        return -1;
    if (text && text[0])
        *ret = text;
    return 0;
}
