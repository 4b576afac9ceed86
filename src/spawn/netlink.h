/*
 * netlink.h - a row of netlink messages, sent at once and answered for: just enough to set up a network namespace.
 *
 * (Debian has no static libmnl, and this program is static: see docs/decisions/0013-egress.md.)
 */
#pragma once

#include "base/base.h"

#include <linux/netlink.h>

#define NETLINK_BATCH_MAX 8192
#define NETLINK_DEPTH_MAX 8

/* Attributes go to the message that was begun last. What does not fit sets `overflow`, and netlink_talk() fails. */
struct netlink_batch {
    char data[NETLINK_BATCH_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
    size_t len;
    size_t message;                  /* where the last one begins */
    size_t nests[NETLINK_DEPTH_MAX]; /* open nests, by their place */
    size_t depth;
    uint32_t messages; /* begun so far; their sequence numbers */
    bool overflow;
};

void netlink_init(struct netlink_batch *batch);

/* `header` is what follows the netlink header, as the protocol has it. `flags`: NLM_F_REQUEST is always set. */
void netlink_begin(struct netlink_batch *batch, uint16_t type, uint16_t flags, const void *header, size_t n);
void netlink_put(struct netlink_batch *batch, uint16_t type, const void *value, size_t n);
void netlink_put_text(struct netlink_batch *batch, uint16_t type, const char *text); /* with its NUL */
void netlink_put_be32(struct netlink_batch *batch, uint16_t type, uint32_t value);
void netlink_nest(struct netlink_batch *batch, uint16_t type);
void netlink_unnest(struct netlink_batch *batch);
void netlink_end(struct netlink_batch *batch); /* of the message; every message needs it */

/*
 * Sends everything on a new socket of `protocol` in the caller's network namespace and waits until the last message
 * with NLM_F_ACK is answered. 0, or -1 with the errno of the first message that was refused.
 */
int netlink_talk(const struct netlink_batch *batch, int protocol);
