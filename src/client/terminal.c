/*
 * terminal.c - a terminal in a sandbox, over the WebSocket of /pty.
 *
 * curl only connects (through proxies, with TLS) and carries bytes; handshake and frames are ours, with the parser
 * that the daemon uses. The socket is in the lane's epoll, so that a terminal has one descriptor to wait on, also
 * while there is something to send. Opening is a state machine that berm_terminal_next() steps; nothing blocks but
 * berm_terminal_open(), and berm_terminal_next() if it is asked to.
 */
#include "client/call.h"

#include "base/base64.h"
#include "net/h1.h"
#include "net/ws.h"
#include "net/ws_frame.h"

#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>

#define CHUNK       ((size_t)64 << 10)
#define QUEUE_MAX   ((size_t)1 << 20)
#define MESSAGE_MAX ((uint64_t)16 << 20)
#define TEXT_MAX    ((size_t)64 << 10)
#define HEAD_MAX    ((size_t)64 << 10)

enum state {
    CONNECTING,
    SHAKING, /* our head goes out, the answer's is awaited */
    REFUSED, /* the rest of a refusal is awaited */
    OPEN
};

struct berm_terminal {
    struct transfer transfer; /* the connection */
    enum state state;
    char accept[WS_ACCEPT_SIZE]; /* what the answer has to say */
    size_t refusal;              /* bytes of the body that say why */
    char *target;
    curl_socket_t socket;
    bool wants_out; /* epoll watches for room */
    struct ws_parser parser;
    struct buf in, out, text;
    size_t given; /* bytes at the front of `in` that the caller's item points to */
    bool exited, over;
};

/* --- bytes --- */

static int watch_socket(struct berm_terminal *t, int operation, struct berm_problem *problem)
{
    struct epoll_event event = { .events = EPOLLIN | (t->out.len > 0 ? EPOLLOUT : 0), .data.fd = t->socket };

    t->wants_out = t->out.len > 0;
    if (epoll_ctl(t->transfer.lane->epoll_fd, operation, t->socket, &event) == 0)
        return 0;
    return problem_set(problem, BERM_PROBLEM_SYSTEM, errno, "terminal");
}

static int flush(struct berm_terminal *t, struct berm_problem *problem)
{
    while (t->out.len > 0) {
        size_t n = 0;
        CURLcode code = curl_easy_send(t->transfer.lane->easy, buf_head(&t->out), t->out.len, &n);

        buf_consume(&t->out, n);
        if (code == CURLE_AGAIN || n == 0)
            break;
        if (code != CURLE_OK)
            return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "the terminal's connection broke: %s",
                               curl_easy_strerror(code));
    }
    return t->wants_out == (t->out.len > 0) ? 0 : watch_socket(t, EPOLL_CTL_MOD, problem);
}

/* 1: some came; 0: none now; -1: the connection is gone. */
static int receive(struct berm_terminal *t, struct berm_problem *problem)
{
    char *room = buf_reserve(&t->in, CHUNK);
    CURLcode code;
    size_t n = 0;

    if (!room)
        return problem_memory(problem);
    code = curl_easy_recv(t->transfer.lane->easy, room, CHUNK, &n);
    if (code == CURLE_AGAIN)
        return 0;
    if (code != CURLE_OK || n == 0)
        return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "the terminal's connection broke%s%s",
                           code ? ": " : "", code ? curl_easy_strerror(code) : "");
    buf_commit(&t->in, n);
    return 1;
}

static int queue_frame(struct berm_terminal *t, enum ws_opcode opcode, const void *bytes, size_t n,
                       struct berm_problem *problem)
{
    uint8_t head[WS_HEAD_MAX], key[4];
    size_t head_n;
    char *room;

    if (t->state != OPEN)
        return problem_set(problem, BERM_PROBLEM_LOCAL, EAGAIN, "the terminal is not open yet");
    random_bytes(key, sizeof(key));
    head_n = ws_frame_head(head, opcode, n, key);
    room = buf_reserve(&t->out, head_n + n);
    if (!room)
        return problem_set(problem, BERM_PROBLEM_LOCAL, EAGAIN, "the terminal does not take more now");
    memcpy(room, head, head_n);
    memcpy(room + head_n, bytes, n);
    ws_mask(room + head_n, n, key, 0);
    buf_commit(&t->out, head_n + n);
    return flush(t, problem);
}

