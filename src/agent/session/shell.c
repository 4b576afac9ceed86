#include "shell.h"

#include "agent/agent.h"
#include "base/sys.h"
#include "shell_input.h"
#include "shell_script.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define STOP_GRACE_MS  1000
#define WATCH_AFTER_MS 4
#define ASK_AFTER_MS   250           /* whether bash is past a command without a report */
#define INLINE_MAX     ((size_t)240) /* longer scripts go through a file; from here on that is faster */
#define BACKLOG_MAX    ((size_t)256 * 1024 * 1024)
#define CONTROL_LINE   128
#define MARKER_LETTERS 2

struct shell_slot {
    struct shell_slot *next;
    struct shell *shell;
    struct shell_job *job;  /* NULL: abandoned, or the shell's own start */
    struct fifo_pair *pair; /* NULL for the start, and of a background command, whose output is not ours */
    bool is_start;
    pid_t background_pid;
    bool restores; /* a second report will come */
    bool asked;    /* once bash has read what comes behind it, there should have been a report */
    int status;
    char file[FIFO_PATH_MAX]; /* that holds the script, or "" */
};

struct shell {
    struct agent *agent;
    struct child *child;
    shell_exit_callback on_exit;
    void *data;

    struct shell_input input;

    int control_fd;
    struct loop_io control_io;
    char line[CONTROL_LINE]; /* the end of the line that is being received */
    size_t line_len;
    char marker[MARKER_LETTERS + 1];

    struct shell_slot *head, **tail;
    struct fifo_pair *idle; /* ready for the next command */
    char *start_directory;  /* where it goes first; NULL once it is there */

    struct loop_timer watch_timer; /* when to begin reading what the head of the queue writes, */
    struct loop_timer ask_timer;   /* and when to ask where bash is */
    struct loop_timer stop_timer;
    struct loop_deferred free_later;
};

/* --- slots --- */

static struct shell_slot *slot_new(struct shell *shell)
{
    struct shell_slot *slot = calloc(1, sizeof(*slot));

    if (slot)
        slot->shell = shell;
    return slot;
}

/*
 * A builtin is over in a tenth of a millisecond, a small program in one or two, and the output fits into the pipes:
 * being woken up for every piece and every end of it would cost more than the command. So the FIFOs are watched
 * only if it takes longer.
 */
static void begin_head(struct shell *shell)
{
    if (!shell->head)
        return;
    if (shell->head->pair)
        loop_timer_start(shell->agent->loop, &shell->watch_timer, WATCH_AFTER_MS);
    loop_timer_start(shell->agent->loop, &shell->ask_timer, ASK_AFTER_MS);
}

static void on_watch_timer(struct loop_timer *timer)
{
    struct shell *shell = container_of(timer, struct shell, watch_timer);

    if (shell->head && shell->head->pair && fifo_pair_watch(shell->head->pair) < 0)
        shell_kill(shell); /* it would block for ever on a full pipe; its end is reported */
}

static void slot_append(struct shell *shell, struct shell_slot *slot)
{
    *shell->tail = slot;
    shell->tail = &slot->next;
    if (shell->head == slot)
        begin_head(shell);
}

static void slot_take_head(struct shell *shell)
{
    loop_timer_stop(shell->agent->loop, &shell->watch_timer);
    loop_timer_stop(shell->agent->loop, &shell->ask_timer);
    shell->head = shell->head->next;
    if (!shell->head)
        shell->tail = &shell->head;
    begin_head(shell);
}

static void slot_free(struct shell_slot *slot)
{
    if (slot->file[0])
        unlink(slot->file);
    free(slot);
}

/* Gives the pair back: to the shell if nobody writes to it any more, else it is drained until that is so. */
static void release_pair(struct shell *shell, struct fifo_pair *pair, bool ended)
{
    fifo_pair_set_sink(pair, NULL);
    if (!ended)
        fifo_pair_drain(pair);
    else if (shell->idle)
        fifo_pair_free(pair);
    else
        shell->idle = pair;
}

