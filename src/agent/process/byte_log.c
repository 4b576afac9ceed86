#include "byte_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MEMORY_FIRST  ((size_t)512)
#define MEMORY_MAX    ((size_t)16 * 1024)
#define ARCHIVE_MAX   ((uint64_t)1024 * 1024)     /* longer logs keep their own file */
#define IN_MEMORY_MAX ((uint64_t)4 * 1024 * 1024) /* of a log for which there is no disk */
#define COPY_PIECE    ((size_t)16 * 1024)

void byte_store_init(struct byte_store *store, const char *directory, uint64_t file_budget, size_t memory_budget)
{
    *store = (struct byte_store){
        .directory = directory, .file_budget = file_budget, .memory_budget = memory_budget, .archive_fd = -EBADF
    };
}

void byte_store_free(struct byte_store *store)
{
    close_fd(&store->archive_fd);
}

/* --- files --- */

/* Unlinked at once: nobody else gets at it, and it goes when we do. O_TMPFILE is not everywhere on overlays. */
static int open_in(const char *directory)
{
    unsigned char random[8];
    char name[2 * sizeof(random) + 1], path[256];
    int fd;

    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), name);
    if ((size_t)snprintf(path, sizeof(path), "%s/.log-%s", directory, name) >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        unlink(path);
    return fd;
}

/* No more than a quarter of the disk, which is the sandbox's. */
static void limit_budget(struct byte_store *store, int fd)
{
    struct statvfs disk;

    if (fstatvfs(fd, &disk) == 0 && disk.f_blocks > 0)
        store->file_budget = MIN(store->file_budget, (uint64_t)disk.f_blocks * disk.f_frsize / 4);
}

/* *ret_disk is false where the file takes memory instead. -1 with errno. */
static int open_file(struct byte_store *store, bool *ret_disk)
{
    const char *const places[] = { store->directory, "/var/tmp", "/tmp" };

    *ret_disk = true;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        int fd = places[i] ? open_in(places[i]) : -1;
        if (fd < 0)
            continue;
        limit_budget(store, fd);
        return fd;
    }
    *ret_disk = false;
    return memfd_create("log", MFD_CLOEXEC);
}

/* The number written, short only if the rest cannot be; errno says why. */
static size_t write_at(int fd, const char *p, size_t n, uint64_t at)
{
    size_t done = 0;

    while (done < n) {
        ssize_t wrote = RETRY_EINTR(pwrite(fd, p + done, n - done, (off_t)(at + done)));
        if (wrote <= 0)
            break;
        done += (size_t)wrote;
    }
    return done;
}

static bool read_at(int fd, char *p, size_t n, uint64_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = RETRY_EINTR(pread(fd, p + done, n - done, (off_t)(at + done)));
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static bool open_archive(struct byte_store *store)
{
    bool disk;

    if (store->archive_fd < 0)
        store->archive_fd = open_file(store, &disk);
    return store->archive_fd >= 0;
}

bool byte_store_put(struct byte_store *store, const char *p, size_t n, uint64_t *ret_at)
{
    if (!open_archive(store) || store->file_used + n > store->file_budget ||
        write_at(store->archive_fd, p, n, store->archive_end) < n)
        return false;
    *ret_at = store->archive_end;
    store->archive_end += n;
    store->file_used += n;
    return true;
}

bool byte_store_get(const struct byte_store *store, uint64_t at, char *p, size_t n)
{
    return read_at(store->archive_fd, p, n, at);
}

/* The file system gives back whole blocks only. */
static void punch(const struct byte_store *store, uint64_t at, uint64_t n)
{
    (void)fallocate(store->archive_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)n);
}

void byte_store_drop(struct byte_store *store, uint64_t at, size_t n)
{
    store->file_used -= n;
    punch(store, at, n);
}

/* --- life --- */

void byte_log_init(struct byte_log *log, struct byte_store *store, uint64_t limit)
{
    *log = (struct byte_log){ .store = store, .limit = MAX(limit, BYTE_LOG_LIMIT_MIN), .fd = -EBADF };
}

