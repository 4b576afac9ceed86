#include "broker.h"

#include "base/loop.h"
#include "base/sys.h"
#include "fuse.h"
#include "stage.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define HELPER_MS        3000
#define PAUSE_MS         1  /* after a call that was refused at once */
#define LONG_PAUSE_MS    10 /* after one that took a process */
#define STOP_MS          200
#define RESTART_PAUSE_MS 100
#define PAGE             4096
#define MOUNTS_AT_ONCE   128  /* of a sandbox, before each must wait for */
#define MOUNT_EVERY_MS   1000 /* its turn */
#define FIRST_HIGH_FD    16   /* above the numbers that a sandbox's child, or we, give new meanings */

enum { OWN_SOCKET = 3, OWN_RUN, OWN_CONTROL, OWN_LAST = OWN_CONTROL };

static const struct fuse_host own_host = { .run_fd = OWN_RUN, .control_fd = OWN_CONTROL };

struct broker_process;

/* One sandbox. */
struct listener {
    struct listener *next;
    struct broker_process *broker;
    struct loop_io io;
    struct loop_timer timer; /* of the helper, or of the pause */
    uint64_t id;             /* of the call that is being answered */
    pid_t helper;            /* 0: none */
    bool mounts;             /* that is what the helper does */
    bool late;
    uint64_t paid_until_ms; /* a mount costs MOUNT_EVERY_MS; how far ahead it has been paid for */
};

struct broker_process {
    struct loop *loop;
    struct loop_io socket_io;
    struct listener *listeners;
    bool worker_gone;
};

/* --- reading a call --- */

/* Up to the NUL, never across a page that may not be there. 0 or a positive errno, as for what is not allowed. */
static int copy_string(pid_t pid, uint64_t address, char *out, size_t size)
{
    size_t at = 0;

    out[0] = '\0';
    if (address == 0)
        return 0;
    while (at < size) {
        size_t n = MIN(size - at, (size_t)(PAGE - ((address + at) % PAGE)));
        struct iovec local = { out + at, n }, remote = { (void *)(uintptr_t)(address + at), n };
        if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != (ssize_t)n)
            return EPERM;
        if (memchr(out + at, 0, n))
            return 0;
        at += n;
    }
    return ENAMETOOLONG;
}

static int copy_call(const struct seccomp_notif *n, struct fuse_call *call)
{
    const __u64 *args = n->data.args;
    int errnum;

    call->unmount = n->data.nr == SYS_umount2;
    call->flags = call->unmount ? args[1] : args[3];
    errnum = copy_string(call->pid, call->unmount ? args[0] : args[1], call->target, sizeof(call->target));
    if (errnum || call->unmount)
        return errnum;
    errnum = copy_string(call->pid, args[2], call->type, sizeof(call->type));
    if (!errnum)
        errnum = copy_string(call->pid, args[0], call->source, sizeof(call->source));
    return errnum ? errnum : copy_string(call->pid, args[4], call->options, sizeof(call->options));
}

/* fusermount3 unmounts by the last component, from the directory above. */
static int make_absolute(struct fuse_call *call)
{
    char path[sizeof(call->target)];
    ssize_t n = readlinkat(call->proc_fd, "cwd", path, sizeof(path) - 1);

    if (n <= 0)
        return ESRCH;
    path[n] = '\0';
    n = snprintf(path + n, sizeof(path) - (size_t)n, "%s%s", n > 1 ? "/" : "", call->target) + n;
    if ((size_t)n >= sizeof(path))
        return ENAMETOOLONG;
    memcpy(call->target, path, (size_t)n + 1);
    return 0;
}

/* The caller may be a thread; a pidfd is of its process. */
static int open_process(int proc_fd)
{
    char status[4096];
    const char *line;
    int pid;

    if (read_small_file(proc_fd, "status", status, sizeof(status)) < 0)
        return -1;
    line = strstr(status, "\nTgid:");
    if (!line || sscanf(line, "\nTgid: %d", &pid) != 1) {
        errno = ESRCH;
        return -1;
    }
    return pidfd_open_pid(pid);
}

