/* own_terminal.h - the user's own terminal, while one in a sandbox is shown on it: raw, and told when its size
 * changes. */
#pragma once

#include "base/base.h"

#include <termios.h>

struct own_terminal {
    struct termios before;
    bool raw;
    int resized; /* readable when the size has changed (SIGWINCH, through a descriptor so that none is lost) */
};

/* -1 with errno: it is not raw, all else holds. Without a terminal on stdin nothing is made raw. */
int own_terminal_enter(struct own_terminal *terminal);
void own_terminal_leave(struct own_terminal *terminal);
void own_terminal_take_resize(const struct own_terminal *terminal); /* after `resized` was readable */
/* Of stdin or else stdout; false: neither is a terminal that knows. */
bool own_terminal_size(uint16_t *cols, uint16_t *rows);
