#include "net/cloudflared_watch.h"

#include "base/json.h"
#include "net/client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define POLL_MS    200
#define PROBE_MS   1000
#define ANSWER_MAX ((size_t)4096)

static int connect_to_metrics(void *data, struct berm_error *err)
{
    struct cloudflared_watch *watch = data;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(watch->output.metrics_port),
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

static void poll_again(struct cloudflared_watch *watch)
{
    (void)loop_timer_start(watch->loop, &watch->timer, POLL_MS);
}

static bool tells_of_a_connection(struct cloudflared_watch *watch)
{
    const struct json *json, *connections;
    struct arena arena;
    bool yes = false;

    arena_init(&arena, (size_t)1 << 16);
    if (json_parse(&arena, buf_str(&watch->answer), JSON_MAX_DEPTH, &json, NULL) == 0) {
        connections = json_get(json, "readyConnections");
        yes = connections && connections->type == JSON_INT && connections->integer >= 1;
    }
    arena_free(&arena);
    return yes;
}

static void on_drop_client(struct loop_deferred *deferred)
{
    struct cloudflared_watch *watch = container_of(deferred, struct cloudflared_watch, drop_client);

    http_client_free(TAKE_PTR(watch->client));
}

static void on_probe_head(struct http_call *call, const struct h1_head *head, void *data)
{
    (void)call;
    (void)head;
    buf_clear(&((struct cloudflared_watch *)data)->answer);
}

static void on_probe_body(struct http_call *call, struct str piece, void *data)
{
    struct cloudflared_watch *watch = data;

    (void)call;
    (void)buf_append_str(&watch->answer, piece); /* cut off, it is not JSON */
}

static void on_probe_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct cloudflared_watch *watch = data;

    (void)call;
    watch->probe = NULL;
    if (watch->stopped)
        return;
    if (err->code != BERM_OK || !tells_of_a_connection(watch) ||
        (watch->output.quick && watch->output.url[0] == '\0')) {
        poll_again(watch);
        return;
    }
    watch->output.done = true;
    loop_defer(watch->loop, &watch->drop_client);
    watch->on_ready(watch);
}

static bool start_probe(struct cloudflared_watch *watch)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_probe_head,
                                                          .on_body = on_probe_body,
                                                          .on_end = on_probe_end };
    const struct http_client_config config = { .connect = connect_to_metrics,
                                               .data = watch,
                                               .max_idle = 1,
                                               .idle_timeout_ms = 1000,
                                               .head_timeout_ms = PROBE_MS };

    if (!watch->client)
        watch->client = http_client_new(watch->loop, &config);
    if (watch->client)
        watch->probe = http_call_start(watch->client, "GET", "/ready", NULL, 0, 0, &callbacks, watch, NULL);
    if (watch->probe)
        http_call_set_idle_timeout(watch->probe, PROBE_MS);
    return watch->probe != NULL;
}

static void on_timer(struct loop_timer *timer)
{
    struct cloudflared_watch *watch = container_of(timer, struct cloudflared_watch, timer);

    if (loop_now_ms(watch->loop) >= watch->deadline_ms) {
        watch->stopped = true;
        watch->on_late(watch);
    } else if (watch->output.metrics_port == 0 || !start_probe(watch)) {
        poll_again(watch);
    }
}

void cloudflared_watch_begin(struct cloudflared_watch *watch, struct loop *loop, bool quick)
{
    watch->loop = loop;
    watch->output.quick = quick;
    watch->drop_client.callback = on_drop_client;
    watch->deadline_ms = loop_now_ms(loop) + CLOUDFLARED_READY_MS;
    buf_init(&watch->answer, ANSWER_MAX);
    loop_timer_init(&watch->timer, on_timer);
    poll_again(watch);
}

void cloudflared_watch_stop(struct cloudflared_watch *watch)
{
    watch->stopped = watch->output.done = true;
    loop_timer_stop(watch->loop, &watch->timer);
}

void cloudflared_watch_end(struct cloudflared_watch *watch)
{
    cloudflared_watch_stop(watch);
    if (watch->probe)
        http_call_cancel(TAKE_PTR(watch->probe));
    loop_defer_cancel(watch->loop, &watch->drop_client);
    http_client_free(TAKE_PTR(watch->client));
    buf_free(&watch->answer);
}
