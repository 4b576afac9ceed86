#include "daemon/egress/http_gate.h"

#define PIECE      ((size_t)64 << 10)
#define QUEUE_MAX  ((size_t)256 << 10)
#define HEAD_MAX   ((size_t)32 << 10)
#define METHOD_MAX 32
#define HELD_MIN   4 /* fewer bytes of a secret tell nothing, and a message that ends with them must not wait */
#define TURNS      16

enum phase {
    PHASE_REQUEST,  /* a head is awaited */
    PHASE_EXCHANGE, /* a request is under way, or its response */
    PHASE_RAW,      /* after a 101 */
    PHASE_CLOSING   /* what is queued for the client still goes out */
};

/* One direction: bytes that came, bytes that may go. */
struct side {
    struct stream stream;
    struct http_gate *gate;
    struct buf in, out;
    size_t held; /* of the end of `out`: the guard wants to see more first */
    uint64_t written;
    bool shut;
};

struct http_gate {
    struct loop *loop;
    struct http_gate_events events;
    struct side client, server;
    enum phase phase;
    struct h1_body request_body, response_body;
    bool request_done, response_begun, response_done;
    bool keep_alive; /* after this exchange */
    bool upgrade;    /* the request asked for one */
    char method[METHOD_MAX];
    size_t method_size;
    struct loop_deferred again;
};

static const struct h1_limits head_limits = { .max_head = HEAD_MAX, .max_headers = H1_MAX_HEADERS };

/* --- bytes in and out --- */

static void fill(struct side *side)
{
    while (!side->stream.ended && side->in.len < HTTP_GATE_HEAD_MAX) {
        char *room = buf_reserve(&side->in, PIECE);
        size_t n = room ? stream_read(&side->stream, room, PIECE) : 0;

        if (!room) {
            side->stream.broken = side->stream.ended = true;
            return;
        }
        buf_commit(&side->in, n);
        buf_release_if_empty(&side->in);
        if (n == 0 || (n < PIECE && !side->stream.tls)) /* a record of TLS may be as short as it likes */
            return;
    }
}

static bool drain(struct side *side)
{
    bool moved = false;

    while (side->out.len > side->held && !side->stream.broken) {
        size_t n = stream_write(&side->stream, buf_head(&side->out), side->out.len - side->held);

        if (n == 0)
            break;
        buf_consume(&side->out, n);
        side->written += n;
        moved = true;
    }
    buf_release_if_empty(&side->out);
    return moved;
}

static size_t room(const struct side *side)
{
    return side->out.len >= QUEUE_MAX ? 0 : QUEUE_MAX - side->out.len;
}

/* Moves `n` bytes that `from` sent to the queue of `to`. */
static bool move(struct side *from, struct side *to, size_t n)
{
    if (buf_append(&to->out, buf_head(&from->in), n) < 0) {
        to->stream.broken = true;
        return false;
    }
    buf_consume(&from->in, n);
    buf_release_if_empty(&from->in);
    return true;
}

/* --- refusals --- */

int http_refusal(struct buf *out, int status, const char *reason)
{
    const char *phrase = status == 400 ? "Bad Request" : status == 502 ? "Bad Gateway" : "Forbidden";

    return buf_printf(out,
                      "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
                      "Connection: close\r\nCache-Control: no-store\r\n\r\negress: %s\n",
                      status, phrase, strlen(reason) + strlen("egress: \n"), reason);
}

/* In the middle of a response nothing can be said any more. */
static void refuse(struct http_gate *gate, int status, const char *reason)
{
    gate->phase = PHASE_CLOSING;
    if (!gate->response_begun)
        http_refusal(&gate->client.out, status, reason);
}

/* --- the guard --- */

/* Nobody sees what led to it; a client that has seen the beginning of the answer sees no end of it. */
static void found_leak(struct http_gate *gate)
{
    struct side *client = &gate->client;

    client->out.len -= client->held;
    client->held = 0;
    gate->events.on_leak(gate->events.data);
    client->stream.broken = gate->response_begun;
    refuse(gate, 502, "the server sent a credential back");
}

