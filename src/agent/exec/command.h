/*
 * command.h - what the two ways of running commands share: which session, which bash, which directory.
 */
#pragma once

#include "agent/child/child.h"
#include "agent/child/env.h"
#include "agent/child/limit.h"
#include "agent/child/pty.h"
#include "agent/http/request.h"

/*
 * The session of an execute request: body, then the X-Session-Id field, then the query's session or sessionId.
 * *ret is NULL if none is named. -1: a field error. (Authorization is not looked at: a bearer token is no session.)
 */
int command_session_id(struct request *rq, const char **ret, struct berm_error *err);

/*
 * The member "limits" of a body, as limits_from_json(). A command with limits is a process of its own: it runs
 * without a session, and naming one beside them is a field error.
 */
int command_limits(const struct json *body, const char *session_id, struct limits *ret, bool *ret_given,
                   struct berm_error *err);

/* What is wrong with variables for a session's shell, in the request's arena; NULL: nothing. */
const char *command_env_problem(struct request *rq, const struct env *env);

/* What a command without a session takes: `bash -c <text>`, or the same without bash where that comes out equal. */
struct bash_spec {
    struct str text;
    const struct env *env;       /* over the agent's; may be NULL */
    const char *cwd;             /* NULL: the default directory; a relative one starts there */
    int stdin_fd;                /* a descriptor, CHILD_NULL or CHILD_PIPE */
    const struct limits *limits; /* NULL: none */
    const struct pty *pty;       /* all three streams instead; NULL: none */
    uint64_t mark;               /* process_mark.h */
};

/* stdout and stderr go to the sink. NULL with *err. */
struct child *command_spawn(struct request *rq, const struct bash_spec *spec, struct sink *sink,
                            const struct child_events *events, void *data, struct child_error *err);

/* The same for an argument vector whose program is executed as it is: PATH search, no shell. */
struct child *command_spawn_argv(struct request *rq, char **argv, const struct bash_spec *spec, struct sink *sink,
                                 const struct child_events *events, void *data, struct child_error *err);

/* "cannot enter the working directory '/x': No such file or directory", in the request's arena. */
const char *command_spawn_failure(struct request *rq, const struct child_error *err, const char *cwd);
