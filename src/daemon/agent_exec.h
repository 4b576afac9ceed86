/*
 * agent_exec.h - a command in a running instance, its output byte for byte and its standard input, with
 * back-pressure both ways: POST /berm/v1/exec of the agent. The agent is not trusted: its events are bounded and
 * checked.
 */
#pragma once

#include "daemon/agent_link.h"

struct agent_exec;

enum { AGENT_EXEC_STDOUT = 1, AGENT_EXEC_STDERR = 2 };

struct agent_exec_callbacks {
    void (*on_output)(void *data, int stream, struct str bytes);
    void (*on_drain)(void *data); /* more can be written */
    /* Exactly once, last: the exit code, or err->code other than BERM_OK and why there is none. */
    void (*on_end)(void *data, int exit_code, const struct berm_error *err);
};

struct agent_exec_spec {
    const char *argv; /* JSON array of strings */
    const char *env;  /* JSON object of strings, or NULL */
    const char *cwd;  /* or NULL */
    bool with_stdin;
    bool keep;            /* it goes on when it is cancelled */
    uint32_t timeout_ms;  /* 0: none. It is killed then: exit code 124 */
    const char *terminal; /* a name for it, of at most 64 bytes; NULL: none. All output is then AGENT_EXEC_STDOUT */
    uint16_t cols, rows;
};

/* Callbacks never come from inside. NULL with *err. */
struct agent_exec *agent_exec_start(struct agent_link *link, const struct agent_exec_spec *spec,
                                    const struct agent_exec_callbacks *callbacks, void *data,
                                    struct berm_error *err);
bool agent_exec_write(struct agent_exec *exec, struct str bytes); /* false: wait for on_drain */
void agent_exec_end_input(struct agent_exec *exec);
void agent_exec_pause(struct agent_exec *exec);
void agent_exec_resume(struct agent_exec *exec);
/* The command is ended by the agent. on_end does not come. NULL is allowed. */
void agent_exec_cancel(struct agent_exec *exec);
