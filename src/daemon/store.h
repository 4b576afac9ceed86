/*
 * store.h - what must survive the daemon: sandboxes, warm sandboxes, API keys. SQLite behind a small interface.
 *
 * Every change is one transaction that is durable against the death of the process when the call returns (WAL,
 * synchronous=NORMAL: no fsync on this path). Checkpoints, which do call fsync, run on a thread of the store's own.
 * All calls are made from the loop's thread. Errors are STORE_ERROR; nothing is changed then.
 */
#pragma once

#include "base/error.h"
#include "base/spawn_wire.h"

#define SANDBOX_ID_MAX     128
#define SANDBOX_NAME_MAX   128 /* bytes */
#define IMAGE_NAME_BYTES   80  /* a name of at most 64, or "sha256:" and 64 digits, and a NUL */
#define STORE_EVENTS_KEPT  100
#define API_KEY_ID_BYTES   16
#define API_KEY_HASH_BYTES 32

struct store;

/* Numbers are stored: never change their meaning. */
enum sandbox_state {
    SANDBOX_CREATING = 0, /* never stored */
    SANDBOX_RUNNING = 1,
    SANDBOX_SLEEPING = 2,
    SANDBOX_STOPPED = 3,
    SANDBOX_DESTROYED = 4 /* never stored */
};

enum end_reason {
    END_NONE = 0,
    END_EXITED = 1,
    END_SIGNALED = 2,
    END_OOM = 3,
    END_KILLED = 4,
    END_LOST = 5,
    END_SLEPT = 6,
    END_DESTROYED = 7,    /* never stored */
    END_START_FAILED = 8, /* a restart did not succeed */
};

struct sandbox_row {
    int64_t seq; /* order of creation; 0: not stored yet */
    char id[SANDBOX_ID_MAX + 1];
    char name[SANDBOX_NAME_MAX + 1]; /* for people; "" for none */
    uint64_t key;                    /* of the running instance, 0 if there is none */
    int64_t generation;
    enum sandbox_state state;
    char image[IMAGE_NAME_BYTES]; /* as the client named it */
    uint8_t digest[32];           /* what that name meant at the last start */
    struct spawn_limits limits;
    char *env;        /* JSON object, owned; never NULL once stored */
    char *labels;     /* JSON object, owned */
    char *egress;     /* JSON of its policy, owned; "" is the operator's default */
    uint32_t network; /* enum spawn_network; stored */
    uint64_t sleep_after_ms;
    bool keep_alive;
    int64_t created_ms, started_ms, last_used_ms; /* Unix time */
    enum end_reason end_reason;
    int32_t exit_status;
    int64_t event_count;
};

struct store_event {
    int64_t time_ms;
    const char *event;
    const char *detail; /* "" for none */
    const char *reason; /* of an end, as end_reason_name() has it; "" or NULL for none */
    int64_t generation;
    int64_t number; /* out: counted per sandbox from 0 */
};

struct api_key_row {
    char id[API_KEY_ID_BYTES];
    uint8_t hash[API_KEY_HASH_BYTES];
    char label[128];
    int64_t created_ms;
};

/* Numbers are stored, too. */
enum edge_kind { EDGE_PREVIEW = 1, EDGE_QUICK = 2, EDGE_NAMED = 3 };

/* A way from a name of the edge to a port of a sandbox; see edge/routes.h. */
struct edge_row {
    char sandbox[SANDBOX_ID_MAX + 1];
    enum edge_kind kind;
    uint16_t port;
    char secret[64];    /* a preview's token, a tunnel's label */
    char id[32];        /* of a tunnel; "" for previews */
    char name[64];      /* what the client called it, or "" */
    int64_t generation; /* of the sandbox when it was made or asked for the last time */
    int64_t created_ms;
    int64_t expires_ms; /* 0: never */
};

/* A request with an Idempotency-Key (api/once.h). They go after a day, or as the oldest of too many. */
struct once_row {
    const char *sandbox, *key;
    uint8_t hash[32]; /* of the request */
    int64_t created_ms;
    int status; /* of the answer; 0: none yet */
    const char *type;
    int64_t generation;
    bool kept; /* the answer's body is there; else it was too large */
    struct str body;
};

