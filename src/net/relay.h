/*
 * relay.h - bytes both ways between two connected stream sockets, until both sides have ended.
 *
 * Theory of operation: each direction has what could not be written at once in a buffer of at most RELAY_BUFFER
 * bytes, and reads on only when that is empty, so a peer that does not read stops the one that writes. An end of
 * stream is passed on with shutdown(2) after the last byte, so that half-closed connections work. A direction holds
 * no memory while everything it read could be passed on at once. Much at once goes through a pipe (pipe.h) instead
 * of our memory. The program must ignore SIGPIPE.
 */
#pragma once

#include "base/buf.h"
#include "base/loop.h"

#define RELAY_BUFFER ((size_t)256 << 10)

struct channel;
struct relay;

/*
 * Takes over both sockets, which must be non-blocking. `to_b` is sent to `b` before anything that `a` still has to
 * say: bytes that were read beyond a request head, at most RELAY_BUFFER. on_end comes once, from the loop, when
 * both directions have ended or either socket broke; the relay is freed after it, so that its counts can be read.
 * NULL: the sockets are closed, errno says why. on_end may be NULL.
 */
struct relay *relay_start(struct loop *loop, int a, int b, struct str to_b, void (*on_end)(void *data), void *data);
/*
 * Right after the start: what is sent to `a` before anything that `b` still has to say, at most RELAY_BUFFER. -1
 * without memory.
 */
int relay_give_a(struct relay *relay, struct str to_a);
/* The same with `a` behind a channel, which it takes over too. Private to src/net. */
struct relay *relay_start_channel(struct loop *loop, int a, struct channel *channel, int b,
                                  void (*on_end)(void *data), void *data);
/*
 * For protocols that end both ways at once: when one side has ended, the other has `ms` without progress left.
 * Without this a half-closed connection may stay as long as it likes.
 */
void relay_set_linger(struct relay *relay, uint32_t ms);
/* Closes both sockets; on_end does not come. NULL is allowed. */
void relay_free(struct relay *relay);
/* Bytes from a to b and from b to a so far. */
void relay_counts(const struct relay *relay, uint64_t *ret_to_b, uint64_t *ret_to_a);
