/*
 * payload.c - the memory of values, and who holds what they refer to.
 *
 * Payloads hold promises and other payloads, in chains as long as the peer likes; so the last unref puts a payload
 * on a list that is emptied in a loop.
 */
#include "internal.h"

#include "base/base64.h"

#define SMALL_CHUNK 512

/* --- blocks --- */

struct cw_block *cw_block_new(struct capnweb_session *s, size_t size_hint)
{
    struct cw_block *block = malloc(sizeof(*block));

    if (!block)
        return NULL;
    *block = (struct cw_block){ .session = s, .refs = 1 };
    arena_init(&block->arena, s->limits.max_message * 4 + 65536);
    if (size_hint < SMALL_CHUNK)
        block->arena.chunk = SMALL_CHUNK;
    cw_session_ref(s);
    return block;
}

void cw_block_unref(struct cw_block *block)
{
    if (!block || --block->refs > 0)
        return;
    block->session->held -= block->accounted;
    arena_free(&block->arena);
    cw_session_unref(block->session);
    free(block);
}

void cw_block_account(struct cw_block *block)
{
    size_t size = sizeof(*block) + MAX(block->arena.used, block->arena.chunk);

    block->session->held += size - block->accounted;
    block->accounted = size;
}

/* --- payloads --- */

struct cw_payload *cw_payload_new(struct capnweb_session *s, struct cw_block *block)
{
    struct cw_payload *payload = malloc(sizeof(*payload));

    if (!payload)
        return NULL;
    *payload = (struct cw_payload){ .session = s, .refs = 1, .block = block };
    if (block)
        block->refs++;
    cw_session_ref(s);
    return payload;
}

struct cw_payload *cw_payload_ref(struct cw_payload *payload)
{
    if (payload)
        payload->refs++;
    return payload;
}

static void ref(struct cw_ref r)
{
    switch (r.kind) {
    case CW_TARGET:
        capnweb_target_ref(r.object);
        break;
    case CW_IMPORT:
        capnweb_import_ref(r.object);
        break;
    case CW_READER:
        cw_reader_ref(r.object);
        break;
    case CW_SINK:
        cw_sink_ref(r.object);
        break;
    case CW_PIPE:
        cw_pipe_ref(r.object);
        break;
    case CW_PROMISE:
        ((struct capnweb_promise *)r.object)->refs++;
        break;
    case CW_PAYLOAD:
        cw_payload_ref(r.object);
        break;
    }
}

static void unref(struct cw_ref r)
{
    switch (r.kind) {
    case CW_TARGET:
        capnweb_target_unref(r.object);
        break;
    case CW_IMPORT:
        capnweb_import_unref(r.object);
        break;
    case CW_READER:
        cw_reader_unref(r.object);
        break;
    case CW_SINK:
        cw_sink_unref(r.object);
        break;
    case CW_PIPE:
        cw_pipe_unref(r.object);
        break;
    case CW_PROMISE:
        capnweb_promise_unref(r.object);
        break;
    case CW_PAYLOAD:
        cw_payload_unref(r.object);
        break;
    }
}

static void drop_owned(struct cw_payload *payload)
{
    struct cw_ref *owned = TAKE_PTR(payload->owned);
    size_t count = payload->owned_count;

    payload->owned_count = payload->owned_cap = 0;
    for (size_t i = 0; i < count; i++)
        unref(owned[i]);
    free(owned);
}

void cw_payload_drop_objects(struct cw_payload *payload)
{
    size_t kept = 0;

    for (size_t i = 0; i < payload->owned_count; i++) {
        struct cw_ref r = payload->owned[i];
        if (r.kind == CW_PAYLOAD)
            payload->owned[kept++] = r;
        else
            unref(r);
    }
    payload->owned_count = kept;
}

static void destroy(struct cw_payload *payload)
{
    struct capnweb_session *s = payload->session;

    drop_owned(payload);
    if (payload->rejected)
        capnweb_promise_unref(payload->rejected);
    if (payload->text) {
        s->held -= payload->text->bytes.len;
        held_text_unref(payload->text);
    }
    cw_block_unref(payload->block);
    free(payload);
    cw_session_unref(s);
}