/* Opens or makes the database; refuses one that a newer version has written. */
int store_open(const char *path, struct store **ret, struct berm_error *err);
/* The same for a file in a directory that need not be reachable by any path. `dirfd` has to stay open. */
int store_open_at(int dirfd, const char *name, struct store **ret, struct berm_error *err);
void store_close(struct store *store);

/*
 * Starts are one transaction: the row of the sandbox (given a seq when it is new), the warm sandbox that it takes
 * over (`pool_key`, 0 for none) and an event. `event` may be NULL.
 */
int store_put_sandbox(struct store *store, struct sandbox_row *row, uint64_t pool_key,
                      const struct store_event *event, struct berm_error *err);
/* With its events, edge routes and certificate authority. */
int store_delete_sandbox(struct store *store, const struct sandbox_row *row, struct berm_error *err);
/* Only the time of last use, for many rows in one transaction: touch each, then flush. */
int store_touch(struct store *store, const char *id, int64_t last_used_ms, struct berm_error *err);
int store_touch_flush(struct store *store, struct berm_error *err);

int store_put_pool(struct store *store, uint64_t key, const uint8_t digest[32], struct berm_error *err);
int store_delete_pool(struct store *store, uint64_t key, struct berm_error *err);
/*
 * Before a warm sandbox is used whose commit comes later: from now on no daemon takes it for warm. One at a time:
 * the next call forgets the one before, whose commit must have come. -1: it has to be committed first.
 */
int store_claim(struct store *store, uint64_t key);

int store_put_key(struct store *store, const struct api_key_row *row, struct berm_error *err);
/* *ret_found says whether there was one. */
int store_delete_key(struct store *store, const char *id, bool *ret_found, struct berm_error *err);

/* Small things of other parts, as JSON under a kind ("docker.image") and a name. */
#define STORE_KIND_AUTHORITY "egress.authority" /* by the sandbox's id */
struct store_document {
    const char *kind, *name, *json;
};

int store_put_document(struct store *store, const char *kind, const char *name, const char *json,
                       struct berm_error *err);
int store_delete_document(struct store *store, const char *kind, const char *name,
                          struct berm_error *err); /* 0 also if there is none */
/* *ret is malloc'd; NULL: there is none. */
int store_get_document(struct store *store, const char *kind, const char *name, char **ret, struct berm_error *err);
/* Of a sandbox's port there is one preview and one tunnel; an older one is replaced. */
int store_put_edge(struct store *store, const struct edge_row *row, struct berm_error *err);
int store_delete_edge(struct store *store, const struct edge_row *row, struct berm_error *err);

/* Every row, through a callback, which gets ownership of nothing; for start-up. A callback's failure ends the walk.
 */
int store_each_sandbox(struct store *store, int (*each)(struct sandbox_row *row, void *data), void *data,
                       struct berm_error *err);
int store_each_pool(struct store *store, int (*each)(uint64_t key, const uint8_t digest[32], void *data),
                    void *data, struct berm_error *err);
int store_each_key(struct store *store, int (*each)(const struct api_key_row *row, void *data), void *data,
                   struct berm_error *err);
int store_each_event(struct store *store, int64_t seq, int (*each)(const struct store_event *event, void *data),
                     void *data, struct berm_error *err);
int store_each_document(struct store *store, int (*each)(const struct store_document *document, void *data),
                        void *data, struct berm_error *err);
int store_each_edge(struct store *store, int (*each)(const struct edge_row *row, void *data), void *data,
                    struct berm_error *err);

/* Only sandbox, key, hash and created_ms of the row count; one of that name is replaced. */
int store_begin_once(struct store *store, const struct once_row *row, struct berm_error *err);
/* Gives it its outcome. */
int store_finish_once(struct store *store, const struct once_row *row, struct berm_error *err);
int store_forget_once(struct store *store, const char *sandbox, const char *key, struct berm_error *err);
/* `found` is called if there is one that is not a day old; what it is given lives as long. */
int store_find_once(struct store *store, const char *sandbox, const char *key, int64_t now_ms,
                    void (*found)(const struct once_row *row, void *data), void *data, struct berm_error *err);
