/*
 * file_move.c - POST /api/rename and /api/move: what mv(1) does. Both work on anything, move into a directory that
 * exists, replace files, and copy where the file system changes.
 */
#include "agent/agent.h"
#include "agent/exec/collector.h"
#include "agent/http/routes.h"
#include "files.h"
#include "tree.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

struct move {
    struct file_request *f;
    const char *from_key, *to_key; /* of the error context */
    int from_base, to_base;
    char target[PATH_MAX]; /* where it goes in the end, relative to to_base */
    bool onto_itself;
    struct collector output;
};

static void finish(struct move *m)
{
    collector_free(&m->output);
    file_done(m->f);
    free(m);
}

/* --- answers --- */

static void reply_moved(struct file_request *f)
{
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "path", f->path);
    json_pair_cstring(&reply.w, "newPath", f->target);
    reply_send(f->rq, &reply);
}

static void reply_not_moved(struct move *m, const char *reason)
{
    struct file_request *f = m->f;
    struct context_item context[] = { CTX_STR(m->from_key, f->path), CTX_STR(m->to_key, f->target),
                                      CTX_INT("exitCode", 1), CTX_STR("stderr", reason) };

    reply_error(f->rq, AGENT_E_FILESYSTEM_ERROR, context, 4, "Cannot move '%s' to '%s': %s", f->path, f->target,
                reason);
}

/* --- between file systems, in a child --- */

static int copy_in_child(void *arg)
{
    struct move *m = arg;
    struct tree_error err;

    if (tree_move(AT_FDCWD, m->f->path, AT_FDCWD, m->target, &err) == 0)
        return 0;
    dprintf(STDOUT_FILENO, "%s: %s", err.what, strerror(err.errnum));
    return 1;
}

static void on_child_end(struct child *child, void *data)
{
    struct move *m = data;
    struct output *out = &m->output.outputs[STREAM_STDOUT];

    if (child_exit_code(child) == 0) {
        reply_moved(m->f);
    } else {
        const char *reason =
            out->first ? arena_strdup(&m->f->rq->arena, (struct str){ out->first->bytes, out->first->len })
                       : "the copy was interrupted";
        reply_not_moved(m, reason ? reason : "out of memory");
    }
    finish(m);
}

static void start_copy(struct move *m)
{
    static const struct child_events events = { .on_end = on_child_end };
    struct child_spec spec = CHILD_SPEC_INIT;
    struct child_error err;

    collector_init(&m->output, 4096);
    spec.run = copy_in_child;
    spec.run_arg = m;
    spec.cwd_fd = m->f->cwd_fd;
    spec.fds[1] = CHILD_PIPE;
    if (child_spawn(m->f->rq->agent, &spec, &m->output.sink, &events, m, &err))
        return;
    reply_not_moved(m, strerror(err.errnum));
    finish(m);
}

/* --- on one file system --- */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Moving onto a directory means into it. */
static int find_target(struct move *m)
{
    struct file_request *f = m->f;
    struct str name = file_base_name(f->path);
    struct stat st;
    int n;

    if (fstatat(m->to_base, f->target, &st, 0) == 0 && S_ISDIR(st.st_mode))
        n = snprintf(m->target, sizeof(m->target), "%s/%.*s", f->target, (int)name.n, name.p);
    else
        n = snprintf(m->target, sizeof(m->target), "%s", f->target);
    if (n >= 0 && (size_t)n < sizeof(m->target))
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

/* rename(2) does nothing for two names of one file; mv removes the first, unless they are the same name. */
static int rename_same(struct move *m)
{
    struct str from = file_base_name(m->f->path), to = file_base_name(m->target);
    char from_dir[PATH_MAX], to_dir[PATH_MAX];
    struct stat a, b;

    snprintf(from_dir, sizeof(from_dir), "%.*s.", (int)(from.p - m->f->path), m->f->path);
    snprintf(to_dir, sizeof(to_dir), "%.*s.", (int)(to.p - m->target), m->target);
    if (fstatat(m->from_base, from_dir, &a, 0) < 0 || fstatat(m->to_base, to_dir, &b, 0) < 0)
        return -1;
    m->onto_itself = same_file(&a, &b) && str_eq(from, to);
    if (m->onto_itself)
        return -1;
    return unlinkat(m->from_base, m->f->path, 0);
}

static int do_rename(struct move *m, const struct stat *source)
{
    struct stat target;

    if (find_target(m) < 0)
        return -1;
    if (fstatat(m->to_base, m->target, &target, AT_SYMLINK_NOFOLLOW) == 0 && same_file(source, &target))
        return rename_same(m);
    return renameat(m->from_base, m->f->path, m->to_base, m->target);
}

static void work_on(struct move *m)
{
    struct file_request *f = m->f;
    struct stat source;

    if (fstatat(m->from_base, f->path, &source, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            file_reply_not_found(f);
        else
            reply_not_moved(m, strerror(errno));
    } else if (do_rename(m, &source) == 0) {
        reply_moved(f);
    } else if (!m->onto_itself && errno == EXDEV) {
        start_copy(m);
        return;
    } else {
        reply_not_moved(m, m->onto_itself ? "they are the same file" : strerror(errno));
    }
    finish(m);
}

static void work(struct file_request *f)
{
    bool rename = strcmp(f->operation, "file.rename") == 0;
    struct move *m = calloc(1, sizeof(*m));

    if (!m) {
        file_reply_failed(f, ENOMEM);
        file_done(f);
        return;
    }
    m->f = f;
    m->from_key = rename ? "oldPath" : "sourcePath";
    m->to_key = rename ? "newPath" : "destinationPath";
    m->from_base = file_base(f, f->path);
    m->to_base = m->from_base == -1 ? -1 : file_base(f, f->target);
    if (m->to_base == -1)
        finish(m);
    else
        work_on(m);
}

/* --- decoding --- */

static struct str text_of(const struct json *value)
{
    return value && value->type == JSON_STRING ? value->string : (struct str){ "", 0 };
}

static void start(struct request *rq, const char *operation, const char *from_key, const char *to_key)
{
    const struct json *from = json_get(rq->body, from_key), *to = json_get(rq->body, to_key);
    const char *from_problem = file_path_problem(from), *to_problem = file_path_problem(to);
    const char *field = from_problem ? from_key : to_key;
    const char *problem = from_problem ? from_problem : to_problem;

    if (problem) {
        struct context_item context[] = {
            { .key = from_key, .type = CONTEXT_STRING, .string = text_of(from) },
            { .key = to_key, .type = CONTEXT_STRING, .string = text_of(to) },
            CTX_INVALID("errors", field, problem, "INVALID_PATH"),
        };
        reply_error(rq, AGENT_E_SECURITY_VALIDATION_FAILED, context, 3, "%s: %s", field, problem);
        return;
    }
    file_start(rq, operation, from->string.p, to->string.p, work);
}

void handle_rename(struct request *rq)
{
    start(rq, "file.rename", "oldPath", "newPath");
}

void handle_move(struct request *rq)
{
    start(rq, "file.move", "sourcePath", "destinationPath");
}
