/*
 * files.h - what the file routes share. Every file operation takes its turn in its session's queue, because a write
 * that follows a command in the same session is expected to happen after it; but it needs the session only for the
 * directory that relative paths start from, and is done with system calls by the agent itself.
 *
 * Paths are used as they are sent: the sandbox is the boundary, and inside it the agent's rights are its user's.
 */
#pragma once

#include "agent/child/child.h"
#include "agent/http/request.h"
#include "agent/session/session.h"

#define FILE_PATH_MAX 4096 /* UTF-16 units */

struct file_request {
    struct request *rq;
    struct session_op op;
    const char *operation; /* "file.read", ...: member of error contexts; NULL: none */
    const char *path;      /* as sent; in the request's arena */
    const char *target;    /* of rename and move, else NULL */
    int cwd_fd;            /* once a relative path needed it */
    /* Does the work, answers, and calls file_done(), perhaps later. */
    void (*work)(struct file_request *f);
    /* Tells of a failure in a form other than that of all errors. NULL: in that. */
    void (*fail)(struct request *rq, const char *message);
};

/* Decodes the member `key` as a path: NULL after having answered 400. */
const char *file_path(struct request *rq, const char *key);
/* Whether `text` may be a path; else why not. */
const char *file_path_problem(const struct json *value);

/* Queues `work` in the session that the body names, or runs it at once without a session. */
void file_start(struct request *rq, const char *operation, const char *path, const char *target,
                void (*work)(struct file_request *f));
void file_start_failing(struct request *rq, const char *operation, const char *path,
                        void (*work)(struct file_request *f),
                        void (*fail)(struct request *rq, const char *message));
void file_done(struct file_request *f);
/* The rest of the work needs no turn in the session any more. */
void file_leave_session(struct file_request *f);

/* The descriptor that `path` starts from for the *at() calls, or -1 after having answered (then file_done()
 * follows).
 */
int file_base(struct file_request *f, const char *path);

/* The regular file at `path`, open for reading, or -1 after having answered (then file_done() follows). */
int file_open(struct file_request *f, uint64_t *ret_size);

/* The last component of a path, without slashes behind it; empty for the root. */
struct str file_base_name(const char *path);

/* Answers. */
void file_reply_ok(struct file_request *f); /* {success, path, timestamp} */
void file_reply_not_found(struct file_request *f);
void file_reply_failed(struct file_request *f, int errnum);
