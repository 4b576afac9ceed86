/*
 * verb_mcp.c - the Model Context Protocol over standard input and output, for programs that start their servers.
 *
 * Each line is a message, sent to the daemon's /mcp in a stream of its own, so that a call that takes long holds up
 * neither the next one nor its own cancellation. What comes back is written line by line. The session belongs to
 * us: when the daemon has lost it, the client's own initialize makes a new one and the message is sent again.
 */
#include <poll.h>

#include "base/json.h"
#include "cli/cli.h"

#define CALLS_MAX   64
#define MESSAGE_MAX ((size_t)8 << 20)
#define CLIENT_LOST -32000

struct call {
    struct berm_stream *stream; /* NULL: free */
    char *message;
    bool begins; /* it is initialize */
    bool again;  /* sent for the second time */
};

struct bridge {
    struct cli *cli;
    struct call calls[CALLS_MAX];
    struct buf in;
    char *hello; /* the client's initialize */
    char *session, *version;
    bool ended;  /* no more input */
    bool broken; /* nobody reads our output */
};

static const struct cli_option mcp_options[] = { CLI_OPTIONS_END };

/* --- messages --- */

static void write_line(struct bridge *b, const char *text, size_t n)
{
    struct cli_output out = { STDOUT_FILENO, b->cli->signal_fd };
    _cleanup_free_ char *line = malloc(n + 1);

    if (!line) {
        b->broken = true;
        return;
    }
    /* White space between members: inside of a string there is none of it. */
    for (size_t i = 0; i < n; i++)
        line[i] = text[i] == '\n' || text[i] == '\r' ? ' ' : text[i];
    line[n] = '\n';
    b->broken |= cli_output_write(&out, line, n + 1) < 0;
}

/* The answer to a request that got none. */
static void write_failure(struct bridge *b, const char *message, const char *why)
{
    _cleanup_(arena_free) struct arena arena;
    _cleanup_(buf_free) struct buf out;
    const struct json *document, *id;
    struct json_writer w;

    arena_init(&arena, 16 * MESSAGE_MAX);
    buf_init(&out, MESSAGE_MAX);
    if (json_parse(&arena, str_from(message), JSON_MAX_DEPTH, &document, NULL) < 0)
        document = NULL;
    id = json_get(document, "id");
    if (document && document->type == JSON_OBJECT && !id) {
        cli_warn(b->cli, "%s", why); /* a notification has no answer */
        return;
    }
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_pair_cstring(&w, "jsonrpc", "2.0");
    json_key(&w, "id");
    if (id)
        json_value(&w, id);
    else
        json_null(&w);
    json_key(&w, "error");
    json_object_begin(&w);
    json_pair_int(&w, "code", document ? CLIENT_LOST : -32700);
    json_pair_cstring(&w, "message", document ? why : "not JSON");
    json_object_end(&w);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        write_line(b, buf_head(&out), out.len);
}

static bool is_initialize(const char *message)
{
    _cleanup_(arena_free) struct arena arena;
    const struct json *document = NULL;
    const char *method = NULL;

    arena_init(&arena, 16 * MESSAGE_MAX);
    return json_parse(&arena, str_from(message), JSON_MAX_DEPTH, &document, NULL) == 0 &&
           json_field_cstring(document, "method", &method, NULL) == 0 && method &&
           strcmp(method, "initialize") == 0;
}

static void replace(char **place, const char *text)
{
    free(*place);
    *place = text && text[0] ? strdup(text) : NULL;
}

/* The answer to initialize names the session and the version that all later requests carry. */
static void take_session(struct bridge *b, const struct berm_stream *stream, const struct berm_item *item)
{
    _cleanup_(arena_free) struct arena arena;
    const struct json *document = NULL;
    const char *version = NULL;

    arena_init(&arena, 16 * MESSAGE_MAX);
    if (json_parse(&arena, (struct str){ item->data, item->size }, JSON_MAX_DEPTH, &document, NULL) == 0)
        json_field_cstring(json_get(document, "result"), "protocolVersion", &version, NULL);
    replace(&b->session, berm_mcp_session(stream));
    replace(&b->version, version);
}

/* --- calls --- */

static void drop(struct call *call)
{
    berm_stream_close(call->stream);
    free(call->message);
    *call = (struct call){ 0 };
}

static void fail(struct bridge *b, struct call *call, const struct berm_problem *problem)
{
    if (problem->kind == BERM_PROBLEM_CANCELLED)
        cli_problem(b->cli, problem);
    write_failure(b, call->message, problem->message);
    drop(call);
}

static void send_message(struct bridge *b, struct call *call)
{
    const char *session = call->begins ? NULL : b->session, *version = call->begins ? NULL : b->version;
    struct berm_problem problem;

    if (berm_mcp_send(b->cli->client, session, version, call->message, &call->stream, &problem) < 0)
        fail(b, call, &problem);
}

/* Makes a new session with what the client said in the first one. */
static int begin_again(struct bridge *b, struct berm_problem *problem)
{
    struct berm_stream *stream;
    struct berm_item item;
    int rc;

    if (berm_mcp_send(b->cli->client, NULL, NULL, b->hello, &stream, problem) < 0)
        return -1;
    while ((rc = berm_stream_next(stream, -1, &item, problem)) > 0 && item.kind != BERM_ITEM_END)
        if (item.kind == BERM_ITEM_EVENT)
            take_session(b, stream, &item);
    berm_stream_close(stream);
    return rc < 0 ? -1 : 0;
}

