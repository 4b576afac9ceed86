/*
 * file_put.c - PUT /berm/v1/write?path=P&sessionId=S: the body becomes the file P, which may be relative to the
 * session's directory. It takes its turn in the session only to learn that directory: a body may come from
 * something that needs the session itself.
 */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "files.h"
#include "raw_file.h"

#include <limits.h>
#include <stdio.h>

static void reply_written(struct request *rq, const char *shown, uint64_t written)
{
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "path", shown);
    json_pair_int(&reply.w, "bytesWritten", (int64_t)written);
    reply_send(rq, &reply);
}

/* The path from the root, or NULL with errno. */
static const char *absolute(struct file_request *f, int base)
{
    char link[32], directory[PATH_MAX];
    const char *path;
    ssize_t n;

    if (f->path[0] == '/')
        return f->path;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", base);
    n = readlink(link, directory, sizeof(directory));
    if (n < 0)
        return NULL;
    if ((size_t)n == sizeof(directory)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    path = arena_printf(&f->rq->arena, "%.*s/%s", (int)n, directory, f->path);
    if (!path)
        errno = ENOMEM;
    return path;
}

static void work(struct file_request *f)
{
    int base = file_base(f, f->path);
    const char *path = base == -1 ? NULL : absolute(f, base);

    if (f->rq->ex && path) {
        raw_write_start(f->rq, path, f->path, reply_written);
        http_body_resume(f->rq->ex);
    } else if (base != -1) {
        file_reply_failed(f, errno);
    }
    file_done(f);
}

/* The query's value as a member of the body, as which the file routes take it. -1 after having answered. */
static int take(struct request *rq, const char *key, struct json_member *members, size_t *count)
{
    struct str raw;
    char *text;

    if (!query_get(http_request(rq->ex)->query, key, &raw))
        return 0;
    text = arena_alloc(&rq->arena, raw.n + 1);
    if (!text || percent_decode(raw, text, raw.n + 1) < 0) {
        reply_invalid(rq, key, "is not percent-encoded text", "INVALID_PATH");
        return -1;
    }
    members[*count] = (struct json_member){ str_from(key), { .type = JSON_STRING, .string = str_from(text) } };
    (*count)++;
    return 0;
}

void handle_file_put(struct request *rq)
{
    struct json_member *members = arena_calloc(&rq->arena, 2, sizeof(*members));
    struct json *body = arena_calloc(&rq->arena, 1, sizeof(*body));
    size_t count = 0;
    const char *path;

    if (!members || !body) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    if (take(rq, "path", members, &count) < 0 || take(rq, "sessionId", members, &count) < 0)
        return;
    *body = (struct json){ .type = JSON_OBJECT, .object = { members, count } };
    rq->body = body;
    path = file_path(rq, "path");
    if (!path)
        return;
    http_body_pause(rq->ex);
    file_start(rq, "file.write", path, NULL, work);
}
