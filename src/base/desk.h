/*
 * desk.h - where a sandbox may ask its daemon for something: HTTP at an address that nobody has (RFC 7600), which
 * leads to bermd because every connection of a sandbox does. Who asks is known by the way that it comes; no secret
 * and no name of a sandbox is in it. Every process of the sandbox may ask, and gets what the sandbox may have.
 *
 *   PUT    /tunnels/{port}  {"id"}     opens a quick tunnel, or tells of it again: {"url","createdAt"}
 *   DELETE /tunnels/{id}               204, also when there is none
 *   POST   /tunnels/wait    {"ids"}    answers {"gone":[...]} as soon as one of them is no longer there
 *
 * Errors are {"error","code"}: 409 another tunnel has the port; 501 the operator wants cloudflared to do it; 502
 * with DESK_NO_CLOUDFLARED: the daemon should use one, and there is none.
 */
#pragma once

#include "base/base.h"

#define DESK_ADDRESS        "192.0.0.8"
#define DESK_PORT           80
#define DESK_TUNNELS_MAX    64
#define DESK_NO_CLOUDFLARED "CLOUDFLARED_NOT_FOUND"
#define DESK_ID_MAX         31 /* bytes of [A-Za-z0-9_-] */

static inline bool desk_id_valid(struct str id)
{
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return id.n > 0 && id.n <= DESK_ID_MAX;
}