/* --- opening --- */

static int wait_for(struct berm_terminal *t, int timeout_ms, struct berm_problem *problem)
{
    return transfer_wait(&t->transfer, timeout_ms, problem);
}

/* "http://host:port/prefix" */
static void split_url(const char *url, struct str *host, struct str *prefix)
{
    const char *start = strstr(url, "://") + 3, *slash = strchr(start, '/');

    *host = (struct str){ start, slash ? (size_t)(slash - start) : strlen(start) };
    *prefix = str_from(slash ? slash : "");
}

/* What goes out once there is a connection. */
static int write_head(struct berm_terminal *t, const struct berm_client *client, const char *session,
                      struct berm_problem *problem)
{
    char key[BASE64_ENCODED_SIZE(16) + 1];
    struct str host, prefix;
    uint8_t random[16];
    int rc;

    random_bytes(random, sizeof(random));
    key[base64_encode(random, sizeof(random), key)] = '\0';
    ws_accept_key(str_from(key), t->accept);
    split_url(client->url, &host, &prefix);
    rc = buf_printf(&t->out,
                    "GET %.*s%s HTTP/1.1\r\nHost: %.*s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nUser-Agent: berm/%s\r\n",
                    (int)prefix.n, prefix.p, t->target, (int)host.n, host.p, key, BERM_VERSION);
    if (rc == 0 && client->auth)
        rc = buf_printf(&t->out, "%s\r\n", client->auth->data);
    for (const struct curl_slist *field = client->fields; rc == 0 && field; field = field->next)
        rc = buf_printf(&t->out, "%s\r\n", field->data);
    if (rc == 0 && session)
        rc = buf_printf(&t->out, "Session-Id: %s\r\n", session);
    if (rc == 0)
        rc = buf_append_str(&t->out, STR("\r\n"));
    return rc < 0 ? problem_memory(problem) : 0;
}

static int connected(struct berm_terminal *t, struct berm_problem *problem)
{
    if (curl_easy_getinfo(t->transfer.lane->easy, CURLINFO_ACTIVESOCKET, &t->socket) != CURLE_OK ||
        t->socket == CURL_SOCKET_BAD)
        return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "no connection for the terminal");
    if (watch_socket(t, EPOLL_CTL_ADD, problem) < 0)
        return -1;
    t->state = SHAKING;
    return 1;
}

/* Looks for the answer's head in what has come. 0: it is not whole yet. */
static int shake_hands(struct berm_terminal *t, struct berm_problem *problem)
{
    static const struct h1_limits limits = { .max_head = HEAD_MAX, .max_headers = H1_MAX_HEADERS };
    struct h1_head head;
    ssize_t n = t->in.len ? h1_parse_response(buf_head(&t->in), t->in.len, &limits, STR("GET"), &head) : 0;

    if (n == 0)
        return 0;
    if (n < 0)
        return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "the answer is not HTTP");
    t->state = OPEN;
    if (head.status >= 300) {
        t->state = REFUSED;
        t->transfer.status = head.status;
        if (head.framing == H1_CONTENT_LENGTH)
            t->refusal = (size_t)MIN(head.content_length, (uint64_t)TEXT_MAX);
    } else if (head.status != 101 ||
               !str_eq(h1_header(&head, "Sec-WebSocket-Accept"), (struct str){ t->accept, WS_ACCEPT_SIZE })) {
        return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "the answer is not that of a WebSocket");
    }
    buf_consume(&t->in, (size_t)n);
    return 1;
}

/* What of the refusal's body has come tells why. */
static int refused(struct berm_terminal *t, struct berm_problem *problem)
{
    buf_append(&t->transfer.answer, buf_head(&t->in), MIN(t->in.len, t->refusal));
    t->transfer.problem = problem;
    return transfer_api_problem(&t->transfer);
}

