/*
 * store_claim.c - the warm sandbox that is in use before a commit says so.
 *
 * The pool's row goes in the transaction that brings the sandbox's. Whoever uses the instance before that writes
 * its key here: eight bytes in a file beside the database, which outlive this process from the write(2) on and cost
 * a twentieth of a commit. What stands there when the database is opened is warm no more, whether the commit came
 * or not; keys are random, so an old one does no harm.
 */
#include "daemon/store_internal.h"

#include <fcntl.h>
#include <stdio.h>

int store_open_claim(struct store *store, const char *database, struct berm_error *err)
{
    char path[256];
    uint64_t key;
    ssize_t n;

    if (snprintf(path, sizeof(path), "%s.claim", database) >= (int)sizeof(path))
        return berm_fail(err, BERM_E_SYSTEM, ENAMETOOLONG, "%s", database);
    store->claim_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->claim_fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", path);
    n = RETRY_EINTR(pread(store->claim_fd, &key, sizeof(key), 0));
    if (n < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", path);
    return n == sizeof(key) ? store_delete_pool(store, key, err) : 0;
}

int store_claim(struct store *store, uint64_t key)
{
    ssize_t n = RETRY_EINTR(pwrite(store->claim_fd, &key, sizeof(key), 0));

    return n == sizeof(key) ? 0 : -1;
}