void cw_payload_unref(struct cw_payload *payload)
{
    struct capnweb_session *s;

    if (!payload || --payload->refs > 0)
        return;
    s = payload->session;
    payload->next_garbage = s->garbage;
    s->garbage = payload;
    if (s->collecting)
        return;
    s->collecting = true;
    cw_session_ref(s);
    while (s->garbage) {
        struct cw_payload *next = s->garbage;
        s->garbage = next->next_garbage;
        destroy(next);
    }
    s->collecting = false;
    cw_session_unref(s);
}

int cw_payload_own(struct cw_payload *payload, enum cw_kind kind, void *object)
{
    struct cw_ref r = { kind, object };

    if (payload->owned_count == payload->owned_cap) {
        size_t cap = payload->owned_cap ? payload->owned_cap * 2 : 4;
        struct cw_ref *owned = reallocarray(payload->owned, cap, sizeof(*owned));
        if (!owned)
            return -1;
        payload->owned = owned;
        payload->owned_cap = cap;
    }
    ref(r);
    payload->owned[payload->owned_count++] = r;
    return 0;
}

bool cw_value_ref(const struct capnweb_value *value, struct cw_ref *ret)
{
    switch (value->type) {
    case CAPNWEB_TARGET:
    case CAPNWEB_SINK:
        *ret = (struct cw_ref){ CW_TARGET, value->target };
        return true;
    case CAPNWEB_STUB:
    case CAPNWEB_WRITABLE:
        *ret = (struct cw_ref){ CW_IMPORT, value->import };
        return true;
    case CAPNWEB_READER:
        *ret = (struct cw_ref){ CW_READER, value->reader };
        return true;
    case CAPNWEB_PIPE:
        *ret = (struct cw_ref){ CW_PIPE, value->pipe };
        return true;
    case CAPNWEB_PROMISE:
        *ret = (struct cw_ref){ CW_PROMISE, value->promise };
        return true;
    default:
        return false;
    }
}

/* --- what the application made --- */

static int measure_json(struct cw_payload *payload, const struct json *json, unsigned depth)
{
    if (depth > payload->session->limits.max_depth)
        return -1;
    payload->depth = MAX(payload->depth, depth);
    payload->weight += 8 + (json->type == JSON_STRING ? json->string.n : 0);
    if (json->type == JSON_ARRAY) {
        for (size_t i = 0; i < json->array.count; i++)
            if (measure_json(payload, &json->array.items[i], depth + 1) < 0)
                return -1;
    } else if (json->type == JSON_OBJECT) {
        for (size_t i = 0; i < json->object.count; i++) {
            payload->weight += json->object.members[i].key.n;
            if (measure_json(payload, &json->object.members[i].value, depth + 1) < 0)
                return -1;
        }
    }
    return 0;
}

static int collect(struct cw_payload *payload, const struct capnweb_value *value, unsigned depth);

static int collect_parts(struct cw_payload *payload, const struct capnweb_value *value, unsigned depth)
{
    switch (value->type) {
    case CAPNWEB_ARRAY:
        for (size_t i = 0; i < value->array.count; i++)
            if (collect(payload, &value->array.items[i], depth + 1) < 0)
                return -1;
        return 0;
    case CAPNWEB_OBJECT:
        for (size_t i = 0; i < value->object.count; i++) {
            payload->weight += value->object.members[i].key.n;
            if (collect(payload, &value->object.members[i].value, depth + 1) < 0)
                return -1;
        }
        return 0;
    case CAPNWEB_ERROR:
        payload->weight += value->error->message.n;
        return collect(payload, &value->error->props, depth);
    case CAPNWEB_REQUEST:
    case CAPNWEB_RESPONSE:
    case CAPNWEB_BLOB:
        payload->weight += value->fetch->text.n;
        if (value->fetch->init && measure_json(payload, value->fetch->init, depth + 1) < 0)
            return -1;
        return collect(payload, &value->fetch->body, depth + 1);
    case CAPNWEB_HEADERS:
    case CAPNWEB_JSON:
        return measure_json(payload, value->json, depth);
    default:
        return 0;
    }
}

