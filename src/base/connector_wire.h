/*
 * connector_wire.h - the wire between bermd and berm-connector, which runs cloudflared for it: fixed-size structs
 * over a SOCK_SEQPACKET unix socket, without descriptors. Same machine, same build: host byte order.
 *
 * bermd cannot start programs once it is confined, and has nothing to do with what cloudflared prints. So a process
 * of its own, of a user of its own, starts it, reads its output, asks it whether it is connected, and tells bermd
 * nothing but the label of a name and reasons from a closed list. Both sides check every message: one of the wrong
 * size or type ends the connection between them, and with it every cloudflared.
 *
 * bermd -> berm-connector
 *
 *  - START: a cloudflared for the run of that number, from 1, never used twice.
 *  - STOP: end it. ENDED follows, unless it has been sent already.
 *
 * berm-connector -> bermd
 *
 *  - READY: Cloudflare's edge reaches us by it. At most once for a run.
 *  - ENDED: it is not there any more, or never was. Once for each run.
 */
#pragma once

#include "base.h"

#define CONNECTOR_WIRE_VERSION 1
#define CONNECTOR_RUNS_MAX     64
#define CONNECTOR_TEXT         2048

enum connector_message_type {
    CONNECTOR_START = 1,
    CONNECTOR_STOP = 2,
    CONNECTOR_READY = 16,
    CONNECTOR_ENDED = 17,
};

enum connector_reason {
    CONNECTOR_STOPPED = 1,      /* STOP */
    CONNECTOR_NOT_FOUND = 2,    /* there is no such program, or none that may be run */
    CONNECTOR_EXITED = 3,       /* by itself, or killed by somebody else */
    CONNECTOR_LATE = 4,         /* not ready in time */
    CONNECTOR_LIMITED = 5,      /* it has exited because Cloudflare gives no more tunnels for a while */
    CONNECTOR_NO_RESOURCES = 6, /* ours: processes, memory, descriptors, CONNECTOR_RUNS_MAX */
};

struct connector_message {
    uint16_t version; /* CONNECTOR_WIRE_VERSION */
    uint16_t type;
    uint32_t run;
    uint16_t named;            /* START: 1 with a token, 0 a quick tunnel */
    uint16_t reason;           /* ENDED */
    int32_t code;              /* ENDED: its exit status; -1: a signal, or there was no process */
    char text[CONNECTOR_TEXT]; /* START: the token; READY: the label of a quick tunnel. NUL to the end */
};

/* NUL-terminated, and nothing behind. */
static inline bool connector_text_ends(const struct connector_message *message)
{
    size_t n = strnlen(message->text, sizeof(message->text));

    for (size_t i = n; i < sizeof(message->text); i++)
        if (message->text[i])
            return false;
    return n < sizeof(message->text);
}
