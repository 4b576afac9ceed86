#include "daemon/agent_patience.h"

static void wait_on(struct agent_patience *patience)
{
    loop_timer_start(agent_link_loop(patience->link), &patience->timer, agent_link_patience_ms(patience->link) / 2);
}

static void lose(struct agent_patience *patience)
{
    patience->link = NULL;
    patience->lost(patience);
}

/* With another failure than silence the call that is waited for fails as well, or the next ping tells. */
static void on_ping_end(struct http_call *call, const struct berm_error *err, void *data)
{
    struct agent_patience *patience = data;

    (void)call;
    patience->ping = NULL;
    if (err->code == BERM_E_TIMED_OUT)
        lose(patience);
    else
        wait_on(patience);
}

static void on_timer(struct loop_timer *timer)
{
    static const struct http_call_callbacks callbacks = { .on_end = on_ping_end };
    struct agent_patience *patience = container_of(timer, struct agent_patience, timer);
    struct http_client *client = agent_link_client(patience->link);
    bool missed = patience->missed;

    if (client)
        patience->ping = http_call_start(client, "GET", "/api/ping", NULL, 0, 0, &callbacks, patience, NULL);
    patience->missed = client && !patience->ping;
    if (patience->ping)
        http_call_set_idle_timeout(patience->ping, agent_link_patience_ms(patience->link) / 2);
    else if (missed && patience->missed) /* it has not even taken connections, twice */
        lose(patience);
    else
        wait_on(patience);
}

void agent_patience_begin(struct agent_patience *patience, struct agent_link *link,
                          void (*lost)(struct agent_patience *patience))
{
    *patience = (struct agent_patience){ .link = link, .lost = lost };
    loop_timer_init(&patience->timer, on_timer);
    wait_on(patience);
}

void agent_patience_end(struct agent_patience *patience)
{
    if (!patience->link)
        return;
    loop_timer_stop(agent_link_loop(patience->link), &patience->timer);
    if (patience->ping)
        http_call_cancel(patience->ping);
    patience->ping = NULL;
    patience->link = NULL;
}
