/*
 * api.h - one HTTP request from its head to its end, and the table of routes.
 *
 * router.c makes a `struct request` for each exchange, checks id, key and route in that order and calls the route's
 * handler. A handler validates first, then asks for the sandbox, then works; it answers exactly once with one of
 * the request_respond_* or request_fail* functions or through proxy.h. When the exchange closes, whatever the
 * request still waits for is cancelled, and its memory (the arena included) goes at the end of the loop's turn.
 */
#pragma once

#include "base/json.h"
#include "daemon/agent_link.h"
#include "daemon/agent_patience.h"
#include "daemon/lifecycle.h"

#define REQUEST_ARENA_MAX   (16 * 1024 * 1024)
#define REQUEST_ARENA_FIRST 4096
#define JSON_BODY_MAX       (1024 * 1024)

struct request;

enum route_auth {
    ROUTE_OPEN,
    ROUTE_KEY,
    ROUTE_TOKEN, /* the key may also stand in the query as "token", for browsers */
};

struct route {
    const char *method;  /* NULL: any */
    const char *pattern; /* ":id" one segment, "*" at the end: the rest, which may be empty */
    const char *name;    /* in logs and metrics */
    enum route_auth auth;
    void (*handler)(struct request *request);
    bool once; /* takes an Idempotency-Key, see once.h */
};

/* What the answer of an agent becomes; see proxy.h. */
struct proxy_rules;
struct edge_name;

struct proxy {
    const struct proxy_rules *rules;
    struct http_client *client; /* who is called instead of the agent, set before each proxy_start(); or NULL */
    struct http_call *call;
    struct agent_patience patience;
    struct agent_mourner mourner;
    struct loop_timer retry;
    unsigned tries;
    struct berm_error broken;
    struct buf refusal; /* the body of an answer that is not passed on */
    int status;         /* of the agent's answer, 0 before it */
    bool tells_environment;
    bool makes_context; /* a code context is asked for: the answer counts in the metrics */
    bool passing;       /* the answer's body goes to the client */
    bool upload_done;
};

struct request {
    struct daemon *daemon;
    struct http_exchange *exchange; /* NULL once it is closed */
    const struct h1_head *head;
    struct sender sender;
    /* NULL: by our own listeners. Else it came from an edge, and this is what its Host means there. */
    void (*parse_name)(const struct request *request, struct edge_name *ret);
    const struct route *route; /* NULL: none matched, or it is for a preview or tunnel by its host name */
    size_t route_index;
    char id[17];
    uint64_t started_ns;
    struct arena arena;

    struct str sandbox_id; /* NUL-terminated, in the arena; n == 0: the route has none */
    struct str param;      /* the second ":name" of the pattern, raw */
    struct str rest;       /* what "*" matched, raw */
    const char *session;   /* Session-Id, checked; NULL: none */

    struct sandbox_wait wait;
    bool waiting;
    bool counted;                          /* in daemon->requests_active */
    void (*next)(struct request *request); /* when what it waits for has come */
    void (*on_body)(struct request *request, struct str piece);
    void (*on_body_end)(struct request *request);
    void (*on_drained)(struct request *request); /* of the answer's queue, besides the proxy's */

    struct sandbox *sandbox; /* a reference, from request_need_sandbox() on */
    struct agent_link *link; /* a reference: the instance that serves this request */
    struct sandbox *in_use;  /* == sandbox while it counts as use */
    struct proxy proxy;
    void *state; /* of the handler, in the arena */
    void (*cleanup)(struct request *request);

    /* Another layout of errors than error_json(); NULL: that. */
    void (*write_error)(struct json_writer *w, const struct berm_error *err);
    int status;
    uint64_t bytes_in, bytes_out;
    struct loop_deferred free_later;

    /* Of a stream (request_is_stream()): the daemon stops, the answer is to be ended now. */
    void (*on_stop)(struct request *request);
    struct list stream; /* in daemon->streams */

    _Alignas(max_align_t) char arena_room[REQUEST_ARENA_FIRST]; /* as it was left by the request before */
};

/* --- set-up --- */

extern const struct http_handler api_handler; /* its data is the daemon */
size_t api_route_count(void);
const char *api_route_name(size_t index);
size_t api_route_none(void);   /* counts requests that no route took */
size_t api_route_docker(void); /* and all of the Docker API */

/* Calls on_stop of all streams. */
void api_stop_streams(struct daemon *daemon);

/* --- input --- */

