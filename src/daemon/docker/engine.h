/*
 * engine.h - what the files of the Docker Engine API share; private to src/daemon/docker.
 *
 * Theory of operation: a `container` is made by POST /containers/create and is, until something needs it, only a
 * description. container_boot() makes its sandbox and waits until the agent answers; start, archive and exec go
 * through it. The interceptor side container that workerd asks for (side.h) never becomes a sandbox: it is a
 * listener of ours on a loopback port, which leads into the network namespace of the container that names it.
 * All state belongs to the loop's thread. Requests that wait are on lists of their container; when either goes, it
 * takes itself off.
 */
#pragma once

#include "daemon/api/request.h"
#include "daemon/docker/docker.h"

#define DOCKER_ID_HEX      64
#define DOCKER_NAME_MAX    255
#define DOCKER_REF_MAX     255
#define DOCKER_BODY_MAX    ((size_t)1024 * 1024)
#define DOCKER_API_VERSION "1.43"
#define DOCKER_MIN_VERSION "1.24"
#define CONTAINERS_MAX     16384
#define IMAGES_MAX         4096
#define STOP_SECONDS       10
#define STOP_SECONDS_MAX   86400

struct agent_call;
struct authority;
struct container_input;
struct container_log;
struct mounting;
struct port_map;
struct side;

struct docker {
    struct daemon *daemon;
    struct http_server *server;
    struct list containers; /* in order of creation */
    size_t container_count;
    struct list images;
    size_t image_count;
    struct list commits; /* under way, see commit.c */
    size_t commit_count;
    struct loop_timer sweep_images;
    bool images_wait;                    /* for a container to go */
    struct list volumes, volumes_making; /* see volumes.h */
    size_t volume_count;
    struct list execs;
    size_t exec_count;
    struct list watchers; /* of events */
    size_t watcher_count;
    struct list tunnels; /* at most server.max_connections */
    size_t tunnel_count;
    struct authority *authority; /* of docker_authority(); NULL until it is asked for */
    struct loop_deferred remove_ended;
};

/* --- containers (container.c) --- */

enum container_phase {
    CONTAINER_CREATED,  /* no sandbox yet, or one that was only made for an archive */
    CONTAINER_STARTING, /* somebody waits for start */
    CONTAINER_RUNNING,
    CONTAINER_EXITED
};

/* Somebody who waits for a container's sandbox to answer. `done` comes exactly once, unless cancelled. */
struct boot_wait {
    struct list node;
    void (*done)(struct boot_wait *wait, struct agent_link *link, const struct berm_error *err);
};

/* One that holds POST /containers/X/wait open. */
struct exit_wait {
    struct list node;
    void (*done)(struct exit_wait *wait, int status);
};

struct container {
    struct docker *docker;
    struct list node;
    char id[DOCKER_ID_HEX + 1];
    char name[DOCKER_NAME_MAX + 1];
    char image[DOCKER_REF_MAX + 1]; /* as the client named it */
    char image_id[DOCKER_ID_HEX + 1];
    char sandbox_id[33];
    enum container_phase phase;
    int64_t created_ms, started_ms, finished_ms;
    int exit_code;
    bool oom;
    bool goes; /* its end has been told to the one who waited: it is to be removed */

    /* What it was made with: JSON texts, owned, never NULL. */
    char *env;     /* object for the sandbox */
    char *labels;  /* object, the client's own */
    char *argv;    /* array: the command to supervise, or "[]" */
    char *workdir; /* NULL: none said */
    char *mounts;  /* array, see volumes.h; NULL: none */
    char berm_image[IMAGE_NAME_BYTES];
    struct spawn_limits limits;         /* 0: the daemon's default */
    char network[DOCKER_NAME_MAX + 16]; /* "bridge", "none", "container:NAME" */
    bool open_stdin, stdin_once;        /* of its command, see input.h */
    bool auto_remove;                   /* it goes with its end */
    int stop_signal;                    /* what stop sends, and how long it waits until it kills; -1: for ever */
    int64_t stop_seconds;
    bool plain; /* an image that is not the sandbox's: its command's end is the container's */

