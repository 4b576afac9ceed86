#include "cloudflared.h"

#include "agent/agent.h"
#include "base/json.h"
#include "net/client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

#define LINE_MAX_     ((size_t)8192)
#define URL_MAX_      256
#define POLL_MS       200
#define PROBE_MS      1000
#define READY_MS      90000
#define STOP_GRACE_MS 3000
#define ANSWER_MAX    ((size_t)4096)

struct cloudflared {
    struct agent *agent;
    struct child *child;
    struct sink sink;
    char lines[STREAM_COUNT][LINE_MAX_];
    size_t line_n[STREAM_COUNT];
    bool quick, ready, stopping;
    char url[URL_MAX_];
    uint16_t metrics_port;
    struct http_client *client;
    struct http_call *probe;
    struct buf answer;
    struct loop_timer timer;
    struct loop_deferred drop_client;
    uint64_t deadline_ms;
    const char *reason;
    const struct cloudflared_events *events;
    void *data;
};

const char *cloudflared_url(const struct cloudflared *c)
{
    return c->url;
}

/* --- what it prints --- */

/* Of `text`, which is NUL-terminated. */
static void look_for_metrics(struct cloudflared *c, const char *text)
{
    static const char lead[] = "metrics server on 127.0.0.1:";
    const char *at = strcasestr(text, lead);
    uint64_t port;
    size_t n;

    if (!at || c->metrics_port != 0)
        return;
    at += sizeof(lead) - 1;
    n = strspn(at, "0123456789");
    if (str_to_u64((struct str){ at, n }, &port) == 0 && port > 0 && port <= 65535)
        c->metrics_port = (uint16_t)port;
}

static void look_for_url(struct cloudflared *c, const char *text)
{
    static const char scheme[] = "https://", tail[] = ".trycloudflare.com";
    const char *at = text;

    while (c->quick && c->url[0] == '\0' && (at = strcasestr(at, scheme))) {
        const char *label = at + sizeof(scheme) - 1;
        size_t n = strspn(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
        size_t length = sizeof(scheme) - 1 + n + sizeof(tail) - 1;
        if (n > 0 && strncasecmp(label + n, tail, sizeof(tail) - 1) == 0 && length < sizeof(c->url))
            snprintf(c->url, sizeof(c->url), "%.*s", (int)length, at);
        at = label;
    }
}

/* A line is plain text, or JSON whose "message" is the text. */
static void look_at_line(struct cloudflared *c, const char *line, size_t n)
{
    const struct json *json, *message = NULL;
    struct arena arena;
    const char *text = line;

    if (n == 0 || c->ready)
        return;
    arena_init(&arena, (size_t)1 << 20);
    if (json_parse(&arena, (struct str){ line, n }, JSON_MAX_DEPTH, &json, NULL) == 0)
        message = json_get(json, "message");
    if (message && message->type == JSON_STRING)
        text = message->string.p;
    look_for_metrics(c, text);
    look_for_url(c, text);
    arena_free(&arena);
}

static char *on_reserve(struct sink *sink, int stream, size_t *room, bool final)
{
    struct cloudflared *c = container_of(sink, struct cloudflared, sink);

    (void) final;
    if (c->line_n[stream] >= LINE_MAX_ - 1)
        c->line_n[stream] = 0; /* nothing that we look for is so long */
    *room = LINE_MAX_ - 1 - c->line_n[stream];
    return c->lines[stream] + c->line_n[stream];
}

static void on_commit(struct sink *sink, int stream, size_t n)
{
    struct cloudflared *c = container_of(sink, struct cloudflared, sink);
    char *line = c->lines[stream];
    char *end;

    c->line_n[stream] += n;
    while ((end = memchr(line, '\n', c->line_n[stream]))) {
        size_t used = (size_t)(end - line) + 1;
        *end = '\0';
        look_at_line(c, line, used - 1);
        c->line_n[stream] -= used;
        memmove(line, line + used, c->line_n[stream]);
    }
}

/* --- readiness --- */

static int connect_to_metrics(void *data, struct berm_error *err)
{
    struct cloudflared *c = data;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(c->metrics_port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;

    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socket");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EINPROGRESS)
        return fd;
    berm_fail(err, BERM_E_SYSTEM, errno, "connect to the metrics server");
    close_fd(&fd);
    return -1;
}

static void poll_again(struct cloudflared *c)
{
    (void)loop_timer_start(c->agent->loop, &c->timer, POLL_MS);
}

static bool tells_of_a_connection(struct cloudflared *c)
{
    const struct json *json, *connections;
    struct arena arena;
    bool yes = false;

    arena_init(&arena, (size_t)1 << 16);
    if (json_parse(&arena, buf_str(&c->answer), JSON_MAX_DEPTH, &json, NULL) == 0) {
        connections = json_get(json, "readyConnections");
        yes = connections && connections->type == JSON_INT && connections->integer >= 1;
    }
    arena_free(&arena);
    return yes;
}

static void on_drop_client(struct loop_deferred *deferred)
{
    struct cloudflared *c = container_of(deferred, struct cloudflared, drop_client);

    http_client_free(TAKE_PTR(c->client));
}

static void on_probe_head(struct http_call *call, const struct h1_head *head, void *data)
{
    (void)call;
    (void)head;
    buf_clear(&((struct cloudflared *)data)->answer);
}

static void on_probe_body(struct http_call *call, struct str piece, void *data)
{
    struct cloudflared *c = data;

    (void)call;
    (void)buf_append_str(&c->answer, piece); /* cut off, it is not JSON */
}

static void on_probe_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct cloudflared *c = data;

    (void)call;
    c->probe = NULL;
    if (c->stopping)
        return;
    if (err->code != BERM_OK || !tells_of_a_connection(c) || (c->quick && c->url[0] == '\0')) {
        poll_again(c);
        return;
    }
    c->ready = true;
    loop_defer(c->agent->loop, &c->drop_client);
    c->events->on_ready(c, c->data);
}

static bool start_probe(struct cloudflared *c)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_probe_head,
                                                          .on_body = on_probe_body,
                                                          .on_end = on_probe_end };
    const struct http_client_config config = { .connect = connect_to_metrics,
                                               .data = c,
                                               .max_idle = 1,
                                               .idle_timeout_ms = 1000,
                                               .head_timeout_ms = PROBE_MS };

    if (!c->client)
        c->client = http_client_new(c->agent->loop, &config);
    if (c->client)
        c->probe = http_call_start(c->client, "GET", "/ready", NULL, 0, 0, &callbacks, c, NULL);
    if (c->probe)
        http_call_set_idle_timeout(c->probe, PROBE_MS);
    return c->probe != NULL;
}

