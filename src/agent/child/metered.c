#include "metered.h"

#include "agent/agent.h"
#include "keeper.h"

#include <signal.h>

/* The first reason counts. */
static void end_for(struct metered *metered, enum end_reason reason)
{
    if (metered->usage.reason == END_EXITED)
        metered->usage.reason = reason;
    kill(metered->child->pid, SIGQUIT);
}

/* --- output --- */

/* What is over the limit is read all the same, so that it is known, and dropped. */
static char *reserve(struct sink *sink, int stream, size_t *room, bool final)
{
    struct metered *metered = container_of(sink, struct metered, sink);
    char *at;

    if (metered->output_left == 0) {
        *room = SCRATCH_SIZE;
        return scratch;
    }
    at = metered->to->reserve(metered->to, stream, room, final);
    if (at)
        *room = (size_t)MIN((int64_t)*room, metered->output_left);
    return at;
}

static void commit(struct sink *sink, int stream, size_t n)
{
    struct metered *metered = container_of(sink, struct metered, sink);

    if (metered->output_left == 0) {
        if (!metered->overflowed && !metered->child->exited)
            end_for(metered, END_OUTPUT);
        else if (!metered->overflowed && metered->usage.reason == END_EXITED)
            metered->usage.reason = END_OUTPUT; /* it had ended by itself, but not all of this goes through */
        metered->overflowed = true;
        return;
    }
    if (metered->output_left != LIMIT_NONE)
        metered->output_left -= (int64_t)n;
    metered->to->commit(metered->to, stream, n);
}

/* --- life --- */

static void on_clock(struct loop_timer *timer)
{
    end_for(container_of(timer, struct metered, clock), END_WALL);
}

struct metered *metered_new(struct child *child, const struct limits *limits, struct sink *to)
{
    struct metered *metered = calloc(1, sizeof(*metered));

    if (!metered)
        return NULL;
    metered->child = child;
    metered->limits = *limits;
    metered->sink = (struct sink){ reserve, commit };
    metered->to = to;
    metered->output_left = limits->output_bytes;
    metered->report_fd = -EBADF;
    metered->usage.no_network = limits->no_network;
    loop_timer_init(&metered->clock, on_clock);
    return metered;
}

void metered_free(struct metered *metered)
{
    if (!metered)
        return;
    loop_timer_stop(metered->child->agent->loop, &metered->clock);
    close_fd(&metered->report_fd);
    free(metered);
}

int metered_begin(struct metered *metered, pid_t pid, int report_fd)
{
    metered->pid = pid;
    metered->report_fd = report_fd;
    metered->start = metered->child->agent->children.starts;
    if (metered->limits.wall_ms == LIMIT_NONE)
        return 0;
    return loop_timer_start(metered->child->agent->loop, &metered->clock, (uint64_t)metered->limits.wall_ms);
}

int metered_settle(struct metered *metered)
{
    enum end_reason ours = metered->usage.reason;
    struct keeper_report report;

    loop_timer_stop(metered->child->agent->loop, &metered->clock);
    if (RETRY_EINTR(read(metered->report_fd, &report, sizeof(report))) == (ssize_t)sizeof(report)) {
        metered->usage = report.usage;
        /* The keeper sees what is there when it looks, and not what comes and goes in between. */
        if (metered->start != metered->child->agent->children.starts)
            metered->usage.net_known = false;
    } else { /* somebody has killed it, and the kernel then the command */
        kill(-metered->pid, SIGKILL);
        report.wait_status = SIGKILL;
        metered->usage.reason = END_KILLED;
    }
    if (ours != END_EXITED)
        metered->usage.reason = ours;
    else if (metered->usage.reason == END_EXITED && child_is_stopped(metered->child))
        metered->usage.reason = metered->child->timed_out ? END_TIMEOUT : END_KILLED;
    return report.wait_status;
}

void metered_stopped(struct metered *metered)
{
    end_for(metered, END_KILLED);
    kill(metered->child->pid, SIGCONT);
}

void metered_signal(struct metered *metered, int signo)
{
    if (metered->child->exited)
        return;
    if (signo == SIGKILL)
        end_for(metered, metered->child->timed_out ? END_TIMEOUT : END_KILLED);
    else
        kill(metered->child->pid, signo);
}
