/*
 * control.c - requests about a sandbox that exists: use of resources, limits, freezing, sockets.
 */
#include "worker.h"

#include "base/fault.h"
#include "base/sys.h"
#include "disk.h"
#include "namespaces.h"

#include <fcntl.h>

static int open_subvolume(const struct worker *w, const char *name)
{
    return openat(w->stage.disk_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void answer(struct worker *w, struct sandbox *s, uint32_t op, uint64_t serial, const char *failed)
{
    struct spawn_reply reply = { 0 };
    struct berm_error err;

    if (failed) {
        berm_fail(&err, BERM_E_SYSTEM, errno, "%s", failed);
        worker_reply_error(w, op, serial, s->key, &err);
    } else {
        worker_reply(w, &reply, op, serial, s->key);
    }
}

void control_stat(struct worker *w, struct sandbox *s, uint64_t serial)
{
    char name[SLOT_NAME_SIZE];
    struct spawn_reply reply = { 0 };
    struct cgroup_stat stat;
    _cleanup_close_ int subvolume = -EBADF;

    slot_name(s->index, name);
    subvolume = open_subvolume(w, name);
    if (cgroup_read_stat(&w->cgroups, name, &stat) < 0 || subvolume < 0 ||
        disk_usage(w->figures_fd, subvolume, &reply.stat.disk_bytes) < 0) {
        answer(w, s, SPAWN_OP_STAT, serial, "read usage");
        return;
    }
    reply.stat.memory_bytes = stat.memory_bytes;
    reply.stat.memory_peak_bytes = stat.memory_peak_bytes;
    reply.stat.cpu_usec = stat.cpu_usec;
    reply.stat.pids = stat.pids;
    reply.stat.oom_kills = stat.oom_kills;
    worker_reply(w, &reply, SPAWN_OP_STAT, serial, s->key);
}

static const char *change_limits(struct worker *w, struct sandbox *s, const struct spawn_limits *limits)
{
    char name[SLOT_NAME_SIZE];
    _cleanup_close_ int subvolume = -EBADF;

    slot_name(s->index, name);
    if (cgroup_set_limits(&w->cgroups, name, &s->limits, limits) < 0)
        return "set cgroup limits";
    if (limits->disk_bytes == s->limits.disk_bytes)
        return NULL;
    subvolume = open_subvolume(w, name);
    if (subvolume < 0 || disk_set_limit(subvolume, limits->disk_bytes) < 0)
        return "set disk quota";
    return NULL;
}

int control_restore_limits(const struct sandbox *s)
{
    struct worker *w = s->worker;
    char name[SLOT_NAME_SIZE];
    _cleanup_close_ int subvolume = -EBADF;

    slot_name(s->index, name);
    if (cgroup_set_limits(&w->cgroups, name, NULL, &s->limits) < 0)
        return -1;
    subvolume = open_subvolume(w, name);
    return subvolume < 0 ? -1 : disk_set_limit(subvolume, s->limits.disk_bytes);
}

/* All or nothing: what was changed before the failure is set back. */
void control_set_limits(struct worker *w, struct sandbox *s, const struct spawn_request *request)
{
    const struct spawn_limits before = s->limits;
    const char *failed = change_limits(w, s, &request->limits);

    if (!failed) {
        s->limits = request->limits;
        s->limits.nofile = before.nofile; /* a process carries it from its start */
        FAULT_POINT("spawn.limits.set");
        if (meta_write(s) < 0)
            failed = "write meta file";
        FAULT_POINT("spawn.limits.recorded");
    }
    if (failed) {
        int saved = errno;
        s->limits = before;
        control_restore_limits(s);
        errno = saved;
    }
    answer(w, s, SPAWN_OP_SET_LIMITS, request->serial, failed);
}

void control_freeze(struct worker *w, struct sandbox *s, const struct spawn_request *request)
{
    char name[SLOT_NAME_SIZE];

    slot_name(s->index, name);
    answer(w, s, SPAWN_OP_FREEZE, request->serial,
           cgroup_freeze(&w->cgroups, name, request->freeze.on) < 0 ? "freeze" : NULL);
}

int control_borrow_pidfd(const struct sandbox *s, int *own)
{
    if (s->pidfd >= 0)
        return s->pidfd;
    return *own = pidfd_open_pid(s->pid);
}

static void answer_with_fds(struct worker *w, struct sandbox *s, uint32_t op, uint64_t serial, const int *fds,
                            size_t count)
{
    struct spawn_reply reply = { .version = SPAWN_WIRE_VERSION, .op = op, .serial = serial, .key = s->key };

    peer_send(&w->peer, &reply, fds, count);
}

/* That the rules may lead elsewhere is recorded before they do. */
static int renew_egress(struct worker *w, struct sandbox *s, int pidfd, struct egress_sockets *ret)
{
    int home = w->stage.home_netns_fd;

    if (netns_renew_egress(pidfd, home, s->egress_moved, ret) == 0)
        return 0;
    if (errno != EADDRINUSE || s->egress_moved)
        return -1;
    s->egress_moved = true;
    return meta_write(s) < 0 ? -1 : netns_renew_egress(pidfd, home, true, ret);
}

void control_egress(struct worker *w, struct sandbox *s, uint64_t serial)
{
    _cleanup_close_ int own_pidfd = -EBADF;
    struct egress_sockets sockets;
    int pidfd;

    if (s->network != SPAWN_NETWORK_EGRESS) {
        errno = EOPNOTSUPP;
        answer(w, s, SPAWN_OP_EGRESS, serial, "the sandbox has no network");
        return;
    }
    pidfd = control_borrow_pidfd(s, &own_pidfd);
    if (pidfd < 0 || renew_egress(w, s, pidfd, &sockets) < 0) {
        answer(w, s, SPAWN_OP_EGRESS, serial, "make the way out");
        return;
    }
    answer_with_fds(w, s, SPAWN_OP_EGRESS, serial, (int[]){ sockets.tcp_fd, sockets.udp_fd }, SPAWN_EGRESS_FDS);
}

void control_socket(struct worker *w, struct sandbox *s, const struct spawn_request *request)
{
    _cleanup_close_ int own_pidfd = -EBADF;
    int fd, pidfd = control_borrow_pidfd(s, &own_pidfd);

    if (pidfd < 0 || (fd = netns_socket(pidfd, w->stage.home_netns_fd, (int)request->socket.family,
                                        (int)request->socket.type)) < 0) {
        answer(w, s, SPAWN_OP_SOCKET, request->serial, "make socket");
        return;
    }
    answer_with_fds(w, s, SPAWN_OP_SOCKET, request->serial, &fd, 1);
}
