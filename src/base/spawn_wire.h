/*
 * spawn_wire.h - the wire between bermd and berm-spawn: fixed-size structs over a SOCK_SEQPACKET unix socket, with
 * descriptors passed beside them (SCM_RIGHTS). Same machine, same build: host byte order; `version` guards
 * upgrades.
 *
 * One message is one struct. Requests carry a `serial` that the reply repeats; replies may come in another order.
 * Events have serial 0. berm-spawn checks every field, for its peer may have been taken over: an unknown op, a
 * short or long message, a limit above the operator's ceiling or a digest that is not installed is an error reply,
 * never a crash. Nothing here is a path, a URL, JSON or text from a client, except `hostname`, which must match
 * [a-zA-Z0-9-]{1,63}.
 *
 * A sandbox is known by its `key`, 64 random bits that bermd chooses and stores before it asks for the sandbox, so
 * that after a crash of either side every sandbox that runs is either claimed by a row of the store or destroyed.
 */
#pragma once

#include "base.h"

#define SPAWN_WIRE_VERSION 3

enum spawn_op {
    SPAWN_OP_HELLO = 1,      /* -> reply.hello: what this host offers */
    SPAWN_OP_CREATE = 2,     /* make and start a sandbox; reply when pid 1 runs the agent */
    SPAWN_OP_SET_LIMITS = 3, /* all but `nofile`, which a process carries from its start */
    SPAWN_OP_KILL = 4,       /* all processes, now; the exit event follows */
    SPAWN_OP_DESTROY = 5, /* kill if alive, then free everything; the reply comes once the kill is certain, no exit
                             event follows, and the rest is cleaned behind it (its key is taken until then) */
    SPAWN_OP_STAT = 6,    /* resource use */
    SPAWN_OP_LIST = 7,    /* one SPAWN_EVENT_SANDBOX per known sandbox, then the reply (for adoption) */
    SPAWN_OP_SOCKET = 8,  /* a socket made inside the sandbox's network namespace; reply carries the fd */
    SPAWN_OP_PREPARE = 9, /* keep `prepare.slots` sets of parts ready (namespaces, cgroups, upper, root) */
    SPAWN_OP_FREEZE = 10, /* freeze.on */
    SPAWN_OP_EGRESS =
        11, /* the two sockets of the sandbox's way out, made again; the ones of before must be closed */
    SPAWN_OP_VOLUME_CREATE = 12, /* key: a number for the volume; EEXIST if it has one */
    SPAWN_OP_VOLUME_DELETE = 13, /* key likewise. Where it is mounted it stays as long as that sandbox */
    SPAWN_OP_VOLUME_LIST = 14,   /* one SPAWN_EVENT_VOLUME for each, then the reply */
    SPAWN_OP_VOLUME_MOUNT = 15, /* in the sandbox, over a directory that its pid 1 holds open; EBUSY if something is
                                   mounted there */
    SPAWN_OP_COMMIT = 16, /* an image of the sandbox's files as they are now; answered when it has begun, its end is
                             SPAWN_EVENT_COMMITTED */
    SPAWN_OP_IMAGE_DELETE = 17, /* key: the number of such an image. Begun when answered; one in use stays */
    SPAWN_OP_IMAGE_LIST = 18,   /* one SPAWN_EVENT_IMAGE for each such image, then the reply */
    SPAWN_OP_EVENT = 100        /* spawner -> bermd, serial 0 */
};

enum spawn_event {
    SPAWN_EVENT_EXIT = 1,      /* pid 1 of a sandbox is gone */
    SPAWN_EVENT_SANDBOX = 2,   /* an answer to LIST */
    SPAWN_EVENT_VOLUME = 4,    /* an answer to VOLUME_LIST: key */
    SPAWN_EVENT_COMMITTED = 5, /* key: the image's number; `error`, `message`, `image` */
    SPAWN_EVENT_IMAGE = 6,     /* an answer to IMAGE_LIST: key, `image` */
    SPAWN_EVENT_RESTARTED = 3  /* the worker process crashed and came back: pending requests are lost, LIST again */
};

enum spawn_network {
    SPAWN_NETWORK_NONE = 0,  /* loopback only */
    SPAWN_NETWORK_EGRESS = 1 /* connections and DNS questions end at two sockets that come with CREATE's reply */
};

/* Which descriptor is what, with the replies to CREATE (SPAWN_NETWORK_EGRESS) and EGRESS. */
enum { SPAWN_EGRESS_TCP = 0, SPAWN_EGRESS_UDP = 1, SPAWN_EGRESS_FDS = 2 };

enum spawn_backend { SPAWN_BACKEND_NATIVE = 0, SPAWN_BACKEND_OCI = 1 /* the runtime the operator configured */ };

struct spawn_limits {
    uint64_t memory_bytes;
    uint64_t disk_bytes;
    uint32_t cpu_millis; /* 1000 = one CPU */
    uint32_t pids;
    uint32_t nofile;
    uint32_t reserved;
};

#define SPAWN_HOSTNAME_SIZE 64

struct spawn_create {
    uint8_t image_digest[32]; /* SHA-256 of the image, see src/image */
    struct spawn_limits limits;
    uint32_t network;
    uint32_t backend;
    char hostname[SPAWN_HOSTNAME_SIZE];
};

