/*
 * agent_link.h - the daemon's way to the agent of one running instance of a sandbox: an HTTP client over the unix
 * socket that the agent inherited, and the memory of how that instance ended.
 *
 * Whoever has requests in flight holds a reference, so that it can still tell why they failed after the sandbox has
 * been started anew. Closing fails all calls in flight, from the loop's deferred queue, never inside a callback.
 * When a call breaks, the sandbox has often died, but the news come by another socket: agent_link_mourn() waits a
 * moment for them.
 */
#pragma once

#include "base/list.h"
#include "daemon/port_link.h"
#include "daemon/store.h"
#include "net/client.h"

struct agent_link;

struct agent_mourner {
    struct list node;
    struct loop_timer timer;
    struct agent_link *link;
    void (*done)(struct agent_mourner *mourner);
};

/* `run_dirfd`: the directory of the sockets, borrowed. `patience_ms`: see agent_patience.h. */
struct agent_link *agent_link_new(struct loop *loop, int run_dirfd, uint64_t patience_ms, uint64_t key,
                                  int64_t generation);
struct agent_link *agent_link_ref(struct agent_link *link);
void agent_link_unref(struct agent_link *link); /* NULL is allowed */

/* NULL once it is closed. */
struct http_client *agent_link_client(struct agent_link *link);
/* The connections to a port of the instance, made at the first use. NULL once it is closed, or without memory. */
struct port_link *agent_link_port(struct agent_link *link, uint16_t port);
struct loop *agent_link_loop(const struct agent_link *link);
uint64_t agent_link_patience_ms(const struct agent_link *link);
/* Of berm-spawn, for the instance. */
uint64_t agent_link_key(const struct agent_link *link);
int64_t agent_link_generation(const struct agent_link *link);
void agent_link_set_generation(struct agent_link *link, int64_t generation);

/* The instance has ended. Idempotent: the first reason counts. The caller's reference stays its own. */
void agent_link_close(struct agent_link *link, enum end_reason reason, int exit_status);

/* Fills *err with SANDBOX_DIED and the reason if the instance has ended: true. */
bool agent_link_obituary(const struct agent_link *link, struct berm_error *err);

/* Calls `done` once the end of the instance is known, or after a moment if it has not ended. Never from inside. */
void agent_link_mourn(struct agent_link *link, struct agent_mourner *mourner,
                      void (*done)(struct agent_mourner *mourner));
void agent_link_mourn_cancel(struct agent_mourner *mourner); /* idempotent */

enum end_reason agent_link_reason(const struct agent_link *link);

/* "oom", "exited"...; NULL for END_NONE. */
const char *end_reason_name(enum end_reason reason);
/* A sentence for people. */
void end_reason_describe(enum end_reason reason, int exit_status, char *out, size_t size);
