#include "pty.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

void pty_resize(const struct pty *pty, struct terminal_size size)
{
    const struct winsize ws = { .ws_col = size.cols, .ws_row = size.rows };

    ioctl(pty->master, TIOCSWINSZ, &ws);
}

int pty_open(struct pty *pty, struct terminal_size size)
{
    int unlock = 0;

    *pty = (struct pty)PTY_NONE;
    pty->master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (pty->master < 0 || ioctl(pty->master, TIOCSPTLCK, &unlock) < 0)
        return -1;
    pty_resize(pty, size);
    pty->slave = ioctl(pty->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return pty->slave < 0 ? -1 : 0;
}

void pty_close(struct pty *pty)
{
    close_fd(&pty->master);
    close_fd(&pty->slave);
}
