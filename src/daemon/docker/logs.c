/*
 * logs.c - GET /containers/X/logs and POST /containers/X/attach, which are two ways to read the same. While a
 * container's command runs, its agent's log is followed and the newest LOG_BYTES of it are kept here, because the
 * agent takes its own along when it ends. After a restart of the daemon that begins anew, with what the agent still
 * has.
 *
 * As long as somebody follows, or writes to the command's input, which nobody does without following, the agent is
 * asked for signs of life: one that gives none any more has nothing more to tell, and its readers are cut off.
 */
#include "daemon/docker/logs.h"

#include "daemon/agent_call.h"
#include "daemon/agent_patience.h"
#include "daemon/docker/hijack.h"
#include "daemon/docker/input.h"
#include "daemon/docker/log_view.h"

#include <arpa/inet.h>

#define LOG_BYTES       ((size_t)256 * 1024)
#define FRAME_HEAD      8
#define RECORD_TEXT_MAX ((size_t)64 * 1024)
#define FOLLOWERS_MAX   64

struct container_log {
    struct container *container;
    struct http_call *call;  /* NULL: not followed, or at its end */
    struct agent_call *told; /* that it is at its end */
    int status;
    struct buf records;  /* whole ones, see log_view.h */
    struct buf incoming; /* the beginning of one */
    struct list followers;
    size_t follower_count;
    struct agent_patience patience; /* while there is a call and a follower */
};

struct follower {
    struct list node;
    struct request *request;     /* NULL once its connection was upgraded */
    struct hijack *stream;       /* that connection */
    struct container *container; /* while `boot` is queued */
    struct boot_wait boot;
    struct log_view view;
    bool follow;
    bool with_stdin;
    struct container_input *input; /* of `stream`; owned */
    bool attach;                   /* until the container's end, also if nothing runs yet */
    uint64_t tail;                 /* lines; UINT64_MAX: all */
    struct loop_timer until;       /* of one that follows up to a time */
};

/* --- their lives --- */

static void unfollow(struct follower *follower)
{
    struct container_log *log = follower->container->log;

    if (!list_linked(&follower->node))
        return;
    list_remove(&follower->node);
    if (--log->follower_count == 0)
        agent_patience_end(&log->patience);
}

static void free_follower(struct follower *follower)
{
    container_boot_cancel(&follower->boot);
    container_input_free(follower->input);
    if (follower->until.callback)
        loop_timer_stop(follower->container->docker->daemon->loop, &follower->until);
    unfollow(follower);
    free(follower);
}

static void clean_up(struct request *request)
{
    free_follower(request->state);
}

static void on_stream_close(void *data)
{
    free_follower(data);
}

static void end_follower(struct follower *follower)
{
    container_input_free(TAKE_PTR(follower->input)); /* the container may be gone before all is written */
    if (follower->stream)
        hijack_end(follower->stream);
    else
        request_end(follower->request);
}

static void cut_off(struct follower *follower)
{
    struct hijack *stream = follower->stream;

    if (!stream) {
        http_exchange_abort(follower->request->exchange);
        return;
    }
    free_follower(follower);
    hijack_abort(stream);
}

static bool put(struct follower *follower, struct str bytes)
{
    return follower->stream ? hijack_write(follower->stream, bytes) : request_write(follower->request, bytes);
}

static size_t queued(const struct follower *follower)
{
    return follower->stream ? hijack_queued(follower->stream) : http_respond_queued(follower->request->exchange);
}

/* --- those who read --- */

static void emit(void *data, int stream, struct str time, struct str text)
{
    struct follower *follower = data;
    char head[FRAME_HEAD] = { (char)stream };
    uint32_t length = htonl((uint32_t)(time.n + text.n));

    memcpy(head + 4, &length, sizeof(length));
    put(follower, (struct str){ head, FRAME_HEAD });
    put(follower, time);
    put(follower, text);
}

static void send_record(struct follower *follower, const struct log_record *record)
{
    log_view_take(&follower->view, record, emit, follower);
    /* One that does not read is cut off: it shall not think that it has seen everything. */
    if (queued(follower) > 2 * LOG_BYTES)
        cut_off(follower);
}

/* What is kept is whole and right: it went through take_records(). */
static bool next_record(struct str *kept, struct log_record *ret)
{
    if (kept->n == 0 || log_record_parse(*kept, ret) != 0)
        return false;
    *kept = (struct str){ kept->p + ret->size, kept->n - ret->size };
    return true;
}

static void send_kept(const struct container_log *log, struct follower *follower)
{
    struct str kept = buf_str(&log->records);
    struct log_view counting = follower->view;
    struct log_record record;
    uint64_t lines = 0;

    while (next_record(&kept, &record))
        lines += log_view_count(&counting, &record);
    follower->view.skip = lines > follower->tail ? lines - follower->tail : 0;
    kept = buf_str(&log->records);
    while (next_record(&kept, &record))
        log_view_take(&follower->view, &record, emit, follower);
    follower->view.skip = 0;
}

