/*
 * container.c - /v1/sandbox/{id}/container/{rest}: any request, passed on to the sandbox's own control server.
 *
 * Fields are copied except those that belong to one hop or to us. The key never reaches the sandbox: besides being
 * a secret, the control server would take a bearer token for a session id.
 */
#include "daemon/api/paths.h"
#include "daemon/api/proxy.h"

/* Fields of a hop (RFC 9110 7.6.1), of framing, and those that client.h and server.h add themselves. */
static const char *const dropped_fields[] = {
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Host",
    "Content-Length",
    "Expect",
    "Date",
    "Authorization",
    "X-Sandbox-Id",
};

struct field_list {
    struct http_field *items;
    size_t count;
};

/* Whether the Connection field names this one as its hop's. */
static bool named_by_connection(const struct h1_head *head, struct str name)
{
    for (size_t i = 0; i < head->header_count; i++) {
        struct str value = head->headers[i].value;

        if (!str_eq_nocase(head->headers[i].name, STR("Connection")))
            continue;
        while (value.n) {
            const char *comma = memchr(value.p, ',', value.n);
            size_t n = comma ? (size_t)(comma - value.p) : value.n;

            if (str_eq_nocase(str_trim((struct str){ value.p, n }), name))
                return true;
            value.p += n + (comma != NULL);
            value.n -= n + (comma != NULL);
        }
    }
    return false;
}

static bool is_dropped(const struct h1_head *head, struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(dropped_fields); i++)
        if (str_eq_nocase(name, str_from(dropped_fields[i])))
            return true;
    if (name.n >= 5 && str_eq_nocase((struct str){ name.p, 5 }, STR("Berm-")))
        return true;
    return named_by_connection(head, name);
}

static int add_field(struct field_list *list, const char *name, const char *value)
{
    if (!name || !value || list->count == H1_MAX_HEADERS + 1)
        return -1;
    list->items[list->count++] = (struct http_field){ name, value };
    return 0;
}

static int copy_fields(struct request *request, const struct h1_head *head, struct field_list *list)
{
    list->items = arena_calloc(&request->arena, H1_MAX_HEADERS + 1, sizeof(*list->items));
    if (!list->items)
        return -1;
    for (size_t i = 0; i < head->header_count; i++) {
        const struct h1_header *field = &head->headers[i];

        if (!is_dropped(head, field->name) && add_field(list, arena_strdup(&request->arena, field->name),
                                                        arena_strdup(&request->arena, field->value)) < 0)
            return -1;
    }
    return 0;
}

/* --- the answer --- */

static bool on_head(struct request *request, const struct h1_head *head)
{
    struct field_list fields = { 0 };

    if (copy_fields(request, head, &fields) < 0) {
        request->proxy.status = 0;
        return false;
    }
    request_begin(request, head->status, fields.items, fields.count,
                  head->framing == H1_CONTENT_LENGTH ? head->content_length
                  : head->framing == H1_NO_BODY      ? 0
                                                     : HTTP_CHUNKED);
    return true;
}

static void on_refusal(struct request *request, int status, struct str body)
{
    (void)status;
    (void)body;
    request_fail_with(request, BERM_E_SYSTEM, "out of memory");
}

static const struct proxy_rules rules = { .on_head = on_head, .on_refusal = on_refusal };

/* --- the call --- */

static void pass_on(struct request *request)
{
    const struct h1_head *head = request->head;
    const char *target, *method = arena_strdup(&request->arena, head->method);
    struct field_list fields = { 0 };
    uint64_t length = HTTP_CHUNKED;

    target = arena_printf(&request->arena, "/%.*s%s%.*s", (int)request->rest.n, request->rest.p,
                          head->query.n ? "?" : "", (int)head->query.n, head->query.p);
    if (!target || !method || copy_fields(request, head, &fields) < 0 ||
        add_field(&fields, "X-Sandbox-Id", request->sandbox_id.p) < 0) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return;
    }
    if (head->framing == H1_NO_BODY)
        length = 0;
    else if (head->framing == H1_CONTENT_LENGTH)
        length = head->content_length;
    if (proxy_start(request, &rules, method, target, fields.items, fields.count, length) < 0)
        return;
    if (head->framing == H1_NO_BODY)
        proxy_end_body(request);
    proxy_upload(request);
}

/* The agent's internal routes begin with /berm/, however a client spells that. */
static bool is_internal(struct request *request)
{
    const char *path = path_from_url(&request->arena, request->rest);

    return !path || !strncmp(path, "/berm/", 6) || !strcmp(path, "/berm");
}

void api_container(struct request *request)
{
    if (request->head->upgrade.n) {
        request_fail_with(request, BERM_E_NOT_IMPLEMENTED,
                          "upgrades to another protocol are not passed on in this version");
        return;
    }
    if (is_internal(request)) {
        request_fail_with(request, BERM_E_NOT_FOUND, "Not Found");
        return;
    }
    request_stream_body(request);
    http_body_pause(request->exchange);
    request_need_sandbox(request, pass_on);
}
