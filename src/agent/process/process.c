#include "agent/agent.h"
#include "agent/child/limit.h"
#include "base/utf8.h"
#include "process_kill.h"
#include "process_run.h"

#include <stdio.h>

/* --- records --- */

struct process *process_ref(struct process *process)
{
    process->refs++;
    return process;
}

void process_unref(struct process *process)
{
    if (--process->refs > 0)
        return;
    if (process->shelf_place.n > 0)
        byte_store_drop(&process->agent->processes.store, process->shelf_place.at, process->shelf_place.n);
    for (int i = 0; i < STREAM_COUNT; i++)
        byte_log_free(&process->logs[i]);
    free(process->id);
    free(process->session_id);
    free(process->usage);
    free((char *)(uintptr_t)process->command.p);
    free(process);
}

static char *make_id(void)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    unsigned char random[6];
    char *id;

    random_bytes(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (unsigned char)digits[random[i] % 36];
    return asprintf(&id, "proc_%lld_%.6s", (long long)clock_realtime_ms(), (const char *)random) < 0 ? NULL : id;
}

static bool fill_strings(struct process *process, const struct process_record *record)
{
    process->id = record->id.n > 0 ? str_dup(record->id) : make_id();
    process->command = (struct str){ str_dup(record->command), record->command.n };
    if (record->session_id)
        process->session_id = strdup(record->session_id);
    return process->id && process->command.p && (process->session_id || !record->session_id);
}

static struct stream *stream_of(struct process_run *run, int stream)
{
    return run->pair ? &run->pair->streams[stream] : run->child ? &run->child->out[stream] : NULL;
}

/*
 * Where both streams have something, nobody can tell what was written first. Most programs report on stderr what
 * became of what they wrote to stdout, so that is read before.
 */
static char *reserve(struct sink *sink, int stream, size_t *room, bool final)
{
    struct process_run *run = container_of(sink, struct process_run, sink);
    struct stream *before = stream == STREAM_STDERR ? stream_of(run, STREAM_STDOUT) : NULL;
    const struct open_line *line = &run->lines[stream];

    if (before && before->fd >= 0)
        (void)stream_pump(before, SCRATCH_SIZE, final);
    if (line->n > 0)
        memcpy(scratch, line->p, line->n);
    *room = SCRATCH_SIZE - line->n;
    return scratch + line->n;
}

static void tell_readers(struct process *process)
{
    for (struct process_reader *reader = process->readers; reader; reader = process->reader_cursor) {
        process->reader_cursor = reader->next;
        reader->on_more(reader);
    }
}

static void put(struct process_run *run, int stream, const char *p, size_t n)
{
    struct process *process = run->process;

    run->lines[stream].ends_open = p[n - 1] != '\n';
    byte_log_append(&process->logs[stream], p, n);
    tell_readers(process);
    byte_log_settle(&process->logs[stream]);
}

/* The part of a line that waits for its end. False without memory: then nothing waits. */
static bool keep_line(struct open_line *line, const char *p, size_t n)
{
    char *copy = n > 0 ? realloc(line->p, n) : NULL;

    if (copy)
        memcpy(copy, p, n);
    else
        free(line->p);
    line->p = copy;
    line->n = copy ? n : 0;
    return copy || n == 0;
}

static size_t remove_nuls(char *p, size_t n)
{
    char *to = memchr(p, 0, n);

    if (!to)
        return n;
    for (const char *from = to; from < p + n; from++)
        if (*from)
            *to++ = *from;
    return (size_t)(to - p);
}

/*
 * How much of the `n` bytes goes into the log now. In a session that is whole lines, so that whoever follows the
 * log is never left with a part of one; a line too long for that goes in parts, but for a character that is not
 * complete.
 */
static size_t take_lines(const char *p, size_t n)
{
    const char *newline = memrchr(p, '\n', n);

    if (newline)
        return (size_t)(newline - p) + 1;
    return n < SCRATCH_SIZE ? 0 : n - utf8_incomplete_tail((struct str){ p, n });
}

