#include "daemon/api/proxy.h"

#include "base/spawn_wire.h"
#include "daemon/api/passage.h"
#include "daemon/lifecycle.h"

#define REFUSAL_MAX (64 * 1024)
#define RETRY_MS    2
#define RETRIES     5000

/* --- the end --- */

static void finish_broken(struct request *request)
{
    struct proxy *proxy = &request->proxy;
    struct berm_error err;

    if (!request->exchange)
        return;
    if (!agent_link_obituary(request->link, &err))
        err = proxy->broken;
    if (err.code != BERM_E_SANDBOX_DIED && err.code != BERM_E_TIMED_OUT)
        err.code = BERM_E_EXEC_TRANSPORT_ERROR;
    if (proxy->rules->on_broken)
        proxy->rules->on_broken(request, &err);
    else if (http_response_started(request->exchange))
        http_exchange_abort(request->exchange);
    else
        request_fail(request, &err);
}

static void on_mourned(struct agent_mourner *mourner)
{
    finish_broken(container_of(mourner, struct request, proxy.mourner));
}

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    struct request *request = data;

    (void)call;
    agent_patience_end(&request->proxy.patience);
    if (request->proxy.tells_environment && head->status != 503)
        lifecycle_environment_told(request->sandbox, request->link);
    request->proxy.status = head->status;
    if (request->proxy.makes_context)
        metrics_context_answered(&request->daemon->metrics, request->sandbox->row.image, head->status,
                                 h1_header(head, AGENT_CONTEXT_FIELD));
    if (head->status == 101) {
        passage_open(request, head);
        return;
    }
    request->proxy.passing = request->proxy.rules->on_head(request, head);
}

static void on_body(struct http_call *call, struct str piece, void *data)
{
    struct request *request = data;
    struct proxy *proxy = &request->proxy;

    (void)call;
    if (!proxy->passing)
        buf_append(&proxy->refusal, piece.p, MIN(piece.n, proxy->refusal.max - proxy->refusal.len));
    else if (proxy->rules->on_piece)
        proxy->rules->on_piece(request, piece);
    else
        request_write(request, piece);
    /* Asked here and not from the write's result, as a rule may write several times or not at all. */
    if (proxy->call && request->exchange && proxy->passing &&
        http_respond_queued(request->exchange) > request->daemon->high_water)
        http_call_pause(proxy->call);
}

/* What no rule has to see need not come through our memory. */
static ssize_t on_bulk(struct http_call *call, int socket, size_t most, void *data)
{
    struct request *request = data;
    ssize_t n;

    if (!request->exchange || !request->proxy.passing || request->proxy.rules->on_piece) {
        errno = ENOTSUP;
        return -1;
    }
    n = request_splice(request, socket, most);
    if (n > 0 && http_respond_queued(request->exchange) > 0)
        http_call_pause(call);
    return n;
}

static void on_drain(struct http_call *call, void *data)
{
    struct request *request = data;

    (void)call;
    if (request->exchange)
        http_body_resume(request->exchange);
}

static void on_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct request *request = data;
    struct proxy *proxy = &request->proxy;

    (void)call;
    proxy->call = NULL;
    agent_patience_end(&proxy->patience);
    if (request->exchange && !proxy->upload_done)
        http_body_ignore(request->exchange);
    if (err->code != BERM_OK) {
        proxy->broken = *err;
        agent_link_mourn(request->link, &proxy->mourner, on_mourned);
    } else if (!proxy->passing) {
        proxy->rules->on_refusal(request, proxy->status, buf_str(&proxy->refusal));
    } else if (proxy->rules->on_complete) {
        proxy->rules->on_complete(request);
    } else {
        request_end(request);
    }
}

static void on_lost(struct agent_patience *patience)
{
    struct request *request = container_of(patience, struct request, proxy.patience);
    struct proxy *proxy = &request->proxy;

    http_call_cancel(proxy->call);
    proxy->call = NULL;
    if (request->exchange && !proxy->upload_done)
        http_body_ignore(request->exchange);
    berm_fail(&proxy->broken, BERM_E_TIMED_OUT, 0, "the sandbox's agent has shown no sign of life for %llu ms",
              (unsigned long long)agent_link_patience_ms(request->link));
    finish_broken(request);
}

static const struct http_call_callbacks call_callbacks = {
    .on_head = on_head, .on_body = on_body, .on_bulk = on_bulk, .on_drain = on_drain, .on_end = on_end
};

/* --- rules for answers of the agent's --- */

bool proxy_pass_bytes(struct request *request, const struct h1_head *head)
{
    static const struct http_field fields[] = { { "Content-Type", "application/octet-stream" },
                                                { "X-Content-Type-Options", "nosniff" } };

    if (head->status != 200)
        return false;
    request_begin(request, 200, fields, ARRAY_SIZE(fields),
                  head->framing == H1_CONTENT_LENGTH ? head->content_length : HTTP_CHUNKED);
    return true;
}

