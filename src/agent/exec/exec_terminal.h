/*
 * exec_terminal.h - the terminal of one command of POST /berm/v1/exec: its three streams, raw, for the one client
 * that has asked for it. It is resized under the name that the client gave it. What it writes is read as the client
 * takes it; its end is that of the command.
 */
#pragma once

#include "agent/child/child.h"
#include "agent/child/pty.h"

#define EXEC_TERMINAL_ID_MAX 64

struct request;

struct exec_terminal_events {
    void (*on_output)(void *data, struct str bytes);
    void (*on_input_drain)(void *data);
    void (*on_end)(struct child *child, void *data); /* after all output; the terminal is gone */
};

struct exec_terminal {
    struct exec_terminal *next; /* of the agent's */
    struct agent *agent;
    char id[EXEC_TERMINAL_ID_MAX + 1];
    struct pty pty;
    struct loop_io io;
    struct buf input; /* that the program has no room for yet */
    bool blocked;     /* the client takes no more */
    bool hung_up;
    const struct exec_terminal_events *events;
    void *data;
};

/* Fails with errno; EEXIST when another one has this name. */
struct exec_terminal *exec_terminal_new(struct agent *agent, const char *id, struct terminal_size size,
                                        const struct exec_terminal_events *events, void *data);
void exec_terminal_free(struct exec_terminal *terminal); /* its command, if any, is hung up. NULL is allowed */
/* For child_spawn(), with the terminal as its data. */
extern const struct child_events exec_terminal_child_events;

bool exec_terminal_write(struct exec_terminal *terminal, struct str bytes); /* false: on_input_drain follows */
/* The client is gone, and what runs is told so (SIGHUP). */
void exec_terminal_hang_up(struct exec_terminal *terminal);
void exec_terminal_pause(struct exec_terminal *terminal);
void exec_terminal_resume(struct exec_terminal *terminal);