static int collect(struct cw_payload *payload, const struct capnweb_value *value, unsigned depth)
{
    struct cw_ref r;

    if (depth > payload->session->limits.max_depth)
        return -1;
    payload->depth = MAX(payload->depth, depth);
    payload->weight += 8;
    if (value->type == CAPNWEB_STRING || value->type == CAPNWEB_BIGINT)
        payload->weight += value->string.n;
    else if (value->type == CAPNWEB_BYTES)
        payload->weight += BASE64_ENCODED_SIZE(value->string.n);
    if (cw_value_ref(value, &r))
        return cw_payload_own(payload, r.kind, r.object);
    return collect_parts(payload, value, depth);
}

int cw_payload_collect(struct cw_payload *payload)
{
    return collect(payload, &payload->value, 0);
}

/* The end of the string that begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    while (++at < end && (at = memchr(at, '"', (size_t)(end - at)))) {
        const char *back = at;
        while (back[-1] == '\\')
            back--;
        if ((at - back) % 2 == 0)
            return at + 1;
    }
    return end;
}

/* How deep the text is nested, and how many brackets it has. False: it is too deep. */
static bool measure(struct str json, unsigned max_depth, unsigned *ret_depth, size_t *ret_brackets)
{
    const char *end = json.p + json.n;
    unsigned depth = 0;

    *ret_depth = 0;
    *ret_brackets = 0;
    for (const char *at = json.p; at < end;) {
        if (*at == '"') {
            at = skip_string(at, end);
            continue;
        }
        depth += *at == '{' || *at == '[';
        depth -= *at == '}' || *at == ']';
        *ret_brackets += *at == '[' || *at == ']';
        *ret_depth = MAX(*ret_depth, depth);
        at++;
    }
    return *ret_depth <= max_depth;
}

/* Each bracket `times` times that is there `per` times. `to` may overlap what is read, from before. Its length. */
static size_t copy_brackets(char *to, struct str from, unsigned per, unsigned times)
{
    const char *end = from.p + from.n, *begin = to;

    for (const char *at = from.p; at < end;) {
        const char *next = *at == '"' ? skip_string(at, end) : at + 1;
        if (*at == '[' || *at == ']') {
            char bracket = *at;
            next = at + per;
            for (unsigned i = 0; i < times; i++)
                *to++ = bracket;
        } else {
            memmove(to, at, (size_t)(next - at));
            to += next - at;
        }
        at = next;
    }
    return (size_t)(to - begin);
}

/* To an expression: all that JSON is, but for an array, which is [[...]]. There is room for that. */
static void double_brackets(struct buf *json, size_t brackets)
{
    size_t n = json->len;
    char *head = buf_head(json);

    memmove(head + brackets, head, n);
    buf_commit(json, copy_brackets(head, (struct str){ head + brackets, n }, 1, 2) - n);
}

bool cw_payload_take_text(struct cw_payload *payload, struct buf *json)
{
    struct capnweb_session *s = payload->session;
    size_t brackets;
    unsigned depth;

    if (!measure(buf_str(json), s->limits.max_depth, &depth, &brackets) || !buf_reserve(json, brackets))
        return false;
    payload->text = held_text_new(json);
    if (!payload->text)
        return false;
    if (brackets > 0)
        double_brackets(&payload->text->bytes, brackets);
    payload->text_has_arrays = brackets > 0;
    payload->depth = depth;
    payload->weight = payload->text->bytes.len;
    s->held += payload->text->bytes.len;
    return true;
}

/* The JSON that the text was made of. Empty without memory. */
static struct str json_of(struct cw_payload *payload)
{
    struct str text = buf_str(&payload->text->bytes);
    char *json;

    if (!payload->text_has_arrays)
        return text;
    json = arena_alloc(&payload->block->arena, text.n);
    return json ? (struct str){ json, copy_brackets(json, text, 2, 1) } : (struct str){ "", 0 };
}

/* Seldom: the peer asks for a part of a result, or uses it in a call, before it has it. */
const struct capnweb_value *cw_payload_value(struct cw_payload *payload)
{
    const struct json *json;

    if (payload->text && payload->value.type == CAPNWEB_UNDEFINED &&
        json_parse(&payload->block->arena, json_of(payload), JSON_MAX_DEPTH, &json, NULL) == 0) {
        payload->value = CAPNWEB_THE_JSON(json);
        cw_block_account(payload->block);
    }
    return &payload->value;
}

