/*
 * stream.c - a call in flight, taken item by item.
 *
 * curl gives bytes in pieces; a piece becomes items, which wait in a queue. While items wait, no more bytes are
 * taken (CURL_WRITEFUNC_PAUSE), so a stream holds one piece at most, or one event that is not complete yet.
 * Streams come from the sandbox's own agent, which code in the sandbox may have taken over: whatever does not fit
 * the format ends them.
 */
#include "stream.h"

#include "client/exec_stream.h"

#define EVENT_MAX ((size_t)16 << 20)

struct item {
    struct item *next;
    enum berm_item_kind kind;
    int exit_code;
    char *name; /* or NULL */
    char *data;
    size_t size;
};

struct berm_stream {
    struct transfer transfer;
    struct buf body; /* of the request */
    char *target;
    char *session;
    char **fields;
    char *want_header;
    enum stream_kind kind;
    bool must_exit;
    struct sse_parser parser;
    struct berm_exec sinks;
    struct exec_stream exec;
    struct item *first, **last, *current;
    struct berm_problem problem; /* that came while bytes were taken */
    bool exited, over, failed;
};

/* --- items --- */

static void item_free(struct item *item)
{
    if (!item)
        return;
    free(item->name);
    free(item->data);
    free(item);
}

static int push(struct berm_stream *s, enum berm_item_kind kind, struct str name, struct str data, int exit_code)
{
    struct item *item = calloc(1, sizeof(*item));

    if (item)
        item->data = malloc(data.n + 1);
    if (!item || !item->data || (name.p && !(item->name = strndup(name.p, name.n)))) {
        item_free(item);
        return problem_memory(&s->problem);
    }
    if (data.n > 0)
        memcpy(item->data, data.p, data.n);
    item->data[data.n] = '\0';
    item->size = data.n;
    item->kind = kind;
    item->exit_code = exit_code;
    *s->last = item;
    s->last = &item->next;
    s->exited |= kind == BERM_ITEM_EXIT;
    return 0;
}

static int malformed(struct berm_stream *s, const char *what)
{
    return problem_set(&s->problem, BERM_PROBLEM_TRANSPORT, 0, "the stream is malformed: %s", what);
}

/* --- events of each kind --- */

static int push_output(struct berm_stream *s, enum berm_item_kind kind, const void *bytes, size_t n)
{
    return push(s, kind, (struct str){ 0 }, (struct str){ bytes, n }, 0);
}

static int on_stdout(void *data, const void *bytes, size_t n)
{
    return push_output(data, BERM_ITEM_STDOUT, bytes, n);
}

static int on_stderr(void *data, const void *bytes, size_t n)
{
    return push_output(data, BERM_ITEM_STDERR, bytes, n);
}

/* The format of a command's output, with sinks that are ours. */
static int take_exec(struct berm_stream *s, struct str piece)
{
    int code = 0;

    if (s->exited)
        return 0;
    if (exec_stream_feed(&s->exec, piece, &s->problem) < 0)
        return -1;
    if (!s->exec.ended)
        return 0;
    if (exec_stream_result(&s->exec, &code, &s->problem) < 0)
        return -1;
    return push(s, BERM_ITEM_EXIT, (struct str){ 0 }, (struct str){ 0 }, code);
}

/* {"type":"stdout","data" or "text":...}, {"type":"exit","exitCode":...}; the rest is told as it is. */
static int take_typed(struct berm_stream *s, const struct sse_event *event, const struct json *document)
{
    struct str type = { 0 }, text = { 0 };
    int64_t code = -1;

    if (json_field_string(document, "type", &type, NULL) < 0 || !type.p)
        return malformed(s, "an event without a type");
    if (str_is(type, "stdout") || str_is(type, "stderr")) {
        enum berm_item_kind kind = str_is(type, "stdout") ? BERM_ITEM_STDOUT : BERM_ITEM_STDERR;

        if (json_field_string(document, "data", &text, NULL) < 0 ||
            (!text.p && json_field_string(document, "text", &text, NULL) < 0))
            return malformed(s, "output that is no text");
        return text.n > 0 ? push(s, kind, (struct str){ 0 }, text, 0) : 0;
    }
    if (str_is(type, "exit")) {
        if (json_field_int(document, "exitCode", INT32_MIN, INT32_MAX, &code, NULL) < 0)
            return malformed(s, "the exit code is no number");
        return push(s, BERM_ITEM_EXIT, (struct str){ 0 }, (struct str){ 0 }, (int)code);
    }
    return push(s, BERM_ITEM_EVENT, type, event->data, 0);
}

