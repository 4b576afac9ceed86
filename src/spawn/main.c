/*
 * main.c - berm-spawn, the only privileged process: the keeper.
 *
 * The keeper prepares the host (directories, disk pool, cgroups, id ranges), then forks the worker, which leaves
 * the host's file systems behind and serves the daemon. If the worker crashes the keeper starts another one, which
 * adopts what runs. It ends when the worker ends in order, that is when the daemon has closed the socket; sandboxes
 * live on. When none is left, it takes the host's part away again.
 */
#include "base/fault.h"
#include "base/log.h"
#include "base/sys.h"
#include "check.h"
#include "disk.h"
#include "filter_print.h"
#include "worker.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define LOCK_TRIES    100 /* of 50 ms: an earlier spawner may be cleaning up */
#define LOCK_PAUSE_NS 50000000
#define QUICK_CRASHES 5 /* in a row: then it is not a crash but a state */
#define QUICK_MS      2000

struct keeper {
    const struct spawn_options *options;
    char data[PATH_MAX]; /* canonical */
    char id[20];         /* of the data directory, for cgroup names */
    int data_fd;
    int lock_fd;
    int ends_fd; /* the other end of the worker's */
    struct worker_setup setup;
};

/* --- preparing the host --- */

static int lock_data(struct keeper *k, struct berm_error *err)
{
    const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };

    k->lock_fd = openat(k->data_fd, "run/" RANGE_DATA_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (k->lock_fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "open the lock file");
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(k->lock_fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK)
            break;
        nanosleep(&pause, NULL);
    }
    return berm_fail(err, BERM_E_CONFLICT, errno, "another berm-spawn serves %s", k->data);
}

/* Whoever could write here could plant a file system for us to mount, or records of sandboxes for us to believe. */
static int check_owner(int fd, const char *path, struct stat *ret, struct berm_error *err)
{
    if (fd < 0 || fstat(fd, ret) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "open %s", path);
    if (ret->st_uid != 0 || ret->st_mode & (S_IWGRP | S_IWOTH))
        return berm_fail(err, BERM_E_SYSTEM, EPERM, "%s must be root's alone to write", path);
    return 0;
}