/* One step of opening: 1 when it got further, 0 when it has to wait. */
static int go_on(struct berm_terminal *t, struct berm_problem *problem)
{
    int rc;

    if (t->state == CONNECTING) {
        rc = transfer_step(&t->transfer, problem);
        return rc > 0 ? connected(t, problem) : rc;
    }
    if (t->state == SHAKING) {
        rc = flush(t, problem);
        if (rc == 0)
            rc = shake_hands(t, problem);
        return rc == 0 ? receive(t, problem) : rc;
    }
    if (t->in.len >= t->refusal || (rc = receive(t, NULL)) < 0)
        return refused(t, problem);
    return rc;
}

static char *make_target(const char *id, const struct berm_terminal_options *options, struct berm_problem *problem)
{
    char size[64];

    snprintf(size, sizeof(size), "/pty?cols=%d&rows=%d%s", options->cols ? options->cols : 80,
             options->rows ? options->rows : 24, options->shell ? "&shell=" : "");
    return options->shell ? named_target(id, size, options->shell, "", problem) : sandbox_target(id, size, problem);
}

int berm_terminal_start(struct berm_client *client, const char *id, const struct berm_terminal_options *options,
                        struct berm_terminal **ret_terminal, struct berm_problem *problem)
{
    static const struct berm_terminal_options defaults;
    struct berm_terminal *t = calloc(1, sizeof(*t));

    if (!t)
        return problem_memory(problem);
    if (!options)
        options = &defaults;
    buf_init(&t->in, HEAD_MAX + 2 * CHUNK);
    buf_init(&t->out, QUEUE_MAX);
    buf_init(&t->text, TEXT_MAX);
    ws_parser_init(&t->parser, false, MESSAGE_MAX);
    t->target = make_target(id, options, problem);
    t->transfer = (struct transfer)TRANSFER_INIT("GET", t->target);
    t->transfer.connect_only = true;
    if (options->session && strpbrk(options->session, "\r\n"))
        problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "not a session's name");
    else if (t->target && write_head(t, client, options->session, problem) == 0 &&
             transfer_begin(client, &t->transfer, problem) == 0 && go_on(t, problem) >= 0) {
        *ret_terminal = t;
        return 0;
    }
    berm_terminal_close(t);
    return -1;
}

int berm_terminal_open(struct berm_client *client, const char *id, const struct berm_terminal_options *options,
                       struct berm_terminal **ret_terminal, struct berm_problem *problem)
{
    struct berm_terminal *t;
    int rc = 0;

    if (berm_terminal_start(client, id, options, &t, problem) < 0)
        return -1;
    while (rc >= 0 && t->state != OPEN) {
        rc = go_on(t, problem);
        if (rc == 0)
            rc = wait_for(t, -1, problem);
    }
    if (rc < 0) {
        berm_terminal_close(t);
        return -1;
    }
    *ret_terminal = t;
    return 0;
}

/* --- what comes --- */

/* {"type":"ready"}, {"type":"error","message"}, {"type":"exit","code"}. 1 with an item. */
static int take_text(struct berm_terminal *t, struct berm_item *ret, struct berm_problem *problem)
{
    _cleanup_(arena_free) struct arena arena;
    const struct json *document;
    const char *type = NULL;
    int64_t code = -1;

    arena_init(&arena, 16 * TEXT_MAX);
    if (json_parse(&arena, buf_str(&t->text), JSON_MAX_DEPTH, &document, NULL) < 0 ||
        json_field_cstring(document, "type", &type, NULL) < 0 || !type)
        return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "the terminal's messages are malformed");
    if (strcmp(type, "exit") == 0) {
        if (json_field_int(document, "code", INT32_MIN, INT32_MAX, &code, NULL) < 0)
            return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "the exit code is no number");
        t->exited = true;
        *ret = (struct berm_item){ .kind = BERM_ITEM_EXIT, .exit_code = (int)code };
        return 1;
    }
    if (buf_append(&t->text, "", 1) < 0)
        return problem_memory(problem);
    *ret = (struct berm_item){ .kind = BERM_ITEM_EVENT,
                               .name = strcmp(type, "ready") == 0 ? "ready" : "error",
                               .data = buf_head(&t->text),
                               .size = t->text.len - 1 };
    return 1;
}

