/*
 * cloudflared.h - one `cloudflared tunnel` process, if there is such a program on the PATH.
 *
 * It is ready when its metrics server, whose address it prints, tells of a connection to the edge, and a quick
 * tunnel has also printed its URL. What it prints is not trusted beyond that: lines are cut, and only what has the
 * form of the two is looked at.
 */
#pragma once

#include "base/base.h"

struct agent;
struct cloudflared;

struct cloudflared_events {
    void (*on_ready)(struct cloudflared *c, void *data); /* at most once */
    /* Once, last; it is gone after it. `reason` is why it never got ready, or NULL. `exit_code` -1: by a signal. */
    void (*on_exit)(struct cloudflared *c, int exit_code, const char *reason, void *data);
};

/* `token` NULL: a quick tunnel. NULL with *ret_errnum, ENOENT when there is no such program. */
struct cloudflared *cloudflared_start(struct agent *agent, int port, const char *token,
                                      const struct cloudflared_events *events, void *data, int *ret_errnum);
/* SIGTERM, after three seconds SIGKILL; on_exit comes. */
void cloudflared_stop(struct cloudflared *c);
const char *cloudflared_url(const struct cloudflared *c); /* "" until it is known, and of a named tunnel */
