/* c2_memory.c - memory by every way that a program has. `C2-NAME BYTES` is reached if BYTES could be had at once,
 * in a child, so that the OOM killer leaves somebody to tell. */
#include "probe.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, ATTEMPT_SECONDS = 60 };

static long attempt_anonymous(void *arg)
{
    size_t size = *(size_t *)arg;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = 1;
    return 0;
}

static long attempt_locked(void *arg)
{
    size_t size = *(size_t *)arg;
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
    return memory == MAP_FAILED ? -errno : 0;
}

static long fill(int fd, size_t size)
{
    static char block[BLOCK];
    memset(block, 'x', sizeof block);
    for (size_t done = 0; done < size;) {
        ssize_t written = write(fd, block, sizeof block);
        if (written < 0)
            return -errno;
        done += (size_t)written;
    }
    return 0;
}

static long attempt_tmpfs(void *arg)
{
    const char *path = "/dev/shm/berm-probe-fill";
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    unlink(path);
    return fill(fd, *(size_t *)arg);
}

static long attempt_memfd(void *arg)
{
    int fd = (int)syscall(SYS_memfd_create, "berm-probe", 1 /* MFD_CLOEXEC */);
    return fd < 0 ? -errno : fill(fd, *(size_t *)arg);
}

static long attempt_sysv(void *arg)
{
    size_t size = *(size_t *)arg;
    int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
    if (id < 0)
        return -errno;
    char *memory = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    if (memory == (void *)-1)
        return -errno;
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = 1;
    return 0;
}

static long attempt_pipes(void *arg)
{
    size_t size = *(size_t *)arg, held = 0;
    while (held < size) {
        int fds[2];
        if (pipe2(fds, O_NONBLOCK) < 0)
            return -errno;
        fcntl(fds[1], F_SETPIPE_SZ, BLOCK);
        static char block[65536];
        for (ssize_t n; (n = write(fds[1], block, sizeof block)) > 0;)
            held += (size_t)n;
    }
    return 0;
}

static long attempt_sockets(void *arg)
{
    size_t size = *(size_t *)arg, held = 0;
    while (held < size) {
        int fds[2], wanted = 8 << 20;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0)
            return -errno;
        setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
        static char block[65536];
        for (ssize_t n; (n = write(fds[0], block, sizeof block)) > 0;)
            held += (size_t)n;
    }
    return 0;
}

/* Kernel objects: an empty file costs about 1 KiB of dentry and inode on a tmpfs, an epoll instance or an inotify
 * one somewhat more; `size` is the sum of those estimates. */
static long attempt_dentries(void *arg)
{
    size_t count = *(size_t *)arg / 1024;
    char directory[] = "/dev/shm/berm-probe-XXXXXX";
    if (mkdtemp(directory) == NULL || chdir(directory) < 0)
        return -errno;
    long result = 0;
    size_t made = 0;
    char name[32];
    for (; made < count && result == 0; made++) {
        snprintf(name, sizeof name, "%zu", made);
        int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        result = fd < 0 ? -errno : 0;
        close(fd);
    }
    for (size_t i = 0; i < made; i++) {
        snprintf(name, sizeof name, "%zu", i);
        unlink(name);
    }
    rmdir(directory);
    return result;
}

/* `count` kernel objects of a kind, fifteen hundred in each of as many children as it takes. */
static long hold_in_children(size_t count, int (*make)(void))
{
    enum { PER_CHILD = 1500 };
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return -errno;
    for (size_t made = 0; made < count; made += PER_CHILD) {
        pid_t pid = fork();
        if (pid < 0)
            return -errno;
        long result = 0;
        if (pid == 0)
            prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 0; pid == 0 && i < PER_CHILD && result == 0; i++)
            result = make() < 0 ? -errno : 0;
        if (pid == 0) {
            if (write(pair[1], &result, sizeof result) < 0)
                _exit(2);
            pause();
            _exit(0);
        }
        if (read(pair[0], &result, sizeof result) != (ssize_t)sizeof result || result < 0)
            return result < 0 ? result : -EPIPE;
    }
    return 0;
}

static int make_epoll(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

static int make_pipe(void)
{
    int fds[2];
    return pipe2(fds, O_CLOEXEC);
}

static int make_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* The sizes are low estimates of what the slabs of 6.x hold for each. */
static long attempt_epolls(void *arg)
{
    return hold_in_children(*(size_t *)arg / 256, make_epoll);
}

static long attempt_empty_pipes(void *arg)
{
    return hold_in_children(*(size_t *)arg / 1024, make_pipe);
}

static long attempt_empty_sockets(void *arg)
{
    return hold_in_children(*(size_t *)arg / 1024, make_socket);
}

static void attempt_way(int argc, char **argv, long (*attempt)(void *arg), const char *what)
{
    size_t size = (size_t)number_argument(argc, argv, 0, "how many bytes are too many");
    outcome(try_in_child(attempt, &size, ATTEMPT_SECONDS), "%zu bytes of %s", size, what);
}

#define WAY(function, attempt, what)                                                                               \
    static void function(int argc, char **argv)                                                                    \
    {                                                                                                              \
        attempt_way(argc, argv, attempt, what);                                                                    \
    }
WAY(run_anonymous, attempt_anonymous, "anonymous memory")
WAY(run_locked, attempt_locked, "locked memory")
WAY(run_tmpfs, attempt_tmpfs, "/dev/shm")
WAY(run_memfd, attempt_memfd, "memfd")
WAY(run_sysv, attempt_sysv, "System V memory")
WAY(run_pipes, attempt_pipes, "pipe buffers")
WAY(run_sockets, attempt_sockets, "socket buffers")
WAY(run_dentries, attempt_dentries, "dentries and inodes")
WAY(run_epolls, attempt_epolls, "epoll instances")
WAY(run_empty_pipes, attempt_empty_pipes, "empty pipes")
WAY(run_empty_sockets, attempt_empty_sockets, "idle sockets")

const struct probe probes_c2[] = {
    { "C2-anonymous", "BYTES of anonymous memory", run_anonymous },
    { "C2-locked", "BYTES of locked memory", run_locked },
    { "C2-tmpfs", "BYTES of /dev/shm", run_tmpfs },
    { "C2-memfd", "BYTES of memfd", run_memfd },
    { "C2-sysv", "BYTES of System V shared memory", run_sysv },
    { "C2-pipes", "BYTES of pipe buffers", run_pipes },
    { "C2-sockets", "BYTES of socket buffers", run_sockets },
    { "C2-dentries", "BYTES of dentries and inodes", run_dentries },
    { "C2-epolls", "BYTES of epoll instances", run_epolls },
    { "C2-empty-pipes", "BYTES of empty pipes", run_empty_pipes },
    { "C2-idle-sockets", "BYTES of idle sockets", run_empty_sockets },
    { 0 },
};
