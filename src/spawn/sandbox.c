/*
 * sandbox.c - the life of a sandbox; its phases are explained in worker.h.
 */
#include "worker.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/sys.h"
#include "child.h"
#include "disk.h"
#include "step.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define CREATE_DEADLINE_MS 10000
#define ABORT_AGAIN_MS     50
#define CLEAN_LOUD_TRIES   1000 /* tries until it is worth an operator's attention */

/* --- the agent's socket --- */

static void agent_socket_name(uint64_t key, char name[32])
{
    snprintf(name, 32, SPAWN_AGENT_SOCKET_FORMAT, (unsigned long long)key);
}

static int name_socket(const struct sandbox *s)
{
    int run = s->worker->stage.run_fd;
    char slot[SLOT_NAME_SIZE], from[SLOT_NAME_SIZE + 8], to[32];

    slot_name(s->index, slot);
    snprintf(from, sizeof(from), ".%s.sock", slot);
    agent_socket_name(s->key, to);
    return renameat(run, from, run, to);
}

/* --- the end --- */

static void start_cleaning(struct sandbox *s)
{
    struct worker *w = s->worker;

    s->phase = PHASE_CLEANING;
    s->next_cleaning = w->cleaning;
    w->cleaning = s;
    worker_schedule(w, 1);
}

/*
 * Whoever waits for a FUSE server by now is beyond the kill's reach, and with it the whole sandbox. Until pid 1 has
 * taken its end note the others go on, so that a mount may be made even now: hence again and again until it is
 * reaped.
 */
static void abort_connections(struct sandbox *s)
{
    fuse_record_abort(&s->worker->fuse, s->index);
    loop_timer_start(s->worker->loop, &s->abort_again, ABORT_AGAIN_MS);
}

void sandbox_abort_again(struct loop_timer *timer)
{
    abort_connections(container_of(timer, struct sandbox, abort_again));
}

static void kill_process(struct sandbox *s)
{
    /* With pid 1 the kernel kills its whole pid namespace. Our child's pid cannot be anyone else's until we reap.
     */
    if (s->pidfd >= 0)
        pidfd_signal(s->pidfd, SIGKILL);
    else
        kill(s->pid, SIGKILL);
    s->kill_requested = true;
    abort_connections(s);
    if (s->backend == SPAWN_BACKEND_OCI) { /* the pid may be the runtime's still, with the sandbox half made */
        char name[SLOT_NAME_SIZE];
        slot_name(s->index, name);
        cgroup_kill(&s->worker->cgroups, name);
    }
}

static void stop_status(struct sandbox *s)
{
    if (s->status_io.fd < 0)
        return;
    loop_io_remove(s->worker->loop, &s->status_io);
    close_fd(&s->status_io.fd);
}

static void answer_create(struct sandbox *s, const struct berm_error *err)
{
    uint64_t serial = s->create_serial;
    struct spawn_reply reply = { 0 };

    s->create_serial = 0;
    if (serial == 0)
        return;
    if (err) {
        worker_reply_error(s->worker, SPAWN_OP_CREATE, serial, s->key, err);
        return;
    }
    sandbox_describe(s, &reply.sandbox);
    reply.version = SPAWN_WIRE_VERSION;
    reply.op = SPAWN_OP_CREATE;
    reply.serial = serial;
    reply.key = s->key;
    peer_send(&s->worker->peer, &reply, (int[]){ s->egress.tcp_fd, s->egress.udp_fd },
              s->egress.tcp_fd >= 0 ? SPAWN_EGRESS_FDS : 0);
    s->egress = (struct egress_sockets){ -EBADF, -EBADF };
}

void sandbox_end(struct sandbox *s)
{
    if (s->phase == PHASE_ENDING || s->phase == PHASE_CLEANING)
        return;
    if (s->create_serial) {
        struct berm_error err;
        berm_fail(&err, BERM_E_SYSTEM, ECANCELED, "destroyed while it was being created");
        answer_create(s, &err);
    }
    stop_status(s);
    loop_timer_stop(s->worker->loop, &s->deadline);
    if (s->pid == 0) {
        start_cleaning(s);
        return;
    }
    s->phase = PHASE_ENDING;
    kill_process(s);
    FAULT_POINT("spawn.destroy.killed");
}

