/*
 * once.h - Idempotency-Key: a request that says one is run at most once, and every repeat is answered what the
 * first one was.
 *
 * Theory of operation. The key and a hash of the request are committed; then the request is made again, without the
 * key, over a connection to our own server, and whoever asks with the key looks on: the first client as much as
 * those that repeat it meanwhile. So the work does not depend on any client's connection. When the answer is
 * complete it is committed, then the lookers-on see its end. An answer that says that nothing was begun (an error
 * without a generation) frees the key. A row without an outcome that nobody works on is of a daemon that died: what
 * became of it is not known, and it is not run again; only the making of a sandbox is, as that may be repeated.
 *
 * Keys belong to the sandbox of the path, whatever becomes of it; see store_once.c for how long they are kept.
 */
#pragma once

#include "daemon/api/api.h"

int once_init(struct daemon *daemon);
/* After the server, before the store. */
void once_free(struct daemon *daemon);

/* For router.c: takes the request over if it has a key: true. Else it is to be handled as always. */
bool once_takes(struct request *request);
/* Whether this is the request that once.c makes itself: its first one had the right key. */
bool once_is_own(const struct request *request);
