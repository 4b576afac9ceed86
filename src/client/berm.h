/*
 * berm.h - the C client library of Berm: everything that the HTTP API can do.
 *
 * Three headers, of which this one includes the others: sandboxes, commands, sessions, URLs and keys here; what
 * streams in berm_stream.h; processes, code contexts, files, git and settings in berm_work.h.
 *
 * - Shapes: plain structs; strings are NUL-terminated UTF-8. An absent string is NULL.
 *
 * - Ownership: what a function stores in `*ret_...` belongs to the caller, who gives it to the matching _free.
 *   Everything a result points to lives exactly as long as the result. The library copies what it is passed.
 *
 * - Errors: functions return 0, or -1 with *problem filled (NULL is allowed) and no `*ret_...` touched.
 *
 * - Threads: any number of threads may use a client at the same time; each call has a connection to itself, and a
 * few are kept for the next calls. A stream, and a result, is one thread's at a time. There is no global state but
 * curl's.
 *
 * - Blocking: every call blocks until it is done, fails, or the client's cancel descriptor becomes readable, or
 * that of the call (berm_client_with). Streams and terminals also work without blocking.
 *
 * - Signals: the library installs no handler and raises no SIGPIPE for its own connections.
 *
 * - Versions: functions are only added, under the version in which they came. What a struct holds can change
 * until 1.0, and with it the number of the shared library.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BERM_DEFAULT_URL "http://127.0.0.1:8787"

enum berm_problem_kind {
    BERM_PROBLEM_NONE = 0,
    BERM_PROBLEM_ARGUMENT,  /* the caller passed something unusable; nothing was sent */
    BERM_PROBLEM_CONNECT,   /* no connection: refused, name not found, TLS not trusted */
    BERM_PROBLEM_TRANSPORT, /* the connection broke, or what came was not what the API promises */
    BERM_PROBLEM_API,       /* the daemon refused: http_status and code */
    BERM_PROBLEM_LOCAL,     /* the caller's own source or sink failed: errnum */
    BERM_PROBLEM_CANCELLED, /* the cancel descriptor became readable */
    BERM_PROBLEM_SYSTEM     /* out of memory and the like: errnum */
};

struct berm_problem {
    enum berm_problem_kind kind;
    int http_status;   /* of API problems, else 0 */
    int errnum;        /* 0 if no system call is behind it */
    char code[48];     /* machine-readable code of an API problem ("sandbox_not_found"), else "" */
    char message[512]; /* one line for people, without control characters */
};

struct berm_client;

struct berm_client_options {
    const char *url;     /* http or https; NULL: BERM_DEFAULT_URL. A path prefix is kept */
    const char *api_key; /* sent as "Authorization: Bearer"; NULL: none */
    const char *ca_file; /* PEM certificates to trust instead of the system's; NULL: the system's */
};

int berm_client_new(const struct berm_client_options *options, struct berm_client **ret_client,
                    struct berm_problem *problem);
/* NULL is allowed. No call may be running with it, and its streams are to be closed before. */
void berm_client_free(struct berm_client *client);

/*
 * From now on every call of the client fails with BERM_PROBLEM_CANCELLED as soon as `fd` (a signalfd, eventfd,
 * pipe...) is readable; the library never reads from it. -1 takes that away, e.g. to clean up after a cancelled
 * call.
 */
void berm_client_set_cancel_fd(struct berm_client *client, int fd);

struct berm_with {
    int cancel_fd;               /* as of berm_client_set_cancel_fd(); -1: none */
    const char *idempotency_key; /* 1 to 128 visible characters; NULL: none */
    int64_t if_generation;       /* only if this generation of the sandbox serves it; else 410. 0: any */
};

/*
 * The same client for one call, or for some, under conditions of their own: the connections are shared, and the
 * cancel descriptor of the client it was made of counts as well. With an idempotency key each call is to be the
 * same: the daemon runs it once, and whoever repeats it, after a connection that broke, gets the first one's
 * answer. What takes such a key: making a sandbox, its variables and labels, commands, code, starting a process and
 * its input, contexts, git, and what writes files; others that change something are refused. *ret_client is for
 * berm_client_free(), after its streams and before the client.
 */