static struct fifo_pair *take_pair(struct shell *shell)
{
    struct fifo_pair *pair = TAKE_PTR(shell->idle);

    if (pair && !fifo_pair_usable(pair)) {
        fifo_pair_free(pair);
        pair = NULL;
    }
    return pair ? pair : fifo_pair_new(shell->agent);
}

/* --- writing the script --- */

static void on_input_broken(struct shell_input *input)
{
    shell_kill(container_of(input, struct shell, input)); /* a script with a hole in it must not run on */
}

/*
 * Puts a script into a file of the slot's own. Where there is no room for it the slot stays without. Code in the
 * sandbox may have put a FIFO in its place, for whose reader nobody must wait.
 */
static void store_script(struct shell *shell, struct shell_slot *slot, struct str text)
{
    _cleanup_close_ int fd = -EBADF;

    if (fifo_dir_make(shell->agent, S_IFREG, slot->file) < 0) {
        slot->file[0] = '\0';
        return;
    }
    fd = open(slot->file, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && write_all(fd, text.p, text.n) == 0)
        return;
    unlink(slot->file);
    slot->file[0] = '\0';
}

/* bash reads a file in blocks, and the script pipe byte by byte. */
static int shorten_script(struct shell *shell, struct shell_slot *slot, size_t before)
{
    struct buf *backlog = &shell->input.backlog;
    struct str script = { buf_head(backlog) + before, backlog->len - before };

    if (script.n <= INLINE_MAX)
        return 0;
    store_script(shell, slot, script);
    if (!slot->file[0])
        return 0;
    backlog->len = before;
    return buf_printf(backlog, "\\builtin eval \"$(<%s)\"\n", slot->file);
}

static int write_script(struct shell *shell, struct shell_slot *slot, const struct shell_command *command)
{
    const struct fifo_pair *pair = command->background ? command->background : slot->pair;
    struct shell_script script = {
        .command = command->text,
        .out_path = pair->paths[STREAM_STDOUT],
        .err_path = pair->paths[STREAM_STDERR],
        .marker = shell->marker,
        .cwd = command->cwd,
        .env = command->env,
        .background = command->background != NULL,
        .in_path = command->in_path,
        .mark = command->mark,
    };
    size_t before = shell->input.backlog.len;

    slot->restores = shell_script_restores(&script);
    if (shell_script_write(&shell->input.backlog, &script) < 0 || shorten_script(shell, slot, before) < 0) {
        shell->input.backlog.len = before; /* half a script would swallow the next one */
        return -1;
    }
    return shell_input_flush(&shell->input);
}

int shell_run(struct shell *shell, struct shell_job *job, const struct shell_command *command,
              struct berm_error *err)
{
    struct shell_slot *slot = slot_new(shell);

    if (!slot)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "cannot start the command");
    if (!command->background)
        slot->pair = take_pair(shell);
    if (!command->background && !slot->pair) {
        berm_fail(err, BERM_E_SYSTEM, errno, "cannot make the FIFOs for the command's output");
        slot_free(slot);
        return -1;
    }
    if (write_script(shell, slot, command) < 0) {
        berm_fail(err, BERM_E_SYSTEM, errno, "cannot pass the command to the shell");
        if (slot->pair)
            release_pair(shell, slot->pair, true);
        slot_free(slot);
        return -1;
    }
    slot->job = job;
    job->slot = slot;
    job->background_pid = 0;
    if (slot->pair)
        fifo_pair_set_sink(slot->pair, job->sink);
    slot_append(shell, slot);
    return 0;
}

