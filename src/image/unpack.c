#include "image/unpack.h"

#include <archive_entry.h>
#include <sys/stat.h>

#define NOBODY 65534

struct unpacking {
    struct archive *reader;
    struct unpack_sink *sink;
    struct image_import_report *report;
    bool layer;
    char path[UNPACK_PATH_MAX];
    char target[UNPACK_PATH_MAX];
};

struct archive *unpack_reader_new(void)
{
    struct archive *reader = archive_read_new();
    if (!reader)
        return NULL;
    /* Only compressions that the library itself decodes: it would run programs for some others. */
    if (archive_read_support_filter_gzip(reader) == ARCHIVE_OK &&
        archive_read_support_filter_bzip2(reader) == ARCHIVE_OK &&
        archive_read_support_filter_xz(reader) == ARCHIVE_OK &&
        archive_read_support_filter_zstd(reader) == ARCHIVE_OK &&
        archive_read_support_format_tar(reader) == ARCHIVE_OK)
        return reader;
    archive_read_free(reader);
    return NULL;
}

static int fail_reading(struct archive *reader, struct berm_error *err)
{
    const char *why = archive_error_string(reader);
    return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive cannot be read: %s", why ? why : "it is damaged");
}

/* An id that no sandbox has would be shown as the overflow id, differently on each kernel setting: settle it here.
 */
static uint32_t checked_owner(struct unpacking *u, int64_t id)
{
    if (id >= 0 && id <= 65535)
        return (uint32_t)id;
    u->report->owners_changed++;
    return NOBODY;
}

/* Within what every file system here can hold. */
static struct timespec checked_time(int64_t seconds, long nanoseconds)
{
    bool usable = nanoseconds >= 0 && nanoseconds < 1000000000;
    return (struct timespec){ MAX(0, MIN(seconds, (int64_t)UINT32_MAX)), usable ? nanoseconds : 0 };
}

/*
 * File capabilities of revision 2 are taken. Revision 3 names a user namespace's root by a host id, which is
 * meaningless here.
 */
static bool capability_usable(const void *value, size_t size)
{
    static const uint8_t revision_2[] = { 0, 0, 0, 2 }; /* little endian; the low byte is the effective flag */
    const uint8_t *p = value;
    return size == 20 && p[0] <= 1 && memcmp(p + 1, revision_2 + 1, 3) == 0;
}

static bool xattr_wanted(const char *name, const void *value, size_t size)
{
    struct str s = str_from(name);
    if (size > UNPACK_XATTR_SIZE_MAX || s.n > UNPACK_NAME_MAX)
        return false;
    if (str_is(s, "security.capability"))
        return capability_usable(value, size);
    return str_has_prefix(s, STR("user.")) && s.n > strlen("user.") && !str_has_prefix(s, STR("user.overlay."));
}

static void collect_xattrs(struct unpacking *u, struct archive_entry *member, struct unpack_entry *entry)
{
    const char *name;
    const void *value;
    size_t size;
    archive_entry_xattr_reset(member);
    while (archive_entry_xattr_next(member, &name, &value, &size) == ARCHIVE_OK) {
        if (name && value && entry->xattr_count < UNPACK_XATTRS_MAX && xattr_wanted(name, value, size))
            entry->xattrs[entry->xattr_count++] = (struct unpack_xattr){ name, value, size };
        else
            u->report->xattrs_dropped++;
    }
}

static int set_link(struct unpacking *u, struct unpack_entry *entry, enum unpack_kind kind, const char *target,
                    struct berm_error *err)
{
    entry->kind = kind;
    entry->target = target;
    if (!target || target[0] == '\0' || strlen(target) >= UNPACK_PATH_MAX)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive has a link without a usable target");
    if (kind == UNPACK_SYMLINK)
        return 0;
    entry->target = u->target;
    if (unpack_path(target, u->target, err) < 0)
        return -1;
    if (u->target[0] == '\0')
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive has a hard link to its root");
    return 0;
}

/* 1: take the entry; 0: leave it out; -1: refuse the archive. */
static int decide_kind(struct unpacking *u, struct archive_entry *member, struct unpack_entry *entry,
                       struct berm_error *err)
{
    if (archive_entry_hardlink(member))
        return set_link(u, entry, UNPACK_HARDLINK, archive_entry_hardlink(member), err) < 0 ? -1 : 1;
    switch (archive_entry_filetype(member)) {
    case AE_IFREG:
        entry->kind = UNPACK_FILE;
        return 1;
    case AE_IFDIR:
        entry->kind = UNPACK_DIRECTORY;
        return 1;
    case AE_IFLNK:
        return set_link(u, entry, UNPACK_SYMLINK, archive_entry_symlink(member), err) < 0 ? -1 : 1;
    case AE_IFIFO:
        entry->kind = UNPACK_FIFO;
        return 1;
    case AE_IFCHR:
    case AE_IFBLK:
        u->report->devices_skipped++;
        return 0;
    case AE_IFSOCK:
        u->report->sockets_skipped++;
        return 0;
    default:
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive has a member of no known type");
    }
}