/* --- answering --- */

static void answer(struct listener *l, int errnum, uint64_t pause_ms)
{
    struct seccomp_notif_resp response = { .id = l->id, .error = -errnum };

    (void)ioctl(l->io.fd, SECCOMP_IOCTL_NOTIF_SEND, &response); /* the caller may be gone */
    (void)loop_io_modify(l->broker->loop, &l->io, 0);
    if (loop_timer_start(l->broker->loop, &l->timer, pause_ms) < 0)
        (void)loop_io_modify(l->broker->loop, &l->io, EPOLLIN);
}

static uint64_t pause_after_mount(struct listener *l)
{
    uint64_t now = loop_now_ms(l->broker->loop);

    l->paid_until_ms = MAX(l->paid_until_ms, now) + MOUNT_EVERY_MS;
    return l->paid_until_ms > now + MOUNTS_AT_ONCE * MOUNT_EVERY_MS ? MOUNT_EVERY_MS : LONG_PAUSE_MS;
}

/* What was refused for its number made nothing; another failure may have come after a connection was made. */
static void answer_for_helper(struct listener *l, int status)
{
    int errnum = WIFEXITED(status) ? WEXITSTATUS(status) : l->late ? ETIMEDOUT : EIO;
    bool made = l->mounts && errnum != ENOSPC;

    answer(l, errnum, made ? pause_after_mount(l) : LONG_PAUSE_MS);
}

static void start_helper(struct listener *l, struct fuse_call *call)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(fuse_call_perform(&own_host, call));
    }
    if (pid < 0) {
        answer(l, errno, LONG_PAUSE_MS);
        return;
    }
    l->helper = pid;
    l->mounts = !call->unmount;
    l->late = false;
    (void)loop_io_modify(l->broker->loop, &l->io, 0);
    if (loop_timer_start(l->broker->loop, &l->timer, HELPER_MS) < 0)
        kill(pid, SIGKILL);
}

static void take_call(struct listener *l, const struct seccomp_notif *n)
{
    static struct fuse_call call;
    _cleanup_close_ int proc_fd = -EBADF;
    _cleanup_close_ int pidfd = -EBADF;
    char path[32];
    int errnum;

    l->id = n->id;
    snprintf(path, sizeof(path), "/proc/%u", n->pid);
    proc_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    pidfd = proc_fd < 0 ? -1 : open_process(proc_fd);
    call = (struct fuse_call){ .pid = (pid_t)n->pid, .pidfd = pidfd, .proc_fd = proc_fd };
    errnum = pidfd < 0 ? ESRCH : copy_call(n, &call);
    if (!errnum && call.target[0] && call.target[0] != '/')
        errnum = make_absolute(&call);
    /* It still waits, so what has been opened and read is its own and nobody's who got its number. */
    if (ioctl(l->io.fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &l->id) < 0)
        return;
    if (!errnum)
        errnum = fuse_call_check(&call);
    if (errnum)
        answer(l, errnum, PAUSE_MS);
    else
        start_helper(l, &call);
}

/* --- listeners --- */

static void stop_if_done(struct broker_process *b)
{
    if (b->worker_gone && !b->listeners)
        loop_stop(b->loop);
}

static void drop(struct listener *l)
{
    struct broker_process *b = l->broker;
    struct listener **at = &b->listeners;

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    if (l->helper)
        kill(l->helper, SIGKILL); /* reaped as nobody's */
    loop_timer_stop(b->loop, &l->timer);
    loop_io_remove(b->loop, &l->io);
    close_fd(&l->io.fd);
    free(l);
    stop_if_done(b);
}

