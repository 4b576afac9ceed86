/*
 * cloudflared.h - what a `cloudflared tunnel` process is started with, and what it prints. Pure.
 *
 * It tells in its log where its metrics server is, which knows when it is connected, and the URL that a quick
 * tunnel got. Nothing else of what it prints is looked at, and no more than a line is ever kept: it may print
 * whatever it likes, as long as it likes.
 */
#pragma once

#include "base.h"

#define CLOUDFLARED_DOMAIN    "trycloudflare.com" /* quick tunnels are one label below it */
#define CLOUDFLARED_READY_MS  90000
#define CLOUDFLARED_GRACE_MS  3000 /* between SIGTERM and SIGKILL */
#define CLOUDFLARED_ARGS      12
#define CLOUDFLARED_LINE_MAX  ((size_t)8192)
#define CLOUDFLARED_LABEL_MAX 63
#define CLOUDFLARED_URL_MAX   (sizeof("https://") + CLOUDFLARED_LABEL_MAX + sizeof("." CLOUDFLARED_DOMAIN))

enum { CLOUDFLARED_STDOUT, CLOUDFLARED_STDERR, CLOUDFLARED_STREAMS };

/*
 * Its arguments, to reach `url`. Named: `token`, or NULL for one that is in its environment as TUNNEL_TOKEN, where
 * other users of the machine do not see it.
 */
void cloudflared_arguments(bool named, const char *token, const char *url, const char *ret[CLOUDFLARED_ARGS]);

struct cloudflared_output {
    char lines[CLOUDFLARED_STREAMS][CLOUDFLARED_LINE_MAX];
    size_t n[CLOUDFLARED_STREAMS];
    bool skipping[CLOUDFLARED_STREAMS]; /* the rest of a line that is too long */
    bool done;                          /* nothing is looked for any more */
    bool quick;

    uint16_t metrics_port;         /* 0: not known */
    bool limited;                  /* Cloudflare says that there have been too many of late */
    char url[CLOUDFLARED_URL_MAX]; /* of a quick tunnel, in lower case; "" until it is known */
};

/* Where the next bytes of a stream go, and how many at most: at least one. */
char *cloudflared_output_room(struct cloudflared_output *output, int stream, size_t *ret_room);
/* They are there. */
void cloudflared_output_take(struct cloudflared_output *output, int stream, size_t n);

/* 1 to 63 of [a-z0-9-], no hyphen at either end, and not Cloudflare's own "api". */
bool cloudflared_label_valid(struct str label);
/* Of a URL as above: its only label. */
struct str cloudflared_label(const char *url);
