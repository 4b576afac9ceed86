/* import.c - an image from a tar archive or an OCI layout. */
#include "base/sys.h"
#include "image/erofs.h"
#include "image/oci.h"
#include "image/stage.h"
#include "image/unpack_child.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#define INDEX_DEPTH_MAX 4

struct import {
    struct image_stage stage;
    int rootfs;
    struct arena arena;
    struct image_config config;
    const struct image_progress *progress;
    struct image_import_report *report;
};

static int open_regular(int dirfd, const char *path, struct stat *ret, struct berm_error *err)
{
    /* Not blocking: opening a FIFO would wait for a peer. */
    _cleanup_close_ int fd = dirfd == AT_FDCWD ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
                                               : open_beneath(dirfd, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, ret) < 0)
        return berm_fail(err, BERM_E_IMAGE_INVALID, errno, "%.180s", path);
    if (!S_ISREG(ret->st_mode))
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "%.180s is not a regular file", path);
    return TAKE_FD(fd);
}

/* What people try, and what would become an image without a single program in it. */
static int refuse_packed_layout(struct import *import, struct berm_error *err)
{
    if (faccessat(import->rootfs, "oci-layout", F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        faccessat(import->rootfs, "manifest.json", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return berm_fail(
        err, BERM_E_IMAGE_INVALID, 0,
        "this archive holds an image, not a root file system: unpack it and import the OCI layout directory");
}

static int import_tar(struct import *import, const char *path, struct berm_error *err)
{
    struct stat st;
    _cleanup_close_ int fd = open_regular(AT_FDCWD, path, &st, err);
    if (fd < 0)
        return -1;
    const struct unpack_job job = { .root_fd = import->rootfs,
                                    .source_fd = fd,
                                    .source_size = (uint64_t)st.st_size,
                                    .stage = "Unpacking",
                                    .progress = import->progress };
    if (unpack_stream(&job, import->report, err) < 0)
        return -1;
    return refuse_packed_layout(import, err);
}

static int open_blob(int layout, const struct oci_descriptor *blob, struct berm_error *err)
{
    char path[sizeof("blobs/sha256/") + IMAGE_HEX_SIZE];
    struct stat st;
    snprintf(path, sizeof(path), "blobs/sha256/%s", blob->hex);
    _cleanup_close_ int fd = open_regular(layout, path, &st, err);
    if (fd < 0)
        return -1;
    if ((uint64_t)st.st_size != blob->size)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "%s does not have the size it should", path);
    return TAKE_FD(fd);
}

static int read_text(struct arena *arena, int fd, const char *what, struct str *ret, struct berm_error *err)
{
    char *text = arena_alloc(arena, OCI_DOCUMENT_MAX);
    if (!text)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "%s", what);
    ssize_t n = read_to_end(fd, text, OCI_DOCUMENT_MAX);
    if (n < 0)
        return berm_fail(err, errno == EFBIG ? BERM_E_IMAGE_INVALID : BERM_E_SYSTEM, errno, "%s", what);
    *ret = (struct str){ text, (size_t)n };
    return 0;
}

static int read_file(struct import *import, int layout, const char *name, struct str *ret, struct berm_error *err)
{
    struct stat st;
    _cleanup_close_ int fd = open_regular(layout, name, &st, err);
    if (fd < 0)
        return -1;
    return read_text(&import->arena, fd, name, ret, err);
}

static int read_blob(struct import *import, int layout, const struct oci_descriptor *blob, struct str *ret,
                     struct berm_error *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    _cleanup_close_ int fd = open_blob(layout, blob, err);
    if (fd < 0 || read_text(&import->arena, fd, blob->hex, ret, err) < 0)
        return -1;
    if (EVP_Digest(ret->p, ret->n, digest, NULL, EVP_sha256(), NULL) != 1)
        return berm_fail(err, BERM_E_INTERNAL, 0, "SHA-256");
    if (memcmp(digest, blob->digest, sizeof(blob->digest)) != 0)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "blob %s does not have the digest it should", blob->hex);
    return 0;
}

