/* gateway_links.c - the daemons of an edge: who they are, which link serves, see gateway.h. */
#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sys.h"
#include "daemon/link/control.h"
#include "daemon/link/gateway_internal.h"

#define ANSWER_MS        5000
#define STREAM_IDLE_MS   60000
#define STREAMS_KEPT     64 /* per link, for the next requests */
#define FARS_UNKNOWN_MAX 256
#define FARS_MAX         20000

const char *far_state_name(enum far_state state)
{
    static const char *const names[] = { "asked", "told", "up", "refused", "draining", "closed" };

    return names[state];
}

/* --- finding --- */

struct far *gateway_find(struct gateway *gateway, const char *name)
{
    uint64_t hash = hash_text(str_from(name));

    for (struct hash_node *node = hash_chain(&gateway->by_name, hash); node; node = node->next) {
        struct far *far = container_of(node, struct far, by_name);

        if (node->hash == hash && !strcmp(far->key.name, name))
            return far;
    }
    return NULL;
}

static struct far *find_number(struct gateway *gateway, uint32_t number)
{
    for (struct list *node = gateway->fars.next; node != &gateway->fars; node = node->next) {
        struct far *far = container_of(node, struct far, node);

        if (far->number == number)
            return far;
    }
    return NULL;
}

static bool is_unknown(const struct far *far)
{
    return far->state == FAR_ASKED || far->state == FAR_TOLD || far->state == FAR_REFUSED;
}

static void set_state(struct far *far, enum far_state state)
{
    far->gateway->fars_unknown -= is_unknown(far);
    if (far->state == FAR_SERVING)
        hash_remove(&far->gateway->by_name, &far->by_name);
    far->state = state;
    far->since_ms = clock_realtime_ms();
    far->gateway->fars_unknown += is_unknown(far);
}

/* --- ends of a link --- */

/* berm-link says when it is down, and frees it then. */
static void close_far(struct far *far)
{
    set_state(far, FAR_CLOSED);
    loop_timer_stop(far->gateway->loop, &far->deadline);
    link_wire_close(far->gateway->wire, far->number);
}

static void drain_far(struct far *far)
{
    set_state(far, FAR_DRAINING);
    loop_timer_stop(far->gateway->loop, &far->deadline);
    link_wire_drain(far->gateway->wire, far->number);
    http_client_drop_idle(far->client);
}

static void free_far(struct far *far)
{
    struct gateway *gateway = far->gateway;

    set_state(far, FAR_CLOSED);
    loop_timer_stop(gateway->loop, &far->deadline);
    http_client_free(far->client); /* the requests over it break now */
    list_remove(&far->node);
    gateway->fars_open--;
    buf_free(&far->answer);
    free(far);
}

void far_request_ended(struct far *far)
{
    far->requests_open--;
    if (far->state == FAR_DRAINING) /* a kept stream would keep it from ending */
        http_client_drop_idle(far->client);
}

static void on_deadline(struct loop_timer *timer)
{
    struct far *far = container_of(timer, struct far, deadline);

    log_warn("link.silent", "link", log_num(far->number), "peer", far->peer, "state", far_state_name(far->state));
    close_far(far);
}

/* --- our questions --- */

typedef void (*far_answered)(struct far *far);

static void on_answer_head(struct http_call *call, const struct h1_head *head, void *data)
{
    struct far *far = data;

    (void)call;
    far->answer_status = head->status;
}

static void on_answer_body(struct http_call *call, struct str piece, void *data)
{
    struct far *far = data;

    (void)call;
    if (far->state != FAR_CLOSED && buf_append_str(&far->answer, piece) < 0) {
        log_warn("link.no_answer", "link", log_num(far->number), "peer", far->peer, "error", "too long");
        close_far(far);
    }
}

static void on_answered(struct far *far);

static void on_answer_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct far *far = data;

    (void)call;
    far->call = NULL;
    if (far->state == FAR_CLOSED)
        return;
    if (err->code == BERM_OK && far->answer_status / 100 == 2) {
        on_answered(far);
        return;
    }
    if (far->state != FAR_REFUSED)
        log_warn("link.no_answer", "link", log_num(far->number), "peer", far->peer, "status",
                 log_num(far->answer_status), "error", err->code == BERM_OK ? NULL : err->message);
    close_far(far);
}

