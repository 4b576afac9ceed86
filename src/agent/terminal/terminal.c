#include "terminal.h"

#include "agent/agent.h"
#include "agent/process/process_tree.h"
#include "base/signal_name.h"
#include "base/sys.h"

#include <stdio.h>
#include <sys/wait.h>

#define READ_MAX   ((size_t)4096)
#define PIECE      ((size_t)32 * 1024)
#define INPUT_MAX  ((size_t)32 * 1024 * 1024) /* more than a message may have */
#define INPUT_HIGH ((size_t)64 * 1024)

struct terminal {
    struct agent *agent;
    struct session *session; /* NULL once it has another terminal, or none */
    struct child *child;     /* NULL once it has ended */
    struct pty pty;
    struct loop_io io;
    bool hung_up;
    bool temporary;
    int wait_status;
    int64_t start_ms; /* of the wall clock */
    struct byte_log log;
    struct buf input; /* that the program has no room for yet */
    struct terminal_viewer *viewers;
    struct loop_deferred free_later;
};

static char piece[PIECE];

/* --- the end --- */

static void free_terminal(struct loop_deferred *deferred)
{
    struct terminal *t = container_of(deferred, struct terminal, free_later);

    byte_log_free(&t->log);
    buf_free(&t->input);
    free(t);
}

static void close_terminal(struct terminal *t)
{
    loop_io_remove(t->agent->loop, &t->io);
    pty_close(&t->pty);
}

static void free_if_over(struct terminal *t)
{
    if (!t->child && !t->viewers)
        loop_defer(t->agent->loop, &t->free_later);
}

static void send_exit(struct terminal_viewer *viewer)
{
    int status = viewer->terminal->wait_status;
    const char *name = WIFSIGNALED(status) ? signal_name(WTERMSIG(status)) : NULL;
    char text[96];

    snprintf(text, sizeof(text), "{\"type\":\"exit\",\"code\":%d%s%s%s}", child_status_to_code(status),
             name ? ",\"signal\":\"" : "", name ? name : "", name ? "\"" : "");
    ws_send(viewer->ws, WS_TEXT, str_from(text));
    terminal_viewer_close(viewer, WS_NORMAL, STR(""));
}

/* --- output --- */

/* As much as the viewer takes. */
static void push(struct terminal *t, struct terminal_viewer *viewer)
{
    while (!viewer->blocked && viewer->at < t->log.end) {
        const char *bytes = NULL;
        size_t n =
            viewer->at >= t->log.start ? byte_log_read(&t->log, viewer->at, piece, sizeof(piece), &bytes) : 0;
        if (n == 0) {
            terminal_viewer_fail(viewer, WS_TRY_AGAIN, "The output came faster than it was read");
            return;
        }
        viewer->at += n;
        viewer->blocked = !ws_send(viewer->ws, WS_BINARY, (struct str){ bytes, n });
    }
    if (!t->child && viewer->at == t->log.end)
        send_exit(viewer);
}

static void push_all(struct terminal *t)
{
    struct terminal_viewer *next;

    for (struct terminal_viewer *viewer = t->viewers; viewer; viewer = next) {
        next = viewer->next;
        push(t, viewer);
    }
}

static bool wants_output(const struct terminal *t)
{
    if (t->hung_up)
        return false;
    for (const struct terminal_viewer *viewer = t->viewers; viewer; viewer = viewer->next)
        if (!viewer->blocked)
            return true;
    return !t->viewers;
}

/* What is there, up to a piece: a read gives at most 4 KiB, for that is what the kernel keeps of a terminal's
 * output. */
static size_t gather(struct terminal *t)
{
    size_t got = 0;

    while (got + READ_MAX <= SCRATCH_SIZE) {
        ssize_t n = RETRY_EINTR(read(t->pty.master, scratch + got, SCRATCH_SIZE - got));
        if (n <= 0) {
            t->hung_up = n == 0 || errno != EAGAIN; /* EIO */
            break;
        }
        got += (size_t)n;
    }
    return got;
}

/* Whether there may be more. */
static bool take_output(struct terminal *t)
{
    size_t n = gather(t);

    if (n == 0)
        return false;
    byte_log_append(&t->log, scratch, n);
    push_all(t);
    byte_log_settle(&t->log);
    return n + READ_MAX > SCRATCH_SIZE;
}

