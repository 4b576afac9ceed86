/*
 * agent.h - the one context of berm-agent, pid 1 of a sandbox and its control server.
 *
 * One process, one thread, one loop. Everything below hangs off struct agent; whoever needs it is handed it.
 * Code in the sandbox is not an enemy of the agent's data (it owns the sandbox anyway), but it must not be able to
 * stop, confuse or outgrow the agent: all input is bounded, all children are reaped, no call blocks for good.
 *
 * The way of a request: http/ (router.c has the table of routes), then session/, where it waits for its turn if it
 * names one, then what it is about: exec/, process/, files/, watch/, ports/, git/, backup/, terminal/,
 * interpreter/. rpc/ and the WebSockets of http/ are other ways to the same routes. All that is run is run by
 * child/. What a container engine wants of pid 1 is in init/.
 */
#pragma once

#include "agent/child/child.h"
#include "agent/child/env.h"
#include "agent/http/event_stream.h"
#include "agent/http/ws_transport.h"
#include "agent/init/ca_trust.h"
#include "agent/init/command_input.h"
#include "agent/init/command_log.h"
#include "agent/init/shutdown.h"
#include "agent/interpreter/context.h"
#include "agent/process/process.h"
#include "agent/rpc/rpc.h"
#include "agent/session/fifo.h"
#include "agent/session/session.h"
#include "agent/watch/watch.h"
#include "base/loop.h"

#define AGENT_PORT            3000
#define AGENT_DEFAULT_WORKDIR "/workspace"

struct http_client;
struct http_server;

#define HELD_DIRECTORIES_MAX 16

struct held_directories {
    int fds[HELD_DIRECTORIES_MAX];
    size_t count;
};

struct agent {
    struct loop *loop;
    struct http_server *server;
    bool has_desk;        /* bermd answers at DESK_ADDRESS (base/desk.h) */
    int control_listener; /* the inherited socket or what stands in for it, or -EBADF */

    struct env env;         /* of everything started from now on */
    char *workdir;          /* where commands start that name no directory */
    size_t output_limit;    /* bytes that one command's collected output may take */
    uint64_t keep_alive_ms; /* of silence, after which an event stream gets a comment */

    struct child_table children;
    struct loop_deferred names_later; /* see configure.c */
    struct session_table sessions;
    struct fifo_dir fifos;
    struct watch_table watches;
    struct process_table processes;
    struct event_writer events;
    struct ws_transport ws_transport;
    struct interpreter interpreter;
    struct rpc_state rpc;
    struct http_client *own_client; /* NULL until it is needed */

    char *const *command;    /* the container's, NULL-terminated; its first word may be NULL */
    const char *command_dir; /* where it starts; NULL: our own directory */
    bool exit_with_command;  /* its end is ours whatever its code */
    bool keep_log;           /* its output goes to `log`, and not to ours */
    struct command_log log;
    struct command_input input;
    struct child *supervised; /* that command, while it runs */
    struct exec_terminal *exec_terminals;
    struct exec_stream *named_execs;
    struct held_directories held; /* see directories.c */
    struct ca_trust ca_trust;
    struct shutdown shutdown;
    int exit_code; /* of the agent, once the loop has been stopped */
};
