/*
 * wire.h - bermd's end of the wire to berm-link (base/link_wire.h).
 *
 * berm-link starts its worker again by itself where that crashes, and tells which links went with it; when the wire
 * itself ends, berm-link is gone for good. It is not trusted: a message that the wire does not know, that is not
 * for this side, or that comes with a descriptor where none belongs, ends the wire.
 */
#pragma once

#include "base/error.h"
#include "base/link_wire.h"
#include "base/loop.h"

struct link_wire;

struct link_wire_events {
    void (*on_up)(uint32_t link, enum link_transport transport, const char *peer, void *data);
    void (*on_down)(uint32_t link, enum link_reason reason, uint32_t retry_ms, const char *text, void *data);
    void (*on_stream)(uint32_t link, int fd, void *data); /* `fd` is the callee's */
    void (*on_draining)(uint32_t link, void *data);
    void (*on_lost)(void *data); /* berm-link is gone, and all links are down; nothing comes after it */
    bool dials;                  /* which messages may come */
    void *data;
};

/* Takes the descriptor over, also where it fails. */
struct link_wire *link_wire_new(struct loop *loop, int fd, const struct link_wire_events *events,
                                struct berm_error *err);
void link_wire_free(struct link_wire *wire); /* NULL is allowed; no callback comes any more */

bool link_wire_alive(const struct link_wire *wire);
/* -1 with errno: berm-link is gone, or does not read. `fd` is only lent. */
int link_wire_open(struct link_wire *wire, uint32_t link, int fd);
int link_wire_close(struct link_wire *wire, uint32_t link);
int link_wire_drain(struct link_wire *wire, uint32_t link);

const char *link_transport_name(enum link_transport transport);
const char *link_reason_name(enum link_reason reason);