static void ask(struct far *far, enum far_state state, const char *method, const char *target, struct str body)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_answer_head,
                                                          .on_body = on_answer_body,
                                                          .on_end = on_answer_end };
    static const struct http_field fields[] = { { "Host", LINK_CONTROL_HOST },
                                                { "Content-Type", "application/json" } };
    struct berm_error err;

    set_state(far, state);
    far->answer_status = 0;
    buf_clear(&far->answer);
    far->call =
        http_call_start(far->client, method, target, fields, ARRAY_SIZE(fields), body.n, &callbacks, far, &err);
    if (!far->call) {
        log_warn("link.no_answer", "link", log_num(far->number), "peer", far->peer, "error", err.message);
        close_far(far);
        return;
    }
    if (body.n) {
        http_call_write(far->call, body.p, body.n);
        http_call_end_body(far->call);
    }
}

/* Asks with an object of one or two texts. */
static void ask_json(struct far *far, enum far_state state, const char *method, const char *target,
                     const char *const pairs[4])
{
    struct json_writer w;
    struct buf body;

    buf_init(&body, LINK_CONTROL_MAX);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    for (size_t i = 0; i < 4 && pairs[i]; i += 2)
        json_pair_cstring(&w, pairs[i], pairs[i + 1]);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        ask(far, state, method, target, buf_str(&body));
    else
        close_far(far);
    buf_free(&body);
}

static void refuse_far(struct far *far, const char *reason)
{
    const char *const pairs[4] = { "reason", reason };

    far->gateway->metrics.refused++;
    log_warn("link.refused", "link", log_num(far->number), "peer", far->peer, "reason", reason);
    ask_json(far, FAR_REFUSED, "POST", LINK_REFUSED, pairs);
}

static void tell_name(struct far *far)
{
    const char *const pairs[4] = { "name", far->key.name, "url", far->gateway->config->edge_url };

    ask_json(far, FAR_TOLD, "PUT", LINK_HOST, pairs);
}

/* The key of its answer, by which it is known from now on. False: it is nobody's. */
static bool take_key(struct far *far)
{
    const struct link_key *key = NULL;
    const struct json *answer;
    const char *text = NULL;
    struct arena arena;
    int64_t links = 0;

    arena_init(&arena, LINK_CONTROL_MAX * 8);
    if (json_parse(&arena, buf_str(&far->answer), 4, &answer, NULL) == 0 && answer->type == JSON_OBJECT &&
        json_field_int(answer, "links", 0, UINT32_MAX, &links, NULL) == 0 &&
        json_field_cstring(answer, "key", &text, NULL) == 0 && text)
        key = link_keys_find(&far->gateway->keys, str_from(text));
    far->alone = links == 1;
    if (key)
        far->key = *key;
    if (text)
        explicit_bzero((char *)(uintptr_t)text, strlen(text));
    arena_free(&arena);
    if (far->answer.len)
        explicit_bzero(buf_head(&far->answer), far->answer.len);
    return key != NULL;
}

static void serve(struct far *far)
{
    struct gateway *gateway = far->gateway;
    struct far *old = gateway_find(gateway, far->key.name);

    if (old) {
        log_info("link.taken_over", "name", far->key.name, "link", log_num(old->number), "by",
                 log_num(far->number));
        if (far->alone) /* what is under way there will not be answered any more */
            close_far(old);
        else
            drain_far(old);
    }
    loop_timer_stop(gateway->loop, &far->deadline);
    if (hash_insert(&gateway->by_name, &far->by_name, hash_text(str_from(far->key.name))) < 0) {
        close_far(far);
        return;
    }
    set_state(far, FAR_SERVING);
    log_info("link.named", "name", far->key.name, "link", log_num(far->number), "peer", far->peer, "transport",
             link_transport_name(far->transport));
}

static void on_answered(struct far *far)
{
    struct gateway *gateway = far->gateway;

    switch (far->state) {
    case FAR_ASKED:
        if (take_key(far)) {
            tell_name(far);
            break;
        }
        strikes_add(&gateway->strikes, far->peer, loop_now_ms(gateway->loop));
        refuse_far(far, "this edge knows no such key");
        break;
    case FAR_TOLD:
        serve(far);
        break;
    default:
        close_far(far);
        break;
    }
}

/* --- its streams --- */

static int open_stream(void *data, struct berm_error *err)
{
    struct far *far = data;
    _cleanup_close_ int far_end = -EBADF;
    int fds[2];

    if (far->state == FAR_CLOSED || far->state == FAR_DRAINING)
        return berm_fail(err, BERM_E_LINK_DOWN, 0, "the link ends");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socketpair");
    far_end = fds[1];
    if (link_wire_open(far->gateway->wire, far->number, far_end) == 0) {
        far->streams_total++;
        far->gateway->metrics.streams++;
        return fds[0];
    }
    berm_fail(err, BERM_E_LINK_DOWN, errno, "a stream could not be opened");
    close_fd(&fds[0]);
    return -1;
}

