/*
 * unpack.h - reading an archive that nobody trusts: what is taken from it, what is left out, what is refused.
 * Private to src/image.
 *
 * Three layers, so that each can be tested alone: unpack_path() decides about a name, unpack_archive() walks an
 * archive and hands checked entries to a sink, and the sink (unpack_disk.h) puts them on disk. unpack_stream()
 * (unpack_child.h) runs the last two in a confined process.
 *
 * Taken: files, directories, symbolic and hard links, FIFOs; owners, modes with the set-id bits, times, extended
 * attributes user.* and security.capability. Left out and counted: device nodes, sockets, other extended attributes
 * (among them trusted.overlay.* and user.overlay.*, which would speak to the overlay that the image becomes part
 * of), owners above 65535. Refused: "..", names too long, too much of anything.
 */
#pragma once

#include "image/image.h"

#include <archive.h>
#include <sys/types.h>
#include <time.h>

#define UNPACK_PATH_MAX       4096 /* with the NUL */
#define UNPACK_NAME_MAX       255
#define UNPACK_DEPTH_MAX      256
#define UNPACK_XATTRS_MAX     64
#define UNPACK_XATTR_SIZE_MAX 65536

#define UNPACK_BYTES_MAX      (20ull << 30)
#define UNPACK_ENTRIES_MAX    2000000ull

/*
 * Makes a member's name relative to the root and plain: no leading '/', no "." and no empty components. "" is the
 * root itself. IMAGE_INVALID for ".." anywhere and for names beyond the limits above.
 */
int unpack_path(const char *name, char out[UNPACK_PATH_MAX], struct berm_error *err);

enum unpack_whiteout {
    UNPACK_WHITEOUT_NONE,
    UNPACK_WHITEOUT_FILE,   /* .wh.NAME: NAME of the layers below goes */
    UNPACK_WHITEOUT_OPAQUE, /* .wh..wh..opq: everything that the layers below have in this directory goes */
    UNPACK_WHITEOUT_IGNORED /* other .wh..wh.* files are bookkeeping of aufs */
};

/*
 * What a layer's plain path means as a whiteout. `target` gets the path that it is about. IMAGE_INVALID for
 * ".wh.", ".wh.." and ".wh...".
 */
int unpack_whiteout(const char *path, enum unpack_whiteout *ret, char target[UNPACK_PATH_MAX],
                    struct berm_error *err);

enum unpack_kind { UNPACK_DIRECTORY, UNPACK_FILE, UNPACK_SYMLINK, UNPACK_HARDLINK, UNPACK_FIFO };

struct unpack_xattr {
    const char *name;
    const void *value;
    size_t size;
};

struct unpack_entry {
    enum unpack_kind kind;
    const char *path;   /* plain, see unpack_path(); "" only for a directory */
    const char *target; /* of a symbolic link: any text; of a hard link: a plain path */
    uint64_t size;
    uid_t uid;
    gid_t gid;
    mode_t mode; /* permissions and set-id bits */
    struct timespec mtime;
    struct unpack_xattr xattrs[UNPACK_XATTRS_MAX];
    size_t xattr_count;
};

/* Where entries go. A later entry replaces an earlier one of the same path. All return 0, or -1 with *err. */
struct unpack_sink {
    int (*begin)(struct unpack_sink *sink, const struct unpack_entry *entry, struct berm_error *err);
    /* For files, between begin and end: offsets grow, gaps are zeros, nothing beyond entry->size. */
    int (*write)(struct unpack_sink *sink, uint64_t offset, const void *bytes, size_t n, struct berm_error *err);
    int (*end)(struct unpack_sink *sink, const struct unpack_entry *entry, struct berm_error *err);
    /* The whiteouts of layers. What the present layer has put there itself stays. */
    int (*remove_lower)(struct unpack_sink *sink, const char *path, struct berm_error *err);
    int (*clear_lower)(struct unpack_sink *sink, const char *directory, struct berm_error *err);
};

/* A reader for tar with any of the compressions that are taken, or NULL without memory; archive_read_free(). */
struct archive *unpack_reader_new(void);

/*
 * Reads an opened archive to its end. `layer` turns whiteouts on. `report` is added to and also holds the counts
 * that the limits apply to, so that the layers of one image share them.
 */
int unpack_archive(struct archive *reader, bool layer, struct unpack_sink *sink, struct image_import_report *report,
                   struct berm_error *err);
