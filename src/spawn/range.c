#include "range.h"

#include "base/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>

#define WORD_BITS 64u

static bool block_claimed(const struct range_pool *pool, uint32_t index)
{
    uint32_t block = index / RANGE_BLOCK;

    return block < RANGE_BLOCKS && (pool->claimed >> block & 1);
}

bool range_used(const struct range_pool *pool, uint32_t index)
{
    return block_claimed(pool, index) && pool->used[index / WORD_BITS] >> (index % WORD_BITS) & 1;
}

bool range_take(struct range_pool *pool, uint32_t index)
{
    if (!block_claimed(pool, index) || range_used(pool, index))
        return false;
    pool->used[index / WORD_BITS] |= UINT64_C(1) << (index % WORD_BITS);
    return true;
}

void range_free(struct range_pool *pool, uint32_t index)
{
    if (block_claimed(pool, index))
        pool->used[index / WORD_BITS] &= ~(UINT64_C(1) << (index % WORD_BITS));
}

/* Round robin, so that the ids of a sandbox that has just gone are not at once somebody else's. */
uint32_t range_alloc(struct range_pool *pool)
{
    const uint32_t total = RANGE_BLOCKS * RANGE_BLOCK;

    for (uint32_t i = 0; i < total; i++) {
        uint32_t index = (pool->hint + i) % total;
        if (!block_claimed(pool, index)) {
            i += RANGE_BLOCK - 1 - index % RANGE_BLOCK;
            continue;
        }
        if (range_take(pool, index)) {
            pool->hint = (index + 1) % total;
            return index;
        }
    }
    return RANGE_NONE;
}

/* --- claims --- */

static bool has_sandboxes(int run_fd)
{
    int fd = openat(run_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    bool found = false;

    if (!dir)
        return fd >= 0;
    while (!found && (entry = readdir(dir))) {
        size_t n = strlen(entry->d_name);
        found = n > 5 && strcmp(entry->d_name + n - 5, ".meta") == 0;
    }
    closedir(dir);
    return found;
}

/* Whether the data directory still needs its ids: a spawner serves it, or it has sandboxes that wait for one. */
static bool owner_alive(const char *data)
{
    _cleanup_close_ int run = -EBADF;
    _cleanup_close_ int lock = -EBADF;
    char path[PATH_MAX];

    if ((size_t)snprintf(path, sizeof(path), "%s/run", data) >= sizeof(path))
        return false;
    run = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run < 0)
        return false;
    lock = openat(run, RANGE_DATA_LOCK, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) < 0)
        return true;
    return has_sandboxes(run);
}

static void block_name(uint32_t block, char name[16])
{
    snprintf(name, 16, "block-%u", block);
}

enum claim { CLAIM_FREE, CLAIM_OURS, CLAIM_THEIRS };

static enum claim read_claim(int dirfd, uint32_t block, const char *data)
{
    char name[16], owner[PATH_MAX];

    block_name(block, name);
    if (read_small_file(dirfd, name, owner, sizeof(owner)) <= 0)
        return CLAIM_FREE;
    if (strcmp(owner, data) == 0)
        return CLAIM_OURS;
    return owner_alive(owner) ? CLAIM_THEIRS : CLAIM_FREE;
}

static int write_claim(int dirfd, uint32_t block, const char *data)
{
    _cleanup_close_ int fd = -EBADF;
    char name[16];

    block_name(block, name);
    fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -1 : write_all(fd, data, strlen(data));
}

/* The claim directory, locked until it is closed. */
static int lock_claims(const char *claim_dir, struct berm_error *err)
{
    _cleanup_close_ int fd = -EBADF;

    if (mkdir(claim_dir, 0700) < 0 && errno != EEXIST)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make %s", claim_dir);
    fd = open(claim_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || RETRY_EINTR(flock(fd, LOCK_EX)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "lock %s", claim_dir);
    return TAKE_FD(fd);
}

int range_claim(const char *claim_dir, const char *data, uint32_t count, struct range_pool *ret,
                struct berm_error *err)
{
    _cleanup_close_ int dirfd = lock_claims(claim_dir, err);
    uint32_t wanted = (count + RANGE_BLOCK - 1) / RANGE_BLOCK;
    enum claim claims[RANGE_BLOCKS];
    uint32_t have = 0;

    if (dirfd < 0)
        return -1;
    memset(ret, 0, sizeof(*ret));
    for (uint32_t i = 0; i < RANGE_BLOCKS; i++) {
        claims[i] = read_claim(dirfd, i, data);
        if (claims[i] == CLAIM_OURS) {
            ret->claimed |= UINT64_C(1) << i;
            have++;
        }
    }
    for (uint32_t i = 0; i < RANGE_BLOCKS && have < wanted; i++) {
        if (claims[i] != CLAIM_FREE)
            continue;
        if (write_claim(dirfd, i, data) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "claim user ids in %s", claim_dir);
        ret->claimed |= UINT64_C(1) << i;
        have++;
    }
    if (have < wanted)
        return berm_fail(err, BERM_E_SYSTEM, EDQUOT, "user ids for %u sandboxes (see %s)", count, claim_dir);
    return 0;
}

int range_unclaim(const char *claim_dir, const char *data, struct berm_error *err)
{
    _cleanup_close_ int dirfd = lock_claims(claim_dir, err);

    if (dirfd < 0)
        return -1;
    for (uint32_t i = 0; i < RANGE_BLOCKS; i++) {
        char name[16], owner[PATH_MAX];
        block_name(i, name);
        if (read_small_file(dirfd, name, owner, sizeof(owner)) > 0 && strcmp(owner, data) == 0)
            unlinkat(dirfd, name, 0);
    }
    return 0;
}