void sandbox_destroy(struct worker *w, struct sandbox *s, uint64_t serial)
{
    struct spawn_reply reply = { 0 };
    uint64_t key = s->key;

    sandbox_end(s);
    worker_reply(w, &reply, SPAWN_OP_DESTROY, serial, key);
}

void sandbox_kill(struct worker *w, struct sandbox *s, uint64_t serial)
{
    struct spawn_reply reply = { 0 };

    if (s->pid != 0)
        kill_process(s);
    worker_reply(w, &reply, SPAWN_OP_KILL, serial, s->key);
}

/* The runtime's own records go before the cgroups, in which it may have made one of its own. */
static int forget_runtime(struct sandbox *s)
{
    struct worker *w = s->worker;
    char name[SLOT_NAME_SIZE];
    pid_t pid;

    slot_name(s->index, name);
    if (w->oci.runtime && oci_detaches(&w->oci) && !s->runtime_forgot) {
        if (s->pid != 0 || (cgroup_kill(&w->cgroups, name), pid = oci_delete(&w->oci, name)) < 0)
            return -1;
        table_set_pid(s, pid); /* its exit is told by sandbox_reaped() */
        errno = EBUSY;
        return -1;
    }
    return oci_remove_bundle(&w->oci, name);
}

/*
 * A cgroup is busy for a moment after its last process has died. Should one live on that we do not know of, because
 * a record was wrong about it, it ends here.
 */
static int remove_slot(struct sandbox *s)
{
    struct worker *w = s->worker;
    char name[SLOT_NAME_SIZE];

    if (slot_remove(&w->slots, s->index) == 0)
        return 0;
    if (errno == EBUSY && s->cleaning_tries > 0) {
        slot_name(s->index, name);
        cgroup_kill(&w->cgroups, name);
        errno = EBUSY;
    }
    return -1;
}

/* Meta file last: as long as it is there, a worker that starts anew finds what is left to take away. */
static int clean(struct sandbox *s)
{
    struct worker *w = s->worker;
    char name[32];

    agent_socket_name(s->key, name);
    if (unlinkat(w->stage.run_fd, name, 0) < 0 && errno != ENOENT)
        return -1;
    if (s->backend == SPAWN_BACKEND_OCI && s->index != RANGE_NONE && forget_runtime(s) < 0)
        return -1;
    FAULT_POINT("spawn.destroy.cleaning");
    if (s->index != RANGE_NONE && remove_slot(s) < 0)
        return -1;
    FAULT_POINT("spawn.destroy.parts_removed");
    meta_remove(s);
    image_release(s->image, loop_now_ms(w->loop));
    if (s->pidfd >= 0)
        loop_io_remove(w->loop, &s->pidfd_io);
    close_fd(&s->pidfd);
    table_remove(s);
    return 0;
}

static void report_stuck(const struct sandbox *s)
{
    char key[24];

    snprintf(key, sizeof(key), "%016llx", (unsigned long long)s->key);
    log_error("cleanup_stuck", "key", key, "reason", strerror(errno));
}

bool sandbox_clean_one(struct worker *w)
{
    struct sandbox **link = &w->cleaning;

    for (struct sandbox *s = *link; s; s = *link) {
        struct sandbox *next = s->next_cleaning;
        if (clean(s) == 0) {
            *link = next;
            return true;
        }
        if (++s->cleaning_tries == CLEAN_LOUD_TRIES)
            report_stuck(s);
        link = &s->next_cleaning;
    }
    return false;
}

/* --- exits --- */

static bool ran_out_of_memory(const struct sandbox *s)
{
    char name[SLOT_NAME_SIZE];

    slot_name(s->index, name);
    return cgroup_oom_kills(&s->worker->cgroups, name) > 0;
}

static enum spawn_end_reason reason_for(const struct sandbox *s, int wait_status)
{
    if (WIFEXITED(wait_status))
        return SPAWN_END_EXITED;
    if (s->kill_requested)
        return SPAWN_END_KILLED;
    return WTERMSIG(wait_status) == SIGKILL && ran_out_of_memory(s) ? SPAWN_END_OOM : SPAWN_END_SIGNALED;
}