static void release(struct byte_log *log)
{
    log->store->file_used -= log->file_bytes;
    if (log->where == BYTE_LOG_MEMORY && log->sealed)
        log->store->memory_used -= log->cap;
    if (log->where == BYTE_LOG_ARCHIVE)
        punch(log->store, log->place, log->file_bytes);
    close_fd(&log->fd);
    free(log->memory);
}

void byte_log_free(struct byte_log *log)
{
    release(log);
    byte_log_init(log, log->store, log->limit);
}

void byte_log_drop(struct byte_log *log)
{
    struct byte_log was = *log;

    byte_log_free(log);
    log->start = log->end = was.end;
    log->sealed = was.sealed;
}

/* What cannot be kept: everything up to here is gone. */
static void lose(struct byte_log *log, size_t n)
{
    log->end += n;
    log->start = log->end;
}

/* --- appending --- */

/* How many of `n` bytes fit at the end of a file that has not wrapped yet, by the budget of all. */
static size_t growth_allowed(const struct byte_log *log, size_t n)
{
    uint64_t used = log->store->file_used, budget = log->store->file_budget;
    uint64_t left = used < budget ? budget - used : 0;

    return (size_t)MIN((uint64_t)n, left);
}

/* One run up to the end of the ring. The number that was written. */
static size_t append_run(struct byte_log *log, const char *p, size_t n)
{
    uint64_t at = log->end % log->ring;
    bool grows = log->end < log->ring;
    size_t run = (size_t)MIN((uint64_t)n, log->ring - at);
    size_t wrote = write_at(log->fd, p, grows ? growth_allowed(log, run) : run, at);

    if (grows) {
        log->store->file_used += wrote;
        log->file_bytes += wrote;
    }
    log->end += wrote;
    if (log->end - log->start > log->ring)
        log->start = log->end - log->ring;
    return wrote;
}

static void append_to_file(struct byte_log *log, const char *p, size_t n)
{
    while (n > 0) {
        size_t wrote = append_run(log, p, n);
        p += wrote;
        n -= wrote;
        if (wrote > 0 || (log->store->reclaim && log->store->reclaim(log->store)))
            continue;
        /* Wrapped already, or with a hole, or too short to be of use. */
        if (log->file_bytes != log->end || log->file_bytes < BYTE_LOG_LIMIT_MIN) {
            lose(log, n);
            return;
        }
        log->ring = log->end; /* it stays as large as it is */
    }
}

static bool move_to_file(struct byte_log *log)
{
    bool disk;
    int fd = open_file(log->store, &disk);
    size_t n = (size_t)log->end;

    if (fd < 0)
        return false;
    log->where = BYTE_LOG_FILE;
    log->fd = fd;
    log->ring = disk ? log->limit : MIN(log->limit, IN_MEMORY_MAX);
    log->end = 0;
    append_to_file(log, log->memory, n);
    free_ptr(&log->memory);
    log->cap = 0;
    return true;
}

/* Makes room for `n` more bytes in memory. */
static bool grow(struct byte_log *log, size_t n)
{
    size_t need = (size_t)log->end + n, cap = MAX(log->cap, MEMORY_FIRST);
    char *memory;

    if (need <= log->cap)
        return true;
    if (need > MEMORY_MAX)
        return false;
    while (cap < need)
        cap *= 2;
    memory = realloc(log->memory, cap);
    if (!memory)
        return false;
    log->memory = memory;
    log->cap = cap;
    return true;
}

void byte_log_append(struct byte_log *log, const char *p, size_t n)
{
    uint64_t at = log->end;

    if (log->where == BYTE_LOG_MEMORY && log->start == 0 && grow(log, n)) {
        memcpy(log->memory + log->end, p, n);
        log->end += n;
    } else if (log->where == BYTE_LOG_FILE || (log->start == 0 && move_to_file(log))) {
        append_to_file(log, p, n);
    } else {
        lose(log, n);
    }
    log->recent = p;
    log->recent_at = at;
}

void byte_log_settle(struct byte_log *log)
{
    log->recent = NULL;
}

