#include "daemon/agent_call.h"

#include "base/json.h"
#include "base/spawn_wire.h"

#define ANSWER_MAX (16 * 1024)
#define TIMEOUT_MS 10000

struct agent_call {
    struct http_call *call;
    agent_call_done done;
    void *data;
    int status;
    struct buf answer;
};

static void free_call(struct agent_call *call)
{
    buf_free(&call->answer);
    free(call);
}

static void on_head(struct http_call *call, const struct h1_head *head, void *data)
{
    (void)call;
    ((struct agent_call *)data)->status = head->status;
}

static void on_body(struct http_call *http_call, struct str piece, void *data)
{
    struct agent_call *call = data;

    (void)http_call;
    buf_append(&call->answer, piece.p, MIN(piece.n, call->answer.max - call->answer.len));
}

static void describe(const struct agent_call *call, struct berm_error *err)
{
    const struct json *answer = NULL;
    const char *message = NULL;
    struct arena arena;

    arena_init(&arena, 64 * ANSWER_MAX);
    if (json_parse(&arena, buf_str(&call->answer), 16, &answer, NULL) == 0)
        json_field_cstring(answer, "message", &message, NULL);
    berm_fail(err, call->status == 404 ? BERM_E_NOT_FOUND : BERM_E_EXEC_ERROR, 0, "%s",
              message ? message : "the agent refused");
    arena_free(&arena);
}

static void on_end(struct http_call *http_call, const struct berm_error *err, void *data)
{
    struct agent_call *call = data;
    struct berm_error failure = *err;

    (void)http_call;
    if (failure.code == BERM_OK && call->status / 100 != 2)
        describe(call, &failure);
    call->done(&failure, call->data);
    free_call(call);
}

struct agent_call *agent_call_start(struct agent_link *link, const char *method, const char *target,
                                    struct str body, const char *environment, agent_call_done done, void *data,
                                    struct berm_error *err)
{
    static const struct http_call_callbacks callbacks = { .on_head = on_head,
                                                          .on_body = on_body,
                                                          .on_end = on_end };
    struct http_field fields[2];
    size_t count = 0;
    struct http_client *client = agent_link_client(link);
    struct agent_call *call = calloc(1, sizeof(*call));

    if (!call || !client) {
        free(call);
        berm_fail(err, client ? BERM_E_SYSTEM : BERM_E_SANDBOX_DIED, 0,
                  client ? "out of memory" : "the sandbox ended");
        return NULL;
    }
    call->done = done;
    call->data = data;
    buf_init(&call->answer, ANSWER_MAX);
    if (body.n)
        fields[count++] = (struct http_field){ "Content-Type", "application/json" };
    if (environment)
        fields[count++] = (struct http_field){ AGENT_ENVIRONMENT_FIELD, environment };
    call->call = http_call_start(client, method, target, fields, count, body.n, &callbacks, call, err);
    if (!call->call) {
        free_call(call);
        return NULL;
    }
    http_call_set_idle_timeout(call->call, TIMEOUT_MS);
    if (body.n) {
        http_call_write(call->call, body.p, body.n);
        http_call_end_body(call->call);
    }
    return call;
}

struct str agent_call_answer(const struct agent_call *call)
{
    return buf_str(&call->answer);
}

void agent_call_cancel(struct agent_call *call)
{
    if (!call)
        return;
    http_call_cancel(call->call);
    free_call(call);
}