struct spawn_socket {
    uint32_t family; /* AF_INET or AF_INET6 */
    uint32_t type;   /* SOCK_STREAM or SOCK_DGRAM */
};

/*
 * A volume is a directory tree of its own in the pool, with its own limit, that outlives sandboxes. It is known by
 * a number that bermd chooses at random. Where in a sandbox it is mounted is a descriptor of the sandbox's pid 1,
 * since no path comes over this wire; which one is only that sandbox's affair, as all it can cover is its own.
 */
struct spawn_volume {
    uint64_t disk_bytes;
};

struct spawn_volume_mount {
    uint64_t number;
    uint32_t fd; /* in pid 1 of the sandbox: a directory */
    uint32_t read_only;
};

/*
 * An image that is made of a sandbox's files is known by a number as well, which berm-spawn makes its name of. Its
 * digest is what sandboxes are created with.
 */
struct spawn_commit {
    uint64_t number;
};

struct spawn_request {
    uint32_t version;
    uint32_t op;
    uint64_t serial;
    uint64_t key; /* the sandbox, where the op is about one */
    union {
        struct spawn_create create;
        struct spawn_limits limits;
        struct spawn_socket socket;
        struct spawn_volume volume;
        struct spawn_volume_mount volume_mount;
        struct spawn_commit commit;
        struct {
            uint32_t slots;
        } prepare;
        struct {
            uint32_t on;
        } freeze;
        uint8_t pad[256];
    };
};

enum spawn_state { SPAWN_STATE_RUNNING = 1, SPAWN_STATE_EXITED = 2 };

enum spawn_end_reason {
    SPAWN_END_NONE = 0,
    SPAWN_END_EXITED = 1, /* pid 1 returned: exit_status */
    SPAWN_END_SIGNALED = 2,
    SPAWN_END_OOM = 3,    /* killed because the memory limit was reached */
    SPAWN_END_KILLED = 4, /* SPAWN_OP_KILL or DESTROY */
    SPAWN_END_UNKNOWN = 5 /* it died while no spawner watched */
};

struct spawn_sandbox {
    uint32_t state;
    uint32_t end_reason;
    int32_t exit_status; /* exit code or signal */
    uint32_t oom_kills;  /* processes the OOM killer took inside it, so far */
    int32_t host_pid;
    uint32_t uid_base;
    uint8_t image_digest[32];
    struct spawn_limits limits;
    uint32_t backend;
    uint32_t network;
};

struct spawn_stat {
    uint64_t memory_bytes, memory_peak_bytes, cpu_usec, disk_bytes;
    uint32_t pids, oom_kills;
};

struct spawn_image {
    uint8_t digest[32];
    uint64_t size_bytes; /* of COMMITTED only */
};

/* Bits of spawn_hello.features: what the host gives; `berm doctor` and GET /v1/host show them. */
enum {
    SPAWN_FEATURE_CGROUP_V2 = 1 << 0, /* limits by v2 controllers; else v1 */
    SPAWN_FEATURE_CGROUP_KILL = 1 << 1,
    SPAWN_FEATURE_LANDLOCK = 1 << 2,
    SPAWN_FEATURE_EROFS_FILE = 1 << 3, /* images mounted straight from their file */
    SPAWN_FEATURE_SIMPLE_QUOTA = 1 << 4,
    SPAWN_FEATURE_DISK_QUOTA = 1 << 5,
    SPAWN_FEATURE_EGRESS = 1 << 6 /* SPAWN_NETWORK_EGRESS can be had: nft with tproxy */
};

struct spawn_hello {
    uint32_t features;
    uint32_t landlock_abi;
    uint32_t sandboxes;
    uint32_t ready_slots;
    struct spawn_limits ceiling;
};

struct spawn_reply {
    uint32_t version;
    uint32_t op; /* of the request, or SPAWN_OP_EVENT */
    uint64_t serial;
    uint64_t key;
    uint32_t event;    /* enum spawn_event in events */
    int32_t error;     /* 0, or a positive errno */
    char message[128]; /* where it failed, e.g. "mount overlay"; NUL-terminated */
    union {
        struct spawn_hello hello;
        struct spawn_sandbox sandbox; /* CREATE, events */
        struct spawn_stat stat;
        struct spawn_image image;
        uint8_t pad[256];
    };
};

/*
 * Where the listening socket of a sandbox's agent is: <data>/run/<16 hex digits of key>.sock, made by berm-spawn,
 * owned by bermd's user, inherited by the agent as descriptor 3. Connect through unix_address_at().
 */
#define SPAWN_AGENT_SOCKET_FORMAT "%016llx.sock"
#define SPAWN_AGENT_FD            3

/*
 * A request of bermd may carry this field: base64 of a JSON object, as `env` of POST /berm/v1/configure, which the
 * agent lays over its environment before anything else. If it cannot, the answer is 503 and nothing has been done.
 */
#define AGENT_ENVIRONMENT_FIELD "Berm-Environment"
/* The answer to POST /api/contexts: how the interpreter was come by, "snapshot", "spare" or "cold". For /metrics.
 */
#define AGENT_CONTEXT_FIELD "Berm-Context-Start"
/* POST: of contexts asked for over WebSocket and RPC, how many were started how since this was last asked. */
#define AGENT_CONTEXTS_UNTOLD "/berm/v1/interpreter/untold"
#define AGENT_CONTEXTS_PATH   "/api/contexts"
