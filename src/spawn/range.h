/*
 * range.h - who on this host may use which user ids.
 *
 * Each sandbox has 65,536 ids of its own, so that root inside is nobody outside and no two sandboxes own each
 * other's files. Ranges start at 2^31, above everything that distributions, subuid and systemd hand out. Daemons
 * side by side divide them in blocks through small claim files; a claim outlives its daemon while sandboxes do, and
 * is taken over when the daemon is gone and has left none.
 */
#pragma once

#include "base/error.h"

#define RANGE_IDS       65536u
#define RANGE_BASE      UINT32_C(0x80000000)
#define RANGE_BLOCK     512u
#define RANGE_BLOCKS    63u /* the last block would reach (uid_t)-1 */
#define RANGE_NONE      UINT32_MAX
#define RANGE_CLAIM_DIR "/run/berm"
#define RANGE_DATA_LOCK "spawn.lock" /* in <data>/run: held while a spawner serves that directory */

struct range_pool {
    uint64_t claimed;                               /* bit per block */
    uint64_t used[RANGE_BLOCKS * RANGE_BLOCK / 64]; /* bit per range */
    uint32_t hint;
};

/*
 * Claims blocks for at least `count` sandboxes of the data directory whose canonical path is `data`; those it has
 * from before are kept. `claim_dir` is RANGE_CLAIM_DIR (made if it is missing).
 */
int range_claim(const char *claim_dir, const char *data, uint32_t count, struct range_pool *ret,
                struct berm_error *err);

/* Gives all claims of `data` back. For when no sandbox of it is left. */
int range_unclaim(const char *claim_dir, const char *data, struct berm_error *err);

/* A free range, or RANGE_NONE. */
uint32_t range_alloc(struct range_pool *pool);

/* Marks a range that a sandbox from before uses; false if it is not ours or taken already. */
bool range_take(struct range_pool *pool, uint32_t index);
void range_free(struct range_pool *pool, uint32_t index);
bool range_used(const struct range_pool *pool, uint32_t index);

static inline uint32_t range_uid_base(uint32_t index)
{
    return RANGE_BASE + index * RANGE_IDS;
}
