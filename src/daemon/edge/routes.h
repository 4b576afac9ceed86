/*
 * routes.h - the ways from names of the edge to ports of sandboxes: previews and tunnels, in memory and in the
 * store.
 *
 * Theory of operation. A preview has two levels, as in the SDK: its token is an authorization and stays until it is
 * revoked; it is active only in the run of the sandbox (the generation) in which it was exposed the last time. A
 * quick tunnel belongs to one run and is forgotten with it; a named one stays. Nothing here starts a sandbox or
 * talks to one. Whatever is told to a client is in the store before. Everything belongs to the loop's thread; a
 * route that is returned is borrowed until the next change.
 */
#pragma once

#include "base/buf.h"
#include "base/hash.h"
#include "daemon/store.h"

#define EDGE_ROUTES_MAX 64 /* of a sandbox */

struct daemon;
struct edge;
struct json_writer;

struct edge_route {
    struct edge_row row;
    struct hash_node by_sandbox;
    struct hash_node by_label; /* of a tunnel */
    bool foreign;              /* below Cloudflare's domain, by a process of the connector's; in no store */
};

/* What names are below. */
struct edge_base {
    bool https;
    char domain[256];
    char port[8];    /* ":8787" or "" */
    char suffix[24]; /* of every label: "-home" behind an edge (link/name.h), else "" */
};

/* Of "http://localhost:8787" or "https://sandbox.example.com". -1 with *err: it is no such URL. */
int edge_base_parse(const char *url, struct edge_base *ret, struct berm_error *err);

/*
 * `url` is what names are below: "http://localhost:8787" or "https://sandbox.example.com". NULL with *err: no
 * memory, a bad URL, or a store that cannot be read.
 */
struct edge *edge_new(struct daemon *daemon, const char *url, struct berm_error *err);
void edge_free(struct edge *edge); /* NULL is allowed */

/* Of our own listeners. */
struct str edge_domain(const struct edge *edge);
bool edge_is_https(const struct edge *edge);
/*
 * Behind an edge (edge.link) clients are told names of that one, from when it is known what they are; until then
 * nothing is exposed (LINK_DOWN). A name that was told before stays what it was.
 */
void edge_show_as(struct edge *edge, const struct edge_base *base);

struct edge_route *edge_find_preview(struct edge *edge, struct str sandbox, uint16_t port);
struct edge_route *edge_find_tunnel(struct edge *edge, struct str sandbox, uint16_t port);
struct edge_route *edge_find_tunnel_id(struct edge *edge, struct str sandbox, struct str id);
struct edge_route *edge_find_label(struct edge *edge, struct str label);

/* Calls `each` for every route of a sandbox that has not expired, by kind and port. */
void edge_each(struct edge *edge, struct str sandbox,
               void (*each)(struct edge *edge, const struct edge_route *route, void *data), void *data);

struct edge_wish {
    struct str sandbox;
    int64_t generation; /* that runs now */
    uint16_t port;
    const char *name;   /* preview: any text, or NULL; tunnel: the label of a named one, or NULL for a quick one */
    const char *id;     /* of a quick tunnel; NULL: a random one */
    const char *token;  /* of a preview; NULL: the one it has, else a random one */
    int64_t expires_ms; /* of a preview; Unix time, 0: never */
};

/* Exposes a port in this run. CONFLICT: the token is another port's; too many. */
int edge_expose(struct edge *edge, const struct edge_wish *wish, struct edge_route **ret, struct berm_error *err);
/*
 * The tunnel that is there, or a new one. CONFLICT: other options or another id, the name is taken, too many.
 * FORBIDDEN: the operator wants none.
 */
int edge_open_tunnel(struct edge *edge, const struct edge_wish *wish, struct edge_route **ret,
                     struct berm_error *err);
/* Its parts, for who gets the name from somewhere else. 0: *ret is there. 1: *ret_row is what it would be, but for
 * its `secret`. */
int edge_prepare_tunnel(struct edge *edge, const struct edge_wish *wish, struct edge_row *ret_row,
                        struct edge_route **ret, struct berm_error *err);
int edge_add_foreign(struct edge *edge, const struct edge_row *row, struct edge_route **ret,
                     struct berm_error *err);
int edge_remove(struct edge *edge, struct edge_route *route, struct berm_error *err);
/* The sandbox has been deleted, in the store with what it had here. */
void edge_forget_sandbox(struct edge *edge, struct str sandbox);

/* Constant in time for tokens of the same length. */
bool edge_token_matches(const struct edge_route *route, struct str token);
bool edge_expired(const struct edge_route *route);
/* The object that tells of a tunnel. */
void edge_write_tunnel(struct json_writer *w, const struct edge *edge, const struct edge_route *route);
/* Appends "http://8080-id-token.localhost:8787/" or "https://label.example.com". -1 without memory, or while it is
 * not known. */
int edge_write_url(const struct edge *edge, const struct edge_route *route, struct buf *out);
