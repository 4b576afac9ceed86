/*
 * archive.c - the workspace as a tar stream, for bermd: GET and PUT /berm/v1/archive. The image's own tar does the
 * work, as a process of the sandbox: what an archive can do there its commands could do anyway, and names that lead
 * out of the directory are refused by it. Nothing is held in memory but the beginning, which tells a failure from
 * an archive before the answer has begun.
 */
#include "agent/agent.h"
#include "agent/http/router.h"
#include "agent/http/routes.h"
#include "files.h"
#include "make_parents.h"

#include <fcntl.h>

#define HOLD_MAX     ((size_t)64 * 1024)
#define ERRORS_MAX   ((size_t)4096)
#define EXCLUDES_MAX 256
#define MAGIC_MAX    6 /* bytes that tell how an archive is compressed */

struct archive {
    struct request *rq;
    struct child *child;
    struct sink sink;
    struct buf held;   /* GET: output before the head of the answer; PUT: input before tar runs */
    struct buf errors; /* the beginning of stderr */
    bool begun;        /* GET: the head of the answer is sent */
    bool blocked;      /* GET: the client does not take more at the moment */
};

static void archive_free(struct archive *a)
{
    request_let_go(a->rq);
    buf_free(&a->held);
    buf_free(&a->errors);
    free(a);
}

static void fail(struct archive *a, int exit_code)
{
    struct str errors = buf_str(&a->errors);
    const char *text = arena_strdup(&a->rq->arena, str_trim(errors));
    struct context_item context[] = { CTX_INT("exitCode", exit_code), CTX_STR("stderr", text ? text : "") };

    reply_error(a->rq, AGENT_E_COMMAND_EXECUTION_ERROR, context, ARRAY_SIZE(context), "tar failed (exit %d): %s",
                exit_code, text ? text : "out of memory");
}

/* --- output of tar --- */

static void begin(struct archive *a)
{
    static const struct http_field type = { "Content-Type", "application/octet-stream" };

    a->begun = true;
    if (!a->rq->ex)
        return;
    http_respond_begin(a->rq->ex, 200, &type, 1, HTTP_CHUNKED);
    http_respond_write(a->rq->ex, buf_head(&a->held), a->held.len);
    buf_free(&a->held);
}

static char *reserve(struct sink *sink, int stream, size_t *room, bool final)
{
    struct archive *a = container_of(sink, struct archive, sink);

    if (stream == STREAM_STDOUT && a->blocked && !final)
        return NULL;
    *room = SCRATCH_SIZE;
    return scratch;
}

static void commit(struct sink *sink, int stream, size_t n)
{
    struct archive *a = container_of(sink, struct archive, sink);

    if (stream == STREAM_STDERR) {
        buf_append(&a->errors, scratch, MIN(n, a->errors.max - a->errors.len));
    } else if (a->begun) {
        if (a->rq->ex && !http_respond_write(a->rq->ex, scratch, n))
            a->blocked = true;
    } else if (buf_append(&a->held, scratch, n) < 0) {
        child_stop(a->child);
    } else if (a->held.len >= HOLD_MAX) {
        begin(a);
    }
}

static void on_drain(struct request *rq)
{
    struct archive *a = rq->data;

    a->blocked = false;
    if (a->child)
        child_resume_output(a->child);
}

/* The client has gone away: nobody wants the archive, or nobody will send the rest of it. */
static void on_gone(struct request *rq, bool complete)
{
    struct archive *a = rq->data;

    if (complete)
        return;
    a->blocked = false;
    if (!a->child) {
        archive_free(a);
        return;
    }
    child_resume_output(a->child);
    child_stop(a->child);
}

/* --- the process --- */

static void on_created(struct archive *a, int exit_code)
{
    if (exit_code != 0 && a->begun)
        http_exchange_abort(a->rq->ex); /* it must not look complete */
    else if (exit_code != 0)
        fail(a, exit_code);
    else if (!a->begun)
        http_respond(a->rq->ex, 200, "application/octet-stream", buf_str(&a->held));
    else
        http_respond_end(a->rq->ex);
}

static void on_extracted(struct archive *a, int exit_code)
{
    struct reply reply;

    if (exit_code != 0) {
        fail(a, exit_code);
        return;
    }
    reply_begin(&reply);
    reply_send(a->rq, &reply);
}

static void on_end(struct child *child, void *data)
{
    struct archive *a = data;
    int exit_code = child_exit_code(child);

    a->child = NULL;
    if (a->rq->ex && str_is(http_request(a->rq->ex)->method, "GET"))
        on_created(a, exit_code);
    else if (a->rq->ex)
        on_extracted(a, exit_code);
    archive_free(a);
}

static void on_stdin_drain(struct child *child, void *data)
{
    struct archive *a = data;

    (void)child;
    if (a->rq->ex)
        http_body_resume(a->rq->ex);
}

static const struct child_events child_events = { .on_end = on_end, .on_stdin_drain = on_stdin_drain };

/* False: answered, and `a` is gone. */
static bool spawn(struct archive *a, char **argv, bool feeds)
{
    struct child_spec spec = CHILD_SPEC_INIT;
    struct child_error err = { CHILD_FAIL_RESOURCES, ENOMEM };

    spec.file = "tar";
    spec.argv = argv;
    spec.envp = env_merge(&a->rq->arena, &a->rq->agent->env, NULL);
    spec.fds[0] = feeds ? CHILD_PIPE : CHILD_NULL;
    spec.fds[1] = spec.fds[2] = CHILD_PIPE;
    if (spec.envp)
        a->child = child_spawn(a->rq->agent, &spec, &a->sink, &child_events, a, &err);
    if (a->child)
        return true;
    reply_error(a->rq, AGENT_E_COMMAND_EXECUTION_ERROR, NULL, 0, "tar: %s: %s", child_failure_text(err.where),
                strerror(err.errnum));
    archive_free(a);
    return false;
}

