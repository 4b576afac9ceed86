#include "shutdown.h"

#include "agent/agent.h"
#include "agent/process/process_kill.h"
#include "base/log.h"
#include "supervisor.h"

#include <signal.h>

#define GRACE_MS 5000

static bool is_quiet(const struct agent *agent)
{
    return !agent->supervised && agent->processes.running.count == 0 && command_log_settled(&agent->log);
}

/* Either what was waited for is gone and the last answers have been written, or the time is up. */
static void on_timer(struct loop_timer *timer)
{
    struct agent *agent = container_of(timer, struct agent, shutdown.timer);

    agent->exit_code = 0;
    loop_stop(agent->loop);
}

static void stop_after(struct agent *agent, uint64_t ms)
{
    if (loop_timer_start(agent->loop, &agent->shutdown.timer, ms) < 0)
        on_timer(&agent->shutdown.timer);
}

void shutdown_begin(struct agent *agent, int signo)
{
    if (agent->shutdown.begun)
        return;
    agent->shutdown.begun = true;
    log_info("stopping", "signal", log_num(signo));
    loop_timer_init(&agent->shutdown.timer, on_timer);
    supervisor_forward(agent, signo);
    process_kill_session(agent, NULL, SIGTERM);
    watch_end_all(agent, "the server is shutting down");
    /* A timer even for nothing: what was said above is written at the end of this turn. */
    stop_after(agent, is_quiet(agent) ? 0 : GRACE_MS);
}

void shutdown_check(struct agent *agent)
{
    if (agent->shutdown.begun && is_quiet(agent))
        stop_after(agent, 0);
}
