/* process_routes.c - /api/process/...: start, list, get, stream, kill; and /api/execute/stream. */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "agent/terminal/terminal.h"
#include "base/signal_name.h"
#include "base/sys.h"
#include "process_follow.h"
#include "process_kill.h"
#include "process_launch.h"
#include "process_request.h"

#include <signal.h>

#define KILL_ANSWER_MS 15000 /* of a process that the kernel does not let go */

/* --- what they share --- */

/* "id=" of the query, decoded: for transports that take ids as they are. */
static bool query_id(struct request *rq, struct str *ret)
{
    struct str raw;
    char *text;

    if (!query_get(http_request(rq->ex)->query, "id", &raw))
        return false;
    text = arena_alloc(&rq->arena, raw.n + 1);
    if (!text || percent_decode(raw, text, raw.n + 1) < 0)
        return false;
    *ret = str_from(text);
    return true;
}

/* The segment after "/api/process/". It is not decoded: ids that need it cannot be reached this way. */
static struct str path_id(struct request *rq)
{
    static const size_t prefix = sizeof("/api/process/") - 1;
    struct str path = http_request(rq->ex)->path;
    struct str rest = { path.p + prefix, path.n - prefix }, id;
    const char *slash = memchr(rest.p, '/', rest.n);

    if (query_id(rq, &id))
        return id;
    return (struct str){ rest.p, slash ? (size_t)(slash - rest.p) : rest.n };
}

struct process *process_requested(struct request *rq)
{
    struct str id = path_id(rq);
    struct process *process = process_find(rq->agent, id);
    struct context_item context[] = { { .key = "processId", .type = CONTEXT_STRING, .string = id } };

    if (!process)
        reply_error(rq, AGENT_E_PROCESS_NOT_FOUND, context, 1, "Process not found: %.*s", (int)id.n, id.p);
    return process;
}

bool process_requested_offsets(struct request *rq, uint64_t ret[STREAM_COUNT])
{
    struct str text, second = { NULL, 0 };
    const char *comma;

    ret[STREAM_STDOUT] = ret[STREAM_STDERR] = 0;
    if (!query_get(http_request(rq->ex)->query, "from", &text))
        return true;
    comma = memchr(text.p, ',', text.n);
    if (comma) {
        second = (struct str){ comma + 1, text.n - (size_t)(comma + 1 - text.p) };
        text.n = (size_t)(comma - text.p);
    }
    if (str_to_u64(text, &ret[STREAM_STDOUT]) == 0 && (!comma || str_to_u64(second, &ret[STREAM_STDERR]) == 0))
        return true;
    reply_invalid(rq, "from", "must be the offset in stdout, or that and the one in stderr with a comma between",
                  "INVALID_OFFSET");
    return false;
}

void process_reply_done(struct request *rq, const struct process *process)
{
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "processId", process->id);
    reply_send(rq, &reply);
}

void process_reply_ended(struct request *rq, const struct process *process)
{
    struct context_item context[] = { CTX_STR("command", process->id) };

    reply_error(rq, AGENT_E_COMMAND_NOT_FOUND, context, 1,
                "Process %s is not running: not found among those that are", process->id);
}

/* --- start --- */

void handle_process_start(struct request *rq)
{
    static const struct process_launch_kind kind = {
        .takes_time_limit = true,
        .takes_id = true,
        .reply = process_launch_reply,
    };

    process_launch(rq, &kind);
}

/* Nobody waits for the shell to learn that the command has been taken; `start` waits for the process. */
static bool accept_command(struct request *rq)
{
    return process_follow_begin(rq);
}

static void follow_command(struct request *rq, struct process *process)
{
    static const uint64_t from[STREAM_COUNT] = { 0 };

    process_follow(rq, process, rq->ex ? process_follow_form(rq) : FOLLOW_COMMAND, from);
}

void handle_execute_stream(struct request *rq)
{
    static const struct process_launch_kind kind = { .session_by_header = true,
                                                     .early = true,
                                                     .accept = accept_command,
                                                     .reply = follow_command,
                                                     .fail = process_follow_fail };

    process_launch(rq, &kind);
}

/* --- list, get, stream --- */

static void put_time(struct json_writer *w, const char *key, int64_t unix_ms)
{
    char stamp[25];

    format_timestamp(unix_ms, stamp);
    json_pair_cstring(w, key, stamp);
}

static void put_record(struct json_writer *w, const struct process *process, bool with_end)
{
    json_object_begin(w);
    json_pair_cstring(w, "id", process->id);
    if (process->pid > 0)
        json_pair_int(w, "pid", process->pid);
    json_pair_string(w, "command", process->command);
    json_pair_cstring(w, "status", process_status_name(process->status));
    put_time(w, "startTime", process->start_ms);
    if (with_end && !process_running(process))
        put_time(w, "endTime", process->end_ms);
    if (process->has_exit_code)
        json_pair_int(w, "exitCode", process->exit_code);
    if (process->usage)
        usage_put(w, process->usage);
    json_object_end(w);
}

struct listing {
    struct json_writer *w;
    const struct str *status; /* NULL: all */
};

static void put_listed(const struct process *process, void *data)
{
    const struct listing *listing = data;

    if (!listing->status || str_is(*listing->status, process_status_name(process->status)))
        put_record(listing->w, process, false);
}

static void put_list(const struct process_list *list, struct listing *listing)
{
    for (const struct process *process = list->first; process; process = process->next)
        if (process->listed)
            put_listed(process, listing);
}

/* Terminals have no ids and no logs, so they are not among the processes; clients that do not know the member see
 * nothing of them. */
