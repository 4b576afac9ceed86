/*
 * The reading side of the store: what the daemon uses. It follows no link itself: a name is the text of one
 * symbolic link, checked, and then a digest.
 */
#include "image/store.h"
#include "base/sys.h"
#include "image/config.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define IMAGES_MAX 4096

bool image_name_valid(struct str name)
{
    if (name.n == 0 || name.n > IMAGE_NAME_MAX || image_digest_valid(name))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && (i == 0 || (c != '.' && c != '_' && c != '-')))
            return false;
    }
    return true;
}

bool image_digest_valid(struct str s)
{
    uint8_t bytes[IMAGE_DIGEST_BYTES];
    return s.n == 2 * IMAGE_DIGEST_BYTES && hex_decode(s, bytes, sizeof(bytes)) == 0;
}

int image_store_open(const char *images_dir, struct berm_error *err)
{
    int fd = open(images_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return berm_fail(err, errno == ENOENT ? BERM_E_IMAGE_NOT_FOUND : BERM_E_SYSTEM, errno,
                         "the image directory %s", images_dir);
    return fd;
}

int image_name_read(int images_fd, const char *name, char digest[IMAGE_HEX_SIZE], struct berm_error *err)
{
    char path[IMAGE_NAME_MAX + 8], target[IMAGE_HEX_SIZE + 8];
    snprintf(path, sizeof(path), "names/%s", name);
    ssize_t n = readlinkat(images_fd, path, target, sizeof(target));
    if (n < 0 && errno == ENOENT)
        return berm_fail(err, BERM_E_IMAGE_NOT_FOUND, 0, "there is no image called %s", name);
    if (n < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "the image name %s", name);
    struct str text = { target, (size_t)n };
    if (!str_has_prefix(text, STR("../")) || !image_digest_valid((struct str){ target + 3, (size_t)n - 3 }))
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the image name %s does not point at an image", name);
    str_copy((struct str){ target + 3, (size_t)n - 3 }, digest, IMAGE_HEX_SIZE);
    return 0;
}

static int describe(int images_fd, const char *digest, const char *name, struct image *ret, struct berm_error *err)
{
    _cleanup_close_ int dir = open_beneath(images_fd, digest, O_PATH | O_DIRECTORY, 0);
    struct stat st;
    if (dir < 0 || fstatat(dir, "rootfs.erofs", &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT)
            return berm_fail(err, BERM_E_IMAGE_NOT_FOUND, 0, "there is no image %s", digest);
        return berm_fail(err, BERM_E_SYSTEM, errno, "image %s", digest);
    }
    if (!S_ISREG(st.st_mode))
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "rootfs.erofs of image %s is not a file", digest);
    memset(ret, 0, sizeof(*ret));
    str_copy(str_from(digest), ret->digest, sizeof(ret->digest));
    hex_decode(str_from(digest), ret->digest_bytes, sizeof(ret->digest_bytes));
    str_copy(str_from(name), ret->name, sizeof(ret->name));
    ret->size_bytes = (uint64_t)st.st_size;
    ret->created_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return 0;
}

int image_reference_parse(int images_fd, const char *reference, char digest[IMAGE_HEX_SIZE], const char **ret_name,
                          struct berm_error *err)
{
    struct str wanted = str_from(reference);
    bool prefixed = str_has_prefix(wanted, STR("sha256:"));
    if (prefixed)
        wanted = (struct str){ wanted.p + 7, wanted.n - 7 };
    if (image_digest_valid(wanted)) {
        *ret_name = NULL;
        return str_copy(wanted, digest, IMAGE_HEX_SIZE);
    }
    if (prefixed || !image_name_valid(wanted))
        return berm_fail_field(err, "image", "not an image name or digest (names are a-z, 0-9 and ._-)");
    *ret_name = reference;
    return image_name_read(images_fd, reference, digest, err);
}

int image_resolve_at(int images_fd, const char *reference, struct image *ret, struct berm_error *err)
{
    char digest[IMAGE_HEX_SIZE];
    const char *name;
    if (image_reference_parse(images_fd, reference, digest, &name, err) < 0)
        return -1;
    return describe(images_fd, digest, name ? name : "", ret, err);
}

int image_resolve(const char *images_dir, const char *name_or_digest, struct image *ret, struct berm_error *err)
{
    _cleanup_close_ int images = image_store_open(images_dir, err);
    if (images < 0)
        return -1;
    return image_resolve_at(images, name_or_digest, ret, err);
}

struct listing {
    struct image *images;
    size_t count;
};

