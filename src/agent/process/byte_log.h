/*
 * byte_log.h - the kept output of one stream of a process: a bounded log of bytes that are known by their offset
 * since the beginning, so that any number of readers can follow it from anywhere.
 *
 * Theory of operation. A log begins in memory. Past MEMORY it goes on in an unlinked file (of the sandbox's disk,
 * or of its memory where no disk can be written), which is a ring: past `limit` the newest bytes take the place of
 * the oldest. Nothing that is appended is ever refused or waits; what has fallen out shows in `start`. Where the
 * file cannot grow (disk or budget used up) and nothing else can go, the ring stays as large as it is. A log that
 * is sealed gets no more bytes; a short one then moves out of memory, and out of a file of its own, into one file
 * that all of them share, so that many processes that have ended cost neither memory nor descriptors.
 *
 *   MEMORY  bytes [0, end) at memory[0 ...]           FILE    offset o at o % ring of `fd`
 *   ARCHIVE offset o at place + (o - start) of the store's archive
 */
#pragma once

#include "base/base.h"

#define BYTE_LOG_LIMIT_MIN ((uint64_t)64 * 1024)

/* What the logs of one agent share. */
struct byte_store {
    const char *directory; /* for files, before /var/tmp and /tmp; NULL: none */
    uint64_t file_budget;  /* bytes that all files may take */
    uint64_t file_used;
    size_t memory_budget; /* bytes that sealed logs may keep in memory */
    size_t memory_used;
    int archive_fd;
    uint64_t archive_end;
    /* Frees something that is wanted less than what is being written (byte_log_drop()). False: nothing. May be
     * NULL. */
    bool (*reclaim)(struct byte_store *store);
};

enum byte_log_place { BYTE_LOG_MEMORY, BYTE_LOG_FILE, BYTE_LOG_ARCHIVE };

struct byte_log {
    struct byte_store *store;
    uint64_t start; /* offset of the first byte that is kept */
    uint64_t end;   /* offset after the last one */
    uint64_t limit;
    uint64_t ring;       /* FILE: where it wraps */
    uint64_t place;      /* ARCHIVE */
    uint64_t file_bytes; /* that it takes of the store's files */
    enum byte_log_place where;
    int fd; /* FILE; else -EBADF */
    bool sealed;
    char *memory;
    size_t cap;
    const char *recent; /* the last bytes appended, [recent_at, end); valid while readers are told of them */
    uint64_t recent_at;
};

void byte_store_init(struct byte_store *store, const char *directory, uint64_t file_budget, size_t memory_budget);
void byte_store_free(struct byte_store *store); /* after all logs */

/* Other bytes in the archive of the store: 0 < n. False where no disk takes them. */
bool byte_store_put(struct byte_store *store, const char *p, size_t n, uint64_t *ret_at);
bool byte_store_get(const struct byte_store *store, uint64_t at, char *p, size_t n);
void byte_store_drop(struct byte_store *store, uint64_t at, size_t n); /* gives their room back */

void byte_log_init(struct byte_log *log, struct byte_store *store, uint64_t limit);
void byte_log_free(struct byte_log *log); /* idempotent */

/* The bytes at `p` may be read without copying until byte_log_settle(), which must follow. */
void byte_log_append(struct byte_log *log, const char *p, size_t n);
void byte_log_settle(struct byte_log *log);

/* No more will come. Idempotent. */
void byte_log_seal(struct byte_log *log);

/*
 * A sealed log that somebody else keeps the place of. byte_log_put_away() brings what is kept into the archive,
 * false if it cannot; then byte_log_kept_place() says where it is, byte_log_leave() makes the log an empty one
 * without giving anything back, and byte_log_come_back() makes an empty one what it was.
 */
struct byte_log_place_kept {
    uint64_t start, end, place;
};

bool byte_log_put_away(struct byte_log *log);
struct byte_log_place_kept byte_log_kept_place(const struct byte_log *log);
void byte_log_leave(struct byte_log *log);
void byte_log_come_back(struct byte_log *log, const struct byte_log_place_kept *kept);

/* Forgets what is kept; `end` stays. */
void byte_log_drop(struct byte_log *log);

/*
 * Up to `size` bytes from `offset` (start <= offset <= end): how many, at *ret, which is `room` or memory of the
 * log's that is valid until it changes. 0 at the end, and where a file cannot be read any more: then `start` has
 * become `end`.
 */
size_t byte_log_read(struct byte_log *log, uint64_t offset, char *room, size_t size, const char **ret);
