/*
 * worker.h - the process that makes, watches and ends sandboxes.
 *
 * Theory of operation. One thread, one loop. A sandbox (sandbox.c) goes through these phases:
 *
 *   CREATING   its child builds the root; the status pipe tells when the agent runs, or what failed
 *   RUNNING    the agent runs
 *   EXITED     pid 1 is gone; cgroups, files and ids stay until the daemon says DESTROY, so that it can still ask
 *   ENDING     killed on behalf of DESTROY or of a failed CREATE; waits to be reaped
 *   CLEANING   nothing of it runs; its parts are taken away in idle moments, its meta file last
 *
 * Exits are told by SIGCHLD, or by a pidfd for sandboxes that an earlier worker started. There is no descriptor per
 * running sandbox: each child inherits a copy of our table, whose size it keeps for life.
 *
 * Nothing waits: a request either answers at once or leaves its serial in the sandbox and is answered by an event.
 */
#pragma once

#include "base/loop.h"
#include "broker.h"
#include "egress.h"
#include "ends.h"
#include "filter.h"
#include "image.h"
#include "imager.h"
#include "oci.h"
#include "options.h"
#include "peer.h"
#include "request.h"
#include "slot.h"

#define TABLE_SIZE 4096 /* buckets; a power of two */

enum sandbox_phase { PHASE_CREATING, PHASE_RUNNING, PHASE_EXITED, PHASE_ENDING, PHASE_CLEANING };

struct worker;

struct sandbox {
    struct worker *worker;
    struct sandbox *next_by_key;
    struct sandbox *next_by_pid;
    struct sandbox *next_cleaning;
    uint64_t key;
    enum sandbox_phase phase;
    uint32_t index; /* of its slot; RANGE_NONE before it has one */
    pid_t pid;      /* 0 when there is no process */
    uint64_t start_time;
    struct image *image;
    uint8_t image_digest[32];
    struct spawn_limits limits;
    uint32_t backend;
    uint32_t network;
    bool egress_moved;            /* not on its first ports: see egress_renew() */
    struct egress_sockets egress; /* until CREATE is answered */
    enum spawn_end_reason end_reason;
    int32_t exit_status;
    bool kill_requested;
    uint32_t cleaning_tries;
    uint32_t volumes_mounted; /* by this worker */
    bool runtime_forgot;      /* OCI, while CLEANING: `delete` has exited */
    uint64_t create_serial;   /* not 0 while CREATE waits for its answer */
    struct loop_io status_io;
    struct loop_timer deadline;
    struct loop_timer abort_again; /* from when it is killed until it is reaped */
    struct loop_io pidfd_io;       /* adopted ones */
    int pidfd;
};

struct worker {
    const struct spawn_options *options;
    struct loop *loop;
    struct peer peer;
    struct spawn_policy policy;
    struct cgroup_host cgroups;
    struct range_pool ranges;
    struct stage stage;
    struct slot_maker slots;
    struct image_set images;
    struct oci oci;
    struct filter_program filter;
    struct broker broker;
    struct imager imager;
    char image_id[IMAGER_ID_SIZE]; /* in the names of its images */
    struct ends ends;              /* of what earlier workers started */
    struct fuse_host fuse;
    int figures_fd; /* see disk_figures_open() */
    uint32_t features;
    unsigned landlock_abi;
    bool oom_protected;
    char boot_id[40];
    struct sandbox *by_key[TABLE_SIZE];
    struct sandbox *by_pid[TABLE_SIZE];
    uint32_t count;
    struct sandbox *cleaning;
    struct loop_timer work; /* idle work: cleaning, then slots */
    uint64_t slots_not_before_ms;
    uint64_t last_create_ms;
    struct loop_timer trim;     /* of idle images */
    struct loop_timer deadline; /* of the drain */
    bool draining;              /* the daemon is gone: finish what was begun, then exit */
};

/* What the keeper hands over. The worker owns the descriptors. */
struct worker_setup {
    int socket_fd;    /* -EBADF: end everything and exit */
    int ends_fd;      /* see ends.h */
    const char *data; /* canonical path */
    const char *id;   /* of it */
    struct disk_pool disk;
    struct cgroup_host cgroups;
    struct range_pool ranges;
};

