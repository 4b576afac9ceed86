#include "pipe.h"

#include <fcntl.h>

static int in = -EBADF, out = -EBADF;

static int make(void)
{
    int ends[2];

    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
        return -1;
    if (fcntl(ends[1], F_SETPIPE_SZ, (int)NET_PIPE) != (int)NET_PIPE) { /* this user has too many large ones */
        close(ends[0]);
        close(ends[1]);
        return -1;
    }
    out = ends[0];
    in = ends[1];
    return 0;
}

ssize_t net_pipe_fill(int socket, size_t most)
{
    ssize_t n;

    if (in < 0 && make() < 0) {
        errno = ENOTSUP;
        return -1;
    }
    n = RETRY_EINTR(splice(socket, NULL, in, NULL, MIN(most, NET_PIPE), SPLICE_F_NONBLOCK | SPLICE_F_MOVE));
    if (n < 0 && errno == EINVAL)
        errno = ENOTSUP;
    return n;
}

size_t net_pipe_pour(size_t n, int socket)
{
    size_t done = 0;

    while (done < n) {
        ssize_t moved = RETRY_EINTR(splice(out, NULL, socket, NULL, n - done, SPLICE_F_NONBLOCK | SPLICE_F_MOVE));

        if (moved <= 0)
            break;
        done += (size_t)moved;
    }
    return done;
}

int net_pipe_read(void *p, size_t n)
{
    ssize_t got = RETRY_EINTR(read(out, p, n));

    return got == (ssize_t)n ? 0 : -1;
}

void net_pipe_drop(void)
{
    close_fd(&in);
    close_fd(&out);
}
