/*
 * cli.h - what the verbs of `berm` share: the invocation, talking to the daemon, talking to the user.
 *
 * Exit status: run and exec end with the command's own status, and with 125 when berm itself failed; all others end
 * with 0, with 1 on failure, with 2 when they were called wrongly. A verb that SIGINT, SIGTERM or SIGHUP
 * interrupted cleans up and then dies of that signal, so that a shell sees 130, 143 or 129.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include "base/arena.h"
#include "cli/options.h"
#include "client/berm.h"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_COMMAND_FAILED = 125 };

struct verb;

struct cli {
    const struct verb *verb;
    struct arena arena; /* lives as long as the process */
    struct berm_client *client;
    const char *temporary; /* a file to remove if a signal ends us */
    int signal_fd;         /* -1 until cli_client() */
    bool colour;           /* stderr is a terminal and wants it */
    bool terminal;         /* stderr is a terminal */
    /* Options that every verb takes. */
    const char *url;
    const char *key_file;
    const char *ca_file;
    bool help;
    bool version;
};

struct verb {
    const char *name;     /* "run", "image build" */
    const char *operands; /* as the usage line shows them */
    const char *summary;  /* one line */
    const char *details;  /* further lines of the help, or NULL */
    const struct cli_option *options;
    bool options_first; /* operands are a command */
    int (*run)(struct cli *cli, int argc, char **argv);
};

extern const struct verb *const verbs[]; /* NULL-terminated */
extern const struct cli_option global_options[];
extern const struct cli_option no_options[]; /* of verbs that have none */

extern const struct verb verb_run, verb_create, verb_exec, verb_cp, verb_ls, verb_inspect, verb_logs, verb_rm,
    verb_image_build, verb_image_import, verb_image_ls, verb_image_rm, verb_key_add, verb_key_ls, verb_key_rm,
    verb_port_expose, verb_port_ls, verb_port_rm, verb_tunnel_open, verb_tunnel_ls, verb_tunnel_rm, verb_docker,
    verb_egress_show, verb_egress_set, verb_egress_reset, verb_secret_set, verb_secret_ls, verb_secret_rm, verb_ps,
    verb_process_start, verb_process_ls, verb_process_logs, verb_process_kill, verb_code_run, verb_context_create,
    verb_context_ls, verb_context_rm, verb_context_interrupt, verb_file_ls, verb_file_stat, verb_file_mv,
    verb_file_rm, verb_file_mkdir, verb_stats, verb_events, verb_label, verb_env, verb_session_create,
    verb_session_ls, verb_session_rm, verb_watch, verb_port_wait, verb_git_clone, verb_persist, verb_hydrate,
    verb_pool_stats, verb_pool_prime, verb_pool_shutdown, verb_mcp, verb_shell, verb_doctor, verb_version,
    verb_help, verb_bucket_mount, verb_bucket_unmount;

/* Options into `values` (the verb's struct) and the operands, whose number must be in min..max. -1: usage was told.
 */
int cli_parse(struct cli *cli, int argc, char **argv, void *values, int min, int max, struct cli_operands *ret);

/* "berm: ..." and how to get help. Returns STATUS_USAGE, or 125 for run and exec. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "berm: ..."; returns STATUS_FAILED, or 125 for run and exec. */
int cli_fail(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a problem of the client library, with advice where we have some. Dies of the signal if cancelled. */
int cli_problem(struct cli *cli, const struct berm_problem *problem);
void cli_warn(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The help of the running verb on stdout. */
int cli_help(const struct cli *cli);

/* The client by --url, --api-key-file and the environment, cancelled by signals. NULL: it was told why not. */
struct berm_client *cli_client(struct cli *cli);

/*
 * cli_parse() and cli_client() for verbs that take nothing but options and operands: NULL when *ret_status is how
 * the verb ends; else it is STATUS_OK. `values` NULL: it has no options.
 */
struct berm_client *cli_begin(struct cli *cli, int argc, char **argv, void *values, int min, int max,
                              struct cli_operands *ret, int *ret_status);

/* The signal that cancelled a call is taken away, so that cleaning up can be cancelled by another. Returns it, or
 * 0. */
int cli_take_signal(struct cli *cli);
_Noreturn void cli_die_of(int signo);

/* A sink that writes to descriptor *(int *)data, waking up for signals while it is full. */
struct cli_output {
    int fd;
    int cancel_fd;
};
int cli_output_write(const struct cli_output *out, const void *bytes, size_t n);

/*
 * Runs a command with the caller's stdio. 0 and the exit status that berm shall end with, or -1 with *problem.
 * Output that nobody reads any more is no problem but status 141, as if SIGPIPE had ended us.
 */
int cli_exec(struct cli *cli, struct berm_client *client, const char *id, struct berm_exec *exec, int *ret_status,
             struct berm_problem *problem);

/*
 * Shows a stream to its end and closes it: bytes as they are, events by `on_event` (NULL: not at all), which
 * returns 0, 1 to end the stream, or -1 with errno when the output failed. Returns a status; *ret_exit_code (may be
 * NULL) is left alone unless the stream tells one.
 */
typedef int (*cli_on_event)(struct cli *cli, const struct berm_item *item, void *data);
int cli_stream(struct cli *cli, struct berm_stream *stream, cli_on_event on_event, void *data, int *ret_exit_code);
/* An on_event that prints the event's JSON on a line, cleaned. */
int cli_event_line(struct cli *cli, const struct berm_item *item, void *data);

/* ---- output: what others have named or said is cleaned in all of it, see clean.h ---- */

/* What a format makes of its arguments, in one line that is not ended. */
void print_clean(FILE *to, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
/* A text on a line of stdout. Returns a status. */
int print_line(struct cli *cli, const char *text);

/* What a template has made of values: as it is for a program, cleaned for a terminal. -1: with errno. */
int print_rendered(struct str text);

/* Rows of cells on stdout, columns aligned. All rows have the header's cell count. */
struct table {
    struct arena *arena;
    size_t columns, rows, room;
    const char **cells;
    bool failed;
};
void table_init(struct table *t, struct arena *arena, size_t columns, const char *const *header);
void table_row(struct table *t, const char *const *cells); /* NULL cells show as "-" */
int table_print(const struct table *t, FILE *to);          /* -1: no memory, or the output failed */

/* Pretty-prints a JSON document to stdout, indented by two. Returns a status, as the others do. */
int print_json(struct cli *cli, const char *json);
/* The same with what a writer has made; its buffer is freed. */
struct json_writer;
int print_json_written(struct cli *cli, struct json_writer *w);
/* {"name": "value"} */
int print_json_pair(struct cli *cli, const char *name, const char *value);
/* {"name": 7} */
int print_json_count(struct cli *cli, const char *name, int64_t count);
/* {"name": ["value", ...]} */
int print_json_list(struct cli *cli, const char *name, const struct cli_list *values);
