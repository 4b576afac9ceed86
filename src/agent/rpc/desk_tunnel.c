#include "desk_tunnel.h"

#include "agent/agent.h"
#include "base/desk.h"
#include "base/json.h"
#include "net/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#define TIMEOUT_MS 10000
#define OPEN_MS    100000 /* a daemon that has to wait for Cloudflare gives up after 90 s */
#define RETRY_MS   1000
#define URL_MAX_   512
#define BODY_MAX_  ((size_t)4096)
#define ANSWER_MAX ((size_t)4096)

struct desk_link {
    struct agent *agent;
    struct http_client *client;
    struct desk_tunnel *tunnels;
    struct http_call *wait; /* for the end of those that are ready */
    int status;
    struct buf answer;
    struct loop_timer again;
    struct loop_deferred change; /* of what is waited for */
};

struct desk_tunnel {
    struct desk_link *link;
    struct desk_tunnel *prev, *next;
    char id[DESK_ID_MAX + 1];
    int port;
    char url[URL_MAX_];
    bool ready, stopping;
    struct http_call *call; /* that opens it, then that closes it */
    int status;
    struct buf answer;
    struct loop_timer retry;
    const struct desk_tunnel_events *events;
    void *data;
};

const char *desk_tunnel_url(const struct desk_tunnel *t)
{
    return t->url;
}

/* --- the link --- */

static int connect_to_desk(void *data, struct berm_error *err)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(DESK_PORT) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;

    (void)data;
    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socket");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    inet_pton(AF_INET, DESK_ADDRESS, &address.sin_addr);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EINPROGRESS)
        return fd;
    if (errno == ENETUNREACH)
        berm_fail(err, BERM_E_SYSTEM, 0, "this sandbox has no network");
    else
        berm_fail(err, BERM_E_SYSTEM, errno, "connect");
    close_fd(&fd);
    return -1;
}

static void wait_for_ends(struct desk_link *link);

static void on_change(struct loop_deferred *deferred)
{
    wait_for_ends(container_of(deferred, struct desk_link, change));
}

static void on_again(struct loop_timer *timer)
{
    wait_for_ends(container_of(timer, struct desk_link, again));
}

/* Made once, and kept: it is small. */
static struct desk_link *get_link(struct agent *agent)
{
    const struct http_client_config config = { .connect = connect_to_desk,
                                               .max_idle = 2,
                                               .idle_timeout_ms = TIMEOUT_MS };
    struct desk_link *link = agent->rpc.desk;

    if (link)
        return link;
    link = calloc(1, sizeof(*link));
    if (!link)
        return NULL;
    link->client = http_client_new(agent->loop, &config);
    if (!link->client) {
        free(link);
        return NULL;
    }
    link->agent = agent;
    link->change.callback = on_change;
    loop_timer_init(&link->again, on_again);
    buf_init(&link->answer, ANSWER_MAX);
    agent->rpc.desk = link;
    return link;
}

static struct http_call *ask(struct desk_link *link, const char *method, const char *path, const struct buf *body,
                             const struct http_call_callbacks *callbacks, void *data, struct berm_error *err)
{
    static const struct http_field json = { "Content-Type", "application/json" };
    struct http_call *call = http_call_start(link->client, method, path, &json, body != NULL, body ? body->len : 0,
                                             callbacks, data, err);

    if (call && body) {
        http_call_write(call, buf_head(body), body->len);
        http_call_end_body(call);
    }
    return call;
}

/* --- one tunnel --- */

static void end(struct desk_tunnel *t, enum desk_end how, const char *reason)
{
    struct desk_link *link = t->link;

    if (t->prev)
        t->prev->next = t->next;
    else
        link->tunnels = t->next;
    if (t->next)
        t->next->prev = t->prev;
    loop_timer_stop(link->agent->loop, &t->retry);
    if (t->ready)
        loop_defer(link->agent->loop, &link->change);
    t->events->on_end(how, reason, t->data);
    buf_free(&t->answer);
    free(t);
}

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    (void)call;
    ((struct desk_tunnel *)data)->status = head->status;
}

static void on_body(struct http_call *call, struct str piece, void *data)
{
    (void)call;
    (void)buf_append_str(&((struct desk_tunnel *)data)->answer, piece); /* cut off, it is not JSON */
}

static void close_it(struct desk_tunnel *t);

static void on_retry(struct loop_timer *timer)
{
    close_it(container_of(timer, struct desk_tunnel, retry));
}

/* Without the daemon it is closed later; until then its name leads nowhere either. */
static void on_closed(struct http_call *call, const struct berm_error *err, void *data)
{
    struct desk_tunnel *t = data;

    (void)call;
    t->call = NULL;
    if (err->code == BERM_OK && t->status < 400)
        end(t, DESK_ENDED, "it was stopped");
    else
        loop_timer_start(t->link->agent->loop, &t->retry, RETRY_MS);
}

static void close_it(struct desk_tunnel *t)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_head, .on_end = on_closed };
    struct berm_error err;
    char path[64];

    snprintf(path, sizeof(path), "/tunnels/%s", t->id);
    t->status = 0;
    t->call = ask(t->link, "DELETE", path, NULL, &callbacks, t, &err);
    if (t->call)
        http_call_set_idle_timeout(t->call, TIMEOUT_MS);
    else
        loop_timer_start(t->link->agent->loop, &t->retry, RETRY_MS);
}

