/*
 * backup_restore.c - POST /api/backup/restore. The archive is mounted read-only by squashfuse, and over it
 * fuse-overlayfs with an empty layer for what is written becomes the directory.
 *
 *   UNMOUNT  what is on the directory, if that is FUSE's; then for each older layer of this archive
 *   FORGET   its lower mount and its files; then
 *   LOWER    squashfuse
 *   MOUNT    fuse-overlayfs; should that fail, LOWER is taken away again
 */
#include "agent/files/make_parents.h"
#include "backup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define LAYERS     BACKUP_PLACE "mounts"
#define FUSERMOUNT "/usr/bin/fusermount3"
#define SQUASHFUSE "/usr/bin/squashfuse"
#define OVERLAY    "/usr/bin/fuse-overlayfs"
#define FUSE_MAGIC 0x65735546
#define OLD_MAX    256

/* `program` has failed, or NULL. */
static void fail(struct backup *b, const char *program, const char *message)
{
    struct context_item more[] = { CTX_STR("cmd", program), CTX_STR("stderr", "") };
    struct str said = backup_said(b, STREAM_STDERR);

    more[1].string = said;
    backup_fail(b, AGENT_E_BACKUP_RESTORE_FAILED, more, program ? 2 : 0, message);
}

/* --- the new layer --- */

static void on_cleaned(struct backup *b, int exit_code)
{
    (void)exit_code;
    fail(b, b->failed_program, "Cannot mount the archive");
}

static void on_mounted(struct backup *b, int exit_code)
{
    const char *const unmount[] = { FUSERMOUNT, "-uz", b->lower, NULL };
    struct reply reply;

    if (exit_code != 0) {
        b->failed_program = OVERLAY;
        backup_run(b, unmount, NULL, on_cleaned);
        return;
    }
    reply_begin(&reply);
    json_pair_cstring(&reply.w, "dir", b->dir);
    reply_send_unstamped(b->rq, &reply);
    backup_free(b);
}

static void on_lower(struct backup *b, int exit_code)
{
    const char *argv[] = { OVERLAY, "-o", NULL, b->dir, NULL };

    if (exit_code != 0) {
        fail(b, SQUASHFUSE, "Cannot mount the archive");
        return;
    }
    argv[2] = arena_printf(&b->rq->arena, "lowerdir=%s,upperdir=%s,workdir=%s", b->lower, b->upper, b->work);
    if (argv[2])
        backup_run(b, argv, NULL, on_mounted);
    else
        on_mounted(b, 127);
}

/* The name of the archive without its end. */
static struct str backup_id(const struct backup *b)
{
    struct str id = str_from(strrchr(b->archive, '/') + 1);

    if (id.n > 5 && memcmp(id.p + id.n - 5, ".sqsh", 5) == 0)
        id.n -= 5;
    return id;
}

static bool make_layer(struct backup *b)
{
    struct arena *arena = &b->rq->arena;
    struct str id = backup_id(b);
    unsigned char random[3];
    char unique[2 * sizeof(random) + 1];

    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), unique);
    b->layer = arena_printf(arena, LAYERS "/%.*s_%lld_%s", (int)id.n, id.p, (long long)clock_realtime_ms(), unique);
    b->lower = arena_printf(arena, "%s/lower", b->layer ? b->layer : "");
    b->upper = arena_printf(arena, "%s/upper", b->layer ? b->layer : "");
    b->work = arena_printf(arena, "%s/work", b->layer ? b->layer : "");
    return b->layer && b->lower && b->upper && b->work && make_directories(AT_FDCWD, b->lower) == 0 &&
           make_directories(AT_FDCWD, b->upper) == 0 && make_directories(AT_FDCWD, b->work) == 0 &&
           make_directories(AT_FDCWD, b->dir) == 0;
}

static void mount_lower(struct backup *b)
{
    const char *argv[] = { SQUASHFUSE, b->archive, NULL, NULL };

    if (!make_layer(b)) {
        fail(b, NULL, "Cannot make the directories of the mount");
        return;
    }
    argv[2] = b->lower;
    backup_run(b, argv, NULL, on_lower);
}

/* --- older layers --- */

static void forget_next(struct backup *b);

static void on_forgotten(struct backup *b, int exit_code)
{
    (void)exit_code; /* what cannot be removed takes room and nothing else */
    b->old_count--;
    forget_next(b);
}

/* If the archive is still mounted there, rm stays out of it. */
static void on_old_unmounted(struct backup *b, int exit_code)
{
    const char *const remove[] = { "rm", "-rf", "--one-file-system", b->old[b->old_count - 1], NULL };

    (void)exit_code;
    backup_run(b, remove, NULL, on_forgotten);
}

static void forget_next(struct backup *b)
{
    const char *argv[] = { FUSERMOUNT, "-uz", NULL, NULL };

    if (b->old_count == 0) {
        mount_lower(b);
        return;
    }
    argv[2] = arena_printf(&b->rq->arena, "%s/lower", b->old[b->old_count - 1]);
    if (argv[2])
        backup_run(b, argv, NULL, on_old_unmounted);
    else
        fail(b, NULL, "out of memory");
}

static bool find_old(struct backup *b)
{
    struct arena *arena = &b->rq->arena;
    const char *prefix = arena_printf(arena, "%.*s_", (int)backup_id(b).n, backup_id(b).p);
    DIR *layers = opendir(LAYERS);
    struct dirent *entry;

    b->old = arena_alloc(arena, OLD_MAX * sizeof(*b->old));
    while (prefix && b->old && layers && b->old_count < OLD_MAX && (entry = readdir(layers))) {
        if (!str_has_prefix(str_from(entry->d_name), str_from(prefix)))
            continue;
        b->old[b->old_count] = arena_printf(arena, LAYERS "/%s", entry->d_name);
        if (b->old[b->old_count])
            b->old_count++;
    }
    if (layers)
        closedir(layers);
    return prefix && b->old;
}

/* --- the directory --- */

static void on_unmounted_lazily(struct backup *b, int exit_code)
{
    (void)exit_code;
    forget_next(b);
}

static void on_unmounted(struct backup *b, int exit_code)
{
    const char *const lazily[] = { FUSERMOUNT, "-uz", b->dir, NULL };

    if (exit_code == 0)
        forget_next(b);
    else
        backup_run(b, lazily, NULL, on_unmounted_lazily);
}

void backup_restore(struct backup *b)
{
    const char *const unmount[] = { FUSERMOUNT, "-u", b->dir, NULL };
    struct statfs fs;
    struct stat st;

    if (lstat(b->archive, &st) < 0 || !S_ISREG(st.st_mode))
        fail(b, NULL, "The archive does not exist");
    else if (!find_old(b))
        fail(b, NULL, "out of memory");
    else if (statfs(b->dir, &fs) == 0 && fs.f_type == FUSE_MAGIC)
        backup_run(b, unmount, NULL, on_unmounted);
    else
        forget_next(b);
}
