/*
 * raw_file.c - GET /berm/v1/file: the bytes of a file, or a range of them, as they are, for bermd. No session is
 * involved and nothing is held in memory: the kernel sends the file.
 */
#include "raw_file.h"

#include "agent/agent.h"
#include "agent/http/router.h"
#include "agent/http/routes.h"
#include "files.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define READ_MAX  ((size_t)32 * 1024 * 1024)
#define SMALL_MAX 65536
#define FIRST     16384 /* what is read of a larger one; the rest the kernel moves */

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

/* --- ranges --- */

enum range { RANGE_WHOLE, RANGE_PART, RANGE_NOWHERE };

static bool take_number(struct str *text, uint64_t *ret)
{
    size_t n = 0;
    struct str digits;

    while (n < text->n && text->p[n] >= '0' && text->p[n] <= '9')
        n++;
    digits = (struct str){ text->p, n };
    *text = (struct str){ text->p + n, text->n - n };
    return n > 0 && str_to_u64(digits, ret) == 0;
}

/*
 * One range of bytes (RFC 9110 14.1.2): "bytes=2-5", "bytes=2-", "bytes=-5". Anything else that the field may hold,
 * several ranges above all, asks for the whole, as a server is free to decide. [*from, *to) is within the file.
 */
static enum range requested_range(struct request *rq, uint64_t size, uint64_t *from, uint64_t *to)
{
    static const struct str unit = { "bytes=", 6 };
    struct str text = h1_header(http_request(rq->ex), "Range");
    uint64_t first = 0, last = 0;
    bool has_first, has_last;

    *from = 0;
    *to = size;
    if (!str_has_prefix(text, unit))
        return RANGE_WHOLE;
    text = (struct str){ text.p + unit.n, text.n - unit.n };
    has_first = take_number(&text, &first);
    if (text.n == 0 || text.p[0] != '-')
        return RANGE_WHOLE;
    text = (struct str){ text.p + 1, text.n - 1 };
    has_last = take_number(&text, &last);
    if (text.n > 0 || (!has_first && !has_last) || (has_first && has_last && last < first))
        return RANGE_WHOLE;
    if (!has_first)
        *from = size - MIN(last, size);
    else
        *from = first;
    if (has_first && has_last)
        *to = last < size ? last + 1 : size;
    return *from < *to ? RANGE_PART : RANGE_NOWHERE;
}

/* The head of an answer with [from, to) of `size` bytes. */
static void begin(struct request *rq, enum range range, uint64_t from, uint64_t to, uint64_t size)
{
    char text[80];
    const struct http_field fields[] = { { "Content-Type", "application/octet-stream" },
                                         { "Accept-Ranges", "bytes" },
                                         { "Content-Range", text } };

    snprintf(text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)from, (unsigned long long)to - 1,
             (unsigned long long)size);
    http_respond_begin(rq->ex, range == RANGE_PART ? 206 : 200, fields, range == RANGE_PART ? 3 : 2, to - from);
}

static void reply_nowhere(struct request *rq, uint64_t size)
{
    struct context_item context[] = { CTX_INVALID("validationErrors", "Range", "it is beyond the end", "RANGE") };
    char text[48];
    const struct http_field fields[] = { { "Content-Type", "application/json" }, { "Content-Range", text } };
    struct buf body;

    snprintf(text, sizeof(text), "bytes */%llu", (unsigned long long)size);
    buf_init(&body, 4096);
    if (error_body(&body, AGENT_E_VALIDATION_FAILED, 416, "The range is beyond the end of the file", context, 1) ==
        0) {
        http_respond_begin(rq->ex, 416, fields, ARRAY_SIZE(fields), body.len);
        http_respond_write(rq->ex, buf_head(&body), body.len);
        http_respond_end(rq->ex);
    } else {
        http_exchange_abort(rq->ex);
    }
    buf_free(&body);
}

/* --- answers --- */

static void respond_content(struct request *rq, struct str content)
{
    uint64_t from, to;
    enum range range = requested_range(rq, content.n, &from, &to);

    if (range == RANGE_NOWHERE) {
        reply_nowhere(rq, content.n);
        return;
    }
    begin(rq, range, from, to, content.n);
    http_respond_write(rq->ex, content.p + from, to - from);
    http_respond_end(rq->ex);
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
        respond_content(rq, buf_str(&content));
    buf_free(&content);
}

/* The first piece goes out with the head: by itself the head would wake whoever waits for nothing yet. */
static void respond_file(struct request *rq, int fd, uint64_t size)
{
    uint64_t from, to, first;
    enum range range = requested_range(rq, size, &from, &to);
    ssize_t n;

    if (range == RANGE_NOWHERE) {
        reply_nowhere(rq, size);
        close_fd(&fd);
        return;
    }
    n = RETRY_EINTR(pread(fd, scratch, FIRST, (off_t)from));
    first = MIN((uint64_t)MAX(n, 0), to - from);
    begin(rq, range, from, to, size);
    http_respond_write(rq->ex, scratch, first);
    http_respond_file(rq->ex, fd, from + first, to - from - first);
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
