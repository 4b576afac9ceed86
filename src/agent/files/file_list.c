/*
 * file_list.c - POST /api/list-files. A tree is read in slices of some milliseconds, each of whole directories, so
 * that a large one does not keep everybody else waiting.
 */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "base/sys.h"
#include "file_entry.h"
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>

#define SLICE_NS ((uint64_t)5000000)

/* A directory that is still to be read: its path below the listed one, "" for that itself. */
struct pending {
    struct pending *next;
    char path[];
};

struct listing {
    struct file_request *f;
    struct loop_timer next_slice;
    int root; /* the listed directory; owned */
    bool recursive;
    bool hidden;
    struct pending *pending; /* depth first */
    struct reply reply;
    int64_t count;
};

/* The listed path joined with the entry, as it was sent: relative stays relative. */
static void put_absolute(struct listing *l, const char *relative)
{
    struct json_writer *w = &l->reply.w;
    struct str listed = str_from(l->f->path);

    json_key(w, "absolutePath");
    json_string_begin(w);
    json_string_part(w, listed);
    if (listed.p[listed.n - 1] != '/')
        json_string_part(w, STR("/"));
    json_string_part(w, str_from(relative));
    json_string_end(w);
}

static void put_entry(struct listing *l, const char *name, const char *relative, const struct stat *st)
{
    struct json_writer *w = &l->reply.w;

    l->count++;
    json_object_begin(w);
    json_pair_cstring(w, "name", name);
    put_absolute(l, relative);
    json_pair_cstring(w, "relativePath", relative);
    file_entry_put(w, st);
    json_object_end(w);
}

static int push(struct listing *l, const char *path)
{
    size_t n = strlen(path) + 1;
    struct pending *pending = malloc(sizeof(*pending) + n);

    if (!pending)
        return -1;
    memcpy(pending->path, path, n);
    pending->next = l->pending;
    l->pending = pending;
    return 0;
}

/* 0, or -1 with errno. An entry that has gone meanwhile is left out. */
static int add(struct listing *l, int directory, const char *prefix, const char *name)
{
    char relative[PATH_MAX];
    struct stat st;
    int n = snprintf(relative, sizeof(relative), "%s%s%s", prefix, prefix[0] ? "/" : "", name);

    if (n < 0 || (size_t)n >= sizeof(relative)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (l->hidden || name[0] != '.')
        put_entry(l, name, relative, &st);
    return l->recursive && S_ISDIR(st.st_mode) ? push(l, relative) : 0;
}

static int read_directory(struct listing *l, const char *path)
{
    int fd = openat(l->root, path[0] ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | (path[0] ? O_NOFOLLOW : 0));
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    int rc = 0;

    if (!dir) {
        close_fd(&fd);
        return path[0] && errno == ENOENT ? 0 : -1;
    }
    while (rc == 0 && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = add(l, dirfd(dir), path, entry->d_name);
    closedir(dir);
    return rc;
}

/* --- answers --- */

static void reply_not_listed(struct file_request *f, int errnum)
{
    struct context_item context[] = { CTX_STR("path", f->path), CTX_STR("operation", f->operation),
                                      CTX_INT("exitCode", 1), CTX_STR("stderr", strerror(errnum)) };

    reply_error(f->rq, AGENT_E_FILESYSTEM_ERROR, context, 4, "Failed to list '%s': %s", f->path, strerror(errnum));
}

static void reply_not_directory(struct file_request *f)
{
    struct context_item context[] = { CTX_STR("path", f->path), CTX_STR("operation", f->operation) };

    reply_error(f->rq, AGENT_E_NOT_DIRECTORY, context, 2, "Path is not a directory: %s", f->path);
}

static void reply_open_failed(struct file_request *f, int base, int errnum)
{
    struct stat st;

    if (errnum == ENOTDIR && fstatat(base, f->path, &st, 0) == 0)
        reply_not_directory(f);
    else if (errnum == ENOENT || errnum == ENOTDIR)
        file_reply_not_found(f);
    else
        reply_not_listed(f, errnum);
}

static void finish(struct listing *l)
{
    while (l->pending) {
        struct pending *next = l->pending->next;
        free(l->pending);
        l->pending = next;
    }
    file_done(l->f);
    close_fd(&l->root);
    free(l);
}

/* -1 with errno. */
static int read_next(struct listing *l)
{
    struct pending *next = l->pending;
    int rc;

    l->pending = next->next;
    rc = read_directory(l, next->path);
    free(next);
    return rc;
}

static void run_slice(struct loop_timer *timer)
{
    struct listing *l = container_of(timer, struct listing, next_slice);
    struct loop *loop = l->f->rq->agent->loop;
    uint64_t from = clock_monotonic_ns();
    int rc = 0;

    /* Nobody waits for the rest once the client is gone. */
    while (rc == 0 && l->pending && l->f->rq->ex) {
        if (clock_monotonic_ns() - from > SLICE_NS && loop_timer_start(loop, timer, 0) == 0)
            return;
        rc = read_next(l);
    }
    if (rc < 0) {
        reply_not_listed(l->f, errno);
        buf_free(&l->reply.buf);
    } else {
        json_array_end(&l->reply.w);
        json_pair_int(&l->reply.w, "count", l->count);
        reply_send(l->f->rq, &l->reply);
    }
    finish(l);
}

/* Takes `root` over. */
static void list(struct file_request *f, int root)
{
    const struct json *options = json_get(f->rq->body, "options");
    struct listing *l = calloc(1, sizeof(*l));

    if (!l) {
        reply_not_listed(f, ENOMEM);
        file_done(f);
        close_fd(&root);
        return;
    }
    l->f = f;
    l->root = root;
    loop_timer_init(&l->next_slice, run_slice);
    (void)json_field_bool(options, "recursive", &l->recursive, NULL); /* checked before */
    (void)json_field_bool(options, "includeHidden", &l->hidden, NULL);
    if (push(l, "") < 0) {
        reply_not_listed(f, ENOMEM);
        finish(l);
        return;
    }
    reply_begin(&l->reply);
    json_pair_cstring(&l->reply.w, "path", f->path);
    json_key(&l->reply.w, "files");
    json_array_begin(&l->reply.w);
    run_slice(&l->next_slice);
}

static void work(struct file_request *f)
{
    int base = file_base(f, f->path);
    int root;

    if (base == -1) {
        file_done(f);
        return;
    }
    root = openat(base, f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0) {
        list(f, root);
        return;
    }
    reply_open_failed(f, base, errno);
    file_done(f);
}

void handle_list_files(struct request *rq)
{
    const char *path = file_path(rq, "path");
    const struct json *options = NULL;
    struct berm_error err;
    bool flag;

    if (!path)
        return;
    if (json_field_object(rq->body, "options", &options, &err) < 0 ||
        json_field_bool(options, "recursive", &flag, &err) < 0 ||
        json_field_bool(options, "includeHidden", &flag, &err) < 0)
        reply_invalid_field(rq, &err);
    else
        file_start(rq, "directory.list", path, NULL, work);
}
