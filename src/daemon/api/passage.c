#include "daemon/api/passage.h"

#include "daemon/api/fields.h"
#include "daemon/api/proxy.h"
#include "daemon/context_count.h"
#include "net/relay.h"

bool passage_allowed(struct request *request)
{
    if (!passages_full(&request->daemon->passages, http_peer_address(request->exchange)))
        return true;
    request_fail_with(request, BERM_E_CAPACITY_EXCEEDED, "too many connections have been upgraded");
    return false;
}

/* A browser takes cookies and the like from a 101 as from any answer. */
static int copy_fields(struct request *request, const struct h1_head *head, struct field_list *fields)
{
    const struct proxy_rules *rules = request->proxy.rules;

    return rules->copy_fields ? rules->copy_fields(request, head, fields)
                              : fields_copy_foreign(fields, &request->arena, head, "sandbox");
}

/* Answers the client: its socket, or -1 after having failed the request. */
static int take_client(struct request *request, const struct h1_head *head, struct buf *ret_early)
{
    struct field_list fields = { 0 };
    int fd;

    if (copy_fields(request, head, &fields) < 0 ||
        fields_add(&fields, "Upgrade", arena_strdup(&request->arena, head->upgrade)) < 0 ||
        fields_add(&fields, "Berm-Request-Id", request->id) < 0) {
        request_fail_with(request, BERM_E_SYSTEM, "out of memory");
        return -1;
    }
    fd = http_upgrade(request->exchange, fields.items, fields.count, ret_early);
    if (fd < 0)
        request_fail_with(request, BERM_E_EXEC_TRANSPORT_ERROR, "the connection cannot be upgraded");
    else
        request->status = 101;
    return fd;
}

static void on_end(void *data)
{
    struct sandbox *sandbox = data;

    lifecycle_end_use(sandbox);
    sandbox_unref(sandbox);
}

/* Code contexts may have been asked for over it. When we stop, what is untold is left to the next daemon. */
static void on_counted_end(void *data)
{
    struct sandbox *sandbox = data;

    if (!sandbox->daemon->draining)
        context_count_ask(sandbox);
    on_end(sandbox);
}

static void join(struct request *request, const struct passage_ends *ends)
{
    lifecycle_begin_use(sandbox_ref(request->sandbox));
    if (passages_join(&request->daemon->passages, request->daemon->loop, ends) < 0)
        on_end(ends->data);
}

void passage_open(struct request *request, const struct h1_head *head)
{
    bool counted =
        request->route && request->route->handler == api_container; /* a preview by its name has no route */
    struct passage_ends ends = { .on_end = counted ? on_counted_end : on_end, .data = request->sandbox };
    const uint8_t *peer = http_peer_address(request->exchange);
    struct buf from_client, from_server;

    buf_init(&from_client, RELAY_BUFFER);
    buf_init(&from_server, RELAY_BUFFER);
    ends.server = http_call_take_socket(request->proxy.call, &from_server);
    if (ends.server < 0)
        return; /* the call fails, and the request with it */
    request->proxy.call = NULL;
    if (peer)
        memcpy(ends.address, peer, sizeof(ends.address)); /* the exchange goes with the answer */
    ends.client = passage_allowed(request) ? take_client(request, head, &from_client) : -EBADF;
    ends.from_client = buf_str(&from_client);
    ends.from_server = buf_str(&from_server);
    if (ends.client >= 0)
        join(request, &ends);
    else
        close_fd(&ends.server);
    buf_free(&from_client);
    buf_free(&from_server);
}