static void discard(struct capnweb_session *s, const struct capnweb_value *value, unsigned depth)
{
    if (depth > s->limits.max_depth)
        return;
    if (value->type == CAPNWEB_PIPE) {
        cw_pipe_ref(value->pipe);
        cw_pipe_unref(value->pipe);
    } else if (value->type == CAPNWEB_ARRAY) {
        for (size_t i = 0; i < value->array.count; i++)
            discard(s, &value->array.items[i], depth + 1);
    } else if (value->type == CAPNWEB_OBJECT) {
        for (size_t i = 0; i < value->object.count; i++)
            discard(s, &value->object.members[i].value, depth + 1);
    } else if (value->type == CAPNWEB_REQUEST || value->type == CAPNWEB_RESPONSE || value->type == CAPNWEB_BLOB) {
        discard(s, &value->fetch->body, depth + 1);
    }
}

void cw_discard(struct capnweb_session *s, const struct capnweb_value *value)
{
    discard(s, value, 0);
}

struct cw_payload *cw_error_payload(struct capnweb_session *s, const char *name, const char *message)
{
    struct cw_block *block = cw_block_new(s, 0);
    struct cw_payload *payload = block ? cw_payload_new(s, block) : NULL;
    char *copy = payload ? arena_strdup(&block->arena, str_from(message)) : NULL;

    if (copy)
        payload->value = capnweb_error(&block->arena, name, str_from(copy), STR(""), CAPNWEB_NOTHING);
    if (block) {
        cw_block_account(block);
        cw_block_unref(block);
    }
    return payload;
}

/* --- promises inside a value --- */

struct fill {
    struct cw_task task;
    struct cw_payload *payload;
    struct capnweb_value *slot;
    unsigned depth;
    struct capnweb_promise *promise;
};

static int put_value(struct cw_payload *payload, struct capnweb_value *slot, unsigned depth,
                     struct capnweb_promise *promise)
{
    const struct capnweb_limits *limits = &payload->session->limits;
    struct cw_payload *from = promise->payload;

    if (promise->state == CW_REJECTED || !from) {
        if (!payload->rejected) {
            payload->rejected = promise;
            promise->refs++;
        }
        return 0;
    }
    if (depth + from->depth > limits->max_depth || payload->weight + from->weight > limits->max_sent)
        return -1;
    payload->depth = MAX(payload->depth, depth + from->depth);
    payload->weight += from->weight;
    *slot = *cw_payload_value(from);
    return cw_payload_own(payload, CW_PAYLOAD, from);
}

/* Instead of a value that would be too big. */
static void put_failure(struct cw_payload *payload)
{
    struct capnweb_promise *promise;

    if (payload->rejected)
        return;
    promise = cw_promise_new(payload->session, 0);
    if (promise)
        cw_promise_reject(promise, "RangeError", "a value made of results is too large or nested too deeply");
    payload->rejected = promise;
}

static void run_fill(struct cw_task *task)
{
    struct fill *fill = container_of(task, struct fill, task);
    struct cw_payload *payload = fill->payload;

    if (put_value(payload, fill->slot, fill->depth, fill->promise) < 0)
        put_failure(payload);
    capnweb_promise_unref(fill->promise);
    free(fill);
    if (--payload->pending == 0 && payload->complete)
        cw_enqueue(payload->session, TAKE_PTR(payload->complete));
    cw_payload_unref(payload);
}

int cw_payload_fill(struct cw_payload *payload, struct capnweb_value *slot, unsigned depth,
                    struct capnweb_promise *promise)
{
    struct fill *fill;

    *slot = CAPNWEB_NOTHING;
    if (promise->state != CW_PENDING) {
        if (put_value(payload, slot, depth, promise) < 0)
            put_failure(payload);
        return 0;
    }
    fill = malloc(sizeof(*fill));
    if (!fill)
        return -1;
    *fill = (struct fill){ { .run = run_fill }, cw_payload_ref(payload), slot, depth, promise };
    promise->refs++;
    payload->pending++;
    payload->chain = MAX(payload->chain, promise->chain);
    cw_queue_push(&promise->waiters, &fill->task);
    return 0;
}
