/*
 * core.h - the middle of berm-link: the wire to bermd on one side, links of either transport on the other.
 *
 * A process is a dialler, with one edge to reach (dial.c), or a listener (listen.c). It ends when bermd closes the
 * wire.
 */
#pragma once

#include "link/transport.h"

/* Of either kind of process; told from inside link_up() and link_down(). What is NULL is not of interest. */
struct core_role {
    void (*on_up)(struct core *core, struct link *link, enum link_transport transport);
    /* Returns in how many ms it is tried again, for the wire. */
    uint32_t (*on_down)(struct core *core, struct link *link, enum link_reason reason, const char *text);
    void (*on_far_side_drains)(struct core *core, struct link *link);
    void (*on_drain)(struct core *core); /* no more links are wanted */
    bool opens_streams;
};

#define LINKS_MAX 4096

/* In memory that outlives a worker which crashes, so that its successor can tell bermd what is gone. */
struct link_table {
    uint32_t last_number;
    uint32_t up[LINKS_MAX]; /* 0: free */
};

struct core {
    struct loop *loop;
    const struct core_role *role;
    void *owner;                     /* whose role it is */
    struct credentials *credentials; /* of new sessions */
    struct link *links;              /* up or not */
    struct link *gone;               /* down, freed at the next turn */
    uint32_t link_count, handshakes; /* all; those not up */
    struct link_table *table;
    size_t bytes; /* held for streams */
    bool draining;
    bool misled; /* bermd said what it may not */
    struct loop_io wire;
    struct outgoing *first, *last; /* what the wire did not take yet */
    uint32_t outgoing_count;
};

/* Takes the wire's descriptor; `table` is the caller's. 0 or -1 with errno. */
int core_init(struct core *core, struct loop *loop, int wire, struct link_table *table,
              const struct core_role *role);
/* All links closed and freed. */
void core_fini(struct core *core);

/* Closes a link that bermd or we do not want any more, with DOWN for one that was up. */
void core_close(struct link *link, enum link_reason reason, const char *text);
void core_drain(struct link *link);
/* A try of the dialler's has failed: DOWN with number 0. */
void core_tell_failure(struct core *core, enum link_reason reason, const char *text, uint32_t retry_ms);

/*
 * Listening: whether a peer at this address may begin a handshake now: neither all nor those of its address (/64
 * for IPv6) are at their limit. A link counts from link_from() on.
 */
bool core_admit(const struct core *core, const struct link_address *peer);
void link_from(struct link *link, const struct link_address *peer);

/* --- for stream.c --- */

void core_tell_stream(struct link *link, int fd); /* takes it */
void core_stream_ended(struct link *link);

/* --- for giving.c --- */

void core_flooded(struct link *link); /* with streams that are taken back: it is closed in this turn */

/* --- for core.c: wire.c --- */

/* Sends or queues; takes `fd`, which may be -1. */
void wire_send(struct core *core, const struct link_message *message, int fd);
/* Whether bermd may say this: its size, words and descriptors. */
bool wire_accepts(const struct link_message *message, size_t n, size_t fds, bool opens_streams);
void wire_send_queued(struct core *core);
void wire_clear(struct core *core);
