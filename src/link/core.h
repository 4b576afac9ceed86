/*
 * core.h - the middle of berm-link: the wire to bermd on one side, links of either transport on the other.
 *
 * A process is a dialler, with one edge to reach (dial.c), or a listener (listen.c). It ends when bermd closes the
 * wire.
 */
#pragma once

#include "link/transport.h"

struct core {
    struct loop *loop;
    struct credentials *credentials; /* of new sessions */
    struct link *links;              /* up or not */
    uint32_t link_count, handshakes;
    uint32_t last_number; /* given to a link */
    bool draining;
    struct loop_io wire;
    struct loop_deferred sending; /* what did not fit into the wire's socket */
    struct outgoing *first, *last;
    uint32_t outgoing_count;
    const struct core_events *events;
    struct admission *admission; /* listening: who may have a handshake; NULL: everybody */
    void *owner;                 /* of `events`: struct dialler or struct listener */
};

/* What dial.c and listen.c are told of. */
struct core_events {
    void (*on_up)(struct link *link, enum link_transport transport);
    /* Returns when it is tried again, in ms, for the wire. */
    uint32_t (*on_down)(struct link *link, enum link_reason reason, const char *text);
};

/*
 * Listening: whether a peer at this address may begin a handshake now: neither all nor those of its address (/64
 * for IPv6) are at their limit. Counted from link_init() with link_from() to link_up() or link_down().
 */
bool core_admit(const struct core *core, const struct link_address *peer);
void link_from(struct link *link, const struct link_address *peer);
