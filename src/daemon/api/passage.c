#include "daemon/api/passage.h"

#include "daemon/api/fields.h"
#include "daemon/context_count.h"
#include "net/relay.h"

#define LINGER_MS 10000

struct passage {
    struct list node; /* in daemon->passages */
    struct daemon *daemon;
    struct sandbox *sandbox; /* a reference */
    struct relay *relay;
    bool counted; /* code contexts may have been asked for over it */
};

static void free_passage(struct passage *passage)
{
    relay_free(passage->relay);
    list_remove(&passage->node);
    passage->daemon->passage_count--;
    lifecycle_end_use(passage->sandbox);
    sandbox_unref(passage->sandbox);
    free(passage);
}

static void on_relay_end(void *data)
{
    struct passage *passage = data;

    passage->relay = NULL;
    if (passage->counted)
        context_count_ask(passage->sandbox);
    free_passage(passage);
}

void passages_init(struct daemon *daemon)
{
    list_init(&daemon->passages);
}

void passages_free(struct daemon *daemon)
{
    while (!list_empty(&daemon->passages))
        free_passage(container_of(daemon->passages.next, struct passage, node));
}

static struct passage *new_passage(struct request *request)
{
    struct passage *passage = calloc(1, sizeof(*passage));

    if (!passage)
        return NULL;
    passage->daemon = request->daemon;
    passage->sandbox = sandbox_ref(request->sandbox);
    passage->counted = request->route->handler == api_container;
    lifecycle_begin_use(passage->sandbox);
    list_append(&request->daemon->passages, &passage->node);
    request->daemon->passage_count++;
    return passage;
}

/* Answers the client: its socket, or -1 after having failed the request. */
static int take_client(struct request *request, const struct h1_head *head, struct buf *ret_early)
{
    struct field_list fields = { 0 };
    int fd;

    if (fields_copy(&fields, &request->arena, head, NULL, 0) < 0 ||
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

/* Takes over both descriptors. */
static void join(struct request *request, int client, int sandbox, struct str from_client, struct str from_sandbox)
{
    struct passage *passage = new_passage(request);

    if (!passage) {
        close_fd(&client);
        close_fd(&sandbox);
        return;
    }
    passage->relay = relay_start(request->daemon->loop, client, sandbox, from_client, on_relay_end, passage);
    if (passage->relay && relay_give_a(passage->relay, from_sandbox) == 0)
        relay_set_linger(passage->relay, LINGER_MS);
    else
        free_passage(passage);
}

void passage_open(struct request *request, const struct h1_head *head)
{
    struct buf from_client, from_sandbox;
    int client, sandbox;

    buf_init(&from_client, RELAY_BUFFER);
    buf_init(&from_sandbox, RELAY_BUFFER);
    sandbox = http_call_take_socket(request->proxy.call, &from_sandbox);
    if (sandbox < 0)
        return; /* the call fails, and the request with it */
    request->proxy.call = NULL;
    client = take_client(request, head, &from_client);
    if (client >= 0)
        join(request, client, sandbox, buf_str(&from_client), buf_str(&from_sandbox));
    else
        close_fd(&sandbox);
    buf_free(&from_client);
    buf_free(&from_sandbox);
}
