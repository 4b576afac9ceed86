#include "namespaces.h"

#include "base/sys.h"

#include <fcntl.h>

int ipcns_new(int home_fd)
{
    _cleanup_close_ int fd = -EBADF;
    int saved;

    if (unshare(CLONE_NEWIPC) < 0)
        return -1;
    fd = open("/proc/thread-self/ns/ipc", O_RDONLY | O_CLOEXEC);
    saved = errno;
    if (setns(home_fd, CLONE_NEWIPC) < 0)
        return -1;
    errno = saved;
    return TAKE_FD(fd);
}