static void on_io(struct loop_io *io, uint32_t events);

/* Out of epoll when nothing is wanted: it reports a hang-up whether one asks or not. */
static void update_events(struct terminal *t)
{
    uint32_t events = (wants_output(t) ? EPOLLIN : 0) | (t->input.len > 0 && !t->hung_up ? EPOLLOUT : 0);
    int rc = 0;

    if (t->pty.master < 0)
        return;
    if (events == 0)
        loop_io_remove(t->agent->loop, &t->io);
    else if (loop_io_active(&t->io))
        rc = loop_io_modify(t->agent->loop, &t->io, events);
    else
        rc = loop_io_add(t->agent->loop, &t->io, t->pty.master, events, on_io);
    if (rc < 0)
        terminal_kill(t);
}

/* --- input --- */

static void resume_viewers(struct terminal *t)
{
    for (struct terminal_viewer *viewer = t->viewers; viewer; viewer = viewer->next) {
        if (!viewer->paused)
            continue;
        viewer->paused = false;
        ws_resume(viewer->ws);
    }
}

static void flush_input(struct terminal *t)
{
    while (t->input.len > 0) {
        ssize_t n = RETRY_EINTR(write(t->pty.master, buf_head(&t->input), t->input.len));
        if (n < 0 && errno == EAGAIN)
            break;
        buf_consume(&t->input, n < 0 ? t->input.len : (size_t)n); /* EIO: nobody reads any more */
    }
    if (t->input.len == 0)
        buf_free(&t->input);
    if (t->input.len < INPUT_HIGH / 4)
        resume_viewers(t);
}

void terminal_input(struct terminal *t, struct terminal_viewer *viewer, struct str bytes)
{
    if (buf_append_str(&t->input, bytes) < 0) {
        terminal_viewer_fail(viewer, WS_INTERNAL, "The program does not read its input");
        return;
    }
    flush_input(t);
    if (t->input.len > INPUT_HIGH && !viewer->paused) {
        viewer->paused = true;
        ws_pause(viewer->ws);
    }
    update_events(t);
}

void terminal_resize(struct terminal *t, struct terminal_size size)
{
    pty_resize(&t->pty, size);
}

static void on_io(struct loop_io *io, uint32_t events)
{
    struct terminal *t = container_of(io, struct terminal, io);

    if (events & EPOLLOUT)
        flush_input(t);
    /* One piece a turn, for a terminal may have an endless lot to say, and others wait for their turn. */
    if (wants_output(t))
        take_output(t);
    update_events(t);
}

/* --- viewers --- */

static void send_replay(struct terminal *t, struct terminal_viewer *viewer)
{
    uint64_t at = t->log.end > t->log.start + TERMINAL_REPLAY ? t->log.end - TERMINAL_REPLAY : t->log.start;
    struct buf replay;

    buf_init(&replay, TERMINAL_REPLAY);
    while (at < t->log.end) {
        const char *bytes = NULL;
        size_t n = byte_log_read(&t->log, at, piece, sizeof(piece), &bytes);
        if (n == 0 || buf_append(&replay, bytes, n) < 0)
            break;
        at += n;
    }
    viewer->at = t->log.end;
    if (replay.len > 0 && !ws_send(viewer->ws, WS_BINARY, buf_str(&replay)))
        viewer->blocked = true;
    buf_free(&replay);
}

void terminal_attach(struct terminal *t, struct terminal_viewer *viewer)
{
    viewer->terminal = t;
    viewer->next = t->viewers;
    if (viewer->next)
        viewer->next->prev = viewer;
    t->viewers = viewer;
    send_replay(t, viewer);
    if (!ws_send(viewer->ws, WS_TEXT, STR("{\"type\":\"ready\"}")))
        viewer->blocked = true;
    if (viewer->has_size)
        terminal_resize(t, viewer->size);
    if (viewer->early.len > 0)
        terminal_input(t, viewer, buf_str(&viewer->early));
    buf_free(&viewer->early);
    update_events(t);
}

