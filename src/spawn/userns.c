/* userns.c - user namespaces for ranges of ids, made without leaving a process in them. */
#include "namespaces.h"

#include "base/sys.h"
#include "range.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/*
 * A user namespace needs a first member and maps written from outside. The member shares our memory, so that no
 * page table is copied for it, does nothing but wait, and is killed once the descriptor is open.
 */
static int member_main(void *worker)
{
    /* It holds a copy of every descriptor, the lock of the data directory too, so it must not outlive the worker.
     */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != *(pid_t *)worker)
        _exit(0);
    for (;;)
        pause();
    return 0;
}

static int write_map(int procfd, const char *file, uint32_t base)
{
    char text[48];

    snprintf(text, sizeof(text), "0 %u %u\n", base, RANGE_IDS);
    return write_small_file(procfd, file, text);
}

static int open_mapped(pid_t member, uint32_t uid_base)
{
    char path[32];
    _cleanup_close_ int proc = -EBADF;

    snprintf(path, sizeof(path), "/proc/%d", (int)member);
    proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0 || write_map(proc, "uid_map", uid_base) < 0 || write_map(proc, "gid_map", uid_base) < 0)
        return -1;
    return openat(proc, "ns/user", O_RDONLY | O_CLOEXEC);
}

int userns_new(uint32_t uid_base)
{
    static _Alignas(16) char stack[4096];
    pid_t worker = getpid();
    /* No exit signal: the worker's SIGCHLD is about sandboxes. */
    pid_t member = clone(member_main, stack + sizeof(stack), CLONE_NEWUSER | CLONE_VM | CLONE_FILES, &worker);
    int fd, saved;

    if (member < 0)
        return -1;
    fd = open_mapped(member, uid_base);
    saved = errno;
    kill(member, SIGKILL);
    RETRY_EINTR(waitpid(member, NULL, __WALL));
    errno = saved;
    return fd;
}
