/*
 * berm_work.h - what is done in and to a sandbox besides running commands: processes, code contexts, files, git,
 * its settings, and the daemon's pool and images. Blocking calls; what streams is in berm_stream.h.
 *
 * A list is freed with its own _free. `json` of a list is the daemon's answer, verbatim, for what these structs
 * leave out. Included by berm.h.
 */
#pragma once

#include "berm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- processes that go on in the background ---- */

struct berm_process {
    const char *id;
    const char *command;
    const char *status;     /* "running", "completed", "failed", "killed" or "error" */
    const char *start_time; /* RFC 3339 */
    const char *end_time;   /* or NULL */
    int64_t pid;            /* in the sandbox; 0 if it is not known */
    int64_t exit_code;      /* -1 until it is known */
};

struct berm_process_list {
    const struct berm_process *items;
    size_t count;
    const char *json;
};

struct berm_process_start {
    const char *command;    /* text for bash */
    const char *id;         /* NULL: one is chosen */
    const char *session;    /* NULL: the default session */
    const char *cwd;        /* NULL: the session's */
    const char *const *env; /* "NAME=value", NULL-terminated; NULL: none */
    int64_t timeout_ms;     /* 0: none */
    bool has_stdin;         /* its standard input is a pipe: berm_process_input() */
};

/* *ret_id is for free(). */
int berm_process_start(struct berm_client *client, const char *id, const struct berm_process_start *start,
                       char **ret_id, struct berm_problem *problem);
int berm_process_list(struct berm_client *client, const char *id, struct berm_process_list **ret_list,
                      struct berm_problem *problem);
/* A list with exactly one item. */
int berm_process_get(struct berm_client *client, const char *id, const char *process,
                     struct berm_process_list **ret_list, struct berm_problem *problem);
void berm_process_list_free(struct berm_process_list *list);

/* SIGTERM to it and its children, SIGKILL after five seconds. One that has ended is BERM_PROBLEM_API, 404. */
int berm_process_kill(struct berm_client *client, const char *id, const char *process,
                      struct berm_problem *problem);
/* "SIGHUP", "HUP" or "1", to it and its children; what comes of that is the program's to say. */
int berm_process_signal(struct berm_client *client, const char *id, const char *process, const char *signal,
                        struct berm_problem *problem);
int berm_process_kill_all(struct berm_client *client, const char *id, int64_t *ret_count,
                          struct berm_problem *problem);
/* Writes to its standard input, all of it, and closes that if `close_it`. */
int berm_process_input(struct berm_client *client, const char *id, const char *process, const void *bytes,
                       size_t size, bool close_it, struct berm_problem *problem);

struct berm_logs {
    const char *out; /* text so far */
    const char *err;
    size_t out_size, err_size;
    const char *json;
};

int berm_process_logs(struct berm_client *client, const char *id, const char *process, struct berm_logs **ret_logs,
                      struct berm_problem *problem);
void berm_logs_free(struct berm_logs *logs);

/* ---- contexts: interpreters that keep what code defined ---- */

struct berm_context {
    const char *id;
    const char *language; /* "python", "javascript" or "typescript" */
    const char *cwd;
};

struct berm_context_list {
    const struct berm_context *items;
    size_t count;
    const char *json;
};

/* `language` NULL: python; `cwd` NULL: /workspace. *ret_context is for free(). */
int berm_context_create(struct berm_client *client, const char *id, const char *language, const char *cwd,
                        const char *const *env, char **ret_context, struct berm_problem *problem);
int berm_context_list(struct berm_client *client, const char *id, struct berm_context_list **ret_list,
                      struct berm_problem *problem);
void berm_context_list_free(struct berm_context_list *list);
int berm_context_delete(struct berm_client *client, const char *id, const char *context,
                        struct berm_problem *problem);
/* Stops what runs in it, as Ctrl-C does, and keeps it. */
int berm_context_interrupt(struct berm_client *client, const char *id, const char *context,
                           struct berm_problem *problem);

/* ---- files, anywhere in the sandbox; `path` is absolute ---- */

struct berm_file {
    const char *name;
    const char *path;     /* absolute */
    const char *type;     /* "file", "directory", "symlink" or "other" */
    const char *modified; /* RFC 3339 */
    const char *mode;     /* "rw-r--r--" */
    int64_t size;
};

struct berm_file_list {
    const struct berm_file *items;
    size_t count;
    const char *json;
};