int berm_client_with(struct berm_client *client, const struct berm_with *with, struct berm_client **ret_client,
                     struct berm_problem *problem);

/* ---- sandboxes ---- */

struct berm_limits {
    uint64_t memory_bytes; /* 0 in a request: the daemon's default */
    uint64_t disk_bytes;
    uint32_t cpu_millis; /* 1000 = one CPU */
    uint32_t pids;
    uint32_t nofile;
};

struct berm_create {
    const char *id;    /* [a-z2-7]{1,128}; NULL: the daemon chooses */
    const char *image; /* NULL: the daemon's default image */
    struct berm_limits limits;
    const char *const *env;    /* "NAME=value", NULL-terminated; NULL: none */
    const char *const *labels; /* "name=value", NULL-terminated; NULL: none */
    const char *sleep_after;   /* "10m", "90s"...; NULL: the daemon's default */
    bool keep_alive;
    const char *network; /* "internet" or "none"; NULL: the daemon's default */
    const char
        *egress;      /* a policy, JSON text as PUT /v1/sandbox/{id}/egress takes it; NULL: the daemon's default */
    const char *name; /* for people, one line of at most 128 bytes, not unique; "": none any more; NULL: as it is */
};

/* An id that nobody has, for free(). It allocates nothing; the sandbox comes with the first use of the id. */
int berm_sandbox_new_id(struct berm_client *client, char **ret_id, struct berm_problem *problem);

/*
 * Makes and starts the sandbox, or changes the settings of the one that has this id; *ret_created (may be NULL)
 * tells which. *ret_id is for free().
 */
int berm_sandbox_create(struct berm_client *client, const struct berm_create *options, char **ret_id,
                        bool *ret_created, struct berm_problem *problem);

/* Kills everything in it and frees it, at once. A sandbox that is not there is no problem. */
int berm_sandbox_delete(struct berm_client *client, const char *id, struct berm_problem *problem);

struct berm_sandbox {
    const char *id;
    const char *state; /* "creating", "running", "sleeping" or "stopped" */
    const char *image;
    const char *created_at;   /* RFC 3339 */
    const char *last_used_at; /* RFC 3339 */
    const char *end_reason;   /* why it does not run: "exited", "oom", "slept"...; NULL if it does */
    int64_t generation;
    struct berm_limits limits;
    const char *const *labels; /* "name=value", NULL-terminated, never NULL */
    const char *name;          /* what people call it, or NULL */
};

struct berm_sandbox_list {
    const struct berm_sandbox *items;
    size_t count;
    const char *cursor; /* for the next page; NULL on the last one */
    const char *json;   /* the daemon's answer, verbatim */
};

/* A list with exactly one item. */
int berm_sandbox_get(struct berm_client *client, const char *id, struct berm_sandbox_list **ret_list,
                     struct berm_problem *problem);

/* One page. `label` "name=value" or NULL; `cursor` of the page before or NULL. */
int berm_sandbox_list(struct berm_client *client, const char *label, const char *cursor,
                      struct berm_sandbox_list **ret_list, struct berm_problem *problem);
void berm_sandbox_list_free(struct berm_sandbox_list *list);

/* The policy of a sandbox's way out, with counters and what was refused: the daemon's JSON, for free(). */
int berm_egress_get(struct berm_client *client, const char *id, char **ret_json, struct berm_problem *problem);
/* `policy` is JSON text and holds at once, also for connections that are open; NULL: the daemon's default again. */
int berm_egress_set(struct berm_client *client, const char *id, const char *policy, struct berm_problem *problem);

/*
 * What policies name in "credentials": a value that the daemon puts into requests and tells nobody. The list is the
 * daemon's JSON, for free(), and has names only.
 */
int berm_secret_set(struct berm_client *client, const char *name, const char *value, struct berm_problem *problem);
int berm_secret_list(struct berm_client *client, char **ret_json, struct berm_problem *problem);
int berm_secret_delete(struct berm_client *client, const char *name, struct berm_problem *problem);

