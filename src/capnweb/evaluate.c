/*
 * evaluate.c - expressions, as they come, to values. In them every JSON array is an operator.
 *
 * What is malformed ends the session, as at the upstream peer: the numbering of both sides must not diverge. Depth
 * is limited, so recursion is.
 */
#include "base/base64.h"
#include "internal.h"

#include <math.h>

struct evaluator {
    struct capnweb_session *session;
    struct cw_payload *payload;
};

static int evaluate(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret);

static int unknown(struct evaluator *e, const struct json *json)
{
    return cw_fatal_json(e->session, "TypeError", "unknown special value: ", json);
}

static void *alloc(struct evaluator *e, size_t count, size_t size)
{
    void *p = arena_calloc(&e->payload->block->arena, MAX(count, (size_t)1), size);

    if (!p)
        cw_out_of_memory(e->session);
    return p;
}

static bool is_type(const struct json *json, size_t i, enum json_type type)
{
    return i < json->array.count && json->array.items[i].type == type;
}

static const struct json *item(const struct json *json, size_t i)
{
    return &json->array.items[i];
}

/* --- plain values --- */

static int eval_array(struct evaluator *e, const struct json *items, unsigned depth, struct capnweb_value *ret)
{
    size_t count = items->array.count;
    struct capnweb_value *values = alloc(e, count, sizeof(*values));

    if (!values)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (evaluate(e, item(items, i), depth + 1, &values[i]) < 0)
            return -1;
    *ret = (struct capnweb_value){ .type = CAPNWEB_ARRAY, .array = { values, count } };
    return 0;
}

static int eval_object(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    size_t count = json->object.count;
    struct capnweb_member *members = alloc(e, count, sizeof(*members));

    if (!members)
        return -1;
    for (size_t i = 0; i < count; i++) {
        members[i].key = json->object.members[i].key;
        if (evaluate(e, &json->object.members[i].value, depth + 1, &members[i].value) < 0)
            return -1;
    }
    *ret = (struct capnweb_value){ .type = CAPNWEB_OBJECT, .object = { members, count } };
    return 0;
}

static int eval_undefined(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    (void)depth;
    *ret = CAPNWEB_NOTHING;
    return json->array.count == 1 ? 0 : unknown(e, json);
}

static int eval_special_number(struct evaluator *e, const struct json *json, unsigned depth,
                               struct capnweb_value *ret)
{
    struct str name = item(json, 0)->string;

    (void)e;
    (void)depth;
    *ret = (struct capnweb_value){ .type = CAPNWEB_DOUBLE, .number = NAN };
    if (!str_is(name, "nan"))
        ret->number = str_is(name, "inf") ? INFINITY : -INFINITY;
    return 0;
}