static void take_answer(struct desk_tunnel *t, const struct json *answer)
{
    const struct json *url = json_get(answer, "url"), *error = json_get(answer, "error");
    const struct json *code = json_get(answer, "code");
    bool missing = code && code->type == JSON_STRING && str_is(code->string, DESK_NO_CLOUDFLARED);

    if (t->status == 200 && url && url->type == JSON_STRING && url->string.n < sizeof(t->url)) {
        str_copy(url->string, t->url, sizeof(t->url));
        t->ready = true;
        loop_defer(t->link->agent->loop, &t->link->change);
        t->events->on_ready(t->data);
    } else {
        end(t,
            t->status == 409   ? DESK_CONFLICT
            : t->status == 501 ? DESK_ELSEWHERE
            : missing          ? DESK_MISSING
                               : DESK_ENDED,
            error && error->type == JSON_STRING ? error->string.p : "the daemon's answer makes no sense");
    }
}

static void on_opened(struct http_call *call, const struct berm_error *err, void *data)
{
    struct desk_tunnel *t = data;
    const struct json *answer = NULL;
    struct arena arena;

    (void)call;
    t->call = NULL;
    if (t->stopping) {
        close_it(t);
        return;
    }
    if (err->code != BERM_OK) {
        end(t, DESK_ENDED, err->message);
        return;
    }
    arena_init(&arena, (size_t)64 << 10);
    if (json_parse(&arena, buf_str(&t->answer), 4, &answer, NULL) < 0)
        answer = NULL;
    take_answer(t, answer);
    arena_free(&arena);
}

static int open_it(struct desk_tunnel *t, struct berm_error *err)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_head,
                                                          .on_body = on_body,
                                                          .on_end = on_opened };
    struct json_writer w;
    struct buf body;
    char path[32];

    snprintf(path, sizeof(path), "/tunnels/%d", t->port);
    buf_init(&body, BODY_MAX_);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_pair_cstring(&w, "id", t->id);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        t->call = ask(t->link, "PUT", path, &body, &callbacks, t, err);
    else
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "tunnel");
    buf_free(&body);
    if (!t->call)
        return -1;
    http_call_set_idle_timeout(t->call, OPEN_MS);
    return 0;
}

struct desk_tunnel *desk_tunnel_start(struct agent *agent, const char *id, int port,
                                      const struct desk_tunnel_events *events, void *data, struct berm_error *err)
{
    struct desk_link *link = get_link(agent);
    struct desk_tunnel *t = link ? calloc(1, sizeof(*t)) : NULL;

    if (!t) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "tunnel");
        return NULL;
    }
    t->link = link;
    str_copy(str_from(id), t->id, sizeof(t->id));
    t->port = port;
    t->events = events;
    t->data = data;
    buf_init(&t->answer, ANSWER_MAX);
    loop_timer_init(&t->retry, on_retry);
    if (open_it(t, err) < 0) {
        free(t);
        return NULL;
    }
    t->next = link->tunnels;
    if (t->next)
        t->next->prev = t;
    link->tunnels = t;
    return t;
}

void desk_tunnel_stop(struct desk_tunnel *t)
{
    if (t->stopping)
        return;
    t->stopping = true;
    loop_defer(t->link->agent->loop, &t->link->change);
    if (!t->call)
        close_it(t);
}

/* --- their ends --- */

static void on_wait_head(struct http_call *call, const struct h1_head *head, void *data)
{
    (void)call;
    ((struct desk_link *)data)->status = head->status;
}

static void on_wait_body(struct http_call *call, struct str piece, void *data)
{
    (void)call;
    (void)buf_append_str(&((struct desk_link *)data)->answer, piece);
}

static void end_by_id(struct desk_link *link, const struct json *id)
{
    for (struct desk_tunnel *t = link->tunnels; t && id->type == JSON_STRING; t = t->next)
        if (t->ready && !t->stopping && str_is(id->string, t->id)) {
            end(t, DESK_ENDED, "the daemon has ended it");
            return;
        }
}

/* Whether it makes sense. */
static bool take_ends(struct desk_link *link)
{
    const struct json *answer, *gone = NULL;
    struct arena arena;

    arena_init(&arena, (size_t)64 << 10);
    if (json_parse(&arena, buf_str(&link->answer), 4, &answer, NULL) == 0)
        gone = json_get(answer, "gone");
    if (gone && gone->type == JSON_ARRAY)
        for (size_t i = 0; i < gone->array.count; i++)
            end_by_id(link, &gone->array.items[i]);
    arena_free(&arena);
    return gone != NULL;
}

static void on_wait_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct desk_link *link = data;

    (void)call;
    link->wait = NULL;
    if (err->code == BERM_OK && link->status == 200 && take_ends(link))
        loop_defer(link->agent->loop, &link->change);
    else
        loop_timer_start(link->agent->loop, &link->again, RETRY_MS);
}

/* False: there are none. */
static bool write_waited_for(const struct desk_link *link, struct json_writer *w)
{
    bool any = false;

    json_object_begin(w);
    json_key(w, "ids");
    json_array_begin(w);
    for (const struct desk_tunnel *t = link->tunnels; t; t = t->next)
        if (t->ready && !t->stopping) {
            json_cstring(w, t->id);
            any = true;
        }
    json_array_end(w);
    json_object_end(w);
    return any && json_writer_finish(w) == 0;
}

static void wait_for_ends(struct desk_link *link)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_wait_head,
                                                          .on_body = on_wait_body,
                                                          .on_end = on_wait_end };
    struct json_writer w;
    struct berm_error err;
    struct buf body;

    if (link->wait)
        http_call_cancel(TAKE_PTR(link->wait));
    loop_timer_stop(link->agent->loop, &link->again);
    buf_clear(&link->answer);
    buf_init(&body, BODY_MAX_);
    json_writer_init(&w, &body);
    if (write_waited_for(link, &w)) {
        link->wait = ask(link, "POST", "/tunnels/wait", &body, &callbacks, link, &err);
        if (!link->wait)
            loop_timer_start(link->agent->loop, &link->again, RETRY_MS);
    }
    buf_free(&body);
}