static void on_problem(struct bridge *b, struct call *call, struct berm_problem *problem)
{
    bool lost = problem->kind == BERM_PROBLEM_API && problem->http_status == 404 && b->hello && !call->begins;

    if (!lost || call->again || begin_again(b, problem) < 0) {
        fail(b, call, problem);
        return;
    }
    call->again = true;
    berm_stream_close(call->stream);
    call->stream = NULL;
    send_message(b, call);
}

static void advance(struct bridge *b, struct call *call)
{
    struct berm_problem problem;
    struct berm_item item;
    int rc;

    while ((rc = berm_stream_next(call->stream, 0, &item, &problem)) > 0 && !b->broken) {
        if (item.kind == BERM_ITEM_END) {
            drop(call);
            return;
        }
        if (call->begins)
            take_session(b, call->stream, &item);
        write_line(b, item.data, item.size);
    }
    if (rc < 0)
        on_problem(b, call, &problem);
}

static struct call *free_call(struct bridge *b)
{
    for (size_t i = 0; i < CALLS_MAX; i++)
        if (!b->calls[i].stream)
            return &b->calls[i];
    return NULL;
}

/* --- input --- */

static void take_line(struct bridge *b, struct call *call, struct str line)
{
    line = str_trim(line);
    if (line.n == 0)
        return;
    call->message = str_dup(line);
    if (!call->message) {
        cli_warn(b->cli, "a message holds a NUL, or there is no memory for it");
        return;
    }
    call->begins = is_initialize(call->message);
    if (call->begins)
        replace(&b->hello, call->message);
    send_message(b, call);
}

/* Lines that are complete, as long as there is room for their calls. */
static void take_lines(struct bridge *b)
{
    struct call *call;
    const char *end;

    while (b->in.len > 0 && (call = free_call(b)) && (end = memchr(buf_head(&b->in), '\n', b->in.len))) {
        size_t n = (size_t)(end - buf_head(&b->in));

        take_line(b, call, (struct str){ buf_head(&b->in), n });
        buf_consume(&b->in, n + 1);
    }
}

static void read_input(struct bridge *b)
{
    char *room = buf_reserve(&b->in, MIN((size_t)65536, b->in.max - b->in.len));
    ssize_t n = room ? RETRY_EINTR(read(STDIN_FILENO, room, MIN((size_t)65536, b->in.max - b->in.len))) : -1;

    if (n > 0)
        buf_commit(&b->in, (size_t)n);
    else
        b->ended = true;
    if (b->in.len >= b->in.max && !memchr(buf_head(&b->in), '\n', b->in.len)) {
        cli_warn(b->cli, "a message is larger than %zu bytes", b->in.max);
        b->ended = true;
    }
}

/* --- the loop --- */

/* False when a signal came. */
static bool wait_for_something(struct bridge *b)
{
    struct pollfd fds[CALLS_MAX + 2];
    nfds_t n = 2;

    fds[0] = (struct pollfd){ .fd = b->cli->signal_fd, .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = b->ended || !free_call(b) ? -1 : STDIN_FILENO, .events = POLLIN };
    for (size_t i = 0; i < CALLS_MAX; i++)
        if (b->calls[i].stream)
            fds[n++] = (struct pollfd){ .fd = berm_stream_fd(b->calls[i].stream), .events = POLLIN };
    if (RETRY_EINTR(poll(fds, n, -1)) < 0 || fds[0].revents)
        return false;
    if (fds[1].revents)
        read_input(b);
    return true;
}

static bool busy(const struct bridge *b)
{
    for (size_t i = 0; i < CALLS_MAX; i++)
        if (b->calls[i].stream)
            return true;
    return false;
}

static bool pump(struct bridge *b)
{
    while (!b->broken && (!b->ended || busy(b))) {
        if (!wait_for_something(b))
            return false;
        for (size_t i = 0; i < CALLS_MAX; i++)
            if (b->calls[i].stream)
                advance(b, &b->calls[i]);
        take_lines(b);
    }
    return true;
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct bridge bridge = { .cli = cli };
    struct cli_operands operands;
    bool whole;
    int signo, status;

    if (!cli_begin(cli, argc, argv, NULL, 0, 0, &operands, &status))
        return status;
    buf_init(&bridge.in, MESSAGE_MAX);
    whole = pump(&bridge);
    signo = whole ? 0 : cli_take_signal(cli);
    for (size_t i = 0; i < CALLS_MAX; i++)
        drop(&bridge.calls[i]);
    if (bridge.session)
        berm_mcp_end(cli->client, bridge.session, NULL);
    free(bridge.session);
    free(bridge.version);
    free(bridge.hello);
    buf_free(&bridge.in);
    if (signo)
        cli_die_of(signo);
    return whole ? STATUS_OK : STATUS_FAILED;
}

const struct verb verb_mcp = {
    .name = "mcp",
    .operands = "",
    .summary = "serve the Model Context Protocol on standard input and output",
    .details = "For programs that start their tools' servers: the command is \"berm\", its argument \"mcp\". The "
               "tools are\n"
               "the daemon's, which serves the same over HTTP at /mcp.",
    .options = mcp_options,
    .run = run,
};
