/*
 * logs.c - GET /containers/X/logs. While a container's command runs, its agent's log is followed and the newest
 * LOG_BYTES of it are kept here, because the agent takes its own along when it ends. After a restart of the daemon
 * the first who asks begins that anew, with what the agent still has.
 */
#include "daemon/docker/logs.h"

#include <arpa/inet.h>

#define LOG_BYTES     ((size_t)256 * 1024)
#define FRAME_HEAD    8
#define FRAME_MAX     ((size_t)64 * 1024)
#define FOLLOWERS_MAX 64

enum { WANT_STDOUT = 1 << 1, WANT_STDERR = 1 << 2 };

struct container_log {
    struct container *container;
    struct http_call *call; /* NULL: not followed, or at its end */
    int status;
    struct buf frames;   /* whole ones */
    struct buf incoming; /* the beginning of one */
    struct list followers;
    size_t follower_count;
};

struct follower {
    struct list node;
    struct request *request;
    struct container *container; /* while `boot` is queued */
    struct boot_wait boot;
    unsigned wanted;
    bool follow;
    uint64_t tail; /* lines; UINT64_MAX: all */
};

static size_t frame_size(const char *frame)
{
    uint32_t length;

    memcpy(&length, frame + 4, sizeof(length));
    return FRAME_HEAD + ntohl(length);
}

/* --- those who read --- */

static void send_frame(struct follower *follower, struct str frame)
{
    if (!(follower->wanted & 1u << (unsigned char)frame.p[0]))
        return;
    /* One that does not read is cut off: it shall not think that it has seen everything. */
    if (!request_write(follower->request, frame) &&
        http_respond_queued(follower->request->exchange) > 2 * LOG_BYTES)
        http_exchange_abort(follower->request->exchange);
}

static size_t count_lines(struct str text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.n; i++)
        count += text.p[i] == '\n';
    return count;
}

/* The frame without its first `skip` lines, which it has. */
static void send_from_line(struct follower *follower, struct str frame, size_t skip)
{
    struct str text = { frame.p + FRAME_HEAD, frame.n - FRAME_HEAD };
    char head[FRAME_HEAD];
    uint32_t length;

    for (; skip > 0; skip--) {
        const char *end = memchr(text.p, '\n', text.n);

        text = (struct str){ end + 1, text.n - (size_t)(end + 1 - text.p) };
    }
    if (text.n == 0 || !(follower->wanted & 1u << (unsigned char)frame.p[0]))
        return;
    memcpy(head, frame.p, FRAME_HEAD);
    length = htonl((uint32_t)text.n);
    memcpy(head + 4, &length, sizeof(length));
    request_write(follower->request, (struct str){ head, FRAME_HEAD });
    request_write(follower->request, text);
}

static size_t wanted_lines(const struct container_log *log, unsigned wanted)
{
    struct str all = buf_str(&log->frames);
    size_t lines = 0;

    for (size_t at = 0; at < all.n; at += frame_size(all.p + at))
        if (wanted & 1u << (unsigned char)all.p[at])
            lines += count_lines((struct str){ all.p + at + FRAME_HEAD, frame_size(all.p + at) - FRAME_HEAD });
    return lines;
}

static void send_kept(const struct container_log *log, struct follower *follower)
{
    struct str all = buf_str(&log->frames);
    size_t lines = wanted_lines(log, follower->wanted),
           skip = lines > follower->tail ? lines - (size_t)follower->tail : 0;

    for (size_t at = 0; at < all.n; at += frame_size(all.p + at)) {
        struct str frame = { all.p + at, frame_size(all.p + at) };
        size_t here = count_lines((struct str){ frame.p + FRAME_HEAD, frame.n - FRAME_HEAD });

        if (!(follower->wanted & 1u << (unsigned char)frame.p[0]))
            continue;
        send_from_line(follower, frame, MIN(skip, here));
        skip -= MIN(skip, here);
    }
}

static void end_followers(struct container_log *log)
{
    struct list *node;

    while ((node = list_shift(&log->followers))) {
        struct follower *follower = container_of(node, struct follower, node);

        log->follower_count--;
        request_end(follower->request);
    }
}

/* --- the agent's log --- */

static void keep_frame(struct container_log *log, struct str frame)
{
    while (log->frames.len > 0 && log->frames.len + frame.n > LOG_BYTES)
        buf_consume(&log->frames, frame_size(buf_head(&log->frames)));
    buf_append_str(&log->frames, frame);
    for (struct list *node = log->followers.next; node != &log->followers; node = node->next)
        send_frame(container_of(node, struct follower, node), frame);
}

/* Whole frames of what has come. -1: it is no log of our agent's. */
static int take_frames(struct container_log *log)
{
    while (log->incoming.len >= FRAME_HEAD) {
        const char *head = buf_head(&log->incoming);
        size_t size = frame_size(head);

        if ((head[0] != 1 && head[0] != 2) || size > FRAME_HEAD + FRAME_MAX)
            return -1;
        if (log->incoming.len < size)
            return 0;
        keep_frame(log, (struct str){ head, size });
        buf_consume(&log->incoming, size);
    }
    return 0;
}

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    (void)call;
    ((struct container_log *)data)->status = head->status;
}

