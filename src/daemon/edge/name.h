/*
 * name.h - the host names of the edge: what they mean and how they are written. Pure.
 *
 *   <port>-<sandbox>-<token>.<domain>   a preview; sandbox ids hold no hyphen
 *   <label>.<domain>                    a tunnel: any other label
 *
 * One label below the domain each, so that one wildcard certificate and one wildcard record do, and so that every
 * preview and tunnel is an origin of its own to a browser. No name below the domain may fall through to the API,
 * which trusts requests by their host name.
 */
#pragma once

#include "base/base.h"

#define EDGE_PORT_MIN  1024
#define EDGE_PORT_MAX  65535
#define EDGE_TOKEN_MAX 16
#define EDGE_LABEL_MAX 63

enum edge_name_kind {
    EDGE_NAME_OTHER, /* not below the domain: a request for the API */
    EDGE_NAME_PREVIEW,
    EDGE_NAME_TUNNEL,
    EDGE_NAME_NOBODY, /* several labels below the domain: nothing that could ever be given */
};

struct edge_name {
    enum edge_name_kind kind;
    uint16_t port;      /* of a preview */
    struct str sandbox; /* likewise; borrowed from the host */
    struct str token;
    struct str label; /* of a tunnel, as sent: compare without case */
    bool foreign;     /* below Cloudflare's domain, and not ours */
};

/* `host` is a Host field, with or without a port; `domain` is lower case, without a port. */
void edge_name_parse(struct str host, struct str domain, struct edge_name *ret);
/* The two halves of it. False: not below the domain. An empty label: nothing that could ever be given. */
bool edge_host_below(struct str host, struct str domain, struct str *ret_label);
void edge_label_parse(struct str label, struct edge_name *ret);

/* 1024 to 65535, and not the port of the agent. */
bool edge_port_valid(int64_t port);
bool edge_token_valid(struct str token); /* 1 to 16 of [a-z0-9_] */
/* ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$, at most 63, and not what a preview could be called. */
bool edge_tunnel_valid(struct str label);
/* Of "<port>-<sandbox>-<token>"; a label of a host name has at most EDGE_LABEL_MAX. */
size_t edge_preview_length(uint16_t port, struct str sandbox, struct str token);
