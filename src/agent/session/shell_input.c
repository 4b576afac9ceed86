#include "shell_input.h"

#include "base/sys.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BACKLOG_KEEP ((size_t)4096)
#define LEAST_PIPE   1 /* the kernel makes a page of it */

void shell_input_init(struct shell_input *input, struct loop *loop, size_t backlog_max)
{
    input->loop = loop;
    input->fd = -EBADF;
    buf_init(&input->backlog, backlog_max);
}

int shell_input_open(struct shell_input *input)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    input->fd = fds[1];
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    (void)fcntl(fds[1], F_SETPIPE_SZ, LEAST_PIPE);
    return fds[0];
}

static void on_writable(struct loop_io *io, uint32_t events);

static int watch(struct shell_input *input)
{
    if (loop_io_active(&input->io))
        return 0;
    return loop_io_add(input->loop, &input->io, input->fd, EPOLLOUT, on_writable);
}

static int write_backlog(struct shell_input *input)
{
    while (input->backlog.len > 0) {
        ssize_t n = RETRY_EINTR(write(input->fd, buf_head(&input->backlog), input->backlog.len));
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0 && errno == EPIPE) /* it has ended; the reaper says so in a moment */
            n = (ssize_t)input->backlog.len;
        if (n < 0)
            return -1;
        buf_consume(&input->backlog, (size_t)n);
    }
    if (input->backlog.cap > BACKLOG_KEEP)
        buf_release_if_empty(&input->backlog);
    return 0;
}

int shell_input_flush(struct shell_input *input)
{
    if (write_backlog(input) < 0)
        return -1;
    if (input->backlog.len > 0)
        return watch(input);
    if (!input->asked)
        loop_io_remove(input->loop, &input->io);
    return 0;
}

bool shell_input_ask(struct shell_input *input)
{
    if (input->asked || input->backlog.len > 0 || write(input->fd, "\n", 1) != 1)
        return false;
    input->asked = watch(input) == 0;
    return input->asked;
}

static bool is_empty(const struct shell_input *input)
{
    int bytes;

    return ioctl(input->fd, FIONREAD, &bytes) == 0 && bytes == 0;
}

static void on_writable(struct loop_io *io, uint32_t events)
{
    struct shell_input *input = container_of(io, struct shell_input, io);
    bool answered;

    if (input->backlog.len > 0) {
        if (shell_input_flush(input) < 0)
            input->on_broken(input);
        return;
    }
    /* Nobody reads any more: the reaper says so. Or there is something in it, and this kernel's pipes are others.
     */
    answered = input->asked && !(events & (EPOLLERR | EPOLLHUP)) && is_empty(input);
    input->asked = false;
    loop_io_remove(input->loop, io);
    if (answered)
        input->on_all_read(input);
}

void shell_input_close(struct shell_input *input)
{
    if (input->fd < 0)
        return;
    input->asked = false;
    loop_io_remove(input->loop, &input->io);
    close_fd(&input->fd);
}

void shell_input_free(struct shell_input *input)
{
    buf_free(&input->backlog);
}