/* Of `raw`, which the server has sent, `content` means something. -1: it must not pass. */
static int inspect(struct http_gate *gate, struct str raw, struct str content)
{
    ssize_t held = leak_guard_feed(gate->events.guard, content);

    if (held < 0) {
        found_leak(gate);
        return -1;
    }
    if (held < HELD_MIN)
        gate->client.held = 0;
    else if ((size_t)held > content.n) /* it began earlier: with the framing between, more than that is held */
        gate->client.held += raw.n;
    else
        gate->client.held = (size_t)held + (size_t)(raw.p + raw.n - content.p - content.n);
    return 0;
}

/* --- requests --- */

static void begin_exchange(struct http_gate *gate, const struct h1_head *head)
{
    gate->phase = PHASE_EXCHANGE;
    gate->request_done = head->framing == H1_NO_BODY;
    gate->response_begun = gate->response_done = false;
    gate->keep_alive = head->keep_alive;
    gate->upgrade = head->upgrade.n > 0;
    gate->method_size = MIN(head->method.n, sizeof(gate->method));
    memcpy(gate->method, head->method.p, gate->method_size);
    h1_body_init(&gate->request_body, head);
}

static bool take_request_head(struct http_gate *gate)
{
    struct side *client = &gate->client;
    struct str raw = buf_str(&client->in);
    struct h1_head head;
    const char *refusal;
    ssize_t n;

    if (raw.n == 0)
        return false;
    if (gate->server.in.len > 0) { /* nobody asked for that: it would pass for the answer */
        gate->phase = PHASE_CLOSING;
        return true;
    }
    gate->response_begun = false;
    n = h1_parse_request(raw.p, raw.n, &head_limits, &head);
    if (n == 0)
        return false;
    if (n < 0 || head.method.n > METHOD_MAX) {
        refuse(gate, 400, "the request is malformed");
        return true;
    }
    raw.n = (size_t)n;
    refusal = gate->events.on_request(gate->events.data, &head, raw, &gate->server.out);
    if (refusal) {
        refuse(gate, 403, refusal);
        return true;
    }
    begin_exchange(gate, &head);
    buf_consume(&client->in, raw.n);
    return true;
}

/* Bytes of a body, framed by `body`, from one side to the other. */
static bool pass_body(struct side *from, struct side *to, struct h1_body *body, bool *done)
{
    struct http_gate *gate = from->gate;
    bool moved = false;

    while (!*done && from->in.len > 0 && room(to) > 0) {
        struct str content;
        ssize_t n = h1_body_feed(body, buf_head(&from->in), MIN(from->in.len, room(to)), &content, done);

        if (n < 0) {
            from->stream.broken = from->stream.ended = true;
            return true;
        }
        if (from == &gate->server && inspect(gate, (struct str){ buf_head(&from->in), (size_t)n }, content) < 0)
            return true;
        if ((n > 0 && !move(from, to, (size_t)n)) || (n == 0 && !*done))
            return moved;
        moved = true;
    }
    return moved;
}

/* --- responses --- */

static bool take_response_head(struct http_gate *gate)
{
    struct side *server = &gate->server;
    struct str raw = buf_str(&server->in), method = { gate->method, gate->method_size };
    struct h1_head head;
    ssize_t n = raw.n ? h1_parse_response(raw.p, raw.n, &head_limits, method, &head) : 0;

    if (n == 0)
        return false;
    if (n < 0) {
        refuse(gate, 502, "the server's answer is malformed");
        return true;
    }
    if (head.status == 101 && !gate->upgrade) {
        refuse(gate, 502, "the server switched protocols unasked");
        return true;
    }
    leak_guard_restart(gate->events.guard);
    raw.n = (size_t)n;
    if (inspect(gate, raw, raw) < 0 || !move(server, &gate->client, raw.n))
        return true;
    gate->client.held = 0;
    leak_guard_restart(gate->events.guard);
    if (head.status == 101) {
        gate->response_begun = true;
        gate->phase = PHASE_RAW;
        return true;
    }
    if (head.status < 200)
        return true;
    gate->response_begun = true;
    gate->response_done = head.framing == H1_NO_BODY;
    gate->keep_alive &= head.keep_alive && head.framing != H1_UNTIL_CLOSE;
    h1_body_init(&gate->response_body, &head);
    return true;
}

