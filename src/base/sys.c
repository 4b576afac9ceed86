#include "sys.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

int write_all(int fd, const void *p, size_t n)
{
    const char *at = p;

    while (n > 0) {
        ssize_t wrote = RETRY_EINTR(write(fd, at, n));
        if (wrote < 0)
            return -1;
        at += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

ssize_t read_to_end(int fd, void *p, size_t max)
{
    char *at = p;
    size_t have = 0;

    for (;;) {
        char overflow;
        bool full = have == max;
        ssize_t got = RETRY_EINTR(read(fd, full ? &overflow : at + have, full ? 1 : max - have));
        if (got < 0)
            return -1;
        if (got == 0)
            return (ssize_t)have;
        if (full) {
            errno = EFBIG;
            return -1;
        }
        have += (size_t)got;
    }
}

ssize_t read_small_file(int dirfd, const char *path, char *out, size_t out_size)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n;

    if (fd < 0)
        return -1;
    n = read_to_end(fd, out, out_size - 1);
    if (n >= 0)
        out[n] = '\0';
    return n;
}

int write_small_file(int dirfd, const char *path, const char *text)
{
    _cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    size_t n = strlen(text);
    ssize_t wrote;

    if (fd < 0)
        return -1;
    wrote = RETRY_EINTR(write(fd, text, n));
    if (wrote >= 0 && (size_t)wrote != n) {
        errno = EIO;
        return -1;
    }
    return wrote < 0 ? -1 : 0;
}

void socket_enlarge(int fd)
{
    int size = 1 << 20; /* cut to net.core.wmem_max; failing costs only speed */

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

void socket_unpace(int fd)
{
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, TCP_LOOPBACK_CONTROL, strlen(TCP_LOOPBACK_CONTROL));
}

void reset_signal_actions(void)
{
    static const char default_action[64]; /* the kernel's struct, all zero: SIG_DFL, no flags, no mask */

    for (int signo = 1; signo <= 64; signo++)
        syscall(SYS_rt_sigaction, signo, default_action, NULL, 8 /* the kernel's sigset */);
}

int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -1;
    return flags & O_NONBLOCK ? 0 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/*
 * The kernel says EAGAIN when a rename or mount anywhere raced with the walk and it could not prove that the path
 * stayed inside. Somebody who renames in a circle can keep that up, and a lease that has to be broken gives the
 * same answer for most of a minute; so the caller hears of it after a while.
 */
#define RESOLVE_ATTEMPTS 64

static int openat2_resolve(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
        /* O_TMPFILE has the bit of O_DIRECTORY in it; a mode that no file is made with is EINVAL. */
        .mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0,
        .resolve = resolve,
    };
    long fd;
    int attempts = 0;

    do {
        fd = RETRY_EINTR(syscall(SYS_openat2, dirfd, path, &how, sizeof(how)));
    } while (fd < 0 && errno == EAGAIN && ++attempts < RESOLVE_ATTEMPTS);
    return (int)fd;
}

int open_in_root(int rootfd, const char *path, int flags, mode_t mode)
{
    return openat2_resolve(rootfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    return openat2_resolve(dirfd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

/* Room for one control message with FDS_MAX descriptors, aligned as CMSG_* want it. */
union fd_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

int send_fds(int sock, const void *message, size_t n, const int *fds, size_t nfds)
{
    struct iovec iov = { .iov_base = (void *)(uintptr_t)message, .iov_len = n };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    union fd_control control;
    ssize_t sent;

    if (nfds > FDS_MAX) {
        errno = EINVAL;
        return -1;
    }
    if (nfds > 0) {
        struct cmsghdr *cmsg;
        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
    }
    sent = RETRY_EINTR(sendmsg(sock, &msg, MSG_NOSIGNAL));
    if (sent >= 0 && (size_t)sent != n) {
        errno = EMSGSIZE;
        return -1;
    }
    return sent < 0 ? -1 : 0;
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

/* Collects every descriptor of the message, so that none stays open by accident. */
static size_t collect_fds(struct msghdr *msg, int *all, size_t max)
{
    size_t count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (count < max)
                all[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

ssize_t recv_fds(int sock, void *message, size_t max, int *fds, size_t max_fds, size_t *ret_nfds)
{
    struct iovec iov = { .iov_base = message, .iov_len = max };
    union fd_control control;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    int all[FDS_MAX];
    size_t count;
    ssize_t n = RETRY_EINTR(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC));

    if (n < 0)
        return -1;
    count = collect_fds(&msg, all, ARRAY_SIZE(all));
    if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || count > max_fds) {
        close_all(all, count);
        errno = EPROTO;
        return -1;
    }
    if (count > 0)
        memcpy(fds, all, count * sizeof(int));
    if (ret_nfds)
        *ret_nfds = count;
    return n;
}

pid_t fork_bound(void)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) /* it has ended before that */
            _exit(0);
    }
    return pid;
}

int pidfd_open_pid(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int pidfd_signal(int pidfd, int signo)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0);
}

int unix_address_at(int dirfd, const char *name, struct sockaddr_un *ret, socklen_t *ret_len)
{
    int n;

    memset(ret, 0, sizeof(*ret));
    ret->sun_family = AF_UNIX;
    n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", dirfd, name);
    if (n < 0 || (size_t)n >= sizeof(ret->sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    *ret_len = (socklen_t)sizeof(*ret);
    return 0;
}

void format_timestamp(int64_t unix_ms, char out[25])
{
    int64_t ms = unix_ms % 1000;
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;

    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    if (!gmtime_r(&seconds, &tm))
        memset(&tm, 0, sizeof(tm));
    /* The modulo bounds tell the compiler (and the reader) that the text always fits. */
    snprintf(out, 25, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)(tm.tm_year + 1900) % 10000u,
             (unsigned)(tm.tm_mon + 1) % 100u, (unsigned)tm.tm_mday % 100u, (unsigned)tm.tm_hour % 100u,
             (unsigned)tm.tm_min % 100u, (unsigned)tm.tm_sec % 100u, (unsigned)ms % 1000u);
}