/* Collects the body and calls `next`. */
void request_collect_body(struct request *request, size_t limit, void (*next)(struct request *request));
/* The collected body as JSON. An empty one is *ret NULL. On failure the answer has been given and -1 comes back. */
int request_parse_json(struct request *request, const struct json **ret);
/* The answer will be a stream that a client expects to end with an event, not with its connection. */
void request_is_stream(struct request *request, void (*on_stop)(struct request *request));
/* Streams the body: on_body and on_body_end of the request are called. */
void request_stream_body(struct request *request);
/* A value of the query, decoded, in the arena: NULL if absent; -1 when malformed, answered. */
int request_query(struct request *request, const char *name, const char **ret);
/* Checks Session-Id into request->session. -1: answered. */
int request_take_session(struct request *request);
bool session_id_valid(struct str id);

/* --- the sandbox --- */

/* Waits until the sandbox runs (making or waking it), then calls `next` with request->sandbox and ->link set. */
void request_need_sandbox(struct request *request, void (*next)(struct request *request));
/* The same for what does nothing but call the agent: `next` may run before the start of the sandbox is committed.
 */
void request_need_agent(struct request *request, void (*next)(struct request *request));
/* Waits until it is known what runs, then calls `next`. */
void request_need_adoption(struct request *request, void (*next)(struct request *request));
/* The sandbox if it exists, else NULL. */
struct sandbox *request_find_sandbox(struct request *request);
/* PUT: makes or configures it; then `next` with request->sandbox, and request->wait.created. */
void request_configure_sandbox(struct request *request, const struct sandbox_settings *settings,
                               void (*next)(struct request *request));

/* --- answers --- */

/* Starts an answer with the fields that all of ours have, and `fields`. */
void request_begin(struct request *request, int status, const struct http_field *fields, size_t count,
                   uint64_t length);
bool request_write(struct request *request, struct str bytes);
/* See http_respond_splice(). */
ssize_t request_splice(struct request *request, int from, size_t most);
void request_end(struct request *request);
void request_respond(struct request *request, int status, const char *content_type, struct str body);
void request_respond_empty(struct request *request, int status);
/* Frees the buffer. `w` is finished here; what did not fit is a 500. */
void request_respond_json(struct request *request, int status, struct json_writer *w);
/* A writer onto a fresh buffer. NULL: the request has been failed. */
struct json_writer *request_json(struct request *request);
void request_fail(struct request *request, const struct berm_error *err);
/* The same with another status than the code's. */
void request_fail_status(struct request *request, int status, const struct berm_error *err);
void request_fail_with(struct request *request, enum berm_err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* 400 "Invalid JSON body", in exactly these words; what is wrong with it goes into the context. */
void request_fail_json(struct request *request, const struct berm_error *why);
/* {"error","code","context"}; `reason` and `detail` may be NULL. */
void error_json(struct json_writer *w, const struct berm_error *err, const char *reason, const char *detail);

/* --- the handlers, by file --- */

void api_health(struct request *request);
void api_metrics(struct request *request);
void api_host(struct request *request);
void api_link(struct request *request);
void api_images(struct request *request);
void api_pool_stats(struct request *request);
void api_pool_prime(struct request *request);
void api_pool_shutdown(struct request *request);
void api_mount(struct request *request);
void api_unmount(struct request *request);
void api_openapi_json(struct request *request);
void api_openapi_page(struct request *request);
void api_pty(struct request *request);

void api_key_list(struct request *request);
void api_key_create(struct request *request);
void api_key_delete(struct request *request);
void api_secret_list(struct request *request);
void api_secret_put(struct request *request);
void api_secret_delete(struct request *request);

void api_sandbox_new_id(struct request *request);
void api_sandbox_put(struct request *request);
void api_sandbox_get(struct request *request);
void api_sandbox_stats(struct request *request);
void api_sandbox_env(struct request *request);
void api_sandbox_labels(struct request *request);
void api_sandbox_list(struct request *request);
void api_sandbox_delete(struct request *request);
void api_sandbox_running(struct request *request);
void api_sandbox_events(struct request *request);
void api_events(struct request *request);
void api_egress_get(struct request *request);
void api_egress_put(struct request *request);
void api_egress_delete(struct request *request);
/* The operator's bounds of egress; NULL when it is off. */
const struct egress_ceiling *api_egress_ceiling(const struct request *request);

void api_exec(struct request *request);
void api_file_get(struct request *request);
void api_file_put(struct request *request);
void api_persist(struct request *request);
void api_hydrate(struct request *request);
void api_session_create(struct request *request);
void api_session_delete(struct request *request);
void api_container(struct request *request);

void api_port_expose(struct request *request);
void api_port_list(struct request *request);
void api_port_unexpose(struct request *request);
void api_tunnel_get(struct request *request);
void api_tunnel_list(struct request *request);
void api_tunnel_destroy(struct request *request);
/* Answers requests for names of the edge: true. Else they are the API's. */
bool edge_takes(struct request *request);
/* Answers what came over a link, whatever it is for. */
void edge_take_linked(struct request *request);
void edge_preview_path(struct request *request);