static int take_typed_event(struct berm_stream *s, const struct sse_event *event)
{
    _cleanup_(arena_free) struct arena arena;
    const struct json *document;

    arena_init(&arena, ARENA_MAX);
    if (json_parse(&arena, event->data, JSON_MAX_DEPTH, &document, NULL) < 0)
        return malformed(s, "an event that is not JSON");
    return take_typed(s, event, document);
}

static int on_event(void *data, const struct sse_event *event, struct berm_error *err)
{
    struct berm_stream *s = data;
    int rc;

    if (s->kind == STREAM_TYPED)
        rc = take_typed_event(s, event);
    else
        rc = push(s, BERM_ITEM_EVENT, event->name, event->data, 0);
    return rc < 0 ? berm_fail(err, BERM_E_PROTOCOL, 0, "see the problem") : 0;
}

/* One document instead of events. */
static bool is_document(const struct berm_stream *s)
{
    const char *type = NULL;

    curl_easy_getinfo(s->transfer.lane->easy, CURLINFO_CONTENT_TYPE, &type);
    return s->kind == STREAM_MESSAGES && !(type && strncmp(type, "text/event-stream", 17) == 0);
}

static int on_body(struct transfer *t, struct str piece)
{
    struct berm_stream *s = t->on_body_data;
    struct berm_error err = { 0 };
    int rc;

    s->problem.kind = BERM_PROBLEM_NONE;
    if (is_document(s))
        rc = buf_append_str(&t->answer, piece) == 0 ? 0 : malformed(s, "the answer is too large");
    else if (s->kind == STREAM_BYTES)
        rc = push(s, BERM_ITEM_DATA, (struct str){ 0 }, piece, 0);
    else if (s->kind == STREAM_EXEC)
        rc = take_exec(s, piece);
    else
        rc = sse_parser_feed(&s->parser, piece.p, piece.n, &err);
    t->hold = s->first != NULL;
    t->finished = s->kind == STREAM_EXEC && s->exited;
    if (rc < 0 && s->problem.kind == BERM_PROBLEM_NONE)
        malformed(s, err.message);
    return rc; /* what came before a failure is given first */
}

/* --- the stream --- */

static char *copy(const char *s)
{
    return s ? strdup(s) : NULL;
}

static int copy_fields(struct berm_stream *s, const char *const *fields)
{
    size_t n = 0;

    while (fields && fields[n])
        n++;
    s->fields = calloc(n + 1, sizeof(*s->fields));
    for (size_t i = 0; s->fields && i < n; i++)
        if (!(s->fields[i] = strdup(fields[i])))
            return -1;
    return s->fields ? 0 : -1;
}

static void prepare(struct berm_stream *s, const struct stream_request *request)
{
    struct transfer *t = &s->transfer;

    *t = (struct transfer)TRANSFER_INIT(request->method, s->target);
    t->accept = s->kind == STREAM_BYTES      ? "application/octet-stream"
                : s->kind == STREAM_MESSAGES ? "application/json, text/event-stream"
                                             : "text/event-stream";
    t->session = s->session;
    t->fields = (const char *const *)s->fields;
    if (request->body) {
        t->content_type = request->content_type ? request->content_type : "application/json";
        t->body = buf_str(&s->body);
    }
    if (s->want_header)
        t->want_header = str_from(s->want_header);
    t->on_body = on_body;
    t->on_body_data = s;
}

int stream_open(struct berm_client *client, const struct stream_request *request, struct berm_stream **ret_stream,
                struct berm_problem *problem)
{
    struct berm_stream *s = request->target ? calloc(1, sizeof(*s)) : NULL;

