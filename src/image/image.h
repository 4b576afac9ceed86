/*
 * image.h - the store of root file system images: look up, build, import, list, remove.
 *
 *     <images>/<64 hex digits>/rootfs.erofs   the root file system, mounted read-only straight from this file
 *     <images>/<64 hex digits>/config.json    environment, working directory, command (image_config)
 *     <images>/names/<name>                   symbolic link to ../<64 hex digits>
 *     <images>/.tmp-XXXXXX                    being made or being removed; its maker holds flock(LOCK_EX) on it
 *     <images>/.lock                          held (flock) while names and digests are changed
 *
 * The directory's name is the image's digest: the SHA-256 of the bytes of rootfs.erofs followed by those of
 * config.json, so `cat rootfs.erofs config.json | sha256sum` verifies an image. An image never changes once it has
 * its name: it is made beside, synced and renamed. Directories are 0755 and files 0444, because bermd reads them as
 * an unprivileged user. Building again under a name moves the name; an image without a name is removed as soon as
 * nobody uses it.
 *
 * Whoever uses an image (berm-spawn, for each one that it has mounted) holds flock(LOCK_SH) on a descriptor of the
 * directory <images>/<digest>, taken before it opens rootfs.erofs; once it has both, the image stays. Only a
 * removal ever takes LOCK_EX there, so whoever finds the lock taken (LOCK_NB) may treat the image as gone.
 *
 * Making and removing need root; looking up needs read permission only. All calls block, and image_build and
 * image_import take seconds to minutes: none of them belongs on an event loop, except image_resolve,
 * image_list and image_config_load, which read a few small files. Nothing here logs.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#define IMAGES_DIR_DEFAULT "/var/lib/berm/images"
#define IMAGE_NAME_DEFAULT "base"
#define IMAGE_NAME_MAX     64
#define IMAGE_DIGEST_BYTES 32

struct image {
    char digest[2 * IMAGE_DIGEST_BYTES + 1]; /* lower-case hex */
    uint8_t digest_bytes[IMAGE_DIGEST_BYTES];
    char name[IMAGE_NAME_MAX + 1]; /* "" when it has none (any more) */
    uint64_t size_bytes;           /* of rootfs.erofs */
    int64_t created_ms;            /* Unix time at which it was put into this store */
};

/* ^[a-z0-9][a-z0-9._-]{0,63}$ and not 64 hex digits, which would be a digest. */
bool image_name_valid(struct str name);

/*
 * Finds an image by name, by digest (64 hex digits, with or without "sha256:").
 * Errors: INVALID_REQUEST (field "image"), IMAGE_NOT_FOUND, IMAGE_INVALID (the store is damaged), SYSTEM.
 */
int image_resolve(const char *images_dir, const char *name_or_digest, struct image *ret, struct berm_error *err);

/*
 * All images, one entry per name, sorted by name, then those without a name. A directory that does not exist is an
 * empty store. The caller frees *ret.
 */
int image_list(const char *images_dir, struct image **ret, size_t *ret_count, struct berm_error *err);

/* One process environment entry. Both strings without NUL, `name` not empty and without '='. */
struct image_env {
    struct str name;
    struct str value;
};

/*
 * What config.json holds. The file is canonical JSON: exactly these members in this order, no white space, env in
 * byte order of the names, one LF at the end:
 *   {"architecture":"amd64","cmd":[…],"entrypoint":[…],"env":{…},"user":"…","workdir":"…"}
 */
struct image_config {
    const char *architecture; /* Go's names, as OCI has them: "amd64", "arm64" */
    struct str *cmd;          /* all strings NUL-terminated as well */
    size_t cmd_count;
    struct str *entrypoint;
    size_t entrypoint_count;
    struct image_env *env;
    size_t env_count;
    const char *user;    /* as OCI has it: "", "name", "uid", "uid:gid" */
    const char *workdir; /* absolute; "/" when the image says nothing */
};

/* Reads the configuration of an image into `arena`, for which a limit of 4 MiB always suffices. */
int image_config_load(const char *images_dir, const char *digest, struct arena *arena, struct image_config *ret,
                      struct berm_error *err);

/*
 * Progress of a build or an import. `stage` is a short line ("Installing packages"); `percent` is 0 to 100 within
 * the stage or -1 when unknown; `detail` (or NULL) is a line of a tool's output, printable ASCII only.
 */
struct image_progress {
    void (*report)(void *arg, const char *stage, int percent, const char *detail);
    void *arg;
};

/*
 * Builds an image from a recipe directory (image/README.md has its format) and names it. `progress` may be NULL.
 * The tools run with stdin from /dev/null; a failing one is IMAGE_INVALID with its name and exit status, its last
 * lines having gone to `progress`.
 */
int image_build(const char *images_dir, const char *name, const char *recipe_dir,
                const struct image_progress *progress, struct image *ret, struct berm_error *err);

/* Finds the recipe called `name` beside this program: installed (../share/berm/image) or in a source tree. */
int image_recipe_find(const char *name, char *out, size_t out_size, struct berm_error *err);

/* What an import did not take over. */
struct image_import_report {
    uint64_t entries;
    uint64_t bytes;
    uint64_t devices_skipped;
    uint64_t sockets_skipped;
    uint64_t xattrs_dropped;
    uint64_t owners_changed; /* ids above 65535, which no sandbox has: they became 65534 */
};

/*
 * Makes an image from a tar file (plain or gzip, zstd, xz, bzip2) or an OCI image layout directory. The archive is
 * not trusted: it is unpacked by a confined child (see unpack.h). IMAGE_INVALID for anything that is wrong with it.
 */
int image_import(const char *images_dir, const char *name, const char *source_path,
                 const struct image_progress *progress, struct image *ret, struct image_import_report *report,
                 struct berm_error *err);

/*
 * Removes a name, and the image with it when no other name is left; given a digest, all its names and the image.
 * IMAGE_IN_USE, with nothing changed, if the image would go while somebody holds it.
 */
int image_remove(const char *images_dir, const char *name_or_digest, struct berm_error *err);
