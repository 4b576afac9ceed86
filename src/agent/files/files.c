#include "files.h"

#include "agent/agent.h"
#include "base/utf8.h"

#include <fcntl.h>
#include <sys/stat.h>

/* --- decoding --- */

const char *file_path_problem(const struct json *value)
{
    if (!value || value->type != JSON_STRING || value->string.n == 0)
        return "Path must be a non-empty string";
    if (memchr(value->string.p, 0, value->string.n))
        return "Path must not hold a NUL character";
    if (utf8_utf16_units(value->string) > FILE_PATH_MAX)
        return "Path must not be longer than 4096 characters";
    return NULL;
}

const char *file_path(struct request *rq, const char *key)
{
    const struct json *value = json_get(rq->body, key);
    const char *problem = file_path_problem(value);

    if (!problem)
        return value->string.p;
    reply_invalid(rq, key, problem, "INVALID_PATH");
    return NULL;
}

struct str file_base_name(const char *path)
{
    size_t end = strlen(path), start;

    while (end > 1 && path[end - 1] == '/')
        end--;
    for (start = end; start > 0 && path[start - 1] != '/'; start--)
        ;
    return (struct str){ path + start, end - start };
}

/* --- answers --- */

void file_reply_ok(struct file_request *f)
{
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "path", f->path);
    reply_send(f->rq, &reply);
}

void file_reply_not_found(struct file_request *f)
{
    struct context_item context[] = { CTX_STR("path", f->path), CTX_STR("operation", f->operation) };
    const char *message = arena_printf(&f->rq->arena, "File not found: %s", f->path);

    message = message ? message : "File not found";
    if (f->fail)
        f->fail(f->rq, message);
    else
        reply_error(f->rq, AGENT_E_FILE_NOT_FOUND, context, 2, "%s", message);
}

static void reply_failed(struct file_request *f, const char *reason)
{
    struct context_item context[] = { CTX_STR("path", f->path), CTX_STR("operation", f->operation),
                                      CTX_STR("stderr", reason) };
    const char *message = arena_printf(&f->rq->arena, "%s failed for '%s': %s", f->operation, f->path, reason);

    message = message ? message : reason;
    if (f->fail)
        f->fail(f->rq, message);
    else
        reply_error(f->rq, AGENT_E_FILESYSTEM_ERROR, context, 3, "%s", message);
}

void file_reply_failed(struct file_request *f, int errnum)
{
    reply_failed(f, strerror(errnum));
}

/* --- the queue --- */

void file_leave_session(struct file_request *f)
{
    if (f->op.session)
        session_release(&f->op);
}

void file_done(struct file_request *f)
{
    file_leave_session(f);
    close_fd(&f->cwd_fd);
    request_unhold(f->rq);
    free(f);
}

static void run(struct session_op *op)
{
    struct file_request *f = container_of(op, struct file_request, op);

    f->work(f);
}

static void on_terminated(struct session_op *op, int exit_code)
{
    struct file_request *f = container_of(op, struct file_request, op);
    const char *id = NULL;

    (void)json_field_cstring(f->rq->body, "sessionId", &id, NULL);
    if (f->fail)
        f->fail(f->rq, "the session is terminated: its shell exited");
    else
        reply_session_terminated(f->rq, id ? id : "default", exit_code);
    file_done(f);
}

int file_base(struct file_request *f, const char *path)
{
    if (path[0] == '/')
        return AT_FDCWD;
    if (f->cwd_fd >= 0)
        return f->cwd_fd;
    f->cwd_fd = f->op.session ? session_open_cwd(f->op.session)
                              : open(session_default_directory(f->rq->agent), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (f->cwd_fd < 0)
        file_reply_failed(f, errno);
    return f->cwd_fd < 0 ? -1 : f->cwd_fd;
}

static void submit(struct file_request *f, const char *id)
{
    if (id && strcmp(id, SESSIONLESS_ID) == 0) {
        f->work(f);
    } else if (session_submit(f->rq->agent, id ? id : "default", &f->op) < 0) {
        file_reply_failed(f, ENOMEM);
        file_done(f);
    }
}

static void start(struct request *rq, const struct file_request *what)
{
    struct file_request *f = calloc(1, sizeof(*f));
    struct berm_error err;
    const char *id = NULL;

    if (!f) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    *f = *what;
    f->rq = request_hold(rq);
    f->cwd_fd = -EBADF;
    f->op = (struct session_op){ .run = run, .terminated = on_terminated };
    if (json_field_cstring(rq->body, "sessionId", &id, &err) < 0) {
        reply_invalid_field(rq, &err);
        file_done(f);
    } else if (id && is_blank(str_from(id))) {
        reply_failed(f, "the session id must not be blank");
        file_done(f);
    } else {
        submit(f, id);
    }
}

void file_start(struct request *rq, const char *operation, const char *path, const char *target,
                void (*work)(struct file_request *f))
{
    start(rq, &(struct file_request){ .operation = operation, .path = path, .target = target, .work = work });
}

void file_start_failing(struct request *rq, const char *operation, const char *path,
                        void (*work)(struct file_request *f), void (*fail)(struct request *rq, const char *message))
{
    start(rq, &(struct file_request){ .operation = operation, .path = path, .work = work, .fail = fail });
}

/* Looked at before it is opened: that can have effects. */
int file_open(struct file_request *f, uint64_t *ret_size)
{
    int base = file_base(f, f->path), fd;
    struct stat st;

    if (base == -1)
        return -1;
    if (fstatat(base, f->path, &st, 0) < 0 || !S_ISREG(st.st_mode)) {
        file_reply_not_found(f);
        return -1;
    }
    fd = openat(base, f->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        file_reply_failed(f, errno);
    *ret_size = (uint64_t)st.st_size;
    return fd;
}