/* One that has just been killed is not reaped yet. */
bool shell_ready(const struct shell *shell)
{
    siginfo_t info = { 0 };

    if (shell->head || !shell->child)
        return false;
    return waitid(P_PID, (id_t)shell_pid(shell), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

void shell_abandon(struct shell_job *job)
{
    struct shell_slot *slot = job->slot;

    if (!slot)
        return;
    job->slot = NULL;
    slot->job = NULL;
    fifo_pair_set_sink(slot->pair, NULL);
    for (int i = 0; i < STREAM_COUNT; i++)
        stream_rearm(&slot->pair->streams[i]); /* the sink may have been full */
}

void shell_resume_output(struct shell_job *job)
{
    for (int i = 0; job->slot && i < STREAM_COUNT; i++)
        stream_rearm(&job->slot->pair->streams[i]);
}

/* --- reports --- */

static void end_job(struct shell *shell, bool entered)
{
    struct shell_slot *slot = shell->head;
    struct shell_job *job;
    int status = slot->status;

    slot_take_head(shell);
    if (slot->pair)
        release_pair(shell, slot->pair, fifo_pair_finish(slot->pair));
    else if (slot->is_start)
        free_ptr(&shell->start_directory);
    job = slot->job;
    if (job)
        job->background_pid = slot->background_pid;
    slot_free(slot);
    if (!job)
        return;
    job->slot = NULL;
    if (entered)
        job->on_done(job, status);
    else
        job->on_no_directory(job);
}

static void handle_line(struct shell *shell, struct str line)
{
    struct shell_slot *slot = shell->head;
    int status = 0;
    enum shell_report report = shell_report_parse(line, shell->marker, &status);

    if (!slot || report == SHELL_REPORT_NONE)
        return;
    if (report == SHELL_REPORT_STARTED) {
        slot->background_pid = status;
        if (slot->job && slot->job->on_started && status > 1)
            slot->job->on_started(slot->job, status);
        return;
    }
    if (report == SHELL_REPORT_STATUS)
        slot->status = status;
    if (report == SHELL_REPORT_NO_DIRECTORY || report == SHELL_REPORT_RESTORED || !slot->restores)
        end_job(shell, report != SHELL_REPORT_NO_DIRECTORY);
}

/* Only the end of a line can hold a report; of a longer one (from a user's trap) the front is forgotten. */
static void feed_line(struct shell *shell, const char *p, size_t n)
{
    if (n >= CONTROL_LINE) {
        p += n - CONTROL_LINE;
        n = CONTROL_LINE;
        shell->line_len = 0;
    } else if (shell->line_len + n > CONTROL_LINE) {
        size_t drop = shell->line_len + n - CONTROL_LINE;
        memmove(shell->line, shell->line + drop, shell->line_len - drop);
        shell->line_len -= drop;
    }
    memcpy(shell->line + shell->line_len, p, n);
    shell->line_len += n;
}

/* True if there may be more to read. */
static bool read_control(struct shell *shell)
{
    char bytes[1024];
    ssize_t n = RETRY_EINTR(read(shell->control_fd, bytes, sizeof(bytes)));

    for (ssize_t i = 0; i < n;) {
        const char *newline = memchr(bytes + i, '\n', (size_t)(n - i));
        size_t run = newline ? (size_t)(newline - bytes - i) : (size_t)(n - i);
        feed_line(shell, bytes + i, run);
        i += (ssize_t)run;
        if (newline) {
            i++;
            handle_line(shell, (struct str){ shell->line, shell->line_len });
            shell->line_len = 0;
        }
    }
    return n == (ssize_t)sizeof(bytes);
}

static void on_control(struct loop_io *io, uint32_t events)
{
    struct shell *shell = container_of(io, struct shell, control_io);

    if (events & EPOLLIN) {
        read_control(shell);
        return;
    }
    /*
     * Nobody can report any more: the user's `exec 10<&-` has closed what bash had kept of the pipe, or `exec
     * program` has replaced bash. A bash that goes on ends when it comes to this line; either way the reaper tells.
     */
    loop_io_remove(shell->agent->loop, io);
    if (buf_append_str(&shell->input.backlog, STR("\\builtin exit\n")) < 0 || shell_input_flush(&shell->input) < 0)
        shell_kill(shell);
}

static void on_ask_timer(struct loop_timer *timer)
{
    struct shell *shell = container_of(timer, struct shell, ask_timer);

    if (shell->head && shell_input_ask(&shell->input))
        shell->head->asked = true;
    else if (shell->head) /* a command before it was asked about, or bash has not read all of this one yet */
        loop_timer_start(shell->agent->loop, timer, ASK_AFTER_MS);
}

/*
 * Whatever it was given bash is done with. If there still is no report the user has seen to it that there will be
 * none, and nobody could tell what his commands do.
 */
static void on_all_read(struct shell_input *input)
{
    struct shell *shell = container_of(input, struct shell, input);

    while (read_control(shell))
        ;
    if (shell->head && shell->head->asked)
        shell_kill(shell);
}

/* --- the end --- */

static void free_shell(struct loop_deferred *deferred)
{
    struct shell *shell = container_of(deferred, struct shell, free_later);

    shell_input_free(&shell->input);
    free(shell);
}

static void release_all(struct shell *shell)
{
    shell_input_close(&shell->input);
    free_ptr(&shell->start_directory);
    loop_io_remove(shell->agent->loop, &shell->control_io);
    close_fd(&shell->control_fd);
    loop_timer_stop(shell->agent->loop, &shell->stop_timer);
    loop_timer_stop(shell->agent->loop, &shell->watch_timer);
    loop_timer_stop(shell->agent->loop, &shell->ask_timer);
    if (shell->idle)
        fifo_pair_free(TAKE_PTR(shell->idle));
}

static void end_slot_without_shell(struct shell *shell, int exit_code)
{
    struct shell_slot *slot = shell->head;
    struct shell_job *job = slot->job;

    slot_take_head(shell);
    if (slot->pair)
        fifo_pair_drain(slot->pair);
    slot_free(slot);
    if (job) {
        job->slot = NULL;
        job->on_shell_exit(job, exit_code);
    }
}

static void on_child_end(struct child *child, void *data)
{
    struct shell *shell = data;
    int exit_code = child_exit_code(child);

    /* Reports that it wrote before it died are results still. The pipe holds at most 64 KiB of them. */
    for (int i = 0; i < 64 && read_control(shell); i++)
        ;
    shell->child = NULL;
    release_all(shell);
    shell->on_exit(shell, exit_code, shell->data);
    while (shell->head)
        end_slot_without_shell(shell, exit_code);
    loop_defer(shell->agent->loop, &shell->free_later);
}

static const struct child_events shell_child_events = { .on_end = on_child_end };

/* To the shell alone. Once it has been reaped its pid may mean somebody else. */
static void signal_shell(struct shell *shell, int signo)
{
    if (shell->child && !shell->child->exited)
        kill(shell->child->pid, signo);
}

void shell_kill(struct shell *shell)
{
    signal_shell(shell, SIGKILL);
}

static void on_stop_timer(struct loop_timer *timer)
{
    shell_kill(container_of(timer, struct shell, stop_timer));
}

void shell_stop(struct shell *shell)
{
    shell_input_close(&shell->input);
    signal_shell(shell, SIGTERM);
    loop_timer_start(shell->agent->loop, &shell->stop_timer, STOP_GRACE_MS);
}

pid_t shell_pid(const struct shell *shell)
{
    return shell->child ? shell->child->pid : -1;
}

int shell_open_cwd(const struct shell *shell)
{
    char link[32];

    if (shell->start_directory)
        return open(shell->start_directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    snprintf(link, sizeof(link), "/proc/%d/cwd", (int)shell_pid(shell));
    return open(link, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* --- the start --- */

static void make_marker(char out[MARKER_LETTERS + 1])
{
    unsigned char bytes[MARKER_LETTERS];

    random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < MARKER_LETTERS; i++)
        out[i] = (char)('a' + bytes[i] % 26);
    out[MARKER_LETTERS] = '\0';
}

static int start_child(struct shell *shell, const struct env *env, int script_fd, struct berm_error *err)
{
    static char *const argv[] = { (char *)"bash", (char *)"--norc", (char *)FIFO_DIR_SCRIPT, NULL };
    struct child_spec spec = CHILD_SPEC_INIT;
    struct child_error failure;
    struct arena arena;
    int control[2];

    if (pipe2(control, O_CLOEXEC) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "cannot make the shell's control pipe");
    shell->control_fd = control[0];
    fcntl(control[0], F_SETFL, O_NONBLOCK);
    arena_init(&arena, SIZE_MAX);
    spec.file = "bash";
    spec.argv = argv;
    spec.envp = env_merge(&arena, &shell->agent->env, env);
    spec.cwd = shell->agent->fifos.path;
    spec.extra_fd = script_fd;
    spec.fds[1] = control[1];
    failure = (struct child_error){ CHILD_FAIL_RESOURCES, ENOMEM };
    if (spec.envp)
        shell->child = child_spawn(shell->agent, &spec, NULL, &shell_child_events, shell, &failure);
    arena_free(&arena);
    close(control[1]);
    if (!shell->child)
        return berm_fail(err, BERM_E_SYSTEM, failure.errnum, "cannot start bash: %s",
                         child_failure_text(failure.where));
    return 0;
}

/* The first lines of the script; they wait in the pipe. */
static int write_start(struct shell *shell, const char *directory, struct berm_error *err)
{
    struct shell_slot *slot = slot_new(shell);

    if (!slot)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "cannot start the shell");
    slot->is_start = true;
    slot_append(shell, slot);
    shell->start_directory = strdup(directory);
    if (!shell->start_directory ||
        shell_script_write_start(&shell->input.backlog, CHILD_EXTRA_FD, directory, shell->marker) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "cannot start the shell");
    return shell_input_flush(&shell->input) < 0 ? berm_fail(err, BERM_E_SYSTEM, errno, "cannot write to the shell")
                                                : 0;
}

static int start(struct shell *shell, const struct env *env, const char *directory, struct berm_error *err)
{
    _cleanup_close_ int script_fd = -EBADF;

    if (fifo_dir_ensure(shell->agent) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "cannot make a directory for the shell");
    script_fd = shell_input_open(&shell->input);
    if (script_fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "cannot make the shell's script pipe");
    if (write_start(shell, directory, err) < 0)
        return -1;
    return start_child(shell, env, script_fd, err);
}

static void free_unstarted(struct shell *shell)
{
    if (shell->head)
        slot_free(shell->head);
    release_all(shell);
    free_shell(&shell->free_later);
}

struct shell *shell_start(struct agent *agent, const struct env *env, const char *directory,
                          shell_exit_callback on_exit, void *data, struct berm_error *err)
{
    struct shell *shell = calloc(1, sizeof(*shell));

    if (!shell) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "cannot start the shell");
        return NULL;
    }
    shell->agent = agent;
    shell->on_exit = on_exit;
    shell->data = data;
    shell->control_fd = -EBADF;
    shell->tail = &shell->head;
    shell->free_later.callback = free_shell;
    loop_timer_init(&shell->watch_timer, on_watch_timer);
    loop_timer_init(&shell->stop_timer, on_stop_timer);
    loop_timer_init(&shell->ask_timer, on_ask_timer);
    shell_input_init(&shell->input, agent->loop, BACKLOG_MAX);
    shell->input.on_broken = on_input_broken;
    shell->input.on_all_read = on_all_read;
    make_marker(shell->marker);
    if (start(shell, env, directory, err) < 0) {
        free_unstarted(shell);
        return NULL;
    }
    if (loop_io_add(agent->loop, &shell->control_io, shell->control_fd, EPOLLIN, on_control) < 0)
        shell_kill(shell); /* its end is then reported like any other */
    return shell;
}
