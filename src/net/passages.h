/*
 * passages.h - connections that have left HTTP: a client's and a server's, joined for bytes both ways until either
 * ends. They are no connections of the server any more, so they are held here to the limits that it has.
 */
#pragma once

#include "base/list.h"
#include "base/loop.h"

struct passages {
    struct list all;
    uint32_t count;
    uint32_t max;      /* of all */
    uint32_t max_peer; /* of one client's, as http_same_client() tells them apart; 0: no limit */
};

void passages_init(struct passages *passages, uint32_t max, uint32_t max_peer);
/* Closes all. */
void passages_free(struct passages *passages);

/* Whether a client may have no more of them. `address`: http_peer_address(), NULL is nobody's. */
bool passages_full(const struct passages *passages, const uint8_t *address);

struct passage_ends {
    int client, server;                  /* non-blocking sockets */
    struct str from_client, from_server; /* read already, at most RELAY_BUFFER: goes to the other side first */
    uint8_t address[16];                 /* of the client; all zeros: nobody's */
    void (*on_end)(void *data);          /* once, also from passages_free(); may be NULL */
    void *data;
};

/*
 * Takes over both sockets. To ask for the limits before is the caller's part. -1 without memory: the sockets are
 * closed, and on_end does not come.
 */
int passages_join(struct passages *passages, struct loop *loop, const struct passage_ends *ends);