static void commit(struct sink *sink, int stream, size_t n)
{
    struct process_run *run = container_of(sink, struct process_run, sink);
    struct open_line *line = &run->lines[stream];
    size_t take, all;

    if (!run->process->by_lines) {
        put(run, stream, scratch, n);
        return;
    }
    all = line->n + remove_nuls(scratch + line->n, n);
    take = take_lines(scratch, all);
    if (take > 0)
        put(run, stream, scratch, take);
    if (!keep_line(line, scratch + take, all - take))
        put(run, stream, scratch + take, all - take);
}

static void on_limit(struct loop_timer *timer)
{
    struct process_run *run = container_of(timer, struct process_run, limit);

    run->timed_out = true;
    process_kill(run->process, SIGTERM);
}

static void free_run(struct loop_deferred *deferred)
{
    free(container_of(deferred, struct process_run, free_later));
}

static struct process_run *new_run(struct process *process)
{
    struct process_run *run = calloc(1, sizeof(*run));

    if (!run)
        return NULL;
    run->process = process;
    run->sink = (struct sink){ reserve, commit };
    run->free_later.callback = free_run;
    loop_timer_init(&run->limit, on_limit);
    return run;
}

struct process *process_new(struct agent *agent, const struct process_record *record)
{
    struct process_table *table = &agent->processes;
    struct process *process = calloc(1, sizeof(*process));

    if (!process)
        return NULL;
    process->refs = 1;
    process->agent = agent;
    for (int i = 0; i < STREAM_COUNT; i++)
        byte_log_init(&process->logs[i], &table->store, record->log_limit ? record->log_limit : table->log_limit);
    process->run = new_run(process);
    if (!process->run || !fill_strings(process, record)) {
        free(process->run);
        process_unref(process);
        return NULL;
    }
    process->run->mark = record->mark;
    process->by_lines = record->session_id != NULL;
    process->start_ms = clock_realtime_ms();
    process->start_tick_ms = loop_now_ms(agent->loop);
    process_table_add(process, record->id.n > 0);
    return process;
}

/* --- looking --- */

void process_refresh(struct agent *agent)
{
    child_reap(agent);
}

const char *process_status_name(enum process_status status)
{
    static const char *const names[] = { "running", "completed", "failed", "killed", "error" };

    return names[status];
}

void process_attach(struct process *process, struct process_reader *reader)
{
    reader->process = process_ref(process);
    reader->next = process->readers;
    reader->prev = &process->readers;
    if (reader->next)
        reader->next->prev = &reader->next;
    process->readers = reader;
}

void process_detach(struct process_reader *reader)
{
    struct process *process = TAKE_PTR(reader->process);

    if (!process)
        return;
    if (process->reader_cursor == reader)
        process->reader_cursor = reader->next;
    *reader->prev = reader->next;
    if (reader->next)
        reader->next->prev = reader->prev;
    process_unref(process);
}

static void add_waiter(struct process_waiter **list, struct process *process, struct process_waiter *waiter)
{
    waiter->process = process_ref(process);
    waiter->next = *list;
    waiter->prev = list;
    if (waiter->next)
        waiter->next->prev = &waiter->next;
    *list = waiter;
}

void process_wait(struct process *process, struct process_waiter *waiter)
{
    add_waiter(&process->waiters, process, waiter);
}

void process_unwait(struct process_waiter *waiter)
{
    struct process *process = TAKE_PTR(waiter->process);

    if (!process)
        return;
    *waiter->prev = waiter->next;
    if (waiter->next)
        waiter->next->prev = waiter->prev;
    process_unref(process);
}

/* --- stdin --- */

bool process_has_stdin(const struct process *process)
{
    return process->run && process->run->child && process->run->child->stdin_fd >= 0;
}

bool process_write_stdin(struct process *process, struct str bytes)
{
    return !process_has_stdin(process) || child_write(process->run->child, bytes.p, bytes.n);
}

void process_close_stdin(struct process *process)
{
    if (process_has_stdin(process))
        child_close_stdin(process->run->child);
}

void process_wait_stdin(struct process *process, struct process_waiter *waiter)
{
    add_waiter(&process->run->stdin_waiters, process, waiter);
}

static void tell_waiters(struct process_waiter **list)
{
    struct process_waiter *waiter;

    while ((waiter = *list)) {
        process_unwait(waiter);
        waiter->on_end(waiter);
    }
}