static void send_exit_event(struct sandbox *s)
{
    struct spawn_reply event = { .event = SPAWN_EVENT_EXIT };

    sandbox_describe(s, &event.sandbox);
    worker_reply(s->worker, &event, SPAWN_OP_EVENT, 0, s->key);
}

static void become_exited(struct sandbox *s)
{
    s->phase = PHASE_EXITED;
    FAULT_POINT("spawn.exit.seen");
    meta_write(s); /* so that the reason survives us; without it the next worker says UNKNOWN */
    FAULT_POINT("spawn.exit.meta_written");
    send_exit_event(s);
}

/* The child is an OCI runtime that makes the sandbox's first process and exits. */
static bool awaits_runtime(const struct sandbox *s)
{
    return s->backend == SPAWN_BACKEND_OCI && oci_detaches(&s->worker->oci);
}

static void finish_create(struct sandbox *s);
static void runtime_exited(struct sandbox *s, int wait_status);

void sandbox_set_end(struct sandbox *s, int wait_status)
{
    s->end_reason = reason_for(s, wait_status);
    s->exit_status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : WTERMSIG(wait_status);
}

void sandbox_reaped(struct sandbox *s, int wait_status)
{
    table_clear_pid(s);
    if (s->phase == PHASE_CREATING && s->status_io.fd >= 0)
        finish_create(s); /* its last words are in the pipe */
    if (s->phase == PHASE_CREATING && awaits_runtime(s)) {
        runtime_exited(s, wait_status);
        return;
    }
    if (s->phase == PHASE_CLEANING) {
        s->runtime_forgot = true;
        return;
    }
    if (s->phase == PHASE_ENDING) {
        FAULT_POINT("spawn.destroy.reaped");
        start_cleaning(s);
        return;
    }
    sandbox_set_end(s, wait_status);
    become_exited(s);
}

void sandbox_lost(struct sandbox *s)
{
    table_clear_pid(s);
    if (s->phase == PHASE_ENDING) {
        start_cleaning(s);
        return;
    }
    s->end_reason = s->kill_requested ? SPAWN_END_KILLED : ran_out_of_memory(s) ? SPAWN_END_OOM : SPAWN_END_UNKNOWN;
    become_exited(s);
}

/* --- the beginning --- */

static void fail_create(struct sandbox *s, const struct berm_error *err)
{
    answer_create(s, err);
    sandbox_end(s);
}

/*
 * What must be done before the answer, but neither before the child works nor beside it: the two share a CPU more
 * often than not, and the child is what the caller waits for. So it is done once the agent runs, which is then busy
 * with its own start; with a runtime, whose time is its own, at once.
 */
static int do_paper_work(struct sandbox *s, struct berm_error *err)
{
    if (step_fault(STEP_META) || name_socket(s) < 0)
        return step_fail(err, STEP_META);
    if (awaits_runtime(s)) /* this is not its process yet */
        return 0;
    if (process_start_time(s->pid, &s->start_time) < 0 || meta_write(s) < 0)
        return step_fail(err, STEP_META);
    FAULT_POINT("spawn.create.meta_written");
    return 0;
}

static void become_running(struct sandbox *s)
{
    loop_timer_stop(s->worker->loop, &s->deadline);
    s->phase = PHASE_RUNNING;
    FAULT_POINT("spawn.create.started");
    answer_create(s, NULL);
}

/* The sandbox's first process was handed on to us, as we are the runtime's nearest subreaper. */
static void runtime_exited(struct sandbox *s, int wait_status)
{
    struct worker *w = s->worker;
    struct berm_error err;
    char name[SLOT_NAME_SIZE];
    pid_t pid;

    slot_name(s->index, name);
    pid = oci_started(&w->oci, name, wait_status, &err);
    if (pid < 0) {
        fail_create(s, &err);
        return;
    }
    if (!cgroup_has_process(&w->cgroups, name, pid) || process_start_time(pid, &s->start_time) < 0) {
        berm_fail(&err, BERM_E_SYSTEM, ESRCH, "the agent ended at once");
        fail_create(s, &err);
        return;
    }
    table_set_pid(s, pid);
    if (meta_write(s) < 0) {
        berm_fail(&err, BERM_E_SYSTEM, errno, "%s", step_name(STEP_META));
        fail_create(s, &err);
        return;
    }
    FAULT_POINT("spawn.create.meta_written");
    become_running(s);
}