static int take_control(struct berm_terminal *t, const struct ws_event *event, struct berm_item *ret,
                        struct berm_problem *problem)
{
    if (event->opcode == WS_OP_PING)
        return queue_frame(t, WS_OP_PONG, event->payload.p, event->payload.n, problem);
    if (event->opcode != WS_OP_CLOSE)
        return 0;
    t->over = true;
    if (t->exited) {
        *ret = (struct berm_item){ .kind = BERM_ITEM_END };
        return 1;
    }
    event->payload.n > 2 ? problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "the terminal was closed: %.*s",
                                       (int)event->payload.n - 2, event->payload.p + 2)
                         : problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "the terminal was closed");
    return -1;
}

static int take_event(struct berm_terminal *t, const struct ws_event *event, struct berm_item *ret,
                      struct berm_problem *problem)
{
    if (event->kind == WS_CONTROL)
        return take_control(t, event, ret, problem);
    if (event->kind != WS_PIECE)
        return 0;
    if (event->opcode == WS_OP_BINARY) {
        *ret = (struct berm_item){ .kind = BERM_ITEM_STDOUT, .data = event->payload.p, .size = event->payload.n };
        return event->payload.n > 0;
    }
    if (buf_append_str(&t->text, event->payload) < 0)
        return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "a message of the terminal's is too large");
    return event->end ? take_text(t, ret, problem) : 0;
}

/* 1 with an item, 0 when more bytes are needed. */
static int parse(struct berm_terminal *t, struct berm_item *ret, struct berm_problem *problem)
{
    int rc = 0;

    while (rc == 0 && t->in.len > 0) {
        struct ws_event event;
        ssize_t n = ws_parse(&t->parser, buf_head(&t->in), t->in.len, &event);

        if (n < 0)
            return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "the terminal's frames are malformed");
        if (n == 0)
            return 0;
        rc = take_event(t, &event, ret, problem);
        if (rc > 0)
            t->given = (size_t)n; /* the item may point there: consumed by the next call */
        else
            buf_consume(&t->in, (size_t)n);
    }
    return rc;
}

/* Sends what waits, takes what has come: as receive(). */
static int exchange(struct berm_terminal *t, struct berm_problem *problem)
{
    int rc = flush(t, problem);

    return rc == 0 ? receive(t, problem) : rc;
}

int berm_terminal_next(struct berm_terminal *t, int timeout_ms, struct berm_item *ret, struct berm_problem *problem)
{
    struct timespec began;
    int rc, left;

    clock_gettime(CLOCK_MONOTONIC, &began);
    *ret = (struct berm_item){ 0 };
    buf_consume(&t->in, t->given);
    if (t->given > 0)
        buf_clear(&t->text);
    t->given = 0;
    for (;;) {
        if (t->over && t->exited) {
            ret->kind = BERM_ITEM_END;
            return 1;
        }
        rc = t->state == OPEN ? parse(t, ret, problem) : 0;
        if (rc > 0)
            return 1;
        if (rc == 0)
            rc = t->state == OPEN ? exchange(t, problem) : go_on(t, problem);
        if (rc < 0)
            return -1;
        if (rc > 0)
            continue;
        left = time_left_ms(timeout_ms, &began);
        if (left == 0)
            return 0;
        if (wait_for(t, left, problem) < 0)
            return -1;
    }
}

/* --- what goes --- */

int berm_terminal_fd(const struct berm_terminal *t)
{
    return t->transfer.lane->epoll_fd;
}

int berm_terminal_write(struct berm_terminal *t, const void *bytes, size_t size, struct berm_problem *problem)
{
    return size > 0 ? queue_frame(t, WS_OP_BINARY, bytes, size, problem) : 0;
}

int berm_terminal_resize(struct berm_terminal *t, uint16_t cols, uint16_t rows, struct berm_problem *problem)
{
    char text[80];
    int n = snprintf(text, sizeof(text), "{\"type\":\"resize\",\"cols\":%u,\"rows\":%u}", cols, rows);

    return queue_frame(t, WS_OP_TEXT, text, (size_t)n, problem);
}

void berm_terminal_close(struct berm_terminal *t)
{
    if (!t)
        return;
    transfer_done(&t->transfer);
    buf_free(&t->in);
    buf_free(&t->out);
    buf_free(&t->text);
    free(t->target);
    free(t);
}