struct berm_event {
    const char *time;   /* RFC 3339 */
    const char *event;  /* "created", "started", "configured", "slept", "died", "start_failed" */
    const char *detail; /* or NULL */
    const char *reason; /* of an end: "exited", "oom", "slept"...; else NULL */
    int64_t number;     /* grows by one with each event of the sandbox */
    int64_t generation;
};

struct berm_event_list {
    const struct berm_event *items;
    size_t count;
    const char *json;
};

/* The last life-cycle events of a sandbox, oldest first. */
int berm_sandbox_events(struct berm_client *client, const char *id, struct berm_event_list **ret_list,
                        struct berm_problem *problem);
void berm_event_list_free(struct berm_event_list *list);

/* ---- sessions: shells that keep their directory and variables between commands ---- */

struct berm_session_create {
    const char *id;  /* [a-zA-Z0-9._-]{1,128}; NULL: the daemon chooses */
    const char *cwd; /* NULL: /workspace */
    const char *const *env;
};

int berm_session_create(struct berm_client *client, const char *sandbox_id,
                        const struct berm_session_create *options, char **ret_id, struct berm_problem *problem);
int berm_session_delete(struct berm_client *client, const char *sandbox_id, const char *session_id,
                        struct berm_problem *problem);

/* ---- commands ---- */

/*
 * Where bytes come from: fills up to `n` bytes, returns their count, 0 at the end, or -1 with errno. A source may
 * block. Where bytes go: takes all `n` bytes and returns 0, or -1 with errno, which ends the call with
 * BERM_PROBLEM_LOCAL.
 */
typedef ssize_t (*berm_source)(void *data, void *bytes, size_t n);
typedef int (*berm_sink)(void *data, const void *bytes, size_t n);

/* What a command may use, all of its processes together; 0: no limit of its own. */
struct berm_exec_limits {
    int64_t cpu_ms;  /* processor time */
    int64_t wall_ms; /* since its start */
    uint64_t memory_bytes;
    uint64_t output_bytes; /* of stdout and stderr; so many are delivered */
    uint32_t pids;
    bool no_network;
};

/* What a command has used; -1: nobody knows. */
struct berm_usage {
    int64_t cpu_ms;
    int64_t max_rss_bytes; /* of the largest of its processes */
    int64_t io_bytes;      /* of storage */
    int64_t net_bytes;
    char
        reason[24]; /* "exited", the name of the limit it passed ("cpuMs"), "timeout" or "killed"; "": no receipt */
};

struct berm_exec {
    const char *const *argv;        /* NULL-terminated, at least one */
    const char *cwd;                /* NULL: the session's, or /workspace */
    const char *const *env;         /* "NAME=value", NULL-terminated; NULL: none */
    const char *session;            /* NULL: a fresh process that leaves nothing behind */
    int64_t timeout_ms;             /* 0: none. The command is killed then and its exit code is 124 */
    bool has_stdin;                 /* false: the command reads from /dev/null */
    int stdin_fd;                   /* read until its end while the command runs; its flags are left alone */
    berm_sink on_stdout, on_stderr; /* NULL: thrown away */
    void *data;
    /* NULL: none. A command that passes one is killed with all it has started, and its exit code is 137. */
    const struct berm_exec_limits *limits;
    struct berm_usage *ret_usage; /* filled when a command with limits has ended; NULL: not wanted */
};

/*
 * Runs a command, streaming both ways at once. *ret_exit_code is the command's status, 128+n if signal n ended it.
 * When the call is cancelled or fails, the connection is closed, on which the daemon kills a command without
 * session.
 */
int berm_sandbox_exec(struct berm_client *client, const char *id, const struct berm_exec *exec, int *ret_exit_code,
                      struct berm_problem *problem);

/* ---- files below /workspace ---- */

#define BERM_FILE_PUT_MAX                                                                                          \
    ((int64_t)32 << 20) /* larger bodies are refused; stream them through a command's stdin                        \
                         */

