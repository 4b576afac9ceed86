/*
 * exec_cancel.h - ends a command of POST /berm/v1/exec whose client has gone away.
 *
 * A command that was given a name goes on when its connection breaks, because that is also how the end of bermd
 * looks from inside of the sandbox, and no command may end for that. So a client that went away has to be told of.
 */
#pragma once

#include "daemon/agent_link.h"

/* `id`: as it was given, copied. Returns at once; what cannot be told is logged, and the command runs on. */
void exec_cancel(struct loop *loop, struct agent_link *link, const char *id);