    if (!s) {
        free(request->target);
        return request->target ? problem_memory(problem) : -1;
    }
    s->target = request->target;
    s->kind = request->kind;
    s->must_exit = request->must_exit;
    s->last = &s->first;
    s->session = copy(request->session);
    s->want_header = copy(request->want_header);
    buf_init(&s->body, 0);
    if (request->body) {
        s->body = *request->body;
        buf_init(request->body, 0);
    }
    sse_parser_init(&s->parser, EVENT_MAX, on_event, s);
    s->sinks = (struct berm_exec){
        .on_stdout = on_stdout, .on_stderr = on_stderr, .data = s, .ret_usage = request->ret_usage
    };
    exec_stream_init(&s->exec, &s->sinks);
    if (copy_fields(s, request->fields) < 0 || (request->session && !s->session) ||
        (request->want_header && !s->want_header)) {
        berm_stream_close(s);
        return problem_memory(problem);
    }
    prepare(s, request);
    if (transfer_begin(client, &s->transfer, problem) < 0) {
        berm_stream_close(s);
        return -1;
    }
    *ret_stream = s;
    return 0;
}

int berm_stream_fd(const struct berm_stream *s)
{
    return s->transfer.lane ? s->transfer.lane->epoll_fd : -1;
}

void berm_stream_close(struct berm_stream *s)
{
    if (!s)
        return;
    transfer_done(&s->transfer);
    sse_parser_free(&s->parser);
    exec_stream_done(&s->exec);
    buf_free(&s->body);
    item_free(s->current);
    while (s->first) {
        struct item *next = s->first->next;

        item_free(s->first);
        s->first = next;
    }
    for (char **field = s->fields; field && *field; field++)
        free(*field);
    free(s->fields);
    free(s->target);
    free(s->session);
    free(s->want_header);
    free(s);
}

/* --- taking --- */

static bool pop(struct berm_stream *s, struct berm_item *ret)
{
    struct item *item = s->first;

    item_free(s->current);
    s->current = item;
    if (!item)
        return false;
    s->first = item->next;
    if (!s->first)
        s->last = &s->first;
    *ret = (struct berm_item){
        .kind = item->kind, .exit_code = item->exit_code, .name = item->name, .data = item->data, .size = item->size
    };
    return true;
}

static int fail(struct berm_stream *s, struct berm_problem *problem)
{
    if (problem)
        *problem = s->problem;
    return -1;
}

/* A server without events to send answers one document, or nothing at all. */
static int take_single(struct berm_stream *s)
{
    struct str answer = buf_str(&s->transfer.answer);

    if (s->kind != STREAM_MESSAGES || answer.n == 0)
        return 0;
    return push(s, BERM_ITEM_EVENT, STR("message"), answer, 0);
}

static int finish(struct berm_stream *s)
{
    s->over = true;
    if (take_single(s) < 0)
        return -1;
    if (s->must_exit && !s->exited)
        return problem_set(&s->problem, BERM_PROBLEM_TRANSPORT, 0, "the stream ended without a status");
    return push(s, BERM_ITEM_END, (struct str){ 0 }, (struct str){ 0 }, 0);
}

static void advance(struct berm_stream *s)
{
    int rc = transfer_step(&s->transfer, &s->problem);

    if (rc > 0)
        rc = finish(s);
    if (rc < 0)
        s->failed = true;
}

int berm_stream_next(struct berm_stream *s, int timeout_ms, struct berm_item *ret, struct berm_problem *problem)
{
    struct timespec began;
    int left;

    clock_gettime(CLOCK_MONOTONIC, &began);
    *ret = (struct berm_item){ 0 };
    for (;;) {
        if (pop(s, ret))
            return 1;
        if (s->failed)
            return fail(s, problem);
        if (s->over) {
            ret->kind = BERM_ITEM_END;
            return 1;
        }
        transfer_go_on(&s->transfer);
        advance(s);
        if (s->first || s->failed || s->over)
            continue;
        left = time_left_ms(timeout_ms, &began);
        if (left == 0)
            return 0;
        if (transfer_wait(&s->transfer, left, &s->problem) < 0)
            s->failed = true;
    }
}

const char *berm_mcp_session(const struct berm_stream *s)
{
    return s->transfer.header;
}
