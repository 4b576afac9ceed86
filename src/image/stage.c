#include "image/stage.h"

#include "base/sys.h"
#include "image/erofs.h"
#include "image/tree.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

void image_report(const struct image_progress *progress, const char *stage, int percent, const char *detail)
{
    if (progress && progress->report)
        progress->report(progress->arg, stage, percent, detail);
}

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

bool image_interrupted(void)
{
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM) || sigismember(&pending, SIGHUP);
}

/* Every directory on the way gets 0755 whatever the umask is: the daemon reads as another user. */
static int make_directories(const char *path, struct berm_error *err)
{
    char prefix[PATH_MAX];
    if (path[0] == '\0' || str_copy(str_from(path), prefix, sizeof(prefix)) < 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "the path of the image directory is empty or too long");
    for (char *p = prefix + 1;; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        bool made = mkdir(prefix, 0755) == 0;
        if ((!made && errno != EEXIST) || (made && chmod(prefix, 0755) < 0))
            return berm_fail(err, BERM_E_SYSTEM, errno, "making %s", prefix);
        *p = c;
        if (c == '\0')
            return 0;
    }
}

static int make_stage_directory(struct image_stage *stage, const char *images_dir, struct berm_error *err)
{
    _cleanup_close_ int lock = store_lock(stage->images_fd, err);
    if (lock < 0 || store_sweep(stage->images_fd, err) < 0)
        return -1;
    if (mkdirat(stage->images_fd, "names", 0755) == 0 && fchmodat(stage->images_fd, "names", 0755, 0) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "making %s/names", images_dir);
    store_choose_tmp_name(stage->dir_name);
    /* 0700 until it is an image: what lies in here has set-user-id files that only sandboxes may run. */
    if (mkdirat(stage->images_fd, stage->dir_name, 0700) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "making %s/%s", images_dir, stage->dir_name);
    stage->fd = openat(stage->images_fd, stage->dir_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (stage->fd < 0 || flock(stage->fd, LOCK_EX | LOCK_NB) < 0 || mkdirat(stage->fd, "rootfs", 0755) < 0 ||
        fchmodat(stage->fd, "rootfs", 0755, 0) < 0 || mkdirat(stage->fd, "image", 0755) < 0 ||
        fchmodat(stage->fd, "image", 0755, 0) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "making %s/%s", images_dir, stage->dir_name);
    if (snprintf(stage->rootfs, sizeof(stage->rootfs), "%s/%s/rootfs", images_dir, stage->dir_name) >=
        (int)sizeof(stage->rootfs))
        return berm_fail(err, BERM_E_INVALID_REQUEST, ENAMETOOLONG, "the image directory");
    return 0;
}

int image_stage_begin(struct image_stage *stage, const char *images_dir, struct berm_error *err)
{
    sigset_t stops;
    *stage = (struct image_stage){ .images_fd = -EBADF, .fd = -EBADF };
    stop_signals(&stops);
    stage->signals_blocked = sigprocmask(SIG_BLOCK, &stops, &stage->saved_signals) == 0;
    if (make_directories(images_dir, err) == 0) {
        stage->images_fd = image_store_open(images_dir, err);
        if (stage->images_fd >= 0 && make_stage_directory(stage, images_dir, err) == 0)
            return 0;
    }
    image_stage_end(stage);
    return -1;
}

void image_stage_end(struct image_stage *stage)
{
    if (stage->images_fd >= 0 && stage->dir_name[0])
        (void)tree_remove(stage->images_fd, stage->dir_name, NULL);
    close_fd(&stage->fd);
    close_fd(&stage->images_fd);
    stage->dir_name[0] = '\0';
    if (stage->signals_blocked)
        sigprocmask(SIG_SETMASK, &stage->saved_signals, NULL);
    stage->signals_blocked = false;
}

static int write_config(int image_fd, struct image_config *config, struct berm_error *err)
{
    struct buf text;
    buf_init(&text, IMAGE_CONFIG_MAX_BYTES + 1);
    int rc = image_config_write(config, &text, err);
    if (rc == 0) {
        _cleanup_close_ int fd = openat(image_fd, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
        if (fd < 0 || write_all(fd, buf_head(&text), text.len) < 0)
            rc = berm_fail(err, BERM_E_SYSTEM, errno, "writing config.json");
    }
    buf_free(&text);
    return rc;
}

/* Digests what is in the stage's "image" directory, and puts it safely on the disk. */
static int seal(int image_fd, const struct image_progress *progress, uint8_t digest[IMAGE_DIGEST_BYTES],
                struct berm_error *err)
{
    _cleanup_close_ int rootfs = openat(image_fd, "rootfs.erofs", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_close_ int config = openat(image_fd, "config.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (rootfs < 0 || config < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "reading the image");
    if (image_digest(rootfs, config, progress, digest, err) < 0)
        return -1;
    if (fchmod(rootfs, 0444) < 0 || fchmod(config, 0444) < 0 || fsync(rootfs) < 0 || fsync(config) < 0 ||
        fsync(image_fd) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "writing the image to the disk");
    return 0;
}

int image_stage_publish(struct image_stage *stage, const char *name, struct image_config *config,
                        const struct image_progress *progress, struct image *ret, struct berm_error *err)
{
    char file[PATH_MAX], digest_hex[IMAGE_HEX_SIZE];
    uint8_t digest[IMAGE_DIGEST_BYTES];
    size_t parent = strlen(stage->rootfs) - strlen("rootfs");
    if (snprintf(file, sizeof(file), "%.*simage/rootfs.erofs", (int)parent, stage->rootfs) >= (int)sizeof(file))
        return berm_fail(err, BERM_E_INVALID_REQUEST, ENAMETOOLONG, "the image directory");
    _cleanup_close_ int image = openat(stage->fd, "image", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (image < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "the staging directory");
    if (write_config(image, config, err) < 0 || erofs_make(stage->rootfs, file, progress, err) < 0 ||
        seal(image, progress, digest, err) < 0)
        return -1;
    hex_encode(digest, sizeof(digest), digest_hex);
    if (store_install(stage->images_fd, stage->fd, "image", name, digest_hex, err) < 0)
        return -1;
    return image_resolve_at(stage->images_fd, name, ret, err);
}