/* Runs until the daemon goes away. Returns the exit status of the process. */
int worker_run(const struct spawn_options *options, const struct worker_setup *setup);

/* Answers; `err` NULL or with errnum: the reply's error. */
void worker_reply(struct worker *w, struct spawn_reply *reply, uint32_t op, uint64_t serial, uint64_t key);
void worker_reply_error(struct worker *w, uint32_t op, uint64_t serial, uint64_t key, const struct berm_error *err);

/* There is idle work, to be begun not later than that. */
void worker_schedule(struct worker *w, uint64_t after_ms);

/* table.c */
struct sandbox *table_find(struct worker *w, uint64_t key);
struct sandbox *table_find_pid(struct worker *w, pid_t pid);
struct sandbox *table_add(struct worker *w, uint64_t key); /* NULL without memory */
void table_set_pid(struct sandbox *s, pid_t pid);
void table_clear_pid(struct sandbox *s);
void table_remove(struct sandbox *s); /* frees it */
/* Calls back for each; the callback may change its phase but not remove one. */
void table_each(struct worker *w, void (*callback)(struct sandbox *s, void *data), void *data);

/* sandbox.c: the requests. Each answers, now or later. */
void sandbox_create(struct worker *w, const struct spawn_request *request);
void sandbox_destroy(struct worker *w, struct sandbox *s, uint64_t serial);
void sandbox_kill(struct worker *w, struct sandbox *s, uint64_t serial);
void sandbox_describe(const struct sandbox *s, struct spawn_sandbox *ret);
void sandbox_abort_again(struct loop_timer *timer); /* what its timer of that name does */
/* A child process has ended. */
void sandbox_reaped(struct sandbox *s, int wait_status);
void sandbox_set_end(struct sandbox *s, int wait_status); /* why and with what, from its status */
void sandbox_lost(struct sandbox *s);                     /* an adopted one ended and nobody can tell how */
void sandbox_end(struct sandbox *s);                      /* kill if alive, then clean */
/* Takes away the parts of one CLEANING sandbox; false when all that are left must be tried again later. */
bool sandbox_clean_one(struct worker *w);

/* control.c: requests about a sandbox that runs. */
void control_stat(struct worker *w, struct sandbox *s, uint64_t serial);
void control_set_limits(struct worker *w, struct sandbox *s, const struct spawn_request *request);
int control_restore_limits(const struct sandbox *s); /* makes the recorded ones hold; -1 with errno */
void control_freeze(struct worker *w, struct sandbox *s, const struct spawn_request *request);
void control_egress(struct worker *w, struct sandbox *s, uint64_t serial);
void control_socket(struct worker *w, struct sandbox *s, const struct spawn_request *request);
/* A pidfd of its pid 1; *own is to be closed by the caller's cleanup. -1 with errno. */
int control_borrow_pidfd(const struct sandbox *s, int *own);

/* commit.c: images of sandboxes' files. Each answers. */
void commit_begin(struct worker *w, struct sandbox *s, const struct spawn_request *request);
void commit_remove(struct worker *w, const struct spawn_request *request);
void commit_list(struct worker *w, const struct spawn_request *request);
int commit_watch(struct worker *w); /* -1 with errno */

/* volume.c: volumes live in the pool beside the sandboxes' subvolumes. Each answers. */
void volume_create(struct worker *w, const struct spawn_request *request);
void volume_delete(struct worker *w, const struct spawn_request *request);
void volume_list(struct worker *w, const struct spawn_request *request);
void volume_mount(struct worker *w, struct sandbox *s, const struct spawn_request *request);

/* adopt.c */
int meta_write(const struct sandbox *s); /* -1 with errno */
void meta_remove(const struct sandbox *s);
int process_start_time(pid_t pid, uint64_t *ret);
/* Takes over the sandboxes of an earlier worker, and removes what belongs to none. */
int adopt_all(struct worker *w, struct berm_error *err);