int berm_file_list(struct berm_client *client, const char *id, const char *path, bool recursive, bool hidden,
                   struct berm_file_list **ret_list, struct berm_problem *problem);
/* A list with exactly one item. */
int berm_file_stat(struct berm_client *client, const char *id, const char *path, struct berm_file_list **ret_list,
                   struct berm_problem *problem);
void berm_file_list_free(struct berm_file_list *list);
int berm_file_exists(struct berm_client *client, const char *id, const char *path, bool *ret_exists,
                     struct berm_problem *problem);
/* `parents`: also those above it, and one that is there is no problem. */
int berm_file_mkdir(struct berm_client *client, const char *id, const char *path, bool parents,
                    struct berm_problem *problem);
int berm_file_move(struct berm_client *client, const char *id, const char *from, const char *to,
                   struct berm_problem *problem);
/* One file or link; a directory is refused. */
int berm_file_delete(struct berm_client *client, const char *id, const char *path, struct berm_problem *problem);
/* Whether anything under `path` changed since `since` (a version of an earlier answer, or NULL): the daemon's JSON.
 */
int berm_watch_check(struct berm_client *client, const char *id, const char *path, const char *since,
                     char **ret_json, struct berm_problem *problem);

/* ---- git ---- */

struct berm_git {
    const char *url;
    const char *branch;    /* NULL: the default one */
    const char *directory; /* NULL: /workspace/<name of the repository> */
    int64_t depth;         /* 0: all of the history */
};

/* Where it is, and which branch that is; each may be NULL and is for free(). */
int berm_git_checkout(struct berm_client *client, const char *id, const struct berm_git *git, char **ret_directory,
                      char **ret_branch, struct berm_problem *problem);

/* ---- buckets of S3 servers as directories ---- */

struct berm_bucket {
    const char *bucket;   /* its name; without `endpoint` one of the daemon's bindings */
    const char *path;     /* absolute; missing directories are made */
    const char *endpoint; /* the server's URL, as the sandbox reaches it; NULL: see there */
    const char *prefix;   /* "/..."; NULL: all of the bucket */
    const char *access_key_id, *secret_access_key; /* NULL: the binding's, or those in the sandbox's environment */
    const char *const *s3fs_options;               /* each as after s3fs' -o, NULL-terminated; NULL: none */
    bool read_only;
};

/* s3fs runs in the sandbox, and whoever is root there can get at the keys. It ends with the sandbox's generation.
 */
int berm_bucket_mount(struct berm_client *client, const char *id, const struct berm_bucket *bucket,
                      struct berm_problem *problem);
int berm_bucket_unmount(struct berm_client *client, const char *id, const char *path, struct berm_problem *problem);

/* ---- the sandbox itself ---- */

/* The workspace gets what is in a tar (plain, gzip, bzip2, xz or zstd), read from `source` to its end. */
int berm_hydrate(struct berm_client *client, const char *id, berm_source source, void *data,
                 struct berm_problem *problem);

/* What it uses now: the daemon's JSON, for free(). Does not start it. */
int berm_sandbox_stats(struct berm_client *client, const char *id, char **ret_json, struct berm_problem *problem);
/* Its sessions: the daemon's JSON, for free(). */
int berm_session_list(struct berm_client *client, const char *id, char **ret_json, struct berm_problem *problem);

/* "name=value", NULL-terminated. `replace`: these and no others; else "name=" takes one away. */
int berm_sandbox_set_labels(struct berm_client *client, const char *id, const char *const *labels, bool replace,
                            struct berm_problem *problem);
/* The environment of what is started from now on, in the same way. */
int berm_sandbox_set_env(struct berm_client *client, const char *id, const char *const *env, bool replace,
                         struct berm_problem *problem);

/* ---- the daemon's pool and images: its JSON, for free() ---- */

int berm_pool_stats(struct berm_client *client, char **ret_json, struct berm_problem *problem);
int berm_pool_prime(struct berm_client *client, struct berm_problem *problem);
int berm_pool_shutdown(struct berm_client *client, struct berm_problem *problem);
int berm_image_list(struct berm_client *client, char **ret_json, struct berm_problem *problem);

/* ---- any route: for what has no function of its own ---- */

/* `target` begins with "/"; `json` is a body or NULL; *ret_json (may be NULL) is for free(). */
int berm_request(struct berm_client *client, const char *method, const char *target, const char *json,
                 char **ret_json, struct berm_problem *problem);

#ifdef __cplusplus
}
#endif