static void put_terminals(const struct session_table *sessions, struct json_writer *w)
{
    bool any = false;

    for (const struct session *session = sessions->first; session; session = session->next) {
        if (!session->terminal)
            continue;
        if (!any) {
            json_key(w, "terminals");
            json_array_begin(w);
        }
        any = true;
        terminal_put_record(session, w);
    }
    if (any)
        json_array_end(w);
}

void handle_process_list(struct request *rq)
{
    struct process_table *table = &rq->agent->processes;
    struct reply reply;
    struct str status;
    struct listing listing = { .w = &reply.w };
    bool filtered = query_get(http_request(rq->ex)->query, "status", &status);

    process_refresh(rq->agent);
    reply_begin(&reply);
    json_key(&reply.w, "processes");
    json_array_begin(&reply.w);
    listing.status = filtered ? &status : NULL;
    put_list(&table->running, &listing);
    process_shelf_each(rq->agent, put_listed, &listing);
    put_list(&table->ended, &listing);
    json_array_end(&reply.w);
    put_terminals(&rq->agent->sessions, &reply.w);
    reply_send(rq, &reply);
}

void handle_process_get(struct request *rq)
{
    const struct process *process = process_requested(rq);
    struct reply reply;

    if (!process)
        return;
    reply_begin(&reply);
    json_key(&reply.w, "process");
    put_record(&reply.w, process, true);
    reply_send(rq, &reply);
}

void handle_process_stream(struct request *rq)
{
    struct process *process = process_requested(rq);
    uint64_t from[STREAM_COUNT];

    if (process && process_requested_offsets(rq, from))
        process_follow(rq, process, FOLLOW_PROCESS, from);
}

/* --- kill --- */

struct kill_request {
    struct request *rq;
    struct process *process;
    struct process_waiter waiter;
    struct loop_timer timer;
};

static void free_kill_request(struct kill_request *k)
{
    loop_timer_stop(k->rq->agent->loop, &k->timer);
    process_unwait(&k->waiter);
    process_unref(k->process);
    request_unhold(k->rq);
    free(k);
}

static void on_killed(struct process_waiter *waiter)
{
    struct kill_request *k = container_of(waiter, struct kill_request, waiter);

    process_reply_done(k->rq, k->process);
    free_kill_request(k);
}

static void on_not_killed(struct loop_timer *timer)
{
    struct kill_request *k = container_of(timer, struct kill_request, timer);
    struct context_item context[] = { CTX_STR("processId", k->process->id),
                                      CTX_STR("stderr", "it does not end, even after SIGKILL") };

    reply_error(k->rq, AGENT_E_PROCESS_ERROR, context, 2, "Process %s does not end", k->process->id);
    free_kill_request(k);
}

/* The signal of the query, SIGTERM without one, 0 after having answered. */
static int requested_signal(struct request *rq)
{
    struct str text;
    int signo;

    if (!query_get(http_request(rq->ex)->query, "signal", &text))
        return SIGTERM;
    signo = signal_by_name(text);
    if (signo == 0)
        reply_invalid(rq, "signal", "must be the name or the number of a signal", "INVALID_SIGNAL");
    return signo;
}

void handle_process_kill(struct request *rq)
{
    struct process *process = process_requested(rq);
    int signo = process ? requested_signal(rq) : 0;
    struct kill_request *k;

    if (signo == 0)
        return;
    if (!process_running(process)) {
        process_reply_ended(rq, process);
        return;
    }
    k = calloc(1, sizeof(*k));
    if (!k) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    k->rq = request_hold(rq);
    k->process = process_ref(process);
    k->waiter.on_end = on_killed;
    loop_timer_init(&k->timer, on_not_killed);
    (void)loop_timer_start(rq->agent->loop, &k->timer, KILL_ANSWER_MS);
    process_wait(process, &k->waiter);
    process_kill(process, signo); /* `k` may be gone */
}

/* --- kill all --- */

struct kill_all {
    struct request *rq;
    size_t count, ended;
    struct loop_timer timer;
    struct kill_all_waiter {
        struct kill_all *all;
        struct process_waiter waiter;
    } waiters[];
};

/* Those that have ended are counted; what the kernel does not let go is not waited for. */
static void reply_killed(struct kill_all *all)
{
    struct reply reply;

    reply_begin(&reply);
    json_pair_int(&reply.w, "cleanedCount", (int64_t)all->ended);
    reply_send(all->rq, &reply);
    loop_timer_stop(all->rq->agent->loop, &all->timer);
    for (size_t i = 0; i < all->count; i++)
        process_unwait(&all->waiters[i].waiter);
    request_unhold(all->rq);
    free(all);
}

static void on_one_killed(struct process_waiter *waiter)
{
    struct kill_all *all = container_of(waiter, struct kill_all_waiter, waiter)->all;

    if (++all->ended == all->count)
        reply_killed(all);
}

static void on_not_all_killed(struct loop_timer *timer)
{
    reply_killed(container_of(timer, struct kill_all, timer));
}

void handle_process_kill_all(struct request *rq)
{
    struct process_table *table = &rq->agent->processes;
    struct kill_all *all;
    size_t i = 0;

    process_refresh(rq->agent);
    all = calloc(1, sizeof(*all) + table->running.count * sizeof(all->waiters[0]));
    if (!all) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return;
    }
    all->rq = request_hold(rq);
    all->count = table->running.count;
    loop_timer_init(&all->timer, on_not_all_killed);
    (void)loop_timer_start(rq->agent->loop, &all->timer, KILL_ANSWER_MS);
    for (struct process *process = table->running.first; process; process = process->next, i++) {
        all->waiters[i].all = all;
        all->waiters[i].waiter.on_end = on_one_killed;
        process_wait(process, &all->waiters[i].waiter);
    }
    if (all->count == 0)
        reply_killed(all);
    else
        process_kill_session(rq->agent, NULL, SIGTERM);
}
