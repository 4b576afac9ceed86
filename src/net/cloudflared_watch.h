/*
 * cloudflared_watch.h - when a cloudflared is ready: its metrics server, whose address it prints, tells of a
 * connection to Cloudflare's edge, and a quick tunnel has its URL. Asked five times a second, until it is too late.
 *
 * Part of whoever runs the process: it feeds `output`. Nothing is called after cloudflared_watch_end().
 */
#pragma once

#include "base/buf.h"
#include "base/cloudflared.h"
#include "base/loop.h"

struct http_call;
struct http_client;

struct cloudflared_watch {
    struct cloudflared_output output;
    void (*on_ready)(struct cloudflared_watch *watch); /* at most one of these, once */
    void (*on_late)(struct cloudflared_watch *watch);

    struct loop *loop; /* the rest is private */
    struct http_client *client;
    struct http_call *probe;
    struct buf answer;
    struct loop_timer timer;
    struct loop_deferred drop_client;
    uint64_t deadline_ms;
    bool stopped;
};

/* With the two callbacks set and the rest zero. */
void cloudflared_watch_begin(struct cloudflared_watch *watch, struct loop *loop, bool quick);
/* It is to end: it is not asked any more. */
void cloudflared_watch_stop(struct cloudflared_watch *watch);
/* Frees what it holds. */
void cloudflared_watch_end(struct cloudflared_watch *watch);