static void explain_runtime(const struct sandbox *s, struct berm_error *err)
{
    char name[SLOT_NAME_SIZE];

    slot_name(s->index, name);
    oci_explain(&s->worker->oci, name, err);
}

/* Its exec has closed the pipe; it may have ended since. */
static void agent_started(struct sandbox *s)
{
    struct berm_error err;

    if (s->pid == 0)
        berm_fail(&err, BERM_E_SYSTEM, ESRCH, "the agent ended at once");
    else if (s->backend == SPAWN_BACKEND_OCI || do_paper_work(s, &err) == 0) {
        become_running(s);
        return;
    }
    fail_create(s, &err);
}

/* The status pipe has something, or the child is gone: either way the creation is decided. */
static void finish_create(struct sandbox *s)
{
    struct child_failure failure;
    ssize_t n = RETRY_EINTR(read(s->status_io.fd, &failure, sizeof(failure)));
    struct berm_error err;

    if (n < 0 && errno == EAGAIN)
        return;
    stop_status(s);
    if (n == 0 && awaits_runtime(s))
        return; /* the runtime works; its exit decides */
    if (n == 0) {
        agent_started(s);
        return;
    }
    if (n == (ssize_t)sizeof(failure) && failure.step == STEP_OCI_EXEC && failure.errnum == ECANCELED)
        explain_runtime(s, &err);
    else if (n == (ssize_t)sizeof(failure))
        berm_fail(&err, BERM_E_SYSTEM, failure.errnum, "%s", step_name(failure.step));
    else
        berm_fail(&err, BERM_E_SYSTEM, EPROTO, "read the child's status");
    fail_create(s, &err);
}

static void on_status(struct loop_io *io, uint32_t events)
{
    (void)events;
    finish_create(container_of(io, struct sandbox, status_io));
}

static void on_deadline(struct loop_timer *timer)
{
    struct berm_error err;

    berm_fail(&err, BERM_E_TIMED_OUT, ETIMEDOUT, "start of the agent");
    fail_create(container_of(timer, struct sandbox, deadline), &err);
}