static void on_body(struct http_call *call, struct str piece, void *data)
{
    struct container_log *log = data;

    (void)call;
    while (log->status == 200 && piece.n > 0) {
        size_t n = MIN(piece.n, log->incoming.max - log->incoming.len);

        if (buf_append(&log->incoming, piece.p, n) < 0 || take_frames(log) < 0)
            log->status = 0; /* nothing more is believed */
        piece = (struct str){ piece.p + n, piece.n - n };
    }
}

static void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct container_log *log = data;

    (void)call, (void)err; /* how the command ended is not the log's to tell */
    log->call = NULL;
    buf_clear(&log->incoming);
    end_followers(log);
}

static struct container_log *log_of(struct container *container)
{
    struct container_log *log = container->log;

    if (log)
        return log;
    log = calloc(1, sizeof(*log));
    if (!log)
        return NULL;
    log->container = container;
    list_init(&log->followers);
    buf_init(&log->frames, LOG_BYTES);
    buf_init(&log->incoming, FRAME_HEAD + FRAME_MAX);
    container->log = log;
    return log;
}

void container_log_follow(struct container *container, struct agent_link *link)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_head,
                                                          .on_body = on_body,
                                                          .on_end = on_end };
    struct container_log *log = log_of(container);
    struct http_client *client = agent_link_client(link);
    struct berm_error err;

    if (!log || log->call || !client)
        return;
    buf_clear(&log->frames); /* the agent tells it all from the beginning */
    log->status = 0;
    log->call = http_call_start(client, "GET", "/berm/v1/logs", NULL, 0, 0, &callbacks, log, &err);
}

void container_log_free(struct container_log *log)
{
    if (!log)
        return;
    end_followers(log);
    if (log->call)
        http_call_cancel(log->call);
    buf_free(&log->frames);
    buf_free(&log->incoming);
    free(log);
}

/* --- the request --- */

static void clean_up(struct request *request)
{
    struct follower *follower = request->state;

    container_boot_cancel(&follower->boot);
    if (!list_linked(&follower->node))
        return;
    list_remove(&follower->node);
    follower->container->log->follower_count--;
}

static void respond(struct follower *follower)
{
    static const struct http_field fields[] = { { "Content-Type", "application/vnd.docker.multiplexed-stream" } };
    struct container_log *log = log_of(follower->container);
    struct request *request = follower->request;

    if (!log) {
        docker_fail(request, 500, "out of memory");
        return;
    }
    if (log->follower_count >= FOLLOWERS_MAX) {
        docker_fail(request, 503, "too many readers of this log");
        return;
    }
    request_begin(request, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
    send_kept(log, follower);
    if (!follower->follow || !log->call) {
        request_end(request);
        return;
    }
    http_watch_disconnect(request->exchange);
    list_append(&log->followers, &follower->node);
    log->follower_count++;
}

static void on_booted(struct boot_wait *wait, struct agent_link *link, const struct berm_error *err)
{
    struct follower *follower = container_of(wait, struct follower, boot);

    (void)err; /* it has just ended: then there is what is kept */
    if (link)
        container_log_follow(follower->container, link);
    respond(follower);
}

static int take_tail(struct request *request, uint64_t *ret)
{
    const char *text = NULL;

    *ret = UINT64_MAX;
    if (request_query(request, "tail", &text) < 0)
        return -1;
    if (!text || !text[0] || !strcmp(text, "all") || str_to_u64(str_from(text), ret) == 0)
        return 0;
    docker_fail(request, 400, "tail must be a number or \"all\"");
    return -1;
}

void docker_logs(struct request *request)
{
    struct container *container = docker_container(request);
    struct follower *follower;

    if (!container)
        return;
    follower = arena_calloc(&request->arena, 1, sizeof(*follower));
    if (!follower) {
        docker_fail(request, 500, "out of memory");
        return;
    }
    follower->request = request;
    follower->container = container;
    follower->wanted = (docker_query_flag(request, "stdout") ? WANT_STDOUT : 0) |
                       (docker_query_flag(request, "stderr") ? WANT_STDERR : 0);
    follower->follow = docker_query_flag(request, "follow");
    if (take_tail(request, &follower->tail) < 0)
        return;
    if (!follower->wanted) {
        docker_fail(request, 400, "Bad parameters: you must choose at least one stream");
        return;
    }
    request->state = follower;
    request->cleanup = clean_up;
    follower->boot.done = on_booted;
    if (container->phase == CONTAINER_RUNNING && !container->side && strcmp(container->argv, "[]") != 0 &&
        !container->log)
        container_boot(container, &follower->boot); /* adopted */
    else
        respond(follower);
}