    struct sandbox *sandbox; /* a reference, while there is one in the registry */
    struct sandbox_wait wait;
    bool waiting; /* `wait` is queued */
    struct sandbox_settings settings;
    char *labels_text;         /* of `settings`, while `waiting` */
    struct mounting *mounting; /* under way, see mounts.c */
    struct agent_call *probe;
    bool booted; /* the agent has answered in this instance */
    struct list boot_waits, exit_waits, remove_waits;

    struct list start_waits; /* requests for its start, see start.c */
    struct boot_wait start_boot;
    struct agent_call *supervise;

    struct container_input *input; /* NULL: nobody is attached to it */
    struct container_log *log;     /* NULL: nobody has looked at it */
    struct side *side;             /* this is a side container */
    struct port_map *ports;        /* published ones */
};

struct container *container_new(struct docker *docker, const char *name);
/* By name (with or without a slash before it), id, or a unique beginning of an id of at least 4 digits. */
struct container *container_find(struct docker *docker, struct str name);
struct container *container_by_name(struct docker *docker, const char *name);
/* The container that runs in the namespace of side container `side`, or NULL. */
struct container *container_of_side(struct docker *docker, const char *side);
const char *container_status(const struct container *container); /* "created", "running", "exited" */
/* Destroys the sandbox and everything; everybody who waits is told. */
int container_remove(struct container *container, struct berm_error *err);
/* Tells everybody who waits, and frees what is in memory; what there is of a sandbox lives on. */
void container_forget(struct container *container);
/* Tells everybody who waits for its end. The container may be gone afterwards. */
void container_ended(struct container *container, int status);
void container_remove_ended(struct loop_deferred *deferred);
/* Sandboxes of the registry that were made as containers become containers again. */
int container_load_all(struct docker *docker);
/* A JSON text of the container's, parsed. NULL: there is none (inspect.c). */
const struct json *container_text(struct arena *arena, const char *text);
/* Members of an object. */
void container_write_labels(struct json_writer *w, const struct json *labels);
void container_write_mounts(struct json_writer *w, struct arena *arena, const struct container *container);
/* A moment in an object; 0 as Docker tells "never" (inspect.c). */
void docker_pair_time(struct json_writer *w, const char *key, int64_t ms);
/* The labels that a sandbox of this container gets. NULL without memory. */
char *container_labels(const struct container *container);
/* After something in them has changed. A container without a sandbox gets them with it. */
void container_store_labels(struct container *container);

/* --- starting (boot.c) --- */

/* Makes the sandbox if there is none and calls wait->done when its agent answers; perhaps from inside. */
void container_boot(struct container *container, struct boot_wait *wait);
void container_boot_cancel(struct boot_wait *wait); /* idempotent */
void container_stop_booting(struct container *container, const struct berm_error *err);

/* Requests that wait for the start are failed, its steps cancelled. */
void container_stop_starting(struct container *container, const struct berm_error *err);

/* --- images (images.c) --- */

struct docker_image {
    struct list node;
    char ref[DOCKER_REF_MAX + 1]; /* "cloudflare-dev/sandbox:1a2b", normalised */
    char id[DOCKER_ID_HEX + 1];
    char berm_image[IMAGE_NAME_BYTES]; /* what a sandbox is made of: a name or "sha256:..." */
    int64_t created_ms;
    bool plain;
    char *config; /* Docker's Config object as JSON, owned */
};

/* What a reference leads to, as a copy: `config` is in `arena`. IMAGE_NOT_FOUND otherwise. */
int docker_image_resolve(struct docker *docker, struct arena *arena, const char *ref, struct docker_image *ret,
                         struct berm_error *err);
