#include "daemon/link/uplink.h"

#include "base/log.h"
#include "base/sys.h"
#include "daemon/api/request.h"
#include "daemon/daemon.h"
#include "daemon/edge/routes.h"
#include "daemon/event_feed.h"
#include "daemon/link/name.h"
#include "daemon/link/uplink_routes.h"

#include <fcntl.h>

#define KEY_MIN       16
#define KEY_MAX       255
#define DOCUMENT_KIND "link"
#define DOCUMENT_NAME "name"

struct uplink {
    struct daemon *daemon;
    struct link_wire *wire;
    struct link_helper helper;
    struct http_server *server;
    char *key;

    uint32_t link; /* the newest one; 0: none */
    unsigned links_open;
    enum link_transport transport;
    char peer[LINK_TEXT], error[LINK_TEXT];
    bool named, refused; /* over this link */
    uint32_t told_link;  /* that clients have been told of as up; 0: none */
    int64_t since_ms;
    uint64_t links_total, streams_total;

    bool base_known; /* what clients are told, of this link or an earlier one */
    struct edge_base base;
    char name[LINK_NAME_MAX + 1], url[300];

    bool draining, server_idle;
    void (*on_idle)(void *data);
    void *on_idle_data;
};

/* --- while root --- */

static int read_key(const char *path, char **ret, struct berm_error *err)
{
    char text[KEY_MAX + 2];
    ssize_t n = read_small_file(AT_FDCWD, path, text, sizeof(text));
    struct str key = { text, n < 0 ? 0 : strcspn(text, "\n") };
    bool clean = key.n >= KEY_MIN && key.n + 1 >= (size_t)n;

    for (size_t i = 0; i < key.n; i++)
        clean &= text[i] > ' ' && text[i] <= '~';
    *ret = clean ? str_dup(key) : NULL;
    explicit_bzero(text, sizeof(text));
    if (n < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "edge.link_key: %s", path);
    return *ret ? 0
                : berm_fail(err, BERM_E_INVALID_REQUEST, 0, "edge.link_key: %s does not hold one key in one line",
                            path);
}

int uplink_prepare(const struct config *config, struct uplink_start *ret, struct berm_error *err)
{
    *ret = (struct uplink_start){ .helper.fd = -EBADF };
    if (!config->edge_link)
        return 0;
    if (read_key(config->edge_link_key, &ret->key, err) < 0)
        return -1;
    return link_helper_dial(config, &ret->helper, err);
}

/* --- what we are called --- */

static int take_name(struct uplink *uplink, const char *name, const char *url, struct berm_error *err)
{
    struct edge_base base;

    if (!link_name_valid(str_from(name)) || strlen(url) >= sizeof(uplink->url))
        return berm_fail_field(err, "name", "that is no name of a daemon");
    if (edge_base_parse(url, &base, err) < 0)
        return berm_error_wrap(err, "url");
    snprintf(base.suffix, sizeof(base.suffix), "-%s", name);
    snprintf(uplink->name, sizeof(uplink->name), "%s", name);
    snprintf(uplink->url, sizeof(uplink->url), "%s", url);
    uplink->base = base;
    uplink->base_known = true;
    edge_show_as(uplink->daemon->edge, &base);
    return 0;
}

static int keep_name(const struct uplink *uplink, struct berm_error *err)
{
    struct json_writer w;
    struct buf text;
    int rc;

    buf_init(&text, 4096);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_pair_cstring(&w, "edge", uplink->daemon->config.edge_link);
    json_pair_cstring(&w, "name", uplink->name);
    json_pair_cstring(&w, "url", uplink->url);
    json_object_end(&w);
    rc = json_writer_finish(&w) < 0 || buf_append(&text, "", 1) < 0
             ? berm_fail(err, BERM_E_SYSTEM, ENOMEM, "out of memory")
             : store_put_document(uplink->daemon->store, DOCUMENT_KIND, DOCUMENT_NAME, buf_head(&text), err);
    buf_free(&text);
    return rc;
}

/* The name that this edge gave before; another edge's is of no use. */
static int recall_name(struct uplink *uplink, struct berm_error *err)
{
    const char *edge = NULL, *name = NULL, *url = NULL;
    _cleanup_free_ char *text = NULL;
    const struct json *document;
    struct arena arena;
    int rc = 0;

    if (store_get_document(uplink->daemon->store, DOCUMENT_KIND, DOCUMENT_NAME, &text, err) < 0)
        return -1;
    if (!text)
        return 0;
    arena_init(&arena, 16384);
    if (json_parse(&arena, str_from(text), 2, &document, err) < 0 ||
        json_field_cstring(document, "edge", &edge, err) < 0 ||
        json_field_cstring(document, "name", &name, err) < 0 || json_field_cstring(document, "url", &url, err) < 0)
        rc = -1;
    else if (edge && name && url && !strcmp(edge, uplink->daemon->config.edge_link))
        rc = take_name(uplink, name, url, err);
    arena_free(&arena);
    return rc;
}

