#include "cli/own_terminal.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

static int make_raw(struct own_terminal *terminal)
{
    struct termios raw;

    if (!isatty(STDIN_FILENO))
        return 0;
    if (tcgetattr(STDIN_FILENO, &terminal->before) < 0)
        return -1;
    raw = terminal->before;
    cfmakeraw(&raw);
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
        return -1;
    terminal->raw = true;
    return 0;
}

int own_terminal_enter(struct own_terminal *terminal)
{
    sigset_t set;

    *terminal = (struct own_terminal){ .resized = -EBADF };
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
        terminal->resized = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return make_raw(terminal);
}

void own_terminal_leave(struct own_terminal *terminal)
{
    /*
     * What waits to be read goes: the terminal's answers to questions that a program over there has asked it would
     * be typed into the shell that we return to.
     */
    if (terminal->raw)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal->before);
    terminal->raw = false;
    close_fd(&terminal->resized);
}

void own_terminal_take_resize(const struct own_terminal *terminal)
{
    struct signalfd_siginfo info;

    while (read(terminal->resized, &info, sizeof(info)) > 0)
        ;
}

bool own_terminal_size(uint16_t *cols, uint16_t *rows)
{
    struct winsize size = { 0 };

    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return false;
    *cols = size.ws_col;
    *rows = size.ws_row;
    return size.ws_col > 0 && size.ws_row > 0;
}
