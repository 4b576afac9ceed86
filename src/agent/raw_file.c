/*
 * raw_file.c - GET /berm/v1/file: the bytes of a file as they are, for bermd. No session is involved and nothing is
 * held in memory: the kernel sends the file.
 */
#include "raw_file.h"

#include "agent.h"
#include "files.h"
#include "router.h"
#include "routes.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define READ_MAX  ((size_t)32 * 1024 * 1024)
#define SMALL_MAX 65536

const char *raw_file_path(struct request *rq)
{
    struct str raw;
    char *path;

    if (!query_get(http_request(rq->ex)->query, "path", &raw) || raw.n == 0) {
        reply_invalid(rq, "path", "is required", "INVALID_PATH");
        return NULL;
    }
    path = arena_alloc(&rq->arena, raw.n + 1);
    if (!path) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return NULL;
    }
    if (percent_decode(raw, path, raw.n + 1) < 0 || path[0] != '/') {
        reply_invalid(rq, "path", "must be an absolute path, percent-encoded", "INVALID_PATH");
        return NULL;
    }
    return path;
}

void raw_file_failed(struct request *rq, const char *operation, const char *path, int errnum)
{
    struct context_item context[] = { CTX_STR("path", path), CTX_STR("operation", operation),
                                      CTX_STR("stderr", strerror(errnum)) };

    if (errnum == ENOENT || errnum == ENOTDIR)
        reply_error(rq, AGENT_E_FILE_NOT_FOUND, context, 2, "File not found: %s", path);
    else
        reply_error(rq, AGENT_E_FILESYSTEM_ERROR, context, 3, "%s failed for '%s': %s", operation, path,
                    strerror(errnum));
}

/* Read first: what /proc and /sys make up has no size, or one that is not its length. */
static void respond_small(struct request *rq, int fd, const char *path)
{
    struct buf content;
    ssize_t n;

    buf_init(&content, READ_MAX);
    do {
        char *room = buf_reserve(&content, SCRATCH_SIZE);
        n = room ? RETRY_EINTR(read(fd, room, SCRATCH_SIZE)) : -1;
        if (n > 0)
            buf_commit(&content, (size_t)n);
    } while (n > 0);
    if (n < 0)
        raw_file_failed(rq, "file.read", path, errno);
    else
        http_respond(rq->ex, 200, "application/octet-stream", buf_str(&content));
    buf_free(&content);
}

/* The first piece goes out with the head: by itself the head would wake whoever waits for nothing yet. */
static void respond_file(struct request *rq, int fd, uint64_t size)
{
    static const struct http_field type = { "Content-Type", "application/octet-stream" };
    ssize_t n = RETRY_EINTR(read(fd, scratch, SCRATCH_SIZE));

    n = MAX(n, 0);
    http_respond_begin(rq->ex, 200, &type, 1, size);
    http_respond_write(rq->ex, scratch, MIN((uint64_t)n, size));
    http_respond_file(rq->ex, fd, (uint64_t)n, size - MIN((uint64_t)n, size));
    http_respond_end(rq->ex);
}

void handle_raw_read(struct request *rq)
{
    const char *path = raw_file_path(rq);
    _cleanup_close_ int fd = -EBADF;
    struct stat st;

    if (!path)
        return;
    if (stat(path, &st) < 0) {
        raw_file_failed(rq, "file.read", path, errno);
        return;
    }
    if (!S_ISREG(st.st_mode)) {
        raw_file_failed(rq, "file.read", path, S_ISDIR(st.st_mode) ? EISDIR : EINVAL);
        return;
    }
    fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        raw_file_failed(rq, "file.read", path, errno);
    else if (st.st_size <= SMALL_MAX)
        respond_small(rq, fd, path);
    else
        respond_file(rq, TAKE_FD(fd), (uint64_t)st.st_size);
}