/* Events are of links that serve: from when the edge has given a name. */
static void tell_up(struct uplink *uplink)
{
    char detail[LINK_TEXT + 16];

    if (uplink->told_link == uplink->link)
        return;
    snprintf(detail, sizeof(detail), "%s %s", link_transport_name(uplink->transport), uplink->peer);
    feed_tell_daemon(uplink->daemon, uplink->told_link ? "link_moved" : "link_up", detail);
    uplink->told_link = uplink->link;
}

static void tell_down(struct uplink *uplink, const char *event)
{
    feed_tell_daemon(uplink->daemon, event, uplink->error);
    uplink->told_link = 0;
}

int uplink_rename(struct uplink *uplink, const char *name, const char *url, struct berm_error *err)
{
    bool changed = !uplink->base_known || strcmp(uplink->name, name) != 0 || strcmp(uplink->url, url) != 0;

    if (take_name(uplink, name, url, err) < 0 || (changed && keep_name(uplink, err) < 0))
        return -1;
    uplink->named = true;
    uplink->refused = false;
    uplink->error[0] = '\0';
    uplink->since_ms = clock_realtime_ms();
    log_info("link.named", "name", name, "url", url, "transport", link_transport_name(uplink->transport));
    tell_up(uplink);
    return 0;
}

void uplink_was_refused(struct uplink *uplink, struct str reason)
{
    size_t n = MIN(reason.n, sizeof(uplink->error) - 1);

    for (size_t i = 0; i < n; i++)
        uplink->error[i] = reason.p[i] >= ' ' && reason.p[i] <= '~' ? reason.p[i] : '?';
    uplink->error[n] = '\0';
    uplink->refused = true;
    uplink->named = false;
    uplink->since_ms = clock_realtime_ms();
    log_error("link.refused", "edge", uplink->daemon->config.edge_link, "reason", uplink->error);
    tell_down(uplink, "link_refused");
}

const char *uplink_key(const struct uplink *uplink)
{
    return uplink->key;
}

unsigned uplink_links(const struct uplink *uplink)
{
    return uplink->links_open;
}

/* --- what berm-link says --- */

static void maybe_idle(struct uplink *uplink)
{
    if (!uplink->on_idle || !uplink->server_idle || uplink->links_open > 0)
        return;
    uplink->on_idle(uplink->on_idle_data);
    uplink->on_idle = NULL;
}

static void on_up(uint32_t link, enum link_transport transport, const char *peer, void *data)
{
    struct uplink *uplink = data;

    uplink->link = link;
    uplink->links_open++;
    uplink->links_total++;
    uplink->transport = transport;
    uplink->named = uplink->refused = false;
    uplink->since_ms = clock_realtime_ms();
    snprintf(uplink->peer, sizeof(uplink->peer), "%s", peer);
    log_info("link.up", "edge", uplink->daemon->config.edge_link, "transport", link_transport_name(transport),
             "peer", peer);
}

static void lose_link(struct uplink *uplink)
{
    uplink->link = 0;
    uplink->named = false;
    uplink->since_ms = clock_realtime_ms();
    if (uplink->told_link)
        tell_down(uplink, "link_down");
}

/* A refusal is the reason that matters, and not that the link was closed after it. */
static void on_down(uint32_t link, enum link_reason reason, uint32_t retry_ms, const char *text, void *data)
{
    struct uplink *uplink = data;

    if (link && uplink->links_open > 0)
        uplink->links_open--;
    if (!uplink->refused)
        snprintf(uplink->error, sizeof(uplink->error), "%s", text[0] ? text : link_reason_name(reason));
    if (link == uplink->link)
        lose_link(uplink);
    log_warn("link.down", "edge", uplink->daemon->config.edge_link, "reason", link_reason_name(reason), "text",
             text, "retry_ms", log_num(retry_ms));
    maybe_idle(uplink);
}

static void on_stream(uint32_t link, int fd, void *data)
{
    struct uplink *uplink = data;

    (void)link;
    if (uplink->draining || set_nonblocking(fd) < 0 || http_server_adopt_connection(uplink->server, fd) < 0) {
        close_fd(&fd);
        return;
    }
    uplink->streams_total++;
}

static void on_draining(uint32_t link, void *data)
{
    (void)data;
    log_info("link.draining", "link", log_num(link));
}

/* The daemon goes on without: what is asked of it here needs no edge. */
static void on_lost(void *data)
{
    struct uplink *uplink = data;

    uplink->links_open = 0;
    uplink->refused = false;
    snprintf(uplink->error, sizeof(uplink->error), "berm-link has ended");
    lose_link(uplink);
    log_error("link.broken", "reason", "berm-link has ended", "consequence",
              "there is no link until bermd is restarted");
    maybe_idle(uplink);
}