static void on_call(struct loop_io *io, uint32_t events)
{
    struct listener *l = container_of(io, struct listener, io);
    union {
        struct seccomp_notif notif;
        char room[512]; /* a later kernel's is larger, and all of it must be zero */
    } buffer;

    if (events & (EPOLLHUP | EPOLLERR)) {
        drop(l);
        return;
    }
    memset(&buffer, 0, sizeof(buffer));
    if (ioctl(l->io.fd, SECCOMP_IOCTL_NOTIF_RECV, &buffer) == 0)
        take_call(l, &buffer.notif);
}

static void on_timer(struct loop_timer *timer)
{
    struct listener *l = container_of(timer, struct listener, timer);

    if (l->helper) {
        l->late = true;
        kill(l->helper, SIGKILL);
    } else {
        (void)loop_io_modify(l->broker->loop, &l->io, EPOLLIN);
    }
}

static void on_signal(struct loop *loop, const struct signalfd_siginfo *info, void *data)
{
    struct broker_process *b = data;
    int status;
    pid_t pid;

    (void)loop, (void)info;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct listener *l = b->listeners;
        while (l && l->helper != pid)
            l = l->next;
        if (!l)
            continue;
        l->helper = 0;
        loop_timer_stop(b->loop, &l->timer);
        answer_for_helper(l, status);
    }
}

/* Takes it over. */
static void add_listener(struct broker_process *b, int fd)
{
    struct listener *l = calloc(1, sizeof(*l));

    if (!l || loop_io_add(b->loop, &l->io, fd, EPOLLIN, on_call) < 0) {
        free(l);
        close_fd(&fd);
        return;
    }
    l->broker = b;
    loop_timer_init(&l->timer, on_timer);
    l->next = b->listeners;
    b->listeners = l;
}

static void on_listener(struct loop_io *io, uint32_t events)
{
    struct broker_process *b = container_of(io, struct broker_process, socket_io);
    size_t count = 0;
    char byte;
    int fd = -EBADF;
    ssize_t n = recv_fds(io->fd, &byte, sizeof(byte), &fd, 1, &count);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EPROTO))
        return;
    if (n <= 0) { /* the worker is gone, and with it the last child that had not become its agent */
        loop_io_remove(b->loop, io);
        b->worker_gone = true;
        stop_if_done(b);
        return;
    }
    if (count == 1)
        add_listener(b, fd);
}

/* --- after one that has died --- */

