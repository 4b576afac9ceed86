/*
 * docker.h - `berm docker`: the commands of Docker's CLI that wrangler runs, and those that people type most, over
 * the daemon's Docker socket. As a program of its own it is called berm-docker, for WRANGLER_DOCKER_BIN.
 *
 * The socket is that of --host, $DOCKER_HOST, or DOCKER_SOCKET_DEFAULT. Output and exit statuses are Docker's where
 * programs read them.
 */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "cli/cli.h"

#define DOCKER_SOCKET_DEFAULT "/run/berm/docker.sock"
#define DOCKER_ANSWER_MAX     ((size_t)16 << 20)

struct docker_cli {
    struct cli *cli;
    const char *host; /* --host, or NULL */
    const char *socket;
};

/* --- calls (docker_http.c) --- */

struct docker_call {
    const char *method;
    const char *path;         /* encoded */
    const char *content_type; /* of the body; NULL: none */
    struct str body;
    int upload_fd;                             /* sent instead of `body`, chunked; -1: none */
    int (*sink)(void *data, struct str piece); /* takes a 2xx body; NULL: kept in `answer` */
    void *sink_data;

    long status;
    struct buf answer;
};

#define DOCKER_CALL(m, p)                                                                                          \
    {                                                                                                              \
        .method = (m), .path = (p), .upload_fd = -1, .answer = { .max = DOCKER_ANSWER_MAX },                       \
    }

/* 0: the daemon answered, see `status`. -1: it could not be asked, which has been told. */
int docker_ask(struct docker_cli *docker, struct docker_call *call);
/* The same, and anything but 2xx is told as Docker's CLI tells it. */
int docker_do(struct docker_cli *docker, struct docker_call *call);
void docker_call_done(struct docker_call *call);
#define _cleanup_docker_call_ _cleanup_(docker_call_done)
/* The answer as JSON in the arena of the invocation. NULL: told. */
const struct json *docker_json(struct docker_cli *docker, const struct docker_call *call);
/* A path in the arena; what goes into it has been through docker_encode(), which keeps "/" and ":". */
const char *docker_path(struct docker_cli *docker, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *docker_encode(struct docker_cli *docker, const char *text);

/* "berm docker: ..." or Docker's "Error response from daemon: ...". Returns STATUS_FAILED. */
int docker_fail(const struct docker_cli *docker, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- options --- */

/*
 * Docker's flags, which may be written `--name value`, `--name=value` or `-n value`, before and between the
 * operands. A table that ends with a NULL name; unknown flags are an error, as are those whose `refuse` says why.
 */
struct docker_flag {
    char letter;
    const char *name;
    enum { FLAG_ON, FLAG_TEXT, FLAG_LIST, FLAG_IGNORED, FLAG_IGNORED_TEXT } kind;
    size_t offset; /* of a bool, a const char * or a struct cli_list */
};

#define DOCKER_FLAGS_END                                                                                           \
    {                                                                                                              \
        .name = NULL                                                                                               \
    }

/* `first`: everything after the first operand is operands. -1: told. */
int docker_flags(struct docker_cli *docker, const struct docker_flag *table, void *values, bool first, int argc,
                 char **argv, struct cli_operands *ret);

/* --- templates (docker_format.c) --- */

/*
 * The part of Go's templates that people and wrangler use on JSON: {{.A.B}}, {{json .A}}, {{len .A}}, {{range .A}}
 * ...
 * {{end}}, and the escapes \t and \n outside of actions. `value` may be NULL, which is nil. -1 with *err.
 */
int docker_format(struct buf *out, const char *format, const struct json *value, struct berm_error *err);
/* Prints it on a line of stdout (verb_docker.c). A status. */
int docker_print_formatted(struct docker_cli *docker, const char *format, const struct json *value);

/* --- commands in containers (docker_exec.c) --- */

struct docker_command_options {
    struct cli_list env; /* NAME=VALUE, or NAME of our environment */
    const char *cwd, *user;
    bool with_stdin, tty;
    bool to_stderr; /* its stdout too */
};

/* Runs it with our standard streams: the command's exit status, or -1, told. */
int docker_run_command(struct docker_cli *docker, const char *container, char *const *argv,
                       const struct docker_command_options *options);

/* --- the commands --- */

struct docker_command {
    const char *name; /* "image ls" */
    int (*run)(struct docker_cli *docker, int argc, char **argv);
};

int docker_cmd_info(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_version(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_context_ls(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_login(struct docker_cli *docker, int argc, char **argv);

int docker_cmd_image_inspect(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_image_ls(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_image_rm(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_tag(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_pull(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_push(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_build(struct docker_cli *docker, int argc, char **argv);

int docker_cmd_ps(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_rm(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_stop(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_start(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_kill(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_inspect(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_logs(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_stats(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_commit(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_attach(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_exec(struct docker_cli *docker, int argc, char **argv);
int docker_cmd_run(struct docker_cli *docker, int argc, char **argv);
