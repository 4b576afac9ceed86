/*
 * image_archive.h - archives made in memory for the tests of src/image, and a scratch directory to unpack them in.
 */
#pragma once

#include "base/base.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct member {
    char type; /* f, d, l (symbolic link), h (hard link), p (FIFO), c, b (devices) */
    const char *path;
    const char *text; /* contents or target */
    mode_t mode;      /* 0: 0644, directories 0755 */
    int64_t uid;
    const char *xattr; /* a name; its value is "value" */
    int64_t mtime;
};

static inline mode_t member_type(char type)
{
    switch (type) {
    case 'd':
        return AE_IFDIR;
    case 'l':
        return AE_IFLNK;
    case 'p':
        return AE_IFIFO;
    case 'c':
        return AE_IFCHR;
    case 'b':
        return AE_IFBLK;
    default:
        return AE_IFREG;
    }
}

static inline void add_member(struct archive *a, const struct member *m)
{
    struct archive_entry *e = archive_entry_new();
    mode_t mode = m->mode ? m->mode : (m->type == 'd' ? 0755 : 0644);
    size_t size = m->type == 'f' && m->text ? strlen(m->text) : 0;
    archive_entry_set_pathname(e, m->path);
    archive_entry_set_mode(e, member_type(m->type) | mode);
    archive_entry_set_size(e, (la_int64_t)size);
    archive_entry_set_uid(e, m->uid);
    archive_entry_set_gid(e, m->uid);
    archive_entry_set_mtime(e, m->mtime, 0);
    if (m->type == 'l')
        archive_entry_set_symlink(e, m->text);
    if (m->type == 'h')
        archive_entry_set_hardlink(e, m->text);
    if (m->type == 'c' || m->type == 'b')
        archive_entry_set_rdev(e, makedev(1, 3));
    if (m->xattr)
        archive_entry_xattr_add_entry(e, m->xattr, "value", 5);
    archive_write_header(a, e);
    if (size > 0)
        archive_write_data(a, m->text, size);
    archive_entry_free(e);
}

/* A memfd with the archive, at its beginning. `filter` is ARCHIVE_FILTER_NONE, _GZIP, ... */
static inline int make_archive(const struct member *members, size_t count, int filter)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    struct archive *a = archive_write_new();
    archive_write_set_format_pax(a);
    archive_write_add_filter(a, filter);
    archive_write_open_fd(a, fd);
    for (size_t i = 0; i < count; i++)
        add_member(a, &members[i]);
    archive_write_close(a);
    archive_write_free(a);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

/* Bytes as they are, for archives that no writer would make. */
static inline int make_file(const void *bytes, size_t n)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    const char *p = bytes;
    while (n > 0) {
        ssize_t written = write(fd, p, n);
        if (written <= 0)
            break;
        p += written;
        n -= (size_t)written;
    }
    lseek(fd, 0, SEEK_SET);
    return fd;
}
