#include "image/unpack_tar.h"

#include <archive_entry.h>
#include <sys/stat.h>

static struct unpack_tar *tar_of(struct unpack_sink *sink)
{
    return container_of(sink, struct unpack_tar, sink);
}

static int fail_writing(const struct unpack_tar *tar, struct berm_error *err)
{
    const char *why = archive_error_string(tar->out);

    return berm_fail(err, BERM_E_SYSTEM, archive_errno(tar->out), "writing a tar stream: %s", why ? why : "failed");
}

/* "" is the root of the output, which is not the archive's to describe. */
static int new_name(const struct image_rewrite *job, const char *path, bool keep_single, char out[UNPACK_PATH_MAX],
                    struct berm_error *err)
{
    const char *slash = strchr(path, '/');
    const char *rest = !job->strip || (keep_single && !slash) ? path : slash ? slash + 1 : "";

    if (snprintf(out, UNPACK_PATH_MAX, "%s%s%s", job->prefix, job->prefix[0] && rest[0] ? "/" : "", rest) >=
        UNPACK_PATH_MAX)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive has a name that is too long");
    return 0;
}

static mode_t type_of(enum unpack_kind kind)
{
    switch (kind) {
    case UNPACK_DIRECTORY:
        return AE_IFDIR;
    case UNPACK_SYMLINK:
        return AE_IFLNK;
    case UNPACK_FIFO:
        return AE_IFIFO;
    default:
        return AE_IFREG;
    }
}

static void fill(struct archive_entry *out, const struct unpack_tar *tar, const struct unpack_entry *entry,
                 const char *name, const char *target)
{
    const struct image_rewrite *job = tar->job;
    bool given = job->mode >= 0 && entry->kind != UNPACK_SYMLINK;

    archive_entry_set_pathname(out, name);
    archive_entry_set_mode(out, type_of(entry->kind) | (given ? (mode_t)job->mode : entry->mode));
    archive_entry_set_uid(out, job->uid);
    archive_entry_set_gid(out, job->gid);
    archive_entry_set_mtime(out, entry->mtime.tv_sec, 0);
    archive_entry_set_size(out, entry->kind == UNPACK_FILE ? (la_int64_t)entry->size : 0);
    if (entry->kind == UNPACK_SYMLINK)
        archive_entry_set_symlink(out, target);
    if (entry->kind == UNPACK_HARDLINK)
        archive_entry_set_hardlink(out, target);
}

static int begin(struct unpack_sink *sink, const struct unpack_entry *entry, struct berm_error *err)
{
    struct unpack_tar *tar = tar_of(sink);
    char name[UNPACK_PATH_MAX], link[UNPACK_PATH_MAX];
    const char *target = entry->target;
    struct archive_entry *out;
    int rc = 0;

    if (new_name(tar->job, entry->path, tar->job->keep_single && entry->kind != UNPACK_DIRECTORY, name, err) < 0)
        return -1;
    if (entry->kind == UNPACK_HARDLINK) {
        if (new_name(tar->job, target, false, link, err) < 0)
            return -1;
        target = link;
    }
    tar->written = 0;
    tar->skipping = !name[0];
    if (entry->kind == UNPACK_FILE && entry->size > IMAGE_REWRITE_BYTES_MAX - tar->bytes)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive unpacks to more than %llu GiB",
                         IMAGE_REWRITE_BYTES_MAX >> 30);
    tar->bytes += entry->kind == UNPACK_FILE ? entry->size : 0;
    if (tar->skipping)
        return 0;
    out = archive_entry_new();
    if (!out)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "a tar stream");
    fill(out, tar, entry, name, target);
    if (archive_write_header(tar->out, out) != ARCHIVE_OK)
        rc = fail_writing(tar, err);
    archive_entry_free(out);
    return rc;
}

static int append(struct unpack_tar *tar, const void *bytes, size_t n, struct berm_error *err)
{
    if (archive_write_data(tar->out, bytes, n) != (la_ssize_t)n)
        return fail_writing(tar, err);
    tar->written += n;
    return 0;
}

/* A gap in a sparse file, or its end, is zeros. */
static int append_zeros(struct unpack_tar *tar, uint64_t until, struct berm_error *err)
{
    static const char zeros[65536];

    while (tar->written < until)
        if (append(tar, zeros, (size_t)MIN(until - tar->written, sizeof(zeros)), err) < 0)
            return -1;
    return 0;
}

static int write_piece(struct unpack_sink *sink, uint64_t offset, const void *bytes, size_t n,
                       struct berm_error *err)
{
    struct unpack_tar *tar = tar_of(sink);

    if (tar->skipping)
        return 0;
    return append_zeros(tar, offset, err) < 0 ? -1 : append(tar, bytes, n, err);
}

static int end(struct unpack_sink *sink, const struct unpack_entry *entry, struct berm_error *err)
{
    struct unpack_tar *tar = tar_of(sink);

    return tar->skipping || entry->kind != UNPACK_FILE ? 0 : append_zeros(tar, entry->size, err);
}

int unpack_tar_init(struct unpack_tar *tar, const struct image_rewrite *job, struct berm_error *err)
{
    *tar = (struct unpack_tar){ .sink = { .begin = begin, .write = write_piece, .end = end },
                                .job = job,
                                .out = archive_write_new() };
    if (!tar->out || archive_write_set_format_pax_restricted(tar->out) != ARCHIVE_OK ||
        archive_write_open_fd(tar->out, job->to_fd) != ARCHIVE_OK)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "a tar stream");
    return 0;
}

int unpack_tar_finish(struct unpack_tar *tar, struct berm_error *err)
{
    return archive_write_close(tar->out) == ARCHIVE_OK ? 0 : fail_writing(tar, err);
}