/* --- the server for streams --- */

/* What a Host that came over the link means: NOBODY if it is not one of ours. */
static void parse_name(const struct request *request, struct edge_name *ret)
{
    const struct uplink *uplink = request->daemon->uplink;
    char name[LINK_NAME_MAX + 1];
    struct str label;

    *ret = (struct edge_name){ .kind = EDGE_NAME_NOBODY };
    if (uplink->base_known && edge_host_below(request->head->host, str_from(uplink->base.domain), &label) &&
        link_label_split(label, &label, name) == 0 && !strcmp(name, uplink->name))
        edge_label_parse(label, ret);
}

static void on_request(struct http_exchange *exchange, const struct h1_head *head, void *data)
{
    struct uplink *uplink = data;
    struct request *request = request_new(uplink->daemon, exchange, head);

    if (!request) {
        http_respond(exchange, 500, NULL, STR("out of memory\n"));
        return;
    }
    request->parse_name = parse_name;
    sender_find_linked(head, &request->sender);
    if (str_eq_nocase(head->host, STR(LINK_CONTROL_HOST)))
        uplink_answer(request);
    else
        edge_take_linked(request);
}

static int open_server(struct uplink *uplink, struct berm_error *err)
{
    const struct config *config = &uplink->daemon->config;
    struct http_handler handler = { .on_request = on_request,
                                    .error_body = api_handler.error_body,
                                    .data = uplink };
    struct http_limits limits;

    http_limits_default(&limits);
    limits.max_body = config->max_body;
    limits.max_connections = (uint32_t)config->max_connections;
    uplink->server = http_server_new(uplink->daemon->loop, &limits, &handler);
    return uplink->server ? 0 : berm_fail(err, BERM_E_SYSTEM, ENOMEM, "server for the link");
}

/* --- life --- */

int uplink_new(struct daemon *daemon, struct uplink_start *start, struct uplink **ret, struct berm_error *err)
{
    struct link_wire_events events = { .on_up = on_up,
                                       .on_down = on_down,
                                       .on_stream = on_stream,
                                       .on_draining = on_draining,
                                       .on_lost = on_lost,
                                       .dials = true };
    struct uplink *uplink;

    *ret = NULL;
    if (!start->key)
        return 0;
    uplink = calloc(1, sizeof(*uplink));
    if (!uplink)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "uplink");
    uplink->daemon = daemon;
    uplink->key = TAKE_PTR(start->key);
    uplink->since_ms = clock_realtime_ms();
    events.data = uplink;
    uplink->helper = start->helper;
    uplink->wire = link_wire_new(daemon->loop, TAKE_FD(start->helper.fd), &events, err);
    if (!uplink->wire || open_server(uplink, err) < 0 || recall_name(uplink, err) < 0) {
        uplink_free(uplink);
        return -1;
    }
    *ret = uplink;
    return 0;
}

void uplink_free(struct uplink *uplink)
{
    if (!uplink)
        return;
    http_server_free(uplink->server);
    link_wire_free(uplink->wire);
    link_helper_wait(&uplink->helper);
    explicit_bzero(uplink->key, strlen(uplink->key));
    free(uplink->key);
    free(uplink);
}

static void on_server_idle(void *data)
{
    struct uplink *uplink = data;

    uplink->server_idle = true;
    maybe_idle(uplink);
}

void uplink_drain(struct uplink *uplink, void (*on_idle)(void *data), void *data)
{
    uplink->draining = true;
    uplink->on_idle = on_idle;
    uplink->on_idle_data = data;
    link_wire_drain(uplink->wire, 0);
    http_server_drain(uplink->server, on_server_idle, uplink);
}

static const char *state_of(const struct uplink *uplink)
{
    if (uplink->named)
        return "up";
    if (uplink->refused)
        return "refused";
    if (uplink->link)
        return "authenticating";
    return link_wire_alive(uplink->wire) ? "connecting" : "broken";
}

void uplink_get_status(const struct uplink *uplink, struct uplink_status *ret)
{
    struct http_server_stats stats;

    http_server_stats(uplink->server, &stats);
    *ret = (struct uplink_status){
        .state = state_of(uplink),
        .transport = uplink->link ? link_transport_name(uplink->transport) : NULL,
        .peer = uplink->link ? uplink->peer : NULL,
        .name = uplink->base_known ? uplink->name : NULL,
        .url = uplink->base_known ? uplink->url : NULL,
        .error = uplink->error[0] ? uplink->error : NULL,
        .since_ms = uplink->since_ms,
        .links_total = uplink->links_total,
        .streams_total = uplink->streams_total,
        .streams_open = stats.connections_open,
    };
}
