/*
 * lifecycle.h - sandboxes from their first use to their end: creating -> running -> sleeping | stopped -> ...
 *
 * Whatever is told to a client is in the store before: a sandbox's key is committed before berm-spawn is asked for
 * it, its end before its processes are freed. So after a crash at any point each instance that runs is claimed by
 * a row or destroyed by adopt.c, and each row that claims one that is gone is set right.
 */
#pragma once

#include "daemon/daemon.h"

#define SANDBOX_ENV_MAX       512 /* variables, those taken away while it runs included */
#define SANDBOX_ENV_BYTES_MAX (256 * 1024)
#define SANDBOX_LABELS_MAX    64
/* Labels whose names begin so say what a container of the Docker API is: only that API sets them and takes them
 * away. */
#define SANDBOX_LABELS_DOCKER "docker."

/* What a request says about a sandbox. Zero and NULL: nothing. */
struct sandbox_settings {
    const char *name; /* "": no name any more */
    const char *image;
    struct spawn_limits limits; /* 0 in a member: not named */
    const char *env, *labels;   /* JSON objects */
    bool merge;                 /* they are laid over those that are there, instead of replacing them */
    const char *egress;         /* JSON of a policy that is valid */
    bool has_network;
    uint32_t network; /* enum spawn_network */
    uint64_t sleep_after_ms;
    bool has_keep_alive, keep_alive;
};

/*
 * Somebody who waits for a sandbox to run. `done` comes exactly once, perhaps inside the call that queued it, with
 * the sandbox, or with NULL and *err. After lifecycle_cancel() it does not come. The memory is the caller's.
 */
struct sandbox_wait {
    struct list node;
    const char *id;                          /* lives until `done` */
    const struct sandbox_settings *settings; /* NULL: defaults; likewise */
    int64_t if_generation;                   /* 0: any */
    bool configure;                          /* apply `settings` to a sandbox that exists already */
    bool asks_agent;                         /* nobody is told anything before its agent has answered */
    bool created;                            /* out: this call made the sandbox */
    void (*done)(struct sandbox_wait *wait, struct sandbox *sandbox, const struct berm_error *err);
    void (*adopted)(struct sandbox_wait *wait); /* instead of `done`, on the daemon's adoption_waits only */
};

/* Waits until the sandbox runs, making or waking it. With `configure` as PUT does it: one that sleeps stays asleep.
 */
void lifecycle_use(struct daemon *daemon, struct sandbox_wait *wait);
void lifecycle_cancel(struct daemon *daemon, struct sandbox_wait *wait);

/* Deletes for good. The row is gone and the kill is sent when this returns. 0 also if there is none. */
int lifecycle_destroy(struct daemon *daemon, struct str id, struct berm_error *err);

/* Commits a start that was put off, see lifecycle.c: before anything is answered or told to anybody. */
void lifecycle_settle(struct daemon *daemon);

/* A request is in flight: it keeps the sandbox awake. */
void lifecycle_begin_use(struct sandbox *sandbox);
void lifecycle_end_use(struct sandbox *sandbox);

/* The instance is gone: what berm-spawn told, or that it does not know it any more. */
void lifecycle_ended(struct sandbox *sandbox, enum end_reason reason, int exit_status, const char *event);
enum end_reason lifecycle_reason(const struct spawn_sandbox *sandbox, int *ret_status);

/* An instance of a stored sandbox was found running: from adopt.c. */
void lifecycle_adopt(struct sandbox *sandbox, const struct spawn_sandbox *found);

/* Takes a row of the store in. */
int lifecycle_load(struct daemon *daemon, const struct sandbox_row *row);

/* Writes the times of last use that are not in the store yet. */
void lifecycle_flush_touched(struct daemon *daemon);
void lifecycle_init(struct daemon *daemon);

/* --- shared with settings.c and pool.c --- */

void lifecycle_arm_idle(struct sandbox *sandbox);
/* A running sandbox whose environment changed: tells its agent, then finishes those who wait. */
void lifecycle_tell_environment(struct sandbox *sandbox);
/* The agent behind `link` has answered a request that carried sandbox->environment. */
void lifecycle_environment_told(struct sandbox *sandbox, const struct agent_link *link);
bool limits_equal(const struct spawn_limits *a, const struct spawn_limits *b);
/* Asks berm-spawn to end an instance; nobody waits for it. */
void instance_destroy(struct daemon *daemon, uint64_t key);
int instance_create(struct daemon *daemon, uint64_t key, const uint8_t digest[32],
                    const struct spawn_limits *limits, uint32_t network, spawn_done done, void *data,
                    struct berm_error *err);
int instance_set_limits(struct daemon *daemon, uint64_t key, const struct spawn_limits *limits, spawn_done done,
                        void *data, struct berm_error *err);
/* A socket made inside the network namespace of an instance: `done` takes it with spawn_link_take_fd(). */
int instance_socket(struct daemon *daemon, uint64_t key, int family, int type, spawn_done done, void *data,
                    struct berm_error *err);
/* "pool error: failed to start the sandbox: <why>", or image_not_found. */
void instance_start_error(const struct berm_error *cause, struct berm_error *err);