static bool pass_response(struct http_gate *gate)
{
    bool moved = false;

    while (gate->phase == PHASE_EXCHANGE && !gate->response_begun && room(&gate->client) >= HEAD_MAX)
        if (!take_response_head(gate))
            break;
        else
            moved = true;
    if (gate->phase == PHASE_EXCHANGE && gate->response_begun && !gate->response_done)
        moved |= pass_body(&gate->server, &gate->client, &gate->response_body, &gate->response_done);
    if (gate->server.stream.ended && !gate->server.stream.broken && gate->server.in.len == 0 &&
        gate->response_begun && gate->response_body.framing == H1_UNTIL_CLOSE)
        gate->response_done = true;
    if (gate->response_done)
        gate->client.held = 0;
    return moved;
}

static void end_exchange(struct http_gate *gate)
{
    if (!gate->response_done)
        return;
    if (!gate->keep_alive || gate->server.stream.ended)
        gate->phase = PHASE_CLOSING;
    else if (gate->request_done)
        gate->phase = PHASE_REQUEST;
}

/* --- the whole --- */

static bool pass_raw(struct side *from, struct side *to)
{
    struct http_gate *gate = from->gate;
    struct str raw = { buf_head(&from->in), MIN(from->in.len, room(to)) };

    if (raw.n == 0)
        return false;
    if (from == &gate->server && inspect(gate, raw, raw) < 0)
        return true;
    return move(from, to, raw.n);
}

static bool step(struct http_gate *gate)
{
    struct side *client = &gate->client, *server = &gate->server;
    bool moved = false;

    switch (gate->phase) {
    case PHASE_REQUEST:
        return take_request_head(gate);
    case PHASE_EXCHANGE:
        if (!gate->request_done)
            moved = pass_body(client, server, &gate->request_body, &gate->request_done);
        moved |= pass_response(gate);
        if (gate->phase == PHASE_EXCHANGE)
            end_exchange(gate);
        return moved || gate->phase != PHASE_EXCHANGE;
    case PHASE_RAW:
        moved = pass_raw(client, server);
        return pass_raw(server, client) || moved;
    case PHASE_CLOSING:
        break;
    }
    return false;
}

static void pass_end(struct side *from, struct side *to)
{
    if (!from->stream.ended || from->in.len > 0 || to->out.len > to->held || to->shut)
        return;
    stream_shut(&to->stream);
    to->shut = true;
}

/* Whether nothing can come of it any more. */
static bool over(struct http_gate *gate)
{
    struct side *client = &gate->client, *server = &gate->server;

    if (client->stream.broken)
        return true;
    switch (gate->phase) {
    case PHASE_REQUEST:
        return client->stream.ended || (server->stream.ended && client->out.len == 0);
    case PHASE_EXCHANGE:
        return (server->stream.ended || server->stream.broken) && server->in.len == 0 &&
               client->out.len == client->held;
    case PHASE_RAW:
        pass_end(client, server);
        pass_end(server, client);
        return (client->shut && server->shut) || server->stream.broken;
    case PHASE_CLOSING:
        return client->out.len == 0;
    }
    return true;
}

static void on_io(struct loop_io *io, uint32_t events);

