/* run.c - one cloudflared at work: what it prints, whether it is ready, how it ends. */
#include "connector/connector.h"

#include "base/log.h"
#include "base/sys.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define READS_AT_ONCE 16 /* in a turn: who prints without an end does not keep the others waiting */

struct run *run_find(struct connector *connector, uint32_t number)
{
    for (struct list *node = connector->runs.next; node != &connector->runs; node = node->next) {
        struct run *run = container_of(node, struct run, node);

        if (run->number == number)
            return run;
    }
    return NULL;
}

static struct connector_message message_of(uint32_t number, enum connector_message_type type)
{
    return (struct connector_message){ .version = CONNECTOR_WIRE_VERSION, .type = (uint16_t)type, .run = number };
}

/* What finds no room is refused: there are as many runs already. */
static void note_in_table(struct connector_table *table, uint32_t before, uint32_t after)
{
    for (size_t i = 0; i < CONNECTOR_RUNS_MAX; i++) {
        if (table->runs[i] != before)
            continue;
        table->runs[i] = after;
        return;
    }
}

/* Told before it is noted: twice is better than never. */
static void tell_ended(struct connector *connector, uint32_t number, enum connector_reason reason, int code)
{
    struct connector_message message = message_of(number, CONNECTOR_ENDED);

    message.reason = (uint16_t)reason;
    message.code = code;
    connector_tell(connector, &message);
    note_in_table(connector->table, number, 0);
}

void run_note(struct connector *connector, uint32_t number)
{
    if (number <= connector->table->last)
        return;
    note_in_table(connector->table, 0, number);
    connector->table->last = number;
}

/* A START that was noted may still be on the wire, or have left it. */
void runs_bury(struct connector *connector)
{
    connector->buried = connector->table->last;
    for (size_t i = 0; i < CONNECTOR_RUNS_MAX; i++) {
        uint32_t number = connector->table->runs[i];

        if (number == 0)
            continue;
        connector->buried = MAX(connector->buried, number);
        tell_ended(connector, number, CONNECTOR_EXITED, -1);
    }
}

/* --- what it prints, and when it is ready --- */

/* False: there is nothing more now. */
static bool read_once(struct run *run)
{
    size_t room;
    char *at = cloudflared_output_room(&run->watch.output, CLOUDFLARED_STDERR, &room);
    ssize_t n = read(run->output.fd, at, room);

    if (n > 0) {
        cloudflared_output_take(&run->watch.output, CLOUDFLARED_STDERR, (size_t)n);
        return true;
    }
    if (n == 0 || errno != EAGAIN)
        loop_io_remove(run->connector->loop, &run->output); /* its end is told by the pidfd */
    return false;
}

static void on_output(struct loop_io *io, uint32_t events)
{
    struct run *run = container_of(io, struct run, output);

    (void)events;
    for (int i = 0; i < READS_AT_ONCE && read_once(run); i++)
        continue;
}

static void on_ready(struct cloudflared_watch *watch)
{
    struct run *run = container_of(watch, struct run, watch);
    struct connector_message message = message_of(run->number, CONNECTOR_READY);

    if (!run->named)
        str_copy(cloudflared_label(watch->output.url), message.text, sizeof(message.text));
    log_info("cloudflared.ready", "run", log_num(run->number));
    connector_tell(run->connector, &message);
}

static void on_late(struct cloudflared_watch *watch)
{
    run_stop(container_of(watch, struct run, watch), CONNECTOR_LATE);
}

/* --- its end --- */

static void kill_group(const struct run *run, int signo)
{
    if (kill(-run->pid, signo) < 0) /* it has no group yet */
        kill(run->pid, signo);
}

static void on_grace(struct loop_timer *timer)
{
    kill_group(container_of(timer, struct run, grace), SIGKILL);
}

void run_stop(struct run *run, enum connector_reason reason)
{
    if (run->reason)
        return;
    run->reason = reason;
    cloudflared_watch_stop(&run->watch);
    kill_group(run, SIGTERM);
    (void)loop_timer_start(run->connector->loop, &run->grace, CLOUDFLARED_GRACE_MS);
}

static void on_free(struct loop_deferred *deferred)
{
    struct run *run = container_of(deferred, struct run, free_later);

    cloudflared_watch_end(&run->watch);
    free(run);
}

static void on_exit_(struct loop_io *io, uint32_t events)
{
    struct run *run = container_of(io, struct run, exit);
    struct connector *connector = run->connector;
    int output = run->output.fd, pidfd = io->fd, status = 0;
    enum connector_reason reason;

    (void)events;
    for (int i = 0; i < READS_AT_ONCE && loop_io_active(&run->output) && read_once(run); i++) /* its last words */
        continue;
    kill_group(run, SIGKILL); /* what it has started */
    if (RETRY_EINTR(waitpid(run->pid, &status, 0)) < 0)
        status = 0;
    reason = run->reason ? run->reason : run->watch.output.limited ? CONNECTOR_LIMITED : CONNECTOR_EXITED;
    loop_io_remove(connector->loop, &run->output);
    loop_io_remove(connector->loop, io);
    loop_timer_stop(connector->loop, &run->grace);
    cloudflared_watch_stop(&run->watch);
    close_fd(&output);
    close_fd(&pidfd);
    list_remove(&run->node);
    connector->run_count--;
    log_info("cloudflared.ended", "run", log_num(run->number), "reason", log_num(reason));
    tell_ended(connector, run->number, reason, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    loop_defer(connector->loop, &run->free_later);
    if (connector->ending && connector->run_count == 0)
        loop_stop(connector->loop);
}

/* --- its beginning --- */

static int watch_process(struct run *run, int output)
{
    struct loop *loop = run->connector->loop;
    int pidfd = pidfd_open_pid(run->pid);

    if (pidfd >= 0 && loop_io_add(loop, &run->output, output, EPOLLIN, on_output) == 0) {
        if (loop_io_add(loop, &run->exit, pidfd, EPOLLIN, on_exit_) == 0)
            return 0;
        loop_io_remove(loop, &run->output);
    }
    kill_group(run, SIGKILL);
    (void)waitpid(run->pid, NULL, 0);
    close_fd(&pidfd);
    close_fd(&output);
    return -1;
}

void run_begin(struct connector *connector, const struct connector_message *start)
{
    struct run *run = connector->run_count < CONNECTOR_RUNS_MAX ? calloc(1, sizeof(*run)) : NULL;
    int output = -EBADF;

    if (!run) {
        tell_ended(connector, start->run, CONNECTOR_NO_RESOURCES, -1);
        return;
    }
    run->connector = connector;
    run->number = start->run;
    run->named = start->named;
    run->watch.on_ready = on_ready;
    run->watch.on_late = on_late;
    run->free_later.callback = on_free;
    loop_timer_init(&run->grace, on_grace);
    run->pid = cloudflared_spawn(connector, run->named, start->text, &output);
    if (run->pid < 0 || watch_process(run, output) < 0) {
        bool missing = run->pid < 0 && (errno == ENOENT || errno == EACCES || errno == ENOTDIR);

        tell_ended(connector, start->run, missing ? CONNECTOR_NOT_FOUND : CONNECTOR_NO_RESOURCES, -1);
        free(run);
        return;
    }
    list_append(&connector->runs, &run->node);
    connector->run_count++;
    cloudflared_watch_begin(&run->watch, connector->loop, !run->named);
}
