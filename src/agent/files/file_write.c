/* file_write.c - POST /api/write, mkdir, delete, exists. */
#include "agent/child/sink.h"
#include "agent/http/routes.h"
#include "base/base64.h"
#include "files.h"
#include "make_parents.h"

#include <fcntl.h>
#include <sys/stat.h>

/* --- write --- */

static int write_bytes(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t wrote = RETRY_EINTR(write(fd, p, n));
        if (wrote < 0)
            return -1;
        p += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

/* In pieces, so that the decoded content is never in memory as a whole. */
static int write_base64(int fd, struct str content)
{
    const char *padding = memchr(content.p, '=', content.n);
    const size_t piece = SCRATCH_SIZE / 4 * 3 / 4 * 4; /* base64_decode() wants room for 3/4 of it and 3 bytes */

    if (padding)
        content.n = (size_t)(padding - content.p);
    while (content.n > 0) {
        size_t n = MIN(content.n, piece), decoded;
        if (base64_decode((struct str){ content.p, n }, scratch, &decoded) < 0) {
            errno = EINVAL;
            return -1;
        }
        if (write_bytes(fd, scratch, decoded) < 0)
            return -1;
        content.p += n;
        content.n -= n;
    }
    return 0;
}

static bool is_base64(struct str content)
{
    for (size_t i = 0; i < content.n; i++) {
        char c = content.p[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/' ||
              c == '='))
            return false;
    }
    return true;
}

static bool wants_base64(const struct json *body)
{
    const struct json *encoding = json_get(body, "encoding");

    return encoding && encoding->type == JSON_STRING && str_is(encoding->string, "base64");
}

/* Non-blocking, so that a FIFO or a device cannot hold up the agent. */
static int open_for_writing(int base, const char *path)
{
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = openat(base, path, flags, 0666);

    if (fd >= 0 || errno != ENOENT || make_parents(base, path) < 0)
        return fd;
    return openat(base, path, flags, 0666);
}

static int write_content(int base, const char *path, const struct json *body)
{
    struct str content = json_get(body, "content")->string;
    _cleanup_close_ int fd = open_for_writing(base, path);

    if (fd < 0)
        return -1;
    if (wants_base64(body) ? write_base64(fd, content) < 0 : write_bytes(fd, content.p, content.n) < 0)
        return -1;
    /* Some file systems (quota, FUSE) tell of a failed write only now. */
    return close(TAKE_FD(fd));
}

static void work_write(struct file_request *f)
{
    int base = file_base(f, f->path);

    if (base != -1) {
        if (write_content(base, f->path, f->rq->body) < 0)
            file_reply_failed(f, errno);
        else
            file_reply_ok(f);
    }
    file_done(f);
}

void handle_write(struct request *rq)
{
    const char *path = file_path(rq, "path");
    const struct json *content = json_get(rq->body, "content");

    if (!path)
        return;
    if (!content || content->type != JSON_STRING) {
        reply_invalid(rq, "content", "must be a string", "INVALID_CONTENT");
        return;
    }
    if (wants_base64(rq->body) && !is_base64(content->string)) {
        reply_invalid(rq, "content", "is not valid base64", "INVALID_BASE64");
        return;
    }
    file_start(rq, "file.write", path, NULL, work_write);
}

/* --- delete --- */

static void reply_is_directory(struct file_request *f)
{
    struct context_item context[] = { CTX_STR("path", f->path), CTX_STR("operation", f->operation) };

    reply_error(f->rq, AGENT_E_IS_DIRECTORY, context, 2,
                "Cannot delete directory with deleteFile(): %s. Remove directories with a command", f->path);
}

static void reply_not_deleted(struct file_request *f, int errnum)
{
    struct context_item context[] = { CTX_STR("path", f->path), CTX_STR("operation", f->operation),
                                      CTX_INT("exitCode", 1), CTX_STR("stderr", strerror(errnum)) };

    reply_error(f->rq, AGENT_E_FILESYSTEM_ERROR, context, 4, "Failed to delete '%s': %s", f->path,
                strerror(errnum));
}

static void work_delete(struct file_request *f)
{
    int base = file_base(f, f->path);
    struct stat st;

    if (base == -1) {
        file_done(f);
        return;
    }
    if (fstatat(base, f->path, &st, 0) < 0) /* a dangling link counts as missing */
        file_reply_not_found(f);
    else if (S_ISDIR(st.st_mode))
        reply_is_directory(f);
    else if (unlinkat(base, f->path, 0) < 0)
        reply_not_deleted(f, errno);
    else
        file_reply_ok(f);
    file_done(f);
}

void handle_delete(struct request *rq)
{
    const char *path = file_path(rq, "path");

    if (path)
        file_start(rq, "file.delete", path, NULL, work_delete);
}

/* --- mkdir --- */

static bool is_recursive(const struct json *body)
{
    const struct json *value = json_get(body, "recursive");

    return value && value->type == JSON_BOOL && value->boolean;
}

static void reply_not_made(struct file_request *f, int errnum)
{
    const struct json *recursive = json_get(f->rq->body, "recursive");
    struct json_member member = { .key = STR("recursive") };
    struct json options = { .type = JSON_OBJECT, .object = { &member, 0 } };
    struct context_item context[] = { CTX_STR("path", f->path), CTX_JSON("options", &options),
                                      CTX_INT("exitCode", 1), CTX_STR("stderr", strerror(errnum)) };

    if (recursive) {
        member.value = *recursive;
        options.object.count = 1;
    }
    reply_error(f->rq, AGENT_E_FILESYSTEM_ERROR, context, 4, "Failed to create directory '%s': %s", f->path,
                strerror(errnum));
}

static void reply_made(struct file_request *f, bool recursive)
{
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "path", f->path);
    json_pair_bool(&reply.w, "recursive", recursive);
    reply_send(f->rq, &reply);
}

static void work_mkdir(struct file_request *f)
{
    bool recursive = is_recursive(f->rq->body);
    int base = file_base(f, f->path);

    if (base != -1) {
        if (recursive ? make_directories(base, f->path) < 0 : mkdirat(base, f->path, 0777) < 0)
            reply_not_made(f, errno);
        else
            reply_made(f, recursive);
    }
    file_done(f);
}

void handle_mkdir(struct request *rq)
{
    const char *path = file_path(rq, "path");
    bool recursive;
    struct berm_error err;

    if (!path)
        return;
    if (json_field_bool(rq->body, "recursive", &recursive, &err) < 0)
        reply_invalid_field(rq, &err);
    else
        file_start(rq, "directory.create", path, NULL, work_mkdir);
}

/* --- exists --- */

static void work_exists(struct file_request *f)
{
    int base = f->path[0] == '/' ? AT_FDCWD : file_base(f, f->path);
    struct reply reply;

    if (base != -1) {
        reply_begin(&reply);
        json_pair_cstring(&reply.w, "path", f->path);
        json_pair_bool(&reply.w, "exists", faccessat(base, f->path, F_OK, 0) == 0);
        reply_send(f->rq, &reply);
    }
    file_done(f);
}

void handle_exists(struct request *rq)
{
    const char *path = file_path(rq, "path");

    if (path)
        file_start(rq, "file.stat", path, NULL, work_exists);
}