static struct archive *archive_new(struct request *rq)
{
    struct archive *a = calloc(1, sizeof(*a));

    if (!a) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return NULL;
    }
    a->rq = request_hold(rq);
    a->sink = (struct sink){ reserve, commit };
    buf_init(&a->held, HOLD_MAX + SCRATCH_SIZE);
    buf_init(&a->errors, ERRORS_MAX);
    rq->data = a;
    rq->on_drain = on_drain;
    rq->on_gone = on_gone;
    return a;
}

/* --- GET --- */

/* "a,./b" as "--exclude", "./a", "--exclude", "./b" behind `count` arguments. -1: answered. */
static int add_excludes(struct request *rq, char *text, char **argv, size_t count)
{
    size_t limit = count + 2 * (size_t)EXCLUDES_MAX;
    char *rest = text;

    for (char *item; (item = strsep(&rest, ","));) {
        while (str_has_prefix(str_from(item), STR("./")))
            item += 2;
        if (!*item)
            continue;
        if (count == limit) {
            reply_invalid(rq, "excludes", "has too many items", "TOO_LARGE");
            return -1;
        }
        argv[count++] = (char *)"--exclude";
        argv[count] = arena_printf(&rq->arena, "./%s", item);
        if (!argv[count++]) {
            reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
            return -1;
        }
    }
    argv[count] = NULL;
    return 0;
}

static char **create_argv(struct request *rq)
{
    static const char *const first[] = { "tar", "-c", "-f", "-", "-C", AGENT_DEFAULT_WORKDIR };
    size_t count = ARRAY_SIZE(first);
    char **argv = arena_calloc(&rq->arena, count + 2 * (size_t)EXCLUDES_MAX + 2, sizeof(*argv));
    struct str raw = { "", 0 };
    char *text;

    query_get(http_request(rq->ex)->query, "excludes", &raw);
    text = arena_alloc(&rq->arena, raw.n + 1);
    if (!argv || !text) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return NULL;
    }
    if (query_decode(raw, text, raw.n + 1) < 0) {
        reply_invalid(rq, "excludes", "must be percent-encoded", "INVALID_VALUE");
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        argv[i] = (char *)(uintptr_t)first[i];
    if (add_excludes(rq, text, argv, count) < 0)
        return NULL;
    while (argv[count])
        count++;
    argv[count] = (char *)".";
    return argv;
}

void handle_archive_read(struct request *rq)
{
    char **argv = create_argv(rq);
    struct archive *a = argv ? archive_new(rq) : NULL;

    if (a && spawn(a, argv, false) && rq->ex)
        http_watch_disconnect(rq->ex);
}

/* --- PUT --- */

/* tar finds this out by itself only where it can seek. NULL: it is not compressed. */
static const char *decompression(struct str head)
{
    static const struct {
        const char *magic;
        size_t n;
        const char *option;
    } known[] = {
        { "\x1f\x8b", 2, "-z" },
        { "BZh", 3, "-j" },
        { "\xfd"
          "7zXZ\0",
          6, "-J" },
        { "\x28\xb5\x2f\xfd", 4, "--zstd" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (head.n >= known[i].n && memcmp(head.p, known[i].magic, known[i].n) == 0)
            return known[i].option;
    return NULL;
}

static void feed(struct archive *a, struct str bytes)
{
    if (bytes.n > 0 && !child_write(a->child, bytes.p, bytes.n) && a->rq->ex)
        http_body_pause(a->rq->ex);
}

/* False: answered, and `a` is gone. */
static bool start_extraction(struct archive *a)
{
    char *argv[] = { (char *)"tar",
                     (char *)"-x",
                     (char *)"-f",
                     (char *)"-",
                     (char *)"-C",
                     (char *)AGENT_DEFAULT_WORKDIR,
                     (char *)(uintptr_t)decompression(buf_str(&a->held)),
                     NULL };

    if (make_directories(AT_FDCWD, AGENT_DEFAULT_WORKDIR) < 0) {
        reply_error(a->rq, AGENT_E_FILESYSTEM_ERROR, NULL, 0, "cannot make " AGENT_DEFAULT_WORKDIR ": %s",
                    strerror(errno));
        archive_free(a);
        return false;
    }
    if (!spawn(a, argv, true))
        return false;
    feed(a, buf_str(&a->held));
    buf_free(&a->held);
    return true;
}

static void on_piece(struct request *rq, struct str piece)
{
    struct archive *a = rq->data;
    struct str head = { piece.p, MIN(piece.n, (size_t)MAGIC_MAX) };

    if (a->child) {
        feed(a, piece);
        return;
    }
    if (buf_append_str(&a->held, head) < 0) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        archive_free(a);
        return;
    }
    if (a->held.len >= MAGIC_MAX && start_extraction(a))
        feed(a, (struct str){ piece.p + head.n, piece.n - head.n });
}

static void on_body_end(struct request *rq)
{
    struct archive *a = rq->data;

    if (a->child || start_extraction(a))
        child_close_stdin(a->child);
}

void handle_archive_write(struct request *rq)
{
    if (!archive_new(rq))
        return;
    rq->on_piece = on_piece;
    rq->on_body_end = on_body_end;
}