static int apply_limits(struct sandbox *s, const struct slot *slot, const char *name, struct berm_error *err)
{
    struct worker *w = s->worker;
    _cleanup_close_ int subvolume = -EBADF;

    if (step_fault(STEP_LIMITS) || cgroup_set_limits(&w->cgroups, name, &slot->limits, &s->limits) < 0)
        return step_fail(err, STEP_LIMITS);
    if (slot->limits.disk_bytes == s->limits.disk_bytes)
        return 0;
    subvolume = openat(w->stage.disk_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (subvolume < 0 || disk_set_limit(subvolume, s->limits.disk_bytes) < 0)
        return step_fail(err, STEP_QUOTA);
    return 0;
}

static int start_child(struct sandbox *s, const struct slot *slot, const char *name, const char *hostname,
                       struct berm_error *err)
{
    struct worker *w = s->worker;
    const struct child_plan plan = {
        .stage = &w->stage,
        .cgroups = &w->cgroups,
        .filter = &w->filter,
        .filter_listens = w->broker.pid > 0,
        .broker_fd = w->broker.socket_fd,
        .name = name,
        .hostname = hostname,
        .userns_fd = slot->userns_fd,
        .netns_fd = slot->netns_fd,
        .ipcns_fd = slot->ipcns_fd,
        .listen_fd = slot->listen_fd,
        .tree_fd = slot->tree_fd,
        .uid_base = range_uid_base(s->index),
        .nofile = s->limits.nofile,
        .reset_oom_score = w->oom_protected,
        .landlock_abi = w->landlock_abi,
    };
    _cleanup_close_ int cgroup = cgroup_open_v2(&w->cgroups, name);
    _cleanup_close_ int status = -EBADF;
    pid_t pid;

    if (step_fault(STEP_CLONE))
        return step_fail(err, STEP_CLONE);
    pid = s->backend == SPAWN_BACKEND_OCI ? oci_start(&w->oci, &plan, cgroup, &status)
                                          : child_start(&plan, cgroup, &status);
    if (pid < 0)
        return step_fail(err, STEP_CLONE);
    table_set_pid(s, pid);
    if (loop_io_add(w->loop, &s->status_io, status, EPOLLIN, on_status) < 0) {
        s->status_io.fd = -EBADF;
        return step_fail(err, STEP_CLONE);
    }
    TAKE_FD(status);
    FAULT_POINT("spawn.create.cloned");
    return 0;
}

static int begin_create(struct sandbox *s, const struct spawn_create *create, struct berm_error *err)
{
    struct worker *w = s->worker;
    char name[SLOT_NAME_SIZE];
    struct slot slot;
    int rc;

    if (step_fault(STEP_IMAGE))
        return step_fail(err, STEP_IMAGE);
    s->image = image_use(&w->images, create->image_digest, err);
    if (!s->image || slot_take(&w->slots, s->image, create, &slot, err) < 0)
        return -1;
    s->index = slot.index;
    s->egress = slot.egress;
    slot.egress = (struct egress_sockets){ -EBADF, -EBADF };
    FAULT_POINT("spawn.create.slot");
    slot_name(s->index, name);
    rc = apply_limits(s, &slot, name, err);
    if (rc == 0)
        rc = start_child(s, &slot, name, create->hostname, err);
    slot_close_fds(&slot);
    if (rc < 0)
        return -1;
    return s->backend == SPAWN_BACKEND_OCI ? do_paper_work(s, err) : 0;
}

static struct sandbox *admit(struct worker *w, uint64_t key, struct berm_error *err)
{
    struct sandbox *s;

    if (table_find(w, key)) {
        berm_fail(err, BERM_E_CONFLICT, EEXIST, "a sandbox with this key");
        return NULL;
    }
    if (w->count >= w->options->max_sandboxes) {
        berm_fail(err, BERM_E_CAPACITY_EXCEEDED, EDQUOT, "number of sandboxes");
        return NULL;
    }
    s = table_add(w, key);
    if (!s)
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "sandbox");
    return s;
}

void sandbox_create(struct worker *w, const struct spawn_request *request)
{
    struct berm_error err;
    struct sandbox *s = admit(w, request->key, &err);

    if (!s) {
        worker_reply_error(w, SPAWN_OP_CREATE, request->serial, request->key, &err);
        return;
    }
    s->phase = PHASE_CREATING;
    s->create_serial = request->serial;
    s->limits = request->create.limits;
    s->backend = request->create.backend;
    s->network = request->create.network;
    memcpy(s->image_digest, request->create.image_digest, sizeof(s->image_digest));
    loop_timer_init(&s->deadline, on_deadline);
    if (begin_create(s, &request->create, &err) < 0)
        fail_create(s, &err);
    else
        loop_timer_start(w->loop, &s->deadline, CREATE_DEADLINE_MS);
    w->last_create_ms = loop_now_ms(w->loop);
    worker_schedule(w, 1);
}

void sandbox_describe(const struct sandbox *s, struct spawn_sandbox *ret)
{
    char name[SLOT_NAME_SIZE];

    *ret = (struct spawn_sandbox){
        .state = s->phase == PHASE_EXITED ? SPAWN_STATE_EXITED : SPAWN_STATE_RUNNING,
        .end_reason = s->end_reason,
        .exit_status = s->exit_status,
        .host_pid = s->pid,
        .uid_base = range_uid_base(s->index),
        .limits = s->limits,
        .backend = s->backend,
        .network = s->network,
    };
    memcpy(ret->image_digest, s->image_digest, sizeof(ret->image_digest));
    slot_name(s->index, name);
    if (s->phase == PHASE_EXITED)
        ret->oom_kills = cgroup_oom_kills(&s->worker->cgroups, name);
}