/* Stores a tag. `image->id` is made here when it is empty. */
int docker_image_put(struct docker *docker, struct docker_image *image, struct berm_error *err);
int docker_image_untag(struct docker *docker, const char *ref, struct berm_error *err);
int docker_images_load(struct docker *docker, struct berm_error *err);
void docker_images_free(struct docker *docker);
/* "docker.io/library/x" -> "x:latest". -1: not a reference. */
int docker_ref_normalise(struct str ref, char out[DOCKER_REF_MAX + 1]);
bool docker_ref_is_interceptor(struct str ref);
/* An image that a commit has made without a name: its reference is nothing that a client can write. */
#define DOCKER_REF_NONE "<none>:"
bool docker_ref_is_none(const char *ref);
/* `repo` and `tag` of the query. -1: answered. */
int docker_target_ref(struct request *request, char out[DOCKER_REF_MAX + 1]);

/* --- requests (routes.c) --- */

/* [a-zA-Z0-9][a-zA-Z0-9_.-]+ (create.c): of containers and volumes. */
bool docker_name_valid(struct str name);
/* {"message": "..."} */
void docker_fail(struct request *request, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void docker_fail_error(struct request *request, const struct berm_error *err);
struct docker *docker_of(const struct request *request);
/* The container that the path names; NULL: 404 was answered. */
struct container *docker_container(struct request *request);
/* "SIGTERM", "term", "15"; 0: unknown (control.c). */
int docker_signal(const char *text);
/* "1", "true", "True" of the query. */
bool docker_query_flag(struct request *request, const char *name);
/* Collects and parses the body; an empty one is NULL. */
void docker_read_json(struct request *request, void (*next)(struct request *request));
const struct json *docker_body(struct request *request); /* in `next`; NULL: empty, or (request answered) broken */
/* `filters={"label":["a=b"],"name":["x"]}` or the older form with objects. -1: answered. */
struct docker_filters {
    const struct json *json;
};
/* `names`, up to NULL: those that there are. Another one is refused: who filters would take what is left out for
 * what is not there. */
int docker_filters(struct request *request, const char *const *names, struct docker_filters *ret);
/* The values of one. */
size_t docker_filter_count(const struct json *values);
struct str docker_filter_value(const struct json *values, size_t i);
/* Calls `each` for each value of filter `name`; true if there is none, or if any matches. */
bool docker_filter_any(const struct docker_filters *filters, const char *name,
                       bool (*match)(const void *subject, struct str value), const void *subject);
/* The same, but all must match. */
bool docker_filter_all(const struct docker_filters *filters, const char *name,
                       bool (*match)(const void *subject, struct str value), const void *subject);
/* "key" or "key=value" in a JSON object of strings, as text. */
bool docker_label_matches(const char *labels, struct str wanted);

void docker_event(struct docker *docker, const char *type, const char *action, const char *id, const char *name,
                  const char *image);

/* --- the handlers, by file --- */

void docker_ping(struct request *request);
void docker_version(struct request *request);
void docker_info(struct request *request);
void docker_network(struct request *request);
void docker_networks(struct request *request);
void docker_volume_list(struct request *request);
void docker_volume_create(struct request *request);
void docker_volume_inspect(struct request *request);
void docker_volume_delete(struct request *request);
void docker_volume_prune(struct request *request);
void docker_events(struct request *request);

void docker_create(struct request *request);
void docker_inspect(struct request *request);
void docker_list(struct request *request);
void docker_start(struct request *request);
void docker_stop(struct request *request);
void docker_kill(struct request *request);
void docker_wait(struct request *request);
void docker_remove(struct request *request);

void docker_logs(struct request *request);
void docker_attach(struct request *request);
void docker_resize(struct request *request);
void docker_stats(struct request *request);

void docker_archive_get(struct request *request);
void docker_archive_put(struct request *request);
void docker_export(struct request *request);

void docker_exec_create(struct request *request);
void docker_exec_start(struct request *request);
void docker_exec_inspect(struct request *request);
void docker_exec_resize(struct request *request);
void docker_execs_free(struct docker *docker);

void docker_image_list(struct request *request);
void docker_image_get(struct request *request);
void docker_image_post(struct request *request);
void docker_image_delete(struct request *request);
void docker_image_create(struct request *request);
void docker_commit(struct request *request);
void docker_commits_init(struct docker *docker);
void docker_commits_free(struct docker *docker);
/* A container has gone: its image may be nobody's now. */
void docker_image_released(struct docker *docker);
