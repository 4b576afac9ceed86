#include "daemon/exec_cancel.h"

#include "base/log.h"
#include "daemon/agent_call.h"

#define RETRY_MS 2
#define RETRIES  5000

/* Frees itself. A closed link ends it at the next step. */
struct cancel {
    struct loop *loop;
    struct agent_link *link;
    struct loop_timer retry;
    unsigned tries;
    char body[64];
};

static void finish(struct cancel *cancel, const struct berm_error *err)
{
    /* It may have ended by itself meanwhile, and so may its sandbox. */
    if (err->code != BERM_OK && err->code != BERM_E_NOT_FOUND && err->code != BERM_E_SANDBOX_DIED)
        log_warn("exec.cancel", "exec", cancel->body, "error", err->message);
    agent_link_unref(cancel->link);
    free(cancel);
}

static void on_done(const struct berm_error *err, void *data)
{
    finish(data, err);
}

static void start(struct cancel *cancel)
{
    struct berm_error err;

    if (agent_call_start(cancel->link, "POST", "/berm/v1/exec/cancel", str_from(cancel->body), NULL, on_done,
                         cancel, &err))
        return;
    /* The agent's socket has no room for one more connection at the moment. */
    if (err.errnum == EAGAIN && cancel->tries++ < RETRIES &&
        loop_timer_start(cancel->loop, &cancel->retry, RETRY_MS) == 0)
        return;
    finish(cancel, &err);
}

static void on_retry(struct loop_timer *timer)
{
    start(container_of(timer, struct cancel, retry));
}

void exec_cancel(struct loop *loop, struct agent_link *link, const char *id)
{
    struct cancel *cancel = calloc(1, sizeof(*cancel));

    if (!cancel) {
        log_warn("exec.cancel", "exec", id, "error", "out of memory");
        return;
    }
    cancel->loop = loop;
    cancel->link = agent_link_ref(link);
    loop_timer_init(&cancel->retry, on_retry);
    snprintf(cancel->body, sizeof(cancel->body), "{\"id\":\"%s\"}", id);
    start(cancel);
}