static int watch(struct side *side, bool reading)
{
    struct loop *loop = side->gate->loop;
    bool writing = side->out.len > side->held || side->stream.wants_write;
    uint32_t events = (reading ? EPOLLIN : 0) | (writing ? EPOLLOUT : 0);

    if (events == 0) { /* hang-ups would be reported again and again */
        loop_io_remove(loop, &side->stream.io);
        return 0;
    }
    return loop_io_active(&side->stream.io)
               ? loop_io_modify(loop, &side->stream.io, events)
               : loop_io_add(loop, &side->stream.io, side->stream.io.fd, events, on_io);
}

static bool reads(const struct side *side, enum phase phase)
{
    return !side->stream.ended && phase != PHASE_CLOSING && side->in.len < HTTP_GATE_HEAD_MAX;
}

/* A whole answer ends with TLS's own end, so that a cut one can be told from it. */
static void end(struct http_gate *gate)
{
    if (gate->phase == PHASE_CLOSING && !gate->client.stream.broken)
        stream_shut(&gate->client.stream);
    gate->events.on_end(gate->events.data);
    http_gate_free(gate);
}

static void pump(struct http_gate *gate)
{
    struct side *client = &gate->client, *server = &gate->server;
    bool moved = true;

    for (int i = 0; i < TURNS && moved; i++) {
        fill(client);
        fill(server);
        moved = step(gate);
        moved |= drain(server);
        moved |= drain(client);
    }
    if (over(gate) || watch(client, reads(client, gate->phase)) < 0 ||
        watch(server, reads(server, gate->phase)) < 0)
        end(gate);
    else if (moved)
        loop_defer(gate->loop, &gate->again);
}

/* What is in our buffers already wakes nobody. */
static void on_again(struct loop_deferred *again)
{
    pump(container_of(again, struct http_gate, again));
}

static void on_io(struct loop_io *io, uint32_t events)
{
    struct stream *stream = container_of(io, struct stream, io);

    (void)events; /* what the calls return tells the same, after the bytes that came before */
    pump(container_of(stream, struct side, stream)->gate);
}

static void init_side(struct http_gate *gate, struct side *side, const struct stream *stream)
{
    side->stream = *stream;
    side->gate = gate;
    buf_init(&side->in, HTTP_GATE_HEAD_MAX + PIECE);
    buf_init(&side->out, QUEUE_MAX + HTTP_GATE_HEAD_MAX + HEAD_MAX);
}

struct http_gate *http_gate_start(struct loop *loop, const struct stream *client, const struct stream *server,
                                  struct str early, const struct http_gate_events *events)
{
    struct http_gate *gate = calloc(1, sizeof(*gate));
    struct stream streams[] = { *client, *server };

    if (!gate) {
        stream_close(&streams[0], loop);
        stream_close(&streams[1], loop);
        return NULL;
    }
    gate->loop = loop;
    gate->events = *events;
    gate->again.callback = on_again;
    init_side(gate, &gate->client, client);
    init_side(gate, &gate->server, server);
    /* The first turn is the loop's: the server's socket is writable. */
    if (buf_append_str(&gate->client.in, early) == 0 &&
        loop_io_add(loop, &gate->client.stream.io, client->io.fd, EPOLLIN, on_io) == 0 &&
        loop_io_add(loop, &gate->server.stream.io, server->io.fd, EPOLLIN | EPOLLOUT, on_io) == 0)
        return gate;
    http_gate_free(gate);
    return NULL;
}

void http_gate_free(struct http_gate *gate)
{
    struct side *sides[2];

    if (!gate)
        return;
    loop_defer_cancel(gate->loop, &gate->again);
    sides[0] = &gate->client;
    sides[1] = &gate->server;
    for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
        stream_close(&sides[i]->stream, gate->loop);
        buf_free(&sides[i]->in);
        buf_free(&sides[i]->out);
    }
    free(gate);
}

bool http_gate_is_busy(const struct http_gate *gate)
{
    return gate->phase == PHASE_EXCHANGE || gate->phase == PHASE_RAW;
}

void http_gate_counts(const struct http_gate *gate, uint64_t *ret_out, uint64_t *ret_in)
{
    *ret_out = gate->server.written;
    *ret_in = gate->client.written;
}