static void on_lost(struct agent_patience *patience)
{
    struct container_log *log = container_of(patience, struct container_log, patience);

    for (struct list *node = log->followers.next, *next; node != &log->followers; node = next) {
        next = node->next;
        cut_off(container_of(node, struct follower, node));
    }
}

static void be_patient(struct container_log *log)
{
    if (log->call && log->follower_count > 0 && !log->patience.link)
        agent_patience_begin(&log->patience, log->container->sandbox->link, on_lost);
}

static void end_followers(struct container_log *log)
{
    struct list *node;

    agent_patience_end(&log->patience);
    while ((node = list_shift(&log->followers))) {
        log->follower_count--;
        end_follower(container_of(node, struct follower, node));
    }
}

void container_log_end(struct container_log *log)
{
    if (log && !log->call) /* else the end of the call ends them, after the last of the output */
        end_followers(log);
}

/* --- the agent's log --- */

static void keep_record(struct container_log *log, const struct log_record *record, struct str bytes)
{
    struct log_record oldest;

    while (log->records.len > 0 && log->records.len + bytes.n > LOG_BYTES &&
           log_record_parse(buf_str(&log->records), &oldest) == 0)
        buf_consume(&log->records, oldest.size);
    buf_append_str(&log->records, bytes);
    for (struct list *node = log->followers.next, *next; node != &log->followers; node = next) {
        next = node->next;
        send_record(container_of(node, struct follower, node), record);
    }
}

/* Whole records of what has come. -1: it is no log of our agent's. */
static int take_records(struct container_log *log)
{
    for (;;) {
        struct log_record record;
        int rc = log_record_parse(buf_str(&log->incoming), &record);

        if (rc != 0)
            return rc < 0 ? -1 : 0;
        keep_record(log, &record, (struct str){ buf_head(&log->incoming), record.size });
        buf_consume(&log->incoming, record.size);
    }
}

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    struct container_log *log = data;

    (void)call;
    log->status = str_is(h1_header(head, "Content-Type"), "application/vnd.berm.log") ? head->status : 0;
}

static void on_body(struct http_call *call, struct str piece, void *data)
{
    struct container_log *log = data;

    (void)call;
    while (log->status == 200 && piece.n > 0) {
        size_t n = MIN(piece.n, log->incoming.max - log->incoming.len);

        if (buf_append(&log->incoming, piece.p, n) < 0 || take_records(log) < 0)
            log->status = 0; /* nothing more is believed */
        piece = (struct str){ piece.p + n, piece.n - n };
    }
}

static void on_told(const struct berm_error *err, void *data)
{
    (void)err; /* it waits for this no longer than a while */
    ((struct container_log *)data)->told = NULL;
}

/* It does not end, whatever its command did, before it hears that all of its log has arrived. */
static void tell_agent(struct container_log *log)
{
    struct sandbox *sandbox = log->container->sandbox;
    struct berm_error err;

    if (sandbox && sandbox->link && !log->told)
        log->told = agent_call_start(sandbox->link, "DELETE", "/berm/v1/logs", STR(""), NULL, on_told, log, &err);
}

static void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct container_log *log = data;

    (void)call;
    log->call = NULL;
    if (err->code == BERM_OK)
        tell_agent(log);
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
    buf_init(&log->records, LOG_BYTES);
    buf_init(&log->incoming, LOG_RECORD_HEAD + RECORD_TEXT_MAX);
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
    buf_clear(&log->records); /* the agent tells it all from the beginning */
    log->status = 0;
    log->call = http_call_start(client, "GET", "/berm/v1/logs", NULL, 0, 0, &callbacks, log, &err);
    be_patient(log);
}

void docker_sandbox_linked(struct sandbox *sandbox)
{
    struct container *container = sandbox->container;

    if (container->phase == CONTAINER_RUNNING && strcmp(container->argv, "[]") != 0)
        container_log_follow(container, sandbox->link);
}

void container_log_free(struct container_log *log)
{
    if (!log)
        return;
    end_followers(log);
    if (log->call)
        http_call_cancel(log->call);
    agent_call_cancel(log->told);
    buf_free(&log->records);
    buf_free(&log->incoming);
    free(log);
}

/* --- the requests --- */

static void on_input(void *data, struct str bytes)
{
    struct follower *follower = data;

    if (follower->input)
        container_input_take(follower->input, bytes);
}

static void on_input_end(void *data)
{
    struct follower *follower = data;

    if (follower->input)
        container_input_end(follower->input);
}

static void ignore(void *data)
{
    (void)data;
}

