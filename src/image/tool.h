/*
 * tool.h - runs one of the programs that make images (mkfs.erofs, the recipe's script) and reads what it says.
 * Private to src/image.
 */
#pragma once

#include "base/error.h"

struct tool {
    const char *const *argv; /* argv[0] is looked up in PATH */
    /*
     * In a mount and a process namespace of its own: whatever the tool mounts or starts is gone when it ends, also
     * when it or we are killed.
     */
    bool contained;
    uint64_t capabilities;                        /* 1 << CAP_... of those that it keeps; 0 keeps all */
    void (*on_line)(void *arg, const char *line); /* each line of stdout and stderr, printable ASCII */
    void *arg;
};

/*
 * Runs it to its end with stdin from /dev/null. IMAGE_INVALID with its last line when it fails, SYSTEM when it (or
 * what it runs: exit status 127) is not installed, TIMED_OUT ("interrupted") after a signal that image_stage_begin
 * has blocked; it is dead then.
 */
int tool_run(const struct tool *tool, struct berm_error *err);

/* Waits for `events` (poll.h) on fd: 0, or -1 after a signal that image_stage_begin has blocked. */
int tool_wait(int fd, short events);