void terminal_detach(struct terminal_viewer *viewer)
{
    struct terminal *t = viewer->terminal;

    if (!t)
        return;
    if (viewer->prev)
        viewer->prev->next = viewer->next;
    else
        t->viewers = viewer->next;
    if (viewer->next)
        viewer->next->prev = viewer->prev;
    viewer->prev = viewer->next = NULL;
    viewer->terminal = NULL;
    update_events(t);
    if (t->temporary && !t->viewers && t->session) {
        struct session *session = t->session;
        terminal_kill(t);
        session_drop_unused(session);
    }
    free_if_over(t);
}

void terminal_viewer_drained(struct terminal_viewer *viewer)
{
    struct terminal *t = viewer->terminal;

    viewer->blocked = false;
    if (!t)
        return;
    push(t, viewer);
    update_events(t);
}

/* --- the program --- */

/* It has exited, and the kernel has hung the terminal up: what is left of the output is in our hands or lost. */
static void on_end(struct child *child, void *data)
{
    struct terminal *t = data;

    t->wait_status = child->wait_status;
    while (!t->hung_up && take_output(t))
        ;
    t->child = NULL;
    t->hung_up = true;
    if (t->session)
        t->session->terminal = NULL;
    if (t->session && t->temporary)
        session_drop_unused(t->session);
    t->session = NULL;
    close_terminal(t);
    push_all(t);
    free_if_over(t);
}

static void kill_tree(const struct terminal *t)
{
    struct proc_snapshot snapshot = { 0 };
    pid_t pid = t->child->pid;
    size_t count = 0;
    size_t *members;

    child_signal_group(t->child, SIGKILL);
    if (proc_snapshot_take(&snapshot) < 0)
        return;
    members = proc_snapshot_tree(
        &snapshot, &(struct proc_wanted){ .roots = &pid, .root_count = t->child->exited ? 0 : 1, .session = pid },
        &count);
    for (size_t i = 0; members && i < count; i++)
        kill(snapshot.entries[members[i]].pid, SIGKILL);
    free(members);
    proc_snapshot_free(&snapshot);
}

void terminal_kill(struct terminal *t)
{
    if (t->session)
        t->session->terminal = NULL;
    t->session = NULL;
    if (t->child)
        kill_tree(t);
}

static int start_program(struct terminal *t, const struct terminal_spec *spec, struct berm_error *err)
{
    static const struct child_events events = { .on_end = on_end };
    char *argv[] = { (char *)(uintptr_t)spec->shell, NULL };
    struct child_spec child = CHILD_SPEC_INIT;
    struct child_error failure;

    child.file = spec->shell;
    child.argv = argv;
    child.envp = spec->envp;
    child.cwd_fd = spec->cwd_fd;
    child.terminal = true;
    for (int i = 0; i < 3; i++)
        child.fds[i] = t->pty.slave;
    t->child = child_spawn(t->agent, &child, NULL, &events, t, &failure);
    return t->child
               ? 0
               : berm_fail(err, BERM_E_SYSTEM, failure.errnum, "Cannot start the shell '%s' of the terminal: %s",
                           spec->shell, child_failure_text(failure.where));
}

struct terminal *terminal_start(struct session *session, const struct terminal_spec *spec, struct berm_error *err)
{
    struct terminal *t = calloc(1, sizeof(*t));

    if (!t) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "Cannot make a terminal");
        return NULL;
    }
    t->agent = session->agent;
    t->pty = (struct pty)PTY_NONE;
    t->free_later.callback = free_terminal;
    byte_log_init(&t->log, &t->agent->processes.store, TERMINAL_LOG);
    buf_init(&t->input, INPUT_MAX);
    if (pty_open(&t->pty, spec->size) < 0 ? berm_fail(err, BERM_E_SYSTEM, errno, "Cannot make a terminal") < 0
                                          : start_program(t, spec, err) < 0) {
        close_terminal(t);
        free_terminal(&t->free_later);
        return NULL;
    }
    t->session = session;
    t->start_ms = clock_realtime_ms();
    t->temporary = spec->temporary;
    session->terminal = t;
    update_events(t);
    return t;
}

void terminal_put_record(const struct session *session, struct json_writer *w)
{
    const struct terminal *t = session->terminal;
    char stamp[25];

    format_timestamp(t->start_ms, stamp);
    json_object_begin(w);
    json_pair_cstring(w, "sessionId", session->id);
    if (t->child)
        json_pair_int(w, "pid", t->child->pid);
    json_pair_cstring(w, "startTime", stamp);
    json_object_end(w);
}
