/*
 * fuse_record.c - which connections were made for a sandbox.
 *
 * A connection lives as long as its file system is held by anything: a mount, or, when that has been taken away, a
 * working directory or an open file. What a sandbox has mounted therefore says little, and fusectl, which has a
 * directory for each, has those of the whole machine. So the number of each is written down before its file system
 * is attached, in a file <run>/s<slot>.fuse that whoever ends the sandbox finds, also if both the broker and the
 * worker have been replaced since.
 *
 * A number on record is a sandbox's connection if fusectl knows it and its owner is one of the sandbox's ids. It
 * may be one that ended and whose number went to somebody else; then the owner is another. So a stale record, or a
 * stale file, does no harm.
 */
#include "fuse.h"

#include "range.h"
#include "slot.h"

#include <fcntl.h>
#include <sys/stat.h>

#define SUFFIX ".fuse"

static void record_name(uint32_t index, char name[SLOT_NAME_SIZE + 8])
{
    char slot[SLOT_NAME_SIZE];

    slot_name(index, slot);
    snprintf(name, SLOT_NAME_SIZE + 8, "%s" SUFFIX, slot);
}

bool fuse_record_index(const char *name, uint32_t *ret)
{
    size_t n = strlen(name), suffix = strlen(SUFFIX);
    uint64_t index;

    if (name[0] != 's' || n <= suffix + 1 || strcmp(name + n - suffix, SUFFIX) != 0 ||
        str_to_u64((struct str){ name + 1, n - suffix - 1 }, &index) < 0 || index >= RANGE_NONE)
        return false;
    *ret = (uint32_t)index;
    return true;
}

/* The path in fusectl of what aborts a connection, if it is one of the sandbox's. */
static bool find_abort(const struct fuse_host *host, uint32_t index, uint32_t number, char path[24])
{
    const uint32_t base = range_uid_base(index);
    struct stat st;

    snprintf(path, 24, "%u/abort", number);
    return number != 0 && fstatat(host->control_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid >= base &&
           st.st_uid - base < RANGE_IDS;
}

static int open_record(const struct fuse_host *host, uint32_t index, int flags)
{
    char name[SLOT_NAME_SIZE + 8];

    record_name(index, name);
    return openat(host->run_fd, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* What is shorter ends in zeros: it was made a moment ago, or its writer died. */
static int load(const struct fuse_host *host, uint32_t index, uint32_t numbers[FUSE_CONNECTIONS_MAX])
{
    const size_t size = sizeof(*numbers) * FUSE_CONNECTIONS_MAX;
    _cleanup_close_ int fd = open_record(host, index, O_RDONLY);

    memset(numbers, 0, size);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    return RETRY_EINTR(pread(fd, numbers, size, 0)) < 0 ? -1 : 0;
}

int fuse_record_read(const struct fuse_host *host, uint32_t index, struct fuse_record *ret)
{
    bool room = false;
    char path[24];

    ret->index = index;
    if (host->control_fd < 0)
        return ENODEV;
    if (load(host, index, ret->numbers) < 0)
        return errno;
    for (size_t i = 0; i < FUSE_CONNECTIONS_MAX; i++) {
        if (!find_abort(host, index, ret->numbers[i], path))
            ret->numbers[i] = 0;
        room |= ret->numbers[i] == 0;
    }
    return room ? 0 : ENOSPC;
}

int fuse_record_add(const struct fuse_host *host, struct fuse_record *record, uint32_t number)
{
    _cleanup_close_ int fd = open_record(host, record->index, O_WRONLY | O_CREAT);
    size_t at = 0;

    while (at < FUSE_CONNECTIONS_MAX && record->numbers[at] != 0)
        at++;
    if (fd < 0 || at == FUSE_CONNECTIONS_MAX)
        return EIO;
    record->numbers[at] = number;
    if (RETRY_EINTR(pwrite(fd, record->numbers, sizeof(record->numbers), 0)) != (ssize_t)sizeof(record->numbers))
        return EIO;
    return 0;
}

void fuse_record_abort(const struct fuse_host *host, uint32_t index)
{
    uint32_t numbers[FUSE_CONNECTIONS_MAX];
    char path[24];

    if (load(host, index, numbers) < 0)
        return;
    for (size_t i = 0; i < FUSE_CONNECTIONS_MAX; i++) {
        _cleanup_close_ int fd = find_abort(host, index, numbers[i], path)
                                     ? openat(host->control_fd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
                                     : -EBADF;
        if (fd >= 0)
            (void)RETRY_EINTR(write(fd, "1", 1)); /* it may have ended meanwhile */
    }
}

int fuse_record_remove(int run_fd, uint32_t index)
{
    char name[SLOT_NAME_SIZE + 8];

    record_name(index, name);
    return unlinkat(run_fd, name, 0) < 0 && errno != ENOENT ? -1 : 0;
}
