/*
 * Theory of operation. Whatever changes names or digests holds <images>/.lock. A staging directory is locked by its
 * maker from its birth (under the store's lock), so that a sweep can tell what a killed maker has left behind from
 * what is being made. An image is removed by taking its directory's LOCK_EX, which fails while a user holds
 * LOCK_SH, and renaming it to a staging name first: there is never half an image under a digest.
 */
#include "image/store_write.h"

#include "image/tree.h"

#include <fcntl.h>
#include <sys/file.h>

int store_lock(int images_fd, struct berm_error *err)
{
    _cleanup_close_ int fd = openat(images_fd, ".lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || RETRY_EINTR(flock(fd, LOCK_EX)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "locking the image directory");
    return TAKE_FD(fd);
}

void store_choose_tmp_name(char out[STORE_TMP_NAME_SIZE])
{
    uint8_t bytes[6];
    char hex[2 * sizeof(bytes) + 1];
    random_bytes(bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), hex);
    snprintf(out, STORE_TMP_NAME_SIZE, STORE_TMP_PREFIX "%s", hex);
}

/* Whether a name other than `except` (or NULL) points at the digest; true as well when that cannot be told. */
static bool is_named(int images_fd, const char *digest, const char *except)
{
    struct dir_reader names;
    bool named = false;
    if (dir_reader_open(&names, images_fd, "names") < 0)
        return errno != ENOENT;
    for (const char *name; !named && (name = dir_reader_next(&names));) {
        char target[IMAGE_HEX_SIZE];
        if (!image_name_valid(str_from(name)) || (except && strcmp(name, except) == 0))
            continue;
        named = image_name_read(images_fd, name, target, NULL) == 0 && strcmp(target, digest) == 0;
    }
    dir_reader_close(&names);
    return named;
}

/* The directory's descriptor with LOCK_EX; IMAGE_IN_USE while anybody else holds it. */
static int hold(int images_fd, const char *name, struct berm_error *err)
{
    _cleanup_close_ int fd = openat(images_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return berm_fail(err, errno == ENOENT ? BERM_E_IMAGE_NOT_FOUND : BERM_E_SYSTEM, errno, "image %s", name);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return TAKE_FD(fd);
    if (errno == EWOULDBLOCK)
        return berm_fail(err, BERM_E_IMAGE_IN_USE, 0, "image %s is in use", name);
    return berm_fail(err, BERM_E_SYSTEM, errno, "image %s", name);
}

/* Removes a directory that is held. */
static int drop(int images_fd, const char *name, struct berm_error *err)
{
    char tmp[STORE_TMP_NAME_SIZE];
    store_choose_tmp_name(tmp);
    if (renameat(images_fd, name, images_fd, tmp) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "removing image %s", name);
    return tree_remove(images_fd, tmp, err);
}

int store_sweep(int images_fd, struct berm_error *err)
{
    struct dir_reader dir;
    if (dir_reader_open(&dir, images_fd, ".") < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "the image directory");
    int rc = 0;
    for (const char *name; rc == 0 && (name = dir_reader_next(&dir));) {
        struct berm_error detail = { 0 };
        bool leftover = str_has_prefix(str_from(name), STR(STORE_TMP_PREFIX));
        if (!leftover && (!image_digest_valid(str_from(name)) || is_named(images_fd, name, NULL)))
            continue;
        _cleanup_close_ int held = hold(images_fd, name, &detail);
        if (held >= 0)
            rc = drop(images_fd, name, err);
        else if (detail.code != BERM_E_IMAGE_IN_USE && detail.code != BERM_E_IMAGE_NOT_FOUND)
            rc = berm_fail(err, detail.code, 0, "%s", detail.message);
    }
    dir_reader_close(&dir);
    return rc;
}

static int set_name(int images_fd, const char *name, const char *digest, struct berm_error *err)
{
    char target[IMAGE_HEX_SIZE + 4];
    snprintf(target, sizeof(target), "../%s", digest);
    _cleanup_close_ int names = openat(images_fd, "names", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* ".new" is nobody's name, and the lock makes us the only one to use it. */
    if (names < 0 || (unlinkat(names, ".new", 0) < 0 && errno != ENOENT) || symlinkat(target, names, ".new") < 0 ||
        renameat(names, ".new", names, name) < 0 || fsync(names) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "naming the image %s", name);
    return 0;
}

int store_install(int images_fd, int from_fd, const char *from, const char *name, const char *digest,
                  struct berm_error *err)
{
    _cleanup_close_ int lock = store_lock(images_fd, err);
    if (lock < 0)
        return -1;
    if (renameat2(from_fd, from, images_fd, digest, RENAME_NOREPLACE) < 0 && errno != EEXIST)
        return berm_fail(err, BERM_E_SYSTEM, errno, "putting image %s into the store", digest);
    if (fsync(images_fd) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "the image directory");
    if (set_name(images_fd, name, digest, err) < 0)
        return -1;
    return store_sweep(images_fd, err);
}

static int remove_name(int names_fd, const char *name, struct berm_error *err)
{
    if (unlinkat(names_fd, name, 0) < 0 && errno != ENOENT)
        return berm_fail(err, BERM_E_SYSTEM, errno, "removing the name %s", name);
    return 0;
}

/* Removes `only`, or every name of the digest when it is NULL. */
static int remove_names(int images_fd, const char *digest, const char *only, struct berm_error *err)
{
    struct dir_reader names;
    if (dir_reader_open(&names, images_fd, "names") < 0)
        return errno == ENOENT ? 0 : berm_fail(err, BERM_E_SYSTEM, errno, "the image names");
    int rc = 0;
    if (only)
        rc = remove_name(dir_reader_fd(&names), only, err);
    for (const char *name; rc == 0 && !only && (name = dir_reader_next(&names));) {
        char target[IMAGE_HEX_SIZE];
        if (image_name_valid(str_from(name)) && image_name_read(images_fd, name, target, NULL) == 0 &&
            strcmp(target, digest) == 0)
            rc = remove_name(dir_reader_fd(&names), name, err);
    }
    if (rc == 0 && fsync(dir_reader_fd(&names)) < 0)
        rc = berm_fail(err, BERM_E_SYSTEM, errno, "the image names");
    dir_reader_close(&names);
    return rc;
}

int image_remove(const char *images_dir, const char *name_or_digest, struct berm_error *err)
{
    struct berm_error detail = { 0 };
    char digest[IMAGE_HEX_SIZE];
    const char *name = NULL;
    _cleanup_close_ int images = image_store_open(images_dir, err);
    if (images < 0)
        return -1;
    _cleanup_close_ int lock = store_lock(images, err);
    if (lock < 0 || image_reference_parse(images, name_or_digest, digest, &name, err) < 0)
        return -1;
    if (name && is_named(images, digest, name))
        return remove_names(images, digest, name, err);
    _cleanup_close_ int held = hold(images, digest, &detail);
    /* A name whose image has vanished can be removed too. */
    if (held < 0 && !(name && detail.code == BERM_E_IMAGE_NOT_FOUND))
        return berm_fail(err, detail.code, 0, "%s", detail.message);
    if (remove_names(images, digest, name, err) < 0)
        return -1;
    return held < 0 ? 0 : drop(images, digest, err);
}
