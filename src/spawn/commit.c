/*
 * commit.c - requests about images of sandboxes' files: what the imager (imager.h) is told, and what it says.
 *
 * A commit is answered when it has begun, and its end told by an event. Which files are meant is settled at once:
 * the number of a slot may belong to another sandbox by the time that the imager comes to it, a descriptor does
 * not.
 */
#include "base/log.h"
#include "base/sys.h"
#include "mounts.h"
#include "worker.h"

#include <dirent.h>
#include <fcntl.h>

static void answer(struct worker *w, const struct spawn_request *r, const char *failed)
{
    struct spawn_reply reply = { 0 };
    struct berm_error err;

    if (!failed) {
        worker_reply(w, &reply, r->op, r->serial, r->key);
        return;
    }
    berm_fail(&err, BERM_E_SYSTEM, errno, "%s", failed);
    worker_reply_error(w, r->op, r->serial, r->key, &err);
}

void commit_begin(struct worker *w, struct sandbox *s, const struct spawn_request *r)
{
    const struct imager_job job = { .op = IMAGER_COMMIT,
                                    .uid_base = range_uid_base(s->index),
                                    .number = r->commit.number,
                                    .disk_bytes = s->limits.disk_bytes };
    _cleanup_close_ int subvolume = -EBADF;
    _cleanup_close_ int image = -EBADF;
    char name[SLOT_NAME_SIZE];

    slot_name(s->index, name);
    subvolume = openat(w->stage.disk_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (subvolume < 0 || !s->image || (image = mount_clone(AT_FDCWD, s->image->path, false)) < 0)
        answer(w, r, "find the files");
    else if (imager_send(&w->imager, &job, (const int[]){ subvolume, image }, 2) < 0)
        answer(w, r, "begin the commit");
    else
        answer(w, r, NULL);
}

void commit_remove(struct worker *w, const struct spawn_request *r)
{
    const struct imager_job job = { .op = IMAGER_REMOVE, .number = r->key };

    answer(w, r, imager_send(&w->imager, &job, NULL, 0) < 0 ? "begin the removal" : NULL);
}

/* --- which there are --- */

/* A name is a link to "../<64 hex digits>". */
static bool digest_of(int names, const char *name, uint8_t digest[32])
{
    char target[80];
    ssize_t n = readlinkat(names, name, target, sizeof(target));

    return n == 67 && !memcmp(target, "../", 3) && hex_decode((struct str){ target + 3, 64 }, digest, 32) == 0;
}

void commit_list(struct worker *w, const struct spawn_request *r)
{
    int fd = openat(w->stage.images_fd, "names", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *names = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!names && errno != ENOENT) {
        answer(w, r, "read the names of images");
        return;
    }
    while (names && (entry = readdir(names))) {
        struct spawn_reply event = { .event = SPAWN_EVENT_IMAGE };
        uint64_t number;

        if (imager_number(w->image_id, entry->d_name, &number) && digest_of(fd, entry->d_name, event.image.digest))
            worker_reply(w, &event, SPAWN_OP_EVENT, 0, number);
    }
    if (names)
        closedir(names);
    answer(w, r, NULL);
}

/* --- what the imager says --- */

static void tell(struct worker *w, const struct imager_result *result)
{
    struct spawn_reply event = { .event = SPAWN_EVENT_COMMITTED, .error = result->verdict.error };

    if (result->op != IMAGER_COMMIT) {
        if (result->verdict.error && result->verdict.error != EBUSY && result->verdict.error != ENOENT)
            log_warn("image_remains", "reason", result->verdict.message);
        return;
    }
    snprintf(event.message, sizeof(event.message), "%s", result->verdict.message);
    memcpy(event.image.digest, result->verdict.digest, sizeof(event.image.digest));
    event.image.size_bytes = result->verdict.size_bytes;
    worker_reply(w, &event, SPAWN_OP_EVENT, 0, result->number);
}

/* Without it nobody would ever hear of what it was told to do: better a new worker, which has a new one. */
static void on_result(struct loop_io *io, uint32_t events)
{
    struct imager *imager = container_of(io, struct imager, io);
    struct worker *w = container_of(imager, struct worker, imager);
    struct imager_result result;
    int rc;

    (void)events;
    while ((rc = imager_receive(imager, &result)) > 0)
        tell(w, &result);
    if (rc == 0)
        return;
    log_error("imager_lost");
    abort();
}

int commit_watch(struct worker *w)
{
    if (w->imager.socket_fd < 0)
        return 0;
    return loop_io_add(w->loop, &w->imager.io, w->imager.socket_fd, EPOLLIN, on_result);
}
