/*
 * shell_input.h - the pipe from which the bash of a session reads its script.
 *
 * Theory of operation. What does not fit into the pipe waits in a backlog. The pipe has a single page: Linux calls
 * it writable only while it is empty, so that "bash has read everything and comes back for more" is an event. A
 * shell that reports what it has done (shell_script.h) needs none of this, but the user may have seen to it that it
 * reports nothing: by a function called `builtin`, by `enable -n`, by `set -n`, by a trap that has bash skip every
 * command. To tell that from a command that takes its time an empty line is written behind the command, when it has
 * taken a while: bash reads that line only when it is past the command, whatever the user did to his shell.
 */
#pragma once

#include "base/buf.h"
#include "base/loop.h"

struct shell_input {
    struct loop *loop;
    int fd;
    struct loop_io io; /* while there is a backlog, or somebody wants to know */
    struct buf backlog;
    bool asked;
    /* The script has a hole and must not run on. */
    void (*on_broken)(struct shell_input *input);
    void (*on_all_read)(struct shell_input *input);
};

/* Without a pipe. */
void shell_input_init(struct shell_input *input, struct loop *loop, size_t backlog_max);
/* Makes the pipe; the descriptor that bash reads from, or -1 with errno. */
int shell_input_open(struct shell_input *input);
/* Writes what is in the backlog, now or when there is room. 0, or -1 with errno. */
int shell_input_flush(struct shell_input *input);
/*
 * on_all_read comes once everything was read that has been written by then, and an empty line. Nothing is asked,
 * and false returned, while there is a backlog or an earlier question is open. Where the kernel's pipes are not as
 * above, no answer comes.
 */
bool shell_input_ask(struct shell_input *input);
void shell_input_close(struct shell_input *input);
void shell_input_free(struct shell_input *input); /* closed */