/* --- sealing --- */

/* Copies what is kept to the end of the archive. */
static bool copy_to_archive(struct byte_log *log)
{
    struct byte_store *store = log->store;
    uint64_t place = store->archive_end;
    char room[COPY_PIECE];

    for (uint64_t at = log->start; at < log->end;) {
        const char *p;
        size_t n = byte_log_read(log, at, room, sizeof(room), &p);
        if (n == 0 || write_at(store->archive_fd, p, n, place + (at - log->start)) < n)
            return false;
        at += n;
    }
    return true;
}

static void move_to_archive(struct byte_log *log)
{
    struct byte_store *store = log->store;
    uint64_t n = log->end - log->start;

    if (!open_archive(store) || store->file_used + n > store->file_budget || !copy_to_archive(log))
        return; /* it stays where it is */
    store->file_used += n - log->file_bytes;
    log->file_bytes = n;
    log->place = store->archive_end;
    log->where = BYTE_LOG_ARCHIVE;
    store->archive_end += n;
    close_fd(&log->fd);
    free_ptr(&log->memory);
    log->cap = 0;
}

void byte_log_seal(struct byte_log *log)
{
    struct byte_store *store = log->store;
    uint64_t n = log->end - log->start;

    if (log->sealed)
        return;
    if (log->where == BYTE_LOG_FILE ? n <= ARCHIVE_MAX : n > 0 && store->memory_used + n > store->memory_budget)
        move_to_archive(log);
    if (log->where == BYTE_LOG_MEMORY && log->memory) {
        char *exact = realloc(log->memory, (size_t)MAX(n, (uint64_t)1));
        log->memory = exact ? exact : log->memory;
        log->cap = exact ? (size_t)MAX(n, (uint64_t)1) : log->cap;
        store->memory_used += log->cap;
    }
    log->sealed = true;
}

bool byte_log_put_away(struct byte_log *log)
{
    size_t cap = log->cap;

    if (log->start == log->end)
        byte_log_drop(log);
    else if (log->where == BYTE_LOG_MEMORY)
        move_to_archive(log);
    if (log->where == BYTE_LOG_ARCHIVE && cap > 0)
        log->store->memory_used -= cap;
    return log->where == BYTE_LOG_ARCHIVE || log->start == log->end;
}

struct byte_log_place_kept byte_log_kept_place(const struct byte_log *log)
{
    return (struct byte_log_place_kept){ log->start, log->end, log->place };
}

void byte_log_leave(struct byte_log *log)
{
    byte_log_init(log, log->store, log->limit);
}

void byte_log_come_back(struct byte_log *log, const struct byte_log_place_kept *kept)
{
    log->start = kept->start;
    log->end = kept->end;
    log->sealed = true;
    if (kept->start == kept->end)
        return;
    log->where = BYTE_LOG_ARCHIVE;
    log->place = kept->place;
    log->file_bytes = kept->end - kept->start;
}

/* --- reading --- */

static size_t read_from_file(struct byte_log *log, uint64_t offset, char *room, size_t size)
{
    uint64_t at = offset % log->ring;
    size_t n = (size_t)MIN((uint64_t)size, log->ring - at);

    return read_at(log->fd, room, n, at) ? n : 0;
}

size_t byte_log_read(struct byte_log *log, uint64_t offset, char *room, size_t size, const char **ret)
{
    size_t n = (size_t)MIN((uint64_t)size, log->end - offset);
    size_t got = n;

    *ret = room;
    if (n == 0)
        return 0;
    if (log->recent && offset >= log->recent_at) {
        *ret = log->recent + (offset - log->recent_at);
        return n;
    }
    if (log->where == BYTE_LOG_MEMORY)
        *ret = log->memory + offset;
    else if (log->where == BYTE_LOG_FILE)
        got = read_from_file(log, offset, room, n);
    else
        got = read_at(log->store->archive_fd, room, n, log->place + (offset - log->start)) ? n : 0;
    if (got == 0)
        log->start = log->end;
    return got;
}