/* `path` is absolute. A file that is not there: BERM_PROBLEM_API with http_status 404. */
int berm_file_get(struct berm_client *client, const char *id, const char *path, berm_sink sink, void *data,
                  struct berm_problem *problem);

/* Sends exactly `size` bytes; a source that ends before is BERM_PROBLEM_LOCAL. Creates parents, replaces contents.
 */
int berm_file_put(struct berm_client *client, const char *id, const char *path, berm_source source, void *data,
                  int64_t size, struct berm_problem *problem);

/* ---- ports of a sandbox under URLs ---- */

struct berm_route {
    uint16_t port;
    const char *url;
    const char *name;       /* or NULL */
    const char *token;      /* of a preview, else NULL */
    const char *path;       /* of a preview: the same below the daemon's own URL, else NULL */
    const char *expires_at; /* of a preview that does; RFC 3339, or NULL */
    const char *id;         /* of a tunnel, else NULL */
    const char *hostname;   /* of a tunnel, else NULL */
    const char *created_at; /* of a tunnel; RFC 3339, else NULL */
};

struct berm_route_list {
    const struct berm_route *items;
    size_t count;
    const char *json; /* the daemon's answer, verbatim */
};

struct berm_expose {
    uint16_t port;
    const char *name;     /* NULL: none */
    const char *token;    /* [a-z0-9_]{1,16}; NULL: the one that the port has, or a random one */
    int64_t expires_in_s; /* 0: never */
};

/* Exposes a port in this run of the sandbox, which is started if need be. A list with exactly one item. */
int berm_port_expose(struct berm_client *client, const char *id, const struct berm_expose *options,
                     struct berm_route_list **ret_list, struct berm_problem *problem);
/* Those that answer now. */
int berm_port_list(struct berm_client *client, const char *id, struct berm_route_list **ret_list,
                   struct berm_problem *problem);
/* A port that is not exposed is no problem. */
int berm_port_unexpose(struct berm_client *client, const char *id, uint16_t port, struct berm_problem *problem);

/* The tunnel of the port, a new one if there is none. `name` NULL: a quick one. A list with exactly one item. */
int berm_tunnel_get(struct berm_client *client, const char *id, uint16_t port, const char *name,
                    struct berm_route_list **ret_list, struct berm_problem *problem);
int berm_tunnel_list(struct berm_client *client, const char *id, struct berm_route_list **ret_list,
                     struct berm_problem *problem);
/* A tunnel that is not there is no problem. */
int berm_tunnel_destroy(struct berm_client *client, const char *id, uint16_t port, struct berm_problem *problem);
void berm_route_list_free(struct berm_route_list *list);

/* ---- API keys ---- */

struct berm_key {
    const char *id;
    const char *label;      /* or NULL */
    const char *created_at; /* RFC 3339, or NULL */
};

struct berm_key_list {
    const struct berm_key *items;
    size_t count;
    const char *json;
};

/* *ret_key is the secret, told this once; both are for free(). */
int berm_key_create(struct berm_client *client, const char *label, char **ret_id, char **ret_key,
                    struct berm_problem *problem);
int berm_key_list(struct berm_client *client, struct berm_key_list **ret_list, struct berm_problem *problem);
void berm_key_list_free(struct berm_key_list *list);
int berm_key_delete(struct berm_client *client, const char *key_id, struct berm_problem *problem);

/* ---- the daemon ---- */

/* 0 if it answers GET /health with 200. */
int berm_health(struct berm_client *client, struct berm_problem *problem);

/* What the daemon says about itself and its host, as JSON (GET /v1/host). *ret_json is for free(). */
int berm_host(struct berm_client *client, char **ret_json, struct berm_problem *problem);
/* How the daemon is reached from outside, as JSON (GET /v1/link). *ret_json is for free(). */
int berm_link_state(struct berm_client *client, char **ret_json, struct berm_problem *problem);

#ifdef __cplusplus
}
#endif

#include "berm_stream.h"
#include "berm_work.h"