/* --- what berm-link says --- */

static struct far *new_far(struct gateway *gateway, uint32_t link, enum link_transport transport, const char *peer)
{
    struct far *far = calloc(1, sizeof(*far));
    const struct http_client_config config = { .connect = open_stream,
                                               .data = far,
                                               .max_idle = STREAMS_KEPT,
                                               .idle_timeout_ms = STREAM_IDLE_MS,
                                               .high_water = GATEWAY_HIGH_WATER };

    if (!far)
        return NULL;
    far->client = http_client_new(gateway->loop, &config);
    if (!far->client) {
        free(far);
        return NULL;
    }
    far->gateway = gateway;
    far->number = link;
    far->transport = transport;
    snprintf(far->peer, sizeof(far->peer), "%s", peer);
    far->state = FAR_CLOSED;
    buf_init(&far->answer, LINK_CONTROL_MAX);
    loop_timer_init(&far->deadline, on_deadline);
    list_append(&gateway->fars, &far->node);
    gateway->fars_open++;
    return far;
}

/* NULL: it may stay. */
static const char *why_not(const struct gateway *gateway, const char *peer)
{
    if (gateway->draining)
        return "the edge stops";
    if (strikes_out(&gateway->strikes, peer, loop_now_ms(gateway->loop)))
        return "wrong keys came from there";
    if (gateway->fars_unknown >= FARS_UNKNOWN_MAX || gateway->fars_open >= FARS_MAX)
        return "too many";
    return NULL;
}

static void on_up(uint32_t link, enum link_transport transport, const char *peer, void *data)
{
    struct gateway *gateway = data;
    const char *reason = why_not(gateway, peer);
    struct far *far = reason ? NULL : new_far(gateway, link, transport, peer);

    gateway->metrics.links++;
    if (!far || loop_timer_start(gateway->loop, &far->deadline, ANSWER_MS) < 0) {
        log_warn("link.closed", "link", log_num(link), "peer", peer, "reason", reason ? reason : "out of memory");
        gateway->metrics.refused++;
        link_wire_close(gateway->wire, link);
        return;
    }
    log_info("link.up", "link", log_num(link), "peer", peer, "transport", link_transport_name(transport));
    ask(far, FAR_ASKED, "POST", LINK_HELLO, (struct str){ "", 0 });
}

static void on_down(uint32_t link, enum link_reason reason, uint32_t retry_ms, const char *text, void *data)
{
    struct gateway *gateway = data;
    struct far *far = find_number(gateway, link);

    (void)retry_ms;
    if (!far)
        return; /* closed before it was anybody's */
    log_info("link.down", "name", far->key.name[0] ? far->key.name : NULL, "link", log_num(link), "peer", far->peer,
             "reason", link_reason_name(reason), "text", text);
    gateway->metrics.lost += far->state == FAR_SERVING;
    free_far(far);
    gateway_maybe_stop(gateway);
}

/* The daemon stops, and comes back under another link. */
static void on_draining(uint32_t link, void *data)
{
    struct far *far = find_number(data, link);

    if (far && far->state != FAR_CLOSED)
        drain_far(far);
}

/* An edge without links is of no use: whoever supervises us starts both again. */
static void on_lost(void *data)
{
    struct gateway *gateway = data;

    gateway_free_links(gateway);
    gateway->failed = !gateway->draining;
    loop_stop(gateway->loop);
}

const struct link_wire_events gateway_link_events = {
    .on_up = on_up, .on_down = on_down, .on_draining = on_draining, .on_lost = on_lost
};

/* --- all of them --- */

void gateway_keys_changed(struct gateway *gateway)
{
    for (struct list *node = gateway->fars.next; node != &gateway->fars; node = node->next) {
        struct far *far = container_of(node, struct far, node);

        if (far->key.name[0] && far->state != FAR_CLOSED && !link_keys_have(&gateway->keys, &far->key)) {
            log_info("link.key_gone", "name", far->key.name, "link", log_num(far->number));
            close_far(far);
        }
    }
}

void gateway_drain_links(struct gateway *gateway)
{
    for (struct list *node = gateway->fars.next; node != &gateway->fars; node = node->next) {
        struct far *far = container_of(node, struct far, node);

        if (far->state != FAR_CLOSED)
            drain_far(far);
    }
    link_wire_drain(gateway->wire, 0);
}

void gateway_free_links(struct gateway *gateway)
{
    while (!list_empty(&gateway->fars))
        free_far(container_of(gateway->fars.next, struct far, node));
}
