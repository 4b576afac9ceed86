#include "image/tree.h"

#include "image/store.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <sys/stat.h>

/*
 * A directory is emptied by flattening it: a subdirectory's files go, its own subdirectories move up to the top, so
 * that no path gets long and no descriptor is held per level, however deep an archive has nested its directories.
 */
struct flattening {
    struct dir_reader top;
    dev_t dev;
    uint64_t moved;
};

static int move_up(struct flattening *f, int dirfd, const char *name)
{
    char fresh[40];
    do {
        snprintf(fresh, sizeof(fresh), "berm-rm-%llu", (unsigned long long)f->moved++);
        if (renameat2(dirfd, name, dir_reader_fd(&f->top), fresh, RENAME_NOREPLACE) == 0)
            return 0;
    } while (errno == EEXIST);
    return -1;
}

static int empty_subdirectory(struct flattening *f, const char *name)
{
    struct dir_reader dir;
    struct stat st;
    if (dir_reader_open(&dir, dir_reader_fd(&f->top), name) < 0)
        return -1;
    int rc = fstat(dir_reader_fd(&dir), &st);
    if (rc == 0 && st.st_dev != f->dev) {
        errno = EBUSY;
        rc = -1;
    }
    for (const char *entry; rc == 0 && (entry = dir_reader_next(&dir));) {
        if (unlinkat(dir_reader_fd(&dir), entry, 0) == 0)
            continue;
        rc = errno == EISDIR ? move_up(f, dir_reader_fd(&dir), entry) : -1;
    }
    int saved = errno;
    dir_reader_close(&dir);
    errno = saved;
    return rc;
}

/* One pass over the top directory; readdir need not show what this very pass moves there. */
static int flatten_once(struct flattening *f, bool *found)
{
    int top = dir_reader_fd(&f->top);
    *found = false;
    dir_reader_rewind(&f->top);
    for (const char *entry; (entry = dir_reader_next(&f->top));) {
        char name[NAME_MAX + 1];
        *found = true;
        if (unlinkat(top, entry, 0) == 0)
            continue;
        if (errno != EISDIR || str_copy(str_from(entry), name, sizeof(name)) < 0)
            return -1;
        if (empty_subdirectory(f, name) < 0)
            return -1;
        /* Some file systems skip entries while others are removed: the next pass takes those. */
        if (unlinkat(top, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
            return -1;
    }
    return 0;
}

static int remove_directory(int dirfd, const char *name)
{
    struct flattening f = { 0 };
    struct stat st;
    bool found = true;
    if (dir_reader_open(&f.top, dirfd, name) < 0)
        return -1;
    int rc = fstat(dir_reader_fd(&f.top), &st);
    f.dev = st.st_dev;
    while (rc == 0 && found)
        rc = flatten_once(&f, &found);
    int saved = errno;
    dir_reader_close(&f.top);
    errno = saved;
    return rc < 0 ? -1 : unlinkat(dirfd, name, AT_REMOVEDIR);
}

int tree_remove(int dirfd, const char *name, struct berm_error *err)
{
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR || remove_directory(dirfd, name) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "removing %s", name);
    return 0;
}

struct clamp {
    int64_t built_after;
    int64_t newest;
};

/* Calls `visit` for every file, directory and link, with each directory after what is in it. */
static int walk(const char *path, int (*visit)(const FTSENT *entry, struct clamp *clamp), struct clamp *clamp)
{
    char copy[PATH_MAX];
    char *const roots[] = { copy, NULL };
    if (str_copy(str_from(path), copy, sizeof(copy)) < 0) {
        errno = ENAMETOOLONG;
        return -1;
    }
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    if (!fts)
        return -1;
    int rc = 0;
    for (FTSENT *entry; rc == 0 && (entry = fts_read(fts));) {
        if (entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS) {
            errno = entry->fts_errno;
            rc = -1;
        } else if (entry->fts_info != FTS_D) {
            rc = visit(entry, clamp);
        }
    }
    int saved = errno;
    fts_close(fts);
    errno = saved;
    return rc;
}

static int find_newest(const FTSENT *entry, struct clamp *clamp)
{
    int64_t mtime = entry->fts_statp->st_mtim.tv_sec;
    if (mtime < clamp->built_after && mtime > clamp->newest)
        clamp->newest = mtime;
    return 0;
}

static int clamp_time(const FTSENT *entry, struct clamp *clamp)
{
    struct timespec times[2] = { { .tv_sec = clamp->newest }, { .tv_sec = clamp->newest } };
    if (entry->fts_statp->st_mtim.tv_sec < clamp->built_after)
        return 0;
    return utimensat(AT_FDCWD, entry->fts_accpath, times, AT_SYMLINK_NOFOLLOW);
}

int tree_clamp_times(const char *path, int64_t built_after, struct berm_error *err)
{
    struct clamp clamp = { .built_after = built_after };
    if (walk(path, find_newest, &clamp) < 0 || walk(path, clamp_time, &clamp) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "setting the times of the files in %s", path);
    return 0;
}