static void on_stdin_drain(struct child *child, void *data)
{
    struct process_run *run = data;

    (void)child;
    tell_waiters(&run->stdin_waiters);
}

/* --- the end --- */

/* The end of the last line, if it has none. */
static void end_line(struct process_run *run, int stream)
{
    struct open_line *line = &run->lines[stream];

    size_t n = line->n;

    if (n > 0)
        memcpy(scratch, line->p, n);
    keep_line(line, NULL, 0);
    if (n == 0 && !line->ends_open)
        return;
    scratch[n] = '\n';
    put(run, stream, scratch, n + 1);
}

void process_put_line(struct process_run *run, const char *text)
{
    end_line(run, STREAM_STDERR);
    put(run, STREAM_STDERR, text, strlen(text));
    put(run, STREAM_STDERR, "\n", 1);
}

/* What is left in the pipes; then they are others' business, if they are still open. */
static void finish_pair(struct process_run *run)
{
    struct fifo_pair *pair = TAKE_PTR(run->pair);
    bool ended;

    if (!pair)
        return;
    ended = fifo_pair_finish(pair);
    fifo_pair_set_sink(pair, NULL);
    if (ended)
        fifo_pair_free(pair);
    else
        fifo_pair_drain(pair);
}

static void settle_exit_code(struct process *process, const struct process_run *run)
{
    bool killed = (run->kill || run->stopped) && !run->timed_out;
    int code = child_status_to_code(run->wait_status);

    /* The one that we wait for may be a shell that dies of SIGTERM while what it runs takes more. */
    if (run->lost || (killed && run->kill && WIFSIGNALED(run->wait_status)))
        code = 128 + (run->kill ? process_kill_signal(run->kill) : SIGKILL);
    if (run->timed_out)
        code = 124;
    process->has_exit_code = true;
    process->exit_code = code;
    if (killed || code == 128 + SIGKILL || code == 128 + SIGTERM)
        process->status = PROCESS_KILLED;
    else
        process->status = code == 0 ? PROCESS_COMPLETED : PROCESS_FAILED;
}

static void end(struct process *process)
{
    struct process_run *run = TAKE_PTR(process->run);
    struct loop *loop = process->agent->loop;

    for (int i = 0; process->by_lines && i < STREAM_COUNT; i++)
        end_line(run, i);
    loop_timer_stop(loop, &run->limit);
    process_kill_free(run->kill);
    process->end_ms = clock_realtime_ms();
    for (int i = 0; i < STREAM_COUNT; i++)
        byte_log_seal(&process->logs[i]);
    loop_defer(loop, &run->free_later);
    process_ref(process);
    process_table_move_to_ended(process);
    tell_readers(process);
    tell_waiters(&run->stdin_waiters);
    tell_waiters(&process->waiters);
    process_table_trim(process->agent);
    shutdown_check(process->agent);
    process_unref(process);
}

void process_maybe_end(struct process_run *run)
{
    if (run->child || (run->kill && !process_kill_over(run->kill)))
        return;
    if (run->timed_out) {
        char text[64];
        snprintf(text, sizeof(text), "Command timed out after %llums", (unsigned long long)run->limit_ms);
        process_put_line(run, text);
    }
    settle_exit_code(run->process, run);
    end(run->process);
}

void process_fail(struct process *process, const char *reason)
{
    process_put_line(process->run, reason);
    process->status = PROCESS_ERROR;
    end(process);
}

/* Without memory there is no receipt. */
static struct usage *copy_usage(const struct child *child, bool timed_out)
{
    struct usage *copy = child_usage(child) ? malloc(sizeof(*copy)) : NULL;

    if (copy) {
        *copy = *child_usage(child);
        if (timed_out)
            copy->reason = END_TIMEOUT;
    }
    return copy;
}

static void on_child_end(struct child *child, void *data)
{
    struct process_run *run = data;

    run->process->usage = copy_usage(child, run->timed_out);
    run->wait_status = child->wait_status;
    run->child = NULL;
    finish_pair(run);
    process_maybe_end(run);
}

const struct child_events process_child_events = { .on_end = on_child_end, .on_stdin_drain = on_stdin_drain };