static bool is_listener(int fd)
{
    static const char kind[] = "anon_inode:seccomp notify";
    char path[40], target[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlinkat(AT_FDCWD, path, target, sizeof(target));
    return n == (ssize_t)strlen(kind) && memcmp(target, kind, (size_t)n) == 0;
}

/* What it had beside its listeners (its loop, what it was just looking at) is closed. The highest number, or -1. */
static int close_remains(void)
{
    DIR *fds = opendir("/proc/self/fd");
    struct dirent *entry;
    uint64_t fd;
    int last = OWN_LAST;

    if (!fds)
        return -1;
    while ((entry = readdir(fds))) /* the numbers first: nothing may change while they are read */
        if (str_to_u64(str_from(entry->d_name), &fd) == 0)
            last = MAX(last, (int)fd);
    closedir(fds);
    for (int i = OWN_LAST + 1; i <= last; i++)
        if (!is_listener(i))
            close(i);
    return last;
}

static void take_listeners_over(struct broker_process *b, int last)
{
    for (int i = OWN_LAST + 1; i <= last; i++)
        if (is_listener(i))
            add_listener(b, i);
}

/* --- life --- */

/* It may outlive the worker, and must not keep the pool and the images of that one mounted. /proc is all it needs.
 */
static int leave_stage(void)
{
    DIR *images = opendir(STAGE_IMG);
    struct dirent *entry;

    if (unshare(CLONE_NEWNS) < 0 || umount2(STAGE_DISK, MNT_DETACH) < 0)
        return -1;
    while (images && (entry = readdir(images))) {
        char path[sizeof(STAGE_IMG) + NAME_MAX + 1];
        snprintf(path, sizeof(path), STAGE_IMG "/%s", entry->d_name);
        if (entry->d_name[0] != '.')
            (void)umount2(path, MNT_DETACH); /* not all of them are in use */
    }
    if (images)
        closedir(images);
    return chdir("/");
}

static _Noreturn void serve(void)
{
    static struct broker_process broker;
    int last = close_remains();
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    broker.loop = last < 0 ? NULL : loop_new();
    if (!broker.loop || loop_signals(broker.loop, &signals, on_signal, &broker) < 0 ||
        loop_io_add(broker.loop, &broker.socket_io, OWN_SOCKET, EPOLLIN, on_listener) < 0)
        _exit(1);
    take_listeners_over(&broker, last);
    _exit(loop_run(broker.loop) < 0);
}

/* A fork's memory, but one table of descriptors: what the child has been given is still there when it has died. */
static pid_t fork_with_descriptors(void)
{
    return (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
}

/* Out of the way first: each may be where another one goes. */
static int take_descriptors(const int from[OWN_LAST + 1])
{
    int high[OWN_LAST + 1];

    for (int i = OWN_SOCKET; i <= OWN_LAST; i++)
        if ((high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, FIRST_HIGH_FD)) < 0)
            return -1;
    for (int i = OWN_SOCKET; i <= OWN_LAST; i++)
        if (dup2(high[i], i) < 0)
            return -1;
    return (int)syscall(SYS_close_range, OWN_LAST + 1, ~0U, 0);
}

static _Noreturn void run(const struct fuse_host *host, int socket_fd)
{
    const int from[] = { [OWN_SOCKET] = socket_fd, [OWN_RUN] = host->run_fd, [OWN_CONTROL] = host->control_fd };
    int status;

    prctl(PR_SET_NAME, "berm-broker");
    if (leave_stage() < 0 || take_descriptors(from) < 0 || set_nonblocking(OWN_SOCKET) < 0)
        _exit(1);
    for (;;) {
        pid_t pid = fork_with_descriptors();

        if (pid == 0)
            serve();
        if (pid < 0 || RETRY_EINTR(waitpid(pid, &status, 0)) != pid)
            _exit(1);
        if (WIFEXITED(status))
            _exit(WEXITSTATUS(status));
        (void)poll(NULL, 0, RESTART_PAUSE_MS); /* one that dies at once shall not take the processor along */
    }
}

int broker_start(const struct fuse_host *host, struct broker *ret, struct berm_error *err)
{
    _cleanup_close_ int mine = -EBADF;
    _cleanup_close_ int theirs = -EBADF;
    int sockets[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the broker's socket");
    mine = sockets[0];
    theirs = sockets[1];
    pid = fork();
    if (pid == 0)
        run(host, theirs);
    if (pid < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "start the broker");
    ret->socket_fd = fcntl(mine, F_DUPFD_CLOEXEC, FIRST_HIGH_FD);
    ret->pid = pid;
    return ret->socket_fd < 0 ? berm_fail(err, BERM_E_SYSTEM, errno, "keep the broker's socket") : 0;
}

void broker_stop(struct broker *broker)
{
    _cleanup_close_ int pidfd = broker->pid > 0 ? pidfd_open_pid(broker->pid) : -1;
    struct pollfd end = { .fd = pidfd, .events = POLLIN };

    close_fd(&broker->socket_fd);
    if (pidfd >= 0 && poll(&end, 1, STOP_MS) > 0)
        waitpid(broker->pid, NULL, 0);
    broker->pid = 0;
}

void broker_hand_over(int socket_fd, int listener_fd)
{
    char byte = 0;

    if (socket_fd >= 0)
        (void)send_fds(socket_fd, &byte, sizeof(byte), &listener_fd, 1);
    close(listener_fd);
}