/* From index.json, through nested indexes, to the manifest of this machine's architecture. */
static int find_manifest(struct import *import, int layout, const char *ref, struct oci_manifest *ret,
                         struct berm_error *err)
{
    struct str text;
    struct oci_descriptor found = { .media = OCI_MEDIA_INDEX };
    if (read_file(import, layout, "oci-layout", &text, err) < 0 ||
        oci_check_layout(&import->arena, text, err) < 0 || read_file(import, layout, "index.json", &text, err) < 0)
        return -1;
    for (int depth = 0; found.media == OCI_MEDIA_INDEX; depth++) {
        if (depth == INDEX_DEPTH_MAX)
            return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the layout nests its indexes too deep");
        bool top = depth == 0;
        if (oci_parse_index(&import->arena, text, import->config.architecture, top ? ref : NULL, top, &found, err) <
                0 ||
            read_blob(import, layout, &found, &text, err) < 0)
            return -1;
    }
    return oci_parse_manifest(&import->arena, text, ret, err);
}

static int import_layer(struct import *import, int layout, const struct oci_manifest *manifest, size_t i,
                        struct berm_error *err)
{
    const struct oci_descriptor *layer = &manifest->layers[i];
    char stage[80];
    snprintf(stage, sizeof(stage), "Unpacking layer %zu of %zu", i + 1, manifest->layer_count);
    _cleanup_close_ int fd = open_blob(layout, layer, err);
    if (fd < 0)
        return -1;
    const struct unpack_job job = { .root_fd = import->rootfs,
                                    .source_fd = fd,
                                    .source_size = layer->size,
                                    .sha256 = layer->digest,
                                    .layer = true,
                                    .stage = stage,
                                    .progress = import->progress };
    if (unpack_stream(&job, import->report, err) < 0)
        return berm_error_wrap(err, "layer %zu", i + 1);
    return 0;
}

static int import_layout(struct import *import, const char *path, const char *ref, struct berm_error *err)
{
    struct oci_manifest manifest;
    struct str text;
    _cleanup_close_ int layout = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layout < 0)
        return berm_fail(err, BERM_E_NOT_FOUND, errno, "%.180s", path);
    if (find_manifest(import, layout, ref, &manifest, err) < 0 ||
        read_blob(import, layout, &manifest.config, &text, err) < 0 ||
        oci_parse_config(&import->arena, text, import->config.architecture, &import->config, err) < 0)
        return -1;
    for (size_t i = 0; i < manifest.layer_count; i++)
        if (import_layer(import, layout, &manifest, i, err) < 0)
            return -1;
    return 0;
}

static int import_source(struct import *import, const char *source, struct berm_error *err)
{
    char directory[PATH_MAX];
    struct stat st;
    const char *colon = strrchr(source, ':');
    if (stat(source, &st) == 0)
        return S_ISDIR(st.st_mode) ? import_layout(import, source, NULL, err) : import_tar(import, source, err);
    int why = errno;
    if (colon && str_copy((struct str){ source, (size_t)(colon - source) }, directory, sizeof(directory)) == 0 &&
        stat(directory, &st) == 0 && S_ISDIR(st.st_mode))
        return import_layout(import, directory, colon + 1, err);
    return berm_fail(err, BERM_E_NOT_FOUND, why, "%.180s", source);
}

static int import_staged(struct import *import, const char *name, const char *source, struct image *ret,
                         struct berm_error *err)
{
    import->rootfs = openat(import->stage.fd, "rootfs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (import->rootfs < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "the staging directory");
    int rc = import_source(import, source, err);
    close_fd(&import->rootfs);
    if (rc < 0)
        return -1;
    return image_stage_publish(&import->stage, name, &import->config, import->progress, ret, err);
}

int image_import(const char *images_dir, const char *name, const char *source_path,
                 const struct image_progress *progress, struct image *ret, struct image_import_report *report,
                 struct berm_error *err)
{
    struct image_import_report unwanted = { 0 };
    struct import import = { .progress = progress, .report = report ? report : &unwanted };
    memset(import.report, 0, sizeof(*import.report));
    if (!image_name_valid(str_from(name)))
        return berm_fail_field(err, "name", "not an image name (a-z, 0-9 and ._-, at most 64)");
    if (geteuid() != 0)
        return berm_fail(err, BERM_E_FORBIDDEN, 0, "importing an image needs root");
    arena_init(&import.arena, OCI_ARENA_MAX);
    int rc = image_config_init(&import.config, &import.arena, err);
    if (rc == 0)
        rc = image_stage_begin(&import.stage, images_dir, err);
    if (rc == 0) {
        rc = import_staged(&import, name, source_path, ret, err);
        image_stage_end(&import.stage);
    }
    arena_free(&import.arena);
    return rc;
}
