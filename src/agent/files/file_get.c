/*
 * file_get.c - POST /berm/v1/read: a file's bytes as they are, with its MIME type, sent by the kernel. It may be
 * relative to the session's directory, and has no limit.
 */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "file_type.h"

struct file_get {
    struct file_request *f;
    int fd;
    uint64_t size; /* as stat tells it: what /proc makes up is empty, as for the other routes that stream */
    struct file_type type;
};

static void on_type(struct file_type *type, const char *mime)
{
    struct file_get *g = container_of(type, struct file_get, type);
    const struct http_field field = { "Content-Type", mime };
    struct http_exchange *ex = g->f->rq->ex;

    if (ex) {
        http_respond_begin(ex, 200, &field, 1, g->size);
        if (g->size > 0)
            http_respond_file(ex, TAKE_FD(g->fd), 0, g->size);
        http_respond_end(ex);
    }
    close_fd(&g->fd);
    file_done(g->f);
    free(g);
}

static void work(struct file_request *f)
{
    uint64_t size = 0;
    _cleanup_close_ int fd = file_open(f, &size);
    struct file_get *g = fd >= 0 ? calloc(1, sizeof(*g)) : NULL;

    if (!g) {
        if (fd >= 0)
            file_reply_failed(f, ENOMEM);
        file_done(f);
        return;
    }
    g->f = f;
    g->fd = TAKE_FD(fd);
    g->size = size;
    file_type_find(&g->type, f, on_type);
}

void handle_file_get(struct request *rq)
{
    const char *path = file_path(rq, "path");

    if (path)
        file_start(rq, "file.read", path, NULL, work);
}
