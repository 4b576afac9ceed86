/* pty.h - a pseudo-terminal. */
#pragma once

#include "base/base.h"

struct terminal_size {
    uint16_t cols, rows;
};

struct pty {
    int master; /* non-blocking */
    int slave;  /* held open, so that a program that closes its own does not hang the terminal up */
};

#define PTY_NONE                                                                                                   \
    {                                                                                                              \
        .master = -EBADF, .slave = -EBADF                                                                          \
    }

int pty_open(struct pty *pty, struct terminal_size size); /* -1 with errno */
void pty_close(struct pty *pty);                          /* idempotent */
void pty_resize(const struct pty *pty, struct terminal_size size);