static int count_against_limits(struct unpacking *u, const struct unpack_entry *entry, struct berm_error *err)
{
    struct image_import_report *report = u->report;
    if (entry->kind == UNPACK_FILE) {
        if (entry->size > UNPACK_BYTES_MAX - MIN(report->bytes, UNPACK_BYTES_MAX))
            return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive unpacks to more than %llu GiB",
                             UNPACK_BYTES_MAX >> 30);
        report->bytes += entry->size;
    }
    return 0;
}

static int copy_data(struct unpacking *u, const struct unpack_entry *entry, struct berm_error *err)
{
    for (;;) {
        const void *bytes;
        size_t n;
        la_int64_t offset;
        int rc = archive_read_data_block(u->reader, &bytes, &n, &offset);
        if (rc == ARCHIVE_EOF)
            return 0;
        if (rc != ARCHIVE_OK)
            return fail_reading(u->reader, err);
        if (offset < 0 || (uint64_t)offset > entry->size || n > entry->size - (uint64_t)offset)
            return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive has a file with more data than its size");
        if (n > 0 && u->sink->write(u->sink, (uint64_t)offset, bytes, n, err) < 0)
            return -1;
    }
}

/* 1 when the member was a whiteout and has been dealt with. */
static int take_whiteout(struct unpacking *u, struct berm_error *err)
{
    enum unpack_whiteout kind;
    if (unpack_whiteout(u->path, &kind, u->target, err) < 0)
        return -1;
    switch (kind) {
    case UNPACK_WHITEOUT_FILE:
        return u->sink->remove_lower(u->sink, u->target, err) < 0 ? -1 : 1;
    case UNPACK_WHITEOUT_OPAQUE:
        return u->sink->clear_lower(u->sink, u->target, err) < 0 ? -1 : 1;
    case UNPACK_WHITEOUT_IGNORED:
        return 1;
    default:
        return 0;
    }
}

static int take_member(struct unpacking *u, struct archive_entry *member, struct berm_error *err)
{
    const char *name = archive_entry_pathname(member);
    int64_t size = archive_entry_size(member);
    if (!name || size < 0)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive has a member without a usable name or size");
    if (unpack_path(name, u->path, err) < 0)
        return -1;
    if (u->layer) {
        int rc = take_whiteout(u, err);
        if (rc != 0)
            return MIN(rc, 0);
    }
    struct unpack_entry entry = { .path = u->path, .size = (uint64_t)size };
    int wanted = decide_kind(u, member, &entry, err);
    if (wanted <= 0)
        return wanted;
    if (u->path[0] == '\0' && entry.kind != UNPACK_DIRECTORY)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive has a root that is not a directory");
    entry.uid = checked_owner(u, archive_entry_uid(member));
    entry.gid = checked_owner(u, archive_entry_gid(member));
    entry.mode = archive_entry_perm(member) & 07777;
    entry.mtime = checked_time(archive_entry_mtime(member), archive_entry_mtime_nsec(member));
    collect_xattrs(u, member, &entry);
    if (count_against_limits(u, &entry, err) < 0 || u->sink->begin(u->sink, &entry, err) < 0)
        return -1;
    if (entry.kind == UNPACK_FILE && copy_data(u, &entry, err) < 0)
        return -1;
    return u->sink->end(u->sink, &entry, err);
}

int unpack_archive(struct archive *reader, bool layer, struct unpack_sink *sink, struct image_import_report *report,
                   struct berm_error *err)
{
    struct unpacking u = { .reader = reader, .sink = sink, .report = report, .layer = layer };
    for (;;) {
        struct archive_entry *member;
        int rc = archive_read_next_header(reader, &member);
        if (rc == ARCHIVE_EOF)
            return 0;
        /* ARCHIVE_WARN is about something optional, such as a comment in another character set. */
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
            return fail_reading(reader, err);
        if (++report->entries > UNPACK_ENTRIES_MAX)
            return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive has more than %llu members",
                             UNPACK_ENTRIES_MAX);
        /* What is decompressed but is no file's data (padding, headers) is limited as well. */
        if ((uint64_t)archive_filter_bytes(reader, 0) > 2 * UNPACK_BYTES_MAX)
            return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the archive decompresses to too much");
        if (take_member(&u, member, err) < 0)
            return -1;
    }
}
