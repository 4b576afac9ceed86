/* files.c - the contents of files, both ways. */
#include "stream.h"

#include <inttypes.h>
#include <stdio.h>

/* The API's path has no leading slash; an empty or relative one would name another route. */
static char *file_target(const char *id, const char *path, struct berm_problem *problem)
{
    _cleanup_(buf_free) struct buf rest;
    char *target, *text;

    buf_init(&rest, 64 * 1024);
    if (!path || path[0] != '/' || path[1] == '\0') {
        problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "'%.256s' is not an absolute path of a file",
                    path ? path : "");
        return NULL;
    }
    if (buf_append_str(&rest, STR("/file")) < 0 || append_encoded(&rest, path, "/") < 0) {
        problem_set(problem, BERM_PROBLEM_ARGUMENT, ENAMETOOLONG, "the path");
        return NULL;
    }
    text = buf_steal(&rest, NULL);
    target = text ? sandbox_target(id, text, problem) : NULL;
    if (!text)
        problem_memory(problem);
    free(text);
    return target;
}

struct download {
    berm_sink sink;
    void *data;
};

static int on_body(struct transfer *t, struct str piece)
{
    const struct download *d = t->on_body_data;

    if (d->sink(d->data, piece.p, piece.n) == 0)
        return 0;
    return problem_set(t->problem, BERM_PROBLEM_LOCAL, errno, "writing the file");
}

int berm_file_get(struct berm_client *client, const char *id, const char *path, berm_sink sink, void *data,
                  struct berm_problem *problem)
{
    _cleanup_free_ char *target = file_target(id, path, problem);
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("GET", target);
    struct download download = { sink, data };

    if (!target)
        return -1;
    t.accept = "application/octet-stream";
    t.on_body = on_body;
    t.on_body_data = &download;
    return transfer_run(client, &t, problem);
}

int berm_file_put(struct berm_client *client, const char *id, const char *path, berm_source source, void *data,
                  int64_t size, struct berm_problem *problem)
{
    _cleanup_free_ char *target = file_target(id, path, problem);
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("PUT", target);

    if (!target)
        return -1;
    if (size < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the file's size must be known");
    t.accept = "application/json";
    t.content_type = "application/octet-stream";
    t.source = source;
    t.source_data = data;
    t.source_size = size;
    return transfer_run(client, &t, problem);
}

int berm_file_stream(struct berm_client *client, const char *id, const char *path, uint64_t offset, uint64_t count,
                     struct berm_stream **ret_stream, struct berm_problem *problem)
{
    struct stream_request request = { .kind = STREAM_BYTES, .method = "GET" };
    char range[80];
    const char *fields[] = { range, NULL };

    if (count > UINT64_MAX - offset)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the range is too large");
    snprintf(range, sizeof(range), "Range: bytes=%" PRIu64 "-", offset);
    if (count > 0)
        snprintf(range + strlen(range), sizeof(range) - strlen(range), "%" PRIu64, offset + count - 1);
    if (offset > 0 || count > 0)
        request.fields = fields;
    request.target = file_target(id, path, problem);
    return stream_open(client, &request, ret_stream, problem);
}
