/*
 * raw_write.c - PUT /berm/v1/file: the body becomes the file, as it comes and without a session; and the same for
 * PUT /berm/v1/write, once that knows the path.
 *
 * A body that breaks off must not leave half a file: the bytes go to a new one beside it, which has the owner and
 * mode of the one to be replaced and takes its name at the end. What cannot be replaced so is written in place: a
 * device, a file with several names, one in a directory that takes no new names.
 */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "base/sys.h"
#include "make_parents.h"
#include "raw_file.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define OPEN_FLAGS (O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

struct raw_write {
    struct request *rq;
    const char *path;      /* absolute */
    const char *shown;     /* as asked for */
    const char *target;    /* the same with a link at its end followed */
    const char *temporary; /* the new file's name; NULL: written in place, or at its place already */
    bool replaces;
    struct stat old; /* if it replaces one */
    int fd;
    int errnum; /* of the first failure; what comes after it is dropped */
    uint64_t written;
    void (*reply)(struct request *rq, const char *shown, uint64_t written);
    struct loop_deferred unlink_later;
};

/* --- opening --- */

/* Whether a new file can take the place of what is there. */
static bool look_at_target(struct raw_write *w)
{
    char resolved[PATH_MAX];

    w->target = w->path;
    if (w->path[strlen(w->path) - 1] == '/')
        return false; /* a directory, if anything */
    if (lstat(w->path, &w->old) < 0)
        return errno == ENOENT;
    if (S_ISLNK(w->old.st_mode)) {
        w->target = realpath(w->path, resolved) ? arena_strdup(&w->rq->arena, str_from(resolved)) : NULL;
        if (!w->target || lstat(w->target, &w->old) < 0)
            return false;
    }
    w->replaces = true;
    return S_ISREG(w->old.st_mode) && w->old.st_nlink == 1 && access(w->target, W_OK) == 0;
}

static const char *temporary_name(struct raw_write *w)
{
    int directory = (int)(strrchr(w->target, '/') + 1 - w->target);
    uint64_t number;

    random_bytes(&number, sizeof(number));
    return arena_printf(&w->rq->arena, "%.*s.berm-put-%016llx", directory, w->target, (unsigned long long)number);
}

/* What the old file may be, the new one is. Access lists and other extended attributes are not carried over. */
static int copy_owner_and_mode(const struct raw_write *w)
{
    struct stat st;

    if (fstat(w->fd, &st) < 0)
        return -1;
    if ((st.st_uid != w->old.st_uid || st.st_gid != w->old.st_gid) &&
        fchown(w->fd, w->old.st_uid, w->old.st_gid) < 0)
        return -1;
    return st.st_mode == w->old.st_mode ? 0 : fchmod(w->fd, w->old.st_mode & 07777);
}

/* 0, or -1 with errno and nothing made. */
static int open_beside(struct raw_write *w)
{
    const char *name = temporary_name(w);

    if (!name) {
        errno = ENOMEM;
        return -1;
    }
    w->fd = open(name, OPEN_FLAGS | O_EXCL | O_NOFOLLOW, 0666);
    if (w->fd < 0)
        return -1;
    if (!w->replaces || copy_owner_and_mode(w) == 0) {
        w->temporary = name;
        return 0;
    }
    close_fd(&w->fd);
    unlink(name);
    errno = EPERM;
    return -1;
}

static int open_file(struct raw_write *w)
{
    bool beside = look_at_target(w);

    if (beside && open_beside(w) == 0)
        return 0;
    if (beside && errno == ENOENT && make_parents(AT_FDCWD, w->path) == 0 && open_beside(w) == 0)
        return 0;
    w->fd = open(w->path, OPEN_FLAGS | O_TRUNC, 0666);
    return w->fd < 0 ? -1 : 0;
}

/* --- the end --- */

static void unlink_temporary(struct raw_write *w)
{
    if (w->temporary)
        unlink(w->temporary);
    w->temporary = NULL;
}

static void on_unlink_later(struct loop_deferred *deferred)
{
    struct raw_write *w = container_of(deferred, struct raw_write, unlink_later);

    unlink_temporary(w);
    request_unhold(w->rq);
}

/*
 * Where it replaces a file of the same file system the two exchange their names, and the old one goes after the
 * answer: on btrfs a rename over a file starts writing the new one out. Not so with a file of the image, which an
 * exchange would copy first.
 */
static int take_place(struct raw_write *w, dev_t device)
{
    if (w->replaces && w->old.st_dev == device &&
        syscall(SYS_renameat2, AT_FDCWD, w->temporary, AT_FDCWD, w->target, RENAME_EXCHANGE) == 0) {
        request_hold(w->rq);
        w->unlink_later.callback = on_unlink_later;
        loop_defer(w->rq->agent->loop, &w->unlink_later);
        return 0;
    }
    if (rename(w->temporary, w->target) < 0)
        return -1;
    w->temporary = NULL;
    return 0;
}

static int finish(struct raw_write *w)
{
    struct stat st = { 0 };

    if (fstat(w->fd, &st) < 0)
        return -1;
    if (close(TAKE_FD(w->fd)) < 0)
        return -1;
    return w->temporary ? take_place(w, st.st_dev) : 0;
}

static void on_body_end(struct request *rq)
{
    struct raw_write *w = rq->data;

    if (w->errnum == 0 && finish(w) < 0)
        w->errnum = errno;
    if (w->errnum == 0) {
        w->reply(rq, w->shown, w->written);
        return;
    }
    unlink_temporary(w);
    raw_file_failed(rq, "file.write", w->shown, w->errnum);
}

/* --- between --- */

static void on_piece(struct request *rq, struct str piece)
{
    struct raw_write *w = rq->data;

    while (w->errnum == 0 && piece.n > 0) {
        ssize_t n = RETRY_EINTR(write(w->fd, piece.p, piece.n));
        if (n < 0) {
            w->errnum = errno;
            return;
        }
        piece.p += n;
        piece.n -= (size_t)n;
        w->written += (uint64_t)n;
    }
}

static void on_gone(struct request *rq, bool complete)
{
    struct raw_write *w = rq->data;

    close_fd(&w->fd);
    if (!complete)
        unlink_temporary(w);
}

void raw_write_start(struct request *rq, const char *path, const char *shown,
                     void (*reply)(struct request *rq, const char *shown, uint64_t written))
{
    struct raw_write *w = arena_calloc(&rq->arena, 1, sizeof(*w));

    if (!w) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    *w = (struct raw_write){ .rq = rq, .path = path, .shown = shown, .fd = -EBADF, .reply = reply };
    if (open_file(w) < 0) {
        raw_file_failed(rq, "file.write", shown, errno);
        return;
    }
    rq->data = w;
    rq->on_piece = on_piece;
    rq->on_body_end = on_body_end;
    rq->on_gone = on_gone;
}

static void reply_ok(struct request *rq, const char *shown, uint64_t written)
{
    (void)shown;
    (void)written;
    http_respond(rq->ex, 200, "application/json", STR("{\"ok\":true}"));
}

void handle_raw_write(struct request *rq)
{
    const char *path = raw_file_path(rq);

    if (path)
        raw_write_start(rq, path, path, reply_ok);
}