/* The daemon may pass through the run directory to the sockets, which are its own. */
static int open_data(struct keeper *k, struct berm_error *err)
{
    _cleanup_close_ int run = -EBADF;
    struct stat st;

    if (mkdir(k->options->data, 0755) < 0 && errno != EEXIST)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make %s", k->options->data);
    if (!realpath(k->options->data, k->data))
        return berm_fail(err, BERM_E_SYSTEM, errno, "resolve %s", k->options->data);
    k->data_fd = open(k->data, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (check_owner(k->data_fd, k->data, &st, err) < 0)
        return -1;
    snprintf(k->id, sizeof(k->id), "%x-%llx", (unsigned)st.st_dev, (unsigned long long)st.st_ino);
    if (mkdirat(k->data_fd, "run", 0711) < 0 && errno != EEXIST)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the run directory");
    run = openat(k->data_fd, "run", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return check_owner(run, "the run directory", &st, err);
}

static int prepare(struct keeper *k, struct berm_error *err)
{
    const struct spawn_options *o = k->options;
    struct worker_setup *setup = &k->setup;

    if (open_data(k, err) < 0 || lock_data(k, err) < 0)
        return -1;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || ends_pipe(&setup->ends_fd, &k->ends_fd) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make ready for orphans");
    if (disk_pool_open(k->data_fd, o->disk_pool, &setup->disk, err) < 0 ||
        cgroup_host_open(o->cgroup_parent, k->id, &setup->cgroups, err) < 0)
        return -1;
    setup->data = k->data;
    setup->id = k->id;
    return range_claim(RANGE_CLAIM_DIR, k->data, o->max_sandboxes, &setup->ranges, err);
}

/* --- giving it back --- */

static bool any_sandbox(const struct keeper *k)
{
    int fd = openat(k->data_fd, "run", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    bool found = false;

    if (!dir)
        return true;
    while (!found && (entry = readdir(dir)))
        found = strstr(entry->d_name, ".meta") != NULL;
    closedir(dir);
    return found;
}

static void give_back(struct keeper *k)
{
    struct berm_error err;

    disk_pool_close(&k->setup.disk);
    if (any_sandbox(k))
        return;
    cgroup_host_close(&k->setup.cgroups);
    cgroup_host_remove(k->options->cgroup_parent, k->id);
    oci_remove_own_groups(k->options->cgroup_parent, k->id);
    FAULT_POINT("spawn.keeper.giving_back");
    if (range_unclaim(RANGE_CLAIM_DIR, k->data, &err) < 0)
        log_error("give_back_failed", "reason", err.message);
}

/* --- the worker --- */

static void tell_restarted(int sock)
{
    struct spawn_reply event = { .version = SPAWN_WIRE_VERSION,
                                 .op = SPAWN_OP_EVENT,
                                 .event = SPAWN_EVENT_RESTARTED };

    send_fds(sock, &event, sizeof(event), NULL, 0);
}

/* Whatever else ends here was a child of an earlier worker. */
static int wait_worker(const struct keeper *k, pid_t worker)
{
    siginfo_t info;
    int status;

    for (;;) {
        if (RETRY_EINTR(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT)) < 0)
            return -1;
        if (info.si_pid != worker)
            ends_tell(k->ends_fd, &info);
        if (RETRY_EINTR(waitpid(info.si_pid, &status, 0)) < 0)
            return -1;
        if (info.si_pid == worker)
            return status;
    }
}

static int run_worker(struct keeper *k)
{
    pid_t pid = fork_bound();

    if (pid < 0)
        return -1;
    if (pid == 0) {
        close(k->ends_fd);
        exit(worker_run(k->options, &k->setup));
    }
    return wait_worker(k, pid);
}

/* Until the worker ends in order. A worker that cannot even start is not worth trying for ever. */
static int keep(struct keeper *k)
{
    int quick = 0;

    for (;;) {
        uint64_t began = clock_monotonic_ns();
        int status = run_worker(k);
        uint64_t lived_ms = (clock_monotonic_ns() - began) / 1000000;

        if (status == 0)
            return 0;
        log_error("worker_died", "status", log_num(status));
        quick = lived_ms < QUICK_MS ? quick + 1 : 0;
        if (status < 0 || quick >= QUICK_CRASHES || k->setup.socket_fd < 0)
            return 1;
        tell_restarted(k->setup.socket_fd);
    }
}

/* --- the process --- */

/* Signals for the daemon's process group are not for us, and no disposition of its may reach the sandboxes. */
static void settle_signals(void)
{
    sigset_t blocked;

    reset_signal_actions();
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGQUIT);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

/*
 * Descriptors 0 to 3 get taken, for a sandbox's child puts its own there, the socket follows, and whatever else we
 * were started with goes.
 */
static int settle_descriptors(struct spawn_options *o, struct berm_error *err)
{
    const int socket_fd = SPAWN_AGENT_FD + 1;
    int fd;

    if (o->mode == SPAWN_MODE_SERVE) {
        if (o->socket_fd != socket_fd && dup2(o->socket_fd, socket_fd) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "take the socket to the daemon");
        o->socket_fd = socket_fd;
        fcntl(socket_fd, F_SETFD, FD_CLOEXEC);
        close_range((unsigned)socket_fd + 1, ~0U, 0);
    }
    close(SPAWN_AGENT_FD);
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "open /dev/null");
    } while (fd <= SPAWN_AGENT_FD);
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    static struct keeper k = { .data_fd = -EBADF, .lock_fd = -EBADF, .ends_fd = -EBADF };
    static struct spawn_options options;
    struct berm_error err;
    int rc;

    fault_setup();
    log_setup("berm-spawn", LOG_LEVEL_INFO, false);
    if (spawn_options_parse(argc, argv, &options, &err) < 0) {
        fprintf(stderr, "berm-spawn: %s\n", err.message);
        return 2;
    }
    if (options.mode == SPAWN_MODE_CHECK)
        return check_host();
    if (options.mode == SPAWN_MODE_PRINT_FILTER)
        return filter_print(stdout) < 0;
    k.options = &options;
    settle_signals();
    umask(022);
    if (settle_descriptors(&options, &err) < 0 || prepare(&k, &err) < 0) {
        log_error("start_failed", "reason", err.message);
        return 1;
    }
    k.setup.socket_fd = options.mode == SPAWN_MODE_SERVE ? options.socket_fd : -EBADF;
    FAULT_POINT("spawn.keeper.prepared");
    rc = keep(&k);
    give_back(&k);
    return rc;
}