static bool is_bigint(struct str s)
{
    size_t i = s.n > 0 && s.p[0] == '-' ? 1 : 0;

    if (i == s.n)
        return false;
    for (; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

static int eval_bigint(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    (void)depth;
    if (!is_type(json, 1, JSON_STRING) || !is_bigint(item(json, 1)->string))
        return unknown(e, json);
    *ret = (struct capnweb_value){ .type = CAPNWEB_BIGINT, .string = item(json, 1)->string };
    return 0;
}

static int eval_date(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    (void)depth;
    *ret = (struct capnweb_value){ .type = CAPNWEB_DATE, .number = NAN };
    if (is_type(json, 1, JSON_INT))
        ret->number = (double)item(json, 1)->integer;
    else if (is_type(json, 1, JSON_DOUBLE))
        ret->number = item(json, 1)->number;
    else if (!is_type(json, 1, JSON_NULL))
        return unknown(e, json);
    return 0;
}

/* Decoded where the text is: the parser's copy in the arena, which is ours and has a NUL behind it. */
static int eval_bytes(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    struct str text;
    char *bytes;
    size_t n;

    (void)depth;
    if (!is_type(json, 1, JSON_STRING))
        return unknown(e, json);
    text = item(json, 1)->string;
    memcpy(&bytes, &text.p, sizeof(bytes));
    if (base64_decode(text, bytes, &n) < 0)
        return cw_fatal(e->session, "TypeError", "bytes that are not base64");
    *ret = (struct capnweb_value){ .type = CAPNWEB_BYTES, .string = { bytes, n } };
    return 0;
}

static int eval_error(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    struct capnweb_error_value *error;

    if (!is_type(json, 1, JSON_STRING) || !is_type(json, 2, JSON_STRING) ||
        (json->array.count >= 5 && !is_type(json, 4, JSON_OBJECT)))
        return unknown(e, json);
    error = alloc(e, 1, sizeof(*error));
    if (!error)
        return -1;
    error->name = item(json, 1)->string;
    error->message = item(json, 2)->string;
    if (is_type(json, 3, JSON_STRING))
        error->stack = item(json, 3)->string;
    *ret = (struct capnweb_value){ .type = CAPNWEB_ERROR, .error = error };
    return json->array.count >= 5 ? eval_object(e, item(json, 4), depth, &error->props) : 0;
}

/* --- what the Fetch API has --- */

static bool is_pairs(const struct json *json)
{
    if (json->type != JSON_ARRAY)
        return false;
    for (size_t i = 0; i < json->array.count; i++) {
        const struct json *pair = item(json, i);
        if (pair->type != JSON_ARRAY || pair->array.count != 2 || !is_type(pair, 0, JSON_STRING) ||
            !is_type(pair, 1, JSON_STRING))
            return false;
    }
    return true;
}

static int eval_headers(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    (void)depth;
    if (json->array.count != 2 || !is_pairs(item(json, 1)))
        return unknown(e, json);
    *ret = (struct capnweb_value){ .type = CAPNWEB_HEADERS, .json = item(json, 1) };
    return 0;
}

static bool is_init(const struct json *init)
{
    const struct json *headers = json_get(init, "headers");

    return init->type == JSON_OBJECT && (!headers || headers->type == JSON_NULL || is_pairs(headers));
}

static bool is_body(const struct capnweb_value *body)
{
    return body->type == CAPNWEB_NULL || body->type == CAPNWEB_STRING || body->type == CAPNWEB_BYTES ||
           body->type == CAPNWEB_READER || body->type == CAPNWEB_UNDEFINED;
}

static int eval_request(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    struct capnweb_fetch *fetch;
    const struct json *body;

    if (json->array.count != 3 || !is_type(json, 1, JSON_STRING) || !is_init(item(json, 2)))
        return unknown(e, json);
    fetch = alloc(e, 1, sizeof(*fetch));
    if (!fetch)
        return -1;
    fetch->text = item(json, 1)->string;
    fetch->init = item(json, 2);
    *ret = (struct capnweb_value){ .type = CAPNWEB_REQUEST, .fetch = fetch };
    body = json_get(fetch->init, "body");
    if (body && evaluate(e, body, depth + 1, &fetch->body) < 0)
        return -1;
    return is_body(&fetch->body) ? 0 : unknown(e, json);
}

static int eval_response(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    struct capnweb_fetch *fetch;

    if (json->array.count != 3 || !is_init(item(json, 2)))
        return unknown(e, json);
    fetch = alloc(e, 1, sizeof(*fetch));
    if (!fetch)
        return -1;
    fetch->init = item(json, 2);
    *ret = (struct capnweb_value){ .type = CAPNWEB_RESPONSE, .fetch = fetch };
    if (evaluate(e, item(json, 1), depth + 1, &fetch->body) < 0)
        return -1;
    return is_body(&fetch->body) ? 0 : unknown(e, json);
}

static int eval_blob(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    struct capnweb_fetch *fetch;

    if (json->array.count != 3 || !is_type(json, 1, JSON_STRING))
        return unknown(e, json);
    fetch = alloc(e, 1, sizeof(*fetch));
    if (!fetch)
        return -1;
    fetch->text = item(json, 1)->string;
    *ret = (struct capnweb_value){ .type = CAPNWEB_BLOB, .fetch = fetch };
    if (evaluate(e, item(json, 2), depth + 1, &fetch->body) < 0)
        return -1;
    return fetch->body.type == CAPNWEB_READER ? 0 : unknown(e, json);
}

/* --- references --- */

static int own(struct evaluator *e, enum cw_kind kind, void *object)
{
    return cw_payload_own(e->payload, kind, object) < 0 ? cw_out_of_memory(e->session) : 0;
}

static int eval_export(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    struct capnweb_import *import;
    struct str name = item(json, 0)->string;
    bool is_promise = str_is(name, "promise");
    int rc;

    if (!is_type(json, 1, JSON_INT) || item(json, 1)->integer >= 0)
        return unknown(e, json);
    import = cw_import_object(e->session, item(json, 1)->integer, is_promise);
    if (!import)
        return -1;
    rc = own(e, CW_IMPORT, import);
    capnweb_import_unref(import);
    if (rc < 0)
        return -1;
    if (is_promise)
        return cw_payload_fill(e->payload, ret, depth, import->result) < 0 ? cw_out_of_memory(e->session) : 0;
    ret->type = str_is(name, "writable") ? CAPNWEB_WRITABLE : CAPNWEB_STUB;
    ret->import = import;
    return 0;
}

static int eval_readable(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    struct cw_export *export;

    (void)depth;
    if (!is_type(json, 1, JSON_INT))
        return unknown(e, json);
    export = cw_export_get(e->session, item(json, 1)->integer);
    if (!export || export->object.kind != CW_SINK || !cw_reader_claim(export->object.object))
        return cw_fatal(e->session, "Error", "Export %lld is not a pipe or its readable end was already consumed.",
                        (long long)item(json, 1)->integer);
    *ret = (struct capnweb_value){ .type = CAPNWEB_READER, .reader = export->object.object };
    return own(e, CW_READER, ret->reader);
}

static int eval_path(struct evaluator *e, const struct json *json, size_t i, struct cw_path *ret)
{
    struct capnweb_key *keys;
    const struct json *path;

    *ret = (struct cw_path){ NULL, 0 };
    if (json->array.count <= i)
        return 0;
    path = item(json, i);
    if (path->type != JSON_ARRAY || path->array.count > e->session->limits.max_depth)
        return unknown(e, json);
    keys = alloc(e, path->array.count, sizeof(*keys));
    if (!keys)
        return -1;
    for (size_t k = 0; k < path->array.count; k++) {
        const struct json *key = item(path, k);
        if (key->type == JSON_STRING)
            keys[k].name = key->string;
        else if (key->type == JSON_INT)
            keys[k] = (struct capnweb_key){ .is_index = true, .index = key->integer };
        else
            return unknown(e, json);
    }
    *ret = (struct cw_path){ keys, path->array.count };
    return 0;
}

/* The arguments are a payload of their own in the same memory, for they are released when the call returns. */
static struct cw_payload *eval_args(struct evaluator *e, const struct json *args, unsigned depth)
{
    struct cw_payload *payload = cw_payload_new(e->session, e->payload->block);
    struct evaluator inner = { e->session, payload };

    if (!payload) {
        cw_out_of_memory(e->session);
        return NULL;
    }
    payload->weight = e->payload->weight;
    if (eval_array(&inner, args, depth, &payload->value) < 0) {
        cw_payload_unref(payload);
        return NULL;
    }
    return payload;
}

/* Rejects the result, and not the session: the peer has done nothing wrong but ask for what we do not have. */
static struct capnweb_promise *eval_remap(struct evaluator *e, const struct json *json, unsigned depth)
{
    struct capnweb_promise *promise;
    struct capnweb_value ignored;

    if (json->array.count != 5 || !is_type(json, 3, JSON_ARRAY) || !is_type(json, 4, JSON_ARRAY)) {
        unknown(e, json);
        return NULL;
    }
    for (size_t i = 0; i < item(json, 3)->array.count; i++) {
        const struct json *capture = item(item(json, 3), i);
        if (capture->type == JSON_ARRAY && is_type(capture, 0, JSON_STRING) &&
            str_is(item(capture, 0)->string, "export") && eval_export(e, capture, depth, &ignored) < 0)
            return NULL;
    }
    promise = cw_promise_new(e->session, 0);
    if (promise)
        cw_promise_reject(promise, "Error", "map() is not supported");
    else
        cw_out_of_memory(e->session);
    return promise;
}

/* ["pipeline" or "import", id, path?, args?]: the promise of its result. */
static struct capnweb_promise *eval_pipeline(struct evaluator *e, const struct json *json, unsigned depth)
{
    struct capnweb_promise *promise;
    struct cw_payload *args = NULL;
    struct cw_export *export;
    struct cw_path path;

    if (!is_type(json, 1, JSON_INT) || json->array.count > 4 ||
        (json->array.count == 4 && !is_type(json, 3, JSON_ARRAY))) {
        unknown(e, json);
        return NULL;
    }
    if (eval_path(e, json, 2, &path) < 0)
        return NULL;
    export = cw_export_get(e->session, item(json, 1)->integer);
    if (!export) {
        cw_fatal(e->session, "Error", "no such entry on exports table: %lld", (long long)item(json, 1)->integer);
        return NULL;
    }
    if (json->array.count == 4 && !(args = eval_args(e, item(json, 3), depth)))
        return NULL;
    promise = cw_apply(e->session, export->object, e->payload->block, path, args);
    if (!promise)
        cw_out_of_memory(e->session);
    return promise;
}

static int fill_with(struct evaluator *e, struct capnweb_promise *promise, unsigned depth,
                     struct capnweb_value *ret)
{
    int rc;

    if (!promise)
        return -1;
    rc = cw_payload_fill(e->payload, ret, depth, promise);
    capnweb_promise_unref(promise);
    return rc < 0 ? cw_out_of_memory(e->session) : 0;
}

static int eval_pipelined(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    return fill_with(e, eval_pipeline(e, json, depth), depth, ret);
}

static int eval_mapped(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    return fill_with(e, eval_remap(e, json, depth), depth, ret);
}

/* ["import", id]: an object of ours that comes home. */
static int eval_import(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    struct cw_export *export;

    if (json->array.count == 2 && is_type(json, 1, JSON_INT)) {
        export = cw_export_get(e->session, item(json, 1)->integer);
        if (export && export->object.kind == CW_TARGET && export->object.object) {
            *ret = CAPNWEB_OF_TARGET(export->object.object);
            return own(e, CW_TARGET, ret->target);
        }
    }
    return eval_pipelined(e, json, depth, ret);
}

/* --- all together --- */

static const struct {
    const char *name;
    int (*eval)(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret);
} operators[] = {
    { "undefined", eval_undefined }, { "bytes", eval_bytes },        { "pipeline", eval_pipelined },
    { "export", eval_export },       { "import", eval_import },      { "readable", eval_readable },
    { "error", eval_error },         { "date", eval_date },          { "bigint", eval_bigint },
    { "inf", eval_special_number },  { "nan", eval_special_number }, { "-inf", eval_special_number },
    { "promise", eval_export },      { "writable", eval_export },    { "headers", eval_headers },
    { "request", eval_request },     { "response", eval_response },  { "blob", eval_blob },
    { "remap", eval_mapped },
};

static int eval_operator(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    if (json->array.count == 1 && is_type(json, 0, JSON_ARRAY))
        return eval_array(e, item(json, 0), depth, ret);
    if (is_type(json, 0, JSON_STRING))
        for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
            if (str_is(item(json, 0)->string, operators[i].name))
                return operators[i].eval(e, json, depth, ret);
    return unknown(e, json);
}

static int evaluate(struct evaluator *e, const struct json *json, unsigned depth, struct capnweb_value *ret)
{
    if (depth > e->session->limits.max_depth)
        return cw_fatal(e->session, "RangeError", "a value is nested too deeply");
    e->payload->depth = MAX(e->payload->depth, depth);
    switch (json->type) {
    case JSON_NULL:
        ret->type = CAPNWEB_NULL;
        return 0;
    case JSON_BOOL:
        *ret = CAPNWEB_TRUTH(json->boolean);
        return 0;
    case JSON_INT:
        *ret = CAPNWEB_NUMBER(json->integer);
        return 0;
    case JSON_DOUBLE:
        *ret = (struct capnweb_value){ .type = CAPNWEB_DOUBLE, .number = json->number };
        return 0;
    case JSON_STRING:
        *ret = CAPNWEB_TEXT(json->string);
        return 0;
    case JSON_ARRAY:
        return eval_operator(e, json, depth, ret);
    case JSON_OBJECT:
        return eval_object(e, json, depth, ret);
    }
    return -1;
}

int cw_evaluate(struct capnweb_session *s, struct cw_payload *payload, const struct json *expression)
{
    struct evaluator e = { s, payload };

    return evaluate(&e, expression, 0, &payload->value);
}

static bool is_operator(const struct json *json, const char *name)
{
    return json->type == JSON_ARRAY && is_type(json, 0, JSON_STRING) && str_is(item(json, 0)->string, name);
}

struct capnweb_promise *cw_evaluate_push(struct capnweb_session *s, struct cw_payload *payload,
                                         const struct json *expression)
{
    struct evaluator e = { s, payload };
    struct capnweb_promise *promise;

    if (is_operator(expression, "pipeline"))
        return eval_pipeline(&e, expression, 0);
    if (evaluate(&e, expression, 0, &payload->value) < 0)
        return NULL;
    promise = cw_promise_new(s, payload->chain + 1);
    if (promise)
        cw_promise_settle_when_complete(promise, cw_payload_ref(payload));
    else
        cw_out_of_memory(s);
    return promise;
}