bool proxy_read_answer(struct request *request, const struct h1_head *head)
{
    (void)request, (void)head;
    return false;
}

/* --- the start --- */

static void on_retry(struct loop_timer *timer)
{
    struct request *request = container_of(timer, struct request, proxy.retry);

    request->next(request);
}

/* More connections at once than the agent's socket has room for: it accepts them faster than anybody notices. */
static void try_again_later(struct request *request)
{
    struct proxy *proxy = &request->proxy;

    if (!proxy->retry.callback)
        loop_timer_init(&proxy->retry, on_retry);
    loop_timer_start(request->daemon->loop, &proxy->retry, RETRY_MS);
}

/* Adds the environment that the agent does not know yet to the fields. */
static int add_environment(struct request *request, const struct http_field **fields, size_t *count,
                           struct berm_error *err)
{
    const struct sandbox *sandbox = request->sandbox;
    struct http_field *all;

    request->proxy.tells_environment = false;
    if (!sandbox || !sandbox->environment || sandbox->link != request->link)
        return 0;
    all = arena_calloc(&request->arena, *count + 1, sizeof(*all));
    if (!all)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "request to the agent");
    for (size_t i = 0; i < *count; i++)
        all[i] = (*fields)[i];
    all[(*count)++] = (struct http_field){ AGENT_ENVIRONMENT_FIELD, sandbox->environment };
    *fields = all;
    request->proxy.tells_environment = true;
    return 0;
}

int proxy_start(struct request *request, const struct proxy_rules *rules, const char *method, const char *target,
                const struct http_field *fields, size_t count, uint64_t length)
{
    struct proxy *proxy = &request->proxy;
    struct http_client *agent = agent_link_client(request->link);
    struct http_client *client = agent && proxy->client ? proxy->client : agent;
    struct berm_error err;
    int rc = 0;

    proxy->rules = rules;
    proxy->makes_context =
        client == agent && request->sandbox && !strcmp(method, "POST") && !strcmp(target, AGENT_CONTEXTS_PATH);
    buf_init(&proxy->refusal, REFUSAL_MAX);
    if (!client)
        agent_link_obituary(request->link, &err);
    else if (client == agent)
        rc = add_environment(request, &fields, &count, &err);
    if (client && rc == 0)
        proxy->call =
            http_call_start(client, method, target, fields, count, length, &call_callbacks, request, &err);
    if (proxy->call) {
        if (client == agent)
            agent_patience_begin(&proxy->patience, request->link, on_lost);
        return 0;
    }
    if (client && err.errnum == EAGAIN && proxy->tries++ < RETRIES)
        try_again_later(request);
    else if (client && client != agent && rules->on_broken)
        rules->on_broken(request, &err);
    else
        request_fail(request, &err);
    return -1;
}

int proxy_start_upgrade(struct request *request, const struct proxy_rules *rules, const char *target,
                        const struct http_field *fields, size_t count)
{
    if (!passage_allowed(request) || proxy_start(request, rules, "GET", target, fields, count, 0) < 0)
        return -1;
    request->proxy.upload_done = true;
    return 0;
}

void proxy_write(struct request *request, struct str bytes)
{
    if (request->proxy.call && bytes.n && !http_call_write(request->proxy.call, bytes.p, bytes.n))
        http_body_pause(request->exchange);
}

void proxy_end_body(struct request *request)
{
    if (request->proxy.upload_done)
        return;
    request->proxy.upload_done = true;
    if (request->proxy.call)
        http_call_end_body(request->proxy.call);
}

uint64_t proxy_body_length(const struct request *request)
{
    const struct h1_head *head = request->head;

    if (head->framing == H1_NO_BODY)
        return 0;
    return head->framing == H1_CONTENT_LENGTH ? head->content_length : HTTP_CHUNKED;
}

void proxy_upload(struct request *request)
{
    request->on_body = proxy_write;
    request->on_body_end = proxy_end_body;
    http_body_resume(request->exchange);
}

void proxy_drained(struct request *request)
{
    if (request->proxy.call)
        http_call_resume(request->proxy.call);
}

void proxy_close(struct request *request)
{
    struct proxy *proxy = &request->proxy;

    if (proxy->retry.callback)
        loop_timer_stop(request->daemon->loop, &proxy->retry);
    agent_patience_end(&proxy->patience);
    if (proxy->call)
        http_call_cancel(proxy->call);
    proxy->call = NULL;
    agent_link_mourn_cancel(&proxy->mourner);
    buf_free(&proxy->refusal);
}

const char *agent_error_message(struct request *request, struct str body, const char **ret_code)
{
    const struct json *answer = NULL;
    const char *message = NULL, *code = NULL;

    if (body.n && json_parse(&request->arena, body, 16, &answer, NULL) == 0) {
        json_field_cstring(answer, "message", &message, NULL);
        json_field_cstring(answer, "code", &code, NULL);
    }
    if (ret_code)
        *ret_code = code;
    return message ? message : "the agent gave no reason";
}