/* What vanishes while it is being listed is not an error. */
static int add_to_listing(struct listing *listing, int images_fd, const char *digest, const char *name,
                          struct berm_error *err)
{
    struct berm_error detail = { 0 };
    struct image image;
    if (describe(images_fd, digest, name, &image, &detail) < 0) {
        if (detail.code == BERM_E_IMAGE_NOT_FOUND)
            return 0;
        if (err)
            *err = detail;
        return -1;
    }
    if (listing->count == IMAGES_MAX)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "more than %d images", IMAGES_MAX);
    struct image *grown = reallocarray(listing->images, listing->count + 1, sizeof(image));
    if (!grown)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "list of images");
    listing->images = grown;
    grown[listing->count++] = image;
    return 0;
}

static bool listed(const struct listing *listing, const char *digest)
{
    for (size_t i = 0; i < listing->count; i++)
        if (strcmp(listing->images[i].digest, digest) == 0)
            return true;
    return false;
}

static int list_names(struct listing *listing, int images_fd, struct berm_error *err)
{
    struct dir_reader names;
    if (dir_reader_open(&names, images_fd, "names") < 0)
        return errno == ENOENT ? 0 : berm_fail(err, BERM_E_SYSTEM, errno, "the image names");
    int rc = 0;
    for (const char *name; rc == 0 && (name = dir_reader_next(&names));) {
        char digest[IMAGE_HEX_SIZE];
        struct berm_error detail = { 0 };
        if (!image_name_valid(str_from(name)))
            continue;
        if (image_name_read(images_fd, name, digest, &detail) == 0)
            rc = add_to_listing(listing, images_fd, digest, name, err);
        else if (detail.code != BERM_E_IMAGE_NOT_FOUND)
            rc = berm_fail(err, detail.code, 0, "%s", detail.message);
    }
    dir_reader_close(&names);
    return rc;
}

static int list_nameless(struct listing *listing, int images_fd, struct berm_error *err)
{
    struct dir_reader dir;
    if (dir_reader_open(&dir, images_fd, ".") < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "the image directory");
    int rc = 0;
    for (const char *name; rc == 0 && (name = dir_reader_next(&dir));)
        if (image_digest_valid(str_from(name)) && !listed(listing, name))
            rc = add_to_listing(listing, images_fd, name, "", err);
    dir_reader_close(&dir);
    return rc;
}

static int compare_images(const void *a, const void *b)
{
    const struct image *x = a;
    const struct image *y = b;
    if ((x->name[0] == 0) != (y->name[0] == 0))
        return x->name[0] == 0 ? 1 : -1;
    int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : strcmp(x->digest, y->digest);
}

int image_list(const char *images_dir, struct image **ret, size_t *ret_count, struct berm_error *err)
{
    struct berm_error detail = { 0 };
    struct listing listing = { 0 };
    _cleanup_close_ int images = image_store_open(images_dir, &detail);
    if (images < 0 && detail.code != BERM_E_IMAGE_NOT_FOUND) {
        if (err)
            *err = detail;
        return -1;
    }
    if (images >= 0 && (list_names(&listing, images, err) < 0 || list_nameless(&listing, images, err) < 0)) {
        free(listing.images);
        return -1;
    }
    if (listing.count > 0)
        qsort(listing.images, listing.count, sizeof(listing.images[0]), compare_images);
    *ret = listing.images;
    *ret_count = listing.count;
    return 0;
}

int image_config_load(const char *images_dir, const char *digest, struct arena *arena, struct image_config *ret,
                      struct berm_error *err)
{
    if (!image_digest_valid(str_from(digest)))
        return berm_fail_field(err, "image", "not an image digest");
    _cleanup_close_ int images = image_store_open(images_dir, err);
    if (images < 0)
        return -1;
    char path[IMAGE_HEX_SIZE + 16];
    snprintf(path, sizeof(path), "%s/config.json", digest);
    _cleanup_close_ int fd = open_beneath(images, path, O_RDONLY, 0);
    if (fd < 0)
        return berm_fail(err, errno == ENOENT ? BERM_E_IMAGE_NOT_FOUND : BERM_E_SYSTEM, errno, "%s", path);
    _cleanup_free_ char *text = malloc(IMAGE_CONFIG_MAX_BYTES);
    if (!text)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "%s", path);
    ssize_t n = read_to_end(fd, text, IMAGE_CONFIG_MAX_BYTES);
    if (n < 0)
        return berm_fail(err, errno == EFBIG ? BERM_E_IMAGE_INVALID : BERM_E_SYSTEM, errno, "%s", path);
    return image_config_parse(arena, (struct str){ text, (size_t)n }, ret, err);
}
