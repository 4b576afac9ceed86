#include "daemon/link/uplink_routes.h"

#include "base/sys.h"
#include "daemon/link/connector.h"

static void answer_hello(struct request *request)
{
    struct json_writer *w = request_json(request);

    if (!w)
        return;
    json_object_begin(w);
    json_pair_cstring(w, "key", uplink_key(request->daemon->uplink));
    json_pair_cstring(w, "version", BERM_VERSION);
    json_pair_int(w, "links", uplink_links(request->daemon->uplink));
    json_object_end(w);
    request_respond_json(request, 200, w);
}

/* A text of the body, or NULL: answered. */
static const char *take_text(struct request *request, const struct json *body, const char *name)
{
    const char *text = NULL;
    struct berm_error err;

    if (!body || body->type != JSON_OBJECT)
        berm_fail_field(&err, "body", "must be a JSON object");
    else if (json_field_cstring(body, name, &text, &err) == 0 && !text)
        berm_fail_field(&err, name, "%s is missing", name);
    if (!text)
        request_fail(request, &err);
    return text;
}

static void take_host(struct request *request)
{
    const struct json *body;
    const char *name, *url;
    struct berm_error err;

    if (request_parse_json(request, &body) < 0 || !(name = take_text(request, body, "name")) ||
        !(url = take_text(request, body, "url")))
        return;
    if (uplink_rename(request->daemon->uplink, name, url, &err) < 0)
        request_fail(request, &err);
    else
        request_respond_empty(request, 204);
}

static void take_refusal(struct request *request)
{
    const struct json *body;
    const char *reason;

    if (request_parse_json(request, &body) < 0 || !(reason = take_text(request, body, "reason")))
        return;
    uplink_was_refused(request->daemon->uplink, str_from(reason));
    request_respond_empty(request, 204);
}

void uplink_answer(struct request *request)
{
    static const struct {
        const char *method, *path;
        void (*answer)(struct request *request);
    } questions[] = {
        { "POST", LINK_HELLO, answer_hello },
        { "PUT", LINK_HOST, take_host },
        { "POST", LINK_REFUSED, take_refusal },
    };

    for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
        if (!str_is(request->head->method, questions[i].method) || !str_is(request->head->path, questions[i].path))
            continue;
        request_collect_body(request, LINK_CONTROL_MAX, questions[i].answer);
        return;
    }
    request_fail_with(request, BERM_E_NOT_FOUND, "Not Found");
}

/* --- GET /v1/link, over the API and never over a link --- */

static void write_connector(struct json_writer *w, const struct daemon *daemon)
{
    struct connector_status status;
    char since[25];

    connector_get_status(daemon->connector, &status);
    format_timestamp(status.since_ms, since);
    json_pair_cstring(w, "state", status.state);
    json_pair_cstring(w, "connector", "cloudflared");
    json_pair_cstring(w, "url", daemon->config.edge_cloudflared_token ? daemon->config.edge_url : NULL);
    json_pair_cstring(w, "error", status.error);
    json_pair_cstring(w, "since", since);
    json_pair_int(w, "processes", status.processes);
    json_pair_int(w, "links", (int64_t)status.links_total);
    json_pair_int(w, "streams", (int64_t)status.streams_total);
    json_pair_int(w, "streamsOpen", status.streams_open);
}

void api_link(struct request *request)
{
    const struct uplink *uplink = request->daemon->uplink;
    struct json_writer *w = request_json(request);
    struct uplink_status status = { .state = "off" };
    char since[25];

    if (!w)
        return;
    if (uplink)
        uplink_get_status(uplink, &status);
    json_object_begin(w);
    if (request->daemon->connector)
        write_connector(w, request->daemon);
    else
        json_pair_cstring(w, "state", status.state);
    if (uplink) {
        format_timestamp(status.since_ms, since);
        json_pair_cstring(w, "edge", request->daemon->config.edge_link);
        json_pair_cstring(w, "name", status.name);
        json_pair_cstring(w, "url", status.url);
        json_pair_cstring(w, "transport", status.transport);
        json_pair_cstring(w, "peer", status.peer);
        json_pair_cstring(w, "error", status.error);
        json_pair_cstring(w, "since", since);
        json_pair_int(w, "links", (int64_t)status.links_total);
        json_pair_int(w, "streams", (int64_t)status.streams_total);
        json_pair_int(w, "streamsOpen", status.streams_open);
    }
    json_object_end(w);
    request_respond_json(request, 200, w);
}