/* -1: the connection was lost, and the follower with it. */
static int begin(struct follower *follower)
{
    static const struct hijack_events events = {
        .on_input = on_input, .on_input_end = on_input_end, .on_drain = ignore, .on_close = on_stream_close
    };
    static const char type[] = "application/vnd.docker.multiplexed-stream";
    const struct http_field fields[] = { { "Content-Type", type } };
    struct request *request = follower->request;

    if (!follower->attach || request->head->upgrade.n == 0) {
        request_begin(request, 200, fields, ARRAY_SIZE(fields), HTTP_CHUNKED);
        http_watch_disconnect(request->exchange);
        return 0;
    }
    request->state = NULL;
    request->cleanup = NULL;
    follower->request = NULL;
    follower->stream = hijack_start(request, type, &events, follower);
    if (!follower->stream) {
        free_follower(follower);
        return -1;
    }
    if (follower->input)
        container_input_begin(follower->input, follower->stream);
    return 0;
}

/* -1: answered. */
static int take_input(struct follower *follower)
{
    struct berm_error err;

    if (!follower->with_stdin)
        return 0;
    if (follower->request->head->upgrade.n == 0) {
        docker_fail(follower->request, 400, "standard input needs a connection that is upgraded");
        return -1;
    }
    follower->input = container_input_new(follower->container, &err);
    if (follower->input)
        return 0;
    docker_fail_error(follower->request, &err);
    return -1;
}

static void on_until(struct loop_timer *timer)
{
    struct follower *follower = container_of(timer, struct follower, until);

    unfollow(follower); /* what is still in its queue is sent, and nothing more */
    end_follower(follower);
}

/* False: that is over already. */
static bool follow_until(struct follower *follower)
{
    int64_t now = clock_realtime_ms();
    uint64_t end = follower->view.until_ns / 1000000;

    if (follower->view.until_ns == UINT64_MAX)
        return true;
    if (end <= (uint64_t)now)
        return false;
    loop_timer_init(&follower->until, on_until);
    return loop_timer_start(follower->container->docker->daemon->loop, &follower->until, end - (uint64_t)now) == 0;
}

static void respond(struct follower *follower)
{
    struct container *container = follower->container;
    struct container_log *log = log_of(container);

    if (!log) {
        docker_fail(follower->request, 500, "out of memory");
        return;
    }
    if (log->follower_count >= FOLLOWERS_MAX) {
        docker_fail(follower->request, 503, "too many readers of this log");
        return;
    }
    if (take_input(follower) < 0 || begin(follower) < 0)
        return;
    send_kept(log, follower);
    if (!follower->follow || !(log->call || (follower->attach && container->phase != CONTAINER_EXITED)) ||
        !follow_until(follower)) {
        end_follower(follower);
        return;
    }
    list_append(&log->followers, &follower->node);
    log->follower_count++;
    be_patient(log);
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

/* "0" is "not said", as Docker has it. */
static int take_time(struct request *request, const char *name, uint64_t *ret)
{
    const char *text = NULL;

    if (request_query(request, name, &text) < 0)
        return -1;
    if (!text || !text[0] || !strcmp(text, "0") || log_time_parse(text, ret) == 0)
        return 0;
    docker_fail(request, 400, "%s must be seconds since 1970, or a time as RFC 3339 has it in UTC", name);
    return -1;
}

static void serve(struct request *request, const struct follower *wanted)
{
    struct container *container = docker_container(request);
    struct follower *follower;

    if (!container)
        return;
    follower = malloc(sizeof(*follower));
    if (!follower) {
        docker_fail(request, 500, "out of memory");
        return;
    }
    *follower = *wanted;
    follower->request = request;
    follower->container = container;
    follower->boot.done = on_booted;
    follower->view.streams =
        (docker_query_flag(request, "stdout") ? 1u << 1 : 0) | (docker_query_flag(request, "stderr") ? 1u << 2 : 0);
    request->state = follower;
    request->cleanup = clean_up;
    if (!follower->view.streams && !follower->with_stdin)
        docker_fail(request, 400, "Bad parameters: you must choose at least one stream");
    else if (container->phase == CONTAINER_RUNNING && !container->side && strcmp(container->argv, "[]") != 0 &&
             !container->log)
        container_boot(container, &follower->boot); /* adopted */
    else
        respond(follower);
}

void docker_logs(struct request *request)
{
    struct follower wanted = { .follow = docker_query_flag(request, "follow"),
                               .view = { .timestamps = docker_query_flag(request, "timestamps"),
                                         .until_ns = UINT64_MAX } };

    if (take_tail(request, &wanted.tail) == 0 && take_time(request, "since", &wanted.view.since_ns) == 0 &&
        take_time(request, "until", &wanted.view.until_ns) == 0)
        serve(request, &wanted);
}

void docker_attach(struct request *request)
{
    struct follower wanted = { .attach = true,
                               .follow = docker_query_flag(request, "stream"),
                               .view = { .until_ns = UINT64_MAX } };

    wanted.tail = docker_query_flag(request, "logs") ? UINT64_MAX : 0;
    wanted.with_stdin = wanted.follow && docker_query_flag(request, "stdin");
    serve(request, &wanted);
}

/* POST /containers/X/resize */
void docker_resize(struct request *request)
{
    const struct container *container = docker_container(request);

    if (container)
        docker_fail(request, 409, "the command of container %s has no terminal: use exec", container->name);
}