static void on_timer(struct loop_timer *timer)
{
    struct cloudflared *c = container_of(timer, struct cloudflared, timer);

    if (c->ready || c->stopping)
        return;
    if (loop_now_ms(c->agent->loop) >= c->deadline_ms) {
        c->reason = "Timed out waiting for cloudflared to become ready after 90000ms";
        cloudflared_stop(c);
    } else if (c->metrics_port == 0 || !start_probe(c)) {
        poll_again(c);
    }
}

/* --- its life --- */

static void on_child_end(struct child *child, void *data)
{
    struct cloudflared *c = data;
    bool exited = WIFEXITED(child->wait_status);
    int code = exited ? WEXITSTATUS(child->wait_status) : -1;
    char reason[96];

    loop_timer_stop(c->agent->loop, &c->timer);
    if (c->probe)
        http_call_cancel(TAKE_PTR(c->probe));
    loop_defer_cancel(c->agent->loop, &c->drop_client);
    http_client_free(c->client);
    snprintf(reason, sizeof(reason), "cloudflared exited before becoming ready (code=%d)", code);
    c->events->on_exit(c, code, c->ready ? NULL : c->reason ? c->reason : reason, c->data);
    buf_free(&c->answer);
    free(c);
}

static struct child *spawn(struct cloudflared *c, int port, const char *token, int *ret_errnum)
{
    static const struct child_events events = { .on_end = on_child_end };
    struct child_spec spec = CHILD_SPEC_INIT;
    struct child_error err = { .errnum = ENOMEM };
    struct child *child = NULL;
    struct arena arena;
    char url[40];
    const char *quick[] = { "cloudflared", "tunnel", "--metrics", "127.0.0.1:0", "--no-autoupdate",
                            "--output",    "json",   "--url",     url,           NULL };
    const char *named[] = { "cloudflared",     "tunnel", "--metrics", "127.0.0.1:0",
                            "--no-autoupdate", "run",    "--token",   token,
                            "--url",           url,      NULL };

    snprintf(url, sizeof(url), "http://localhost:%d", port);
    arena_init(&arena, (size_t)16 << 20);
    spec.file = "cloudflared";
    spec.argv = (char *const *)(uintptr_t)(token ? named : quick);
    spec.envp = env_merge(&arena, &c->agent->env, NULL);
    spec.fds[1] = spec.fds[2] = CHILD_PIPE;
    if (spec.envp)
        child = child_spawn(c->agent, &spec, &c->sink, &events, c, &err);
    arena_free(&arena);
    *ret_errnum = err.errnum;
    return child;
}

struct cloudflared *cloudflared_start(struct agent *agent, int port, const char *token,
                                      const struct cloudflared_events *events, void *data, int *ret_errnum)
{
    struct cloudflared *c = calloc(1, sizeof(*c));

    if (!c) {
        *ret_errnum = ENOMEM;
        return NULL;
    }
    c->agent = agent;
    c->quick = !token;
    c->sink = (struct sink){ on_reserve, on_commit };
    c->events = events;
    c->data = data;
    c->drop_client.callback = on_drop_client;
    c->deadline_ms = loop_now_ms(agent->loop) + READY_MS;
    buf_init(&c->answer, ANSWER_MAX);
    loop_timer_init(&c->timer, on_timer);
    c->child = spawn(c, port, token, ret_errnum);
    if (!c->child) {
        free(c);
        return NULL;
    }
    c->child->grace_ms = STOP_GRACE_MS;
    poll_again(c);
    return c;
}

void cloudflared_stop(struct cloudflared *c)
{
    if (c->stopping)
        return;
    c->stopping = true;
    child_stop(c->child);
}
