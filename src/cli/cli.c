#include "cli/cli.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/signalfd.h>

#include "base/sys.h"
#include "cli/clean.h"

static bool runs_command(const struct cli *cli)
{
    return cli->verb == &verb_run || cli->verb == &verb_exec;
}

__attribute__((format(printf, 3, 0))) static void say(const struct cli *cli, const char *colour, const char *format,
                                                      va_list args)
{
    fprintf(stderr, cli->colour ? "%sberm:\033[0m " : "%sberm: ", cli->colour ? colour : "");
    print_clean(stderr, format, args);
    fputc('\n', stderr);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(cli, "\033[31m", format, args);
    va_end(args);
    if (cli->verb) {
        fprintf(stderr, "usage: berm %s [options] %s\n", cli->verb->name, cli->verb->operands);
        fprintf(stderr, "'berm help %s' has the options\n", cli->verb->name);
    }
    return runs_command(cli) ? STATUS_COMMAND_FAILED : STATUS_USAGE;
}

int cli_fail(const struct cli *cli, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(cli, "\033[31m", format, args);
    va_end(args);
    return runs_command(cli) ? STATUS_COMMAND_FAILED : STATUS_FAILED;
}

void cli_warn(const struct cli *cli, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(cli, "\033[33m", format, args);
    va_end(args);
}

int cli_parse(struct cli *cli, int argc, char **argv, void *values, int min, int max, struct cli_operands *ret)
{
    const struct cli_option_set sets[] = { { cli->verb->options, values }, { global_options, cli } };
    struct berm_error err;

    if (options_parse(sets, ARRAY_SIZE(sets), cli->verb->options_first, &cli->arena, argc, argv, ret, &err) < 0) {
        cli_usage(cli, "%s", err.message);
        return -1;
    }
    if (cli->help)
        return 0;
    if (ret->count < min) {
        cli_usage(cli, "something is missing");
        return -1;
    }
    if (ret->count > max) {
        cli_usage(cli, "'%s' is too much", ret->items[max]);
        return -1;
    }
    return 0;
}

/* ---- the daemon ---- */

static const char *read_key(struct cli *cli, bool *ret_ok)
{
    char text[4096];
    ssize_t n;
    char *key;

    *ret_ok = true;
    if (!cli->key_file)
        return getenv("BERM_API_KEY");
    n = read_small_file(AT_FDCWD, cli->key_file, text, sizeof(text));
    if (n < 0) {
        cli_fail(cli, "cannot read the API key from %s: %s", cli->key_file, strerror(errno));
        *ret_ok = false;
        return NULL;
    }
    text[strcspn(text, " \t\r\n")] = '\0';
    key = arena_strdup(&cli->arena, str_from(text));
    explicit_bzero(text, sizeof(text));
    *ret_ok = key != NULL;
    return key;
}

/*
 * From here on the signals wait in a descriptor, so that a verb can undo what it has begun before it ends, and a
 * reader of our output that went away shows as EPIPE for the same reason.
 */
static int catch_signals(struct cli *cli)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -1;
    cli->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return cli->signal_fd < 0 ? -1 : 0;
}

struct berm_client *cli_client(struct cli *cli)
{
    struct berm_client_options options = {
        .url = cli->url ? cli->url : getenv("BERM_URL"),
        .ca_file = cli->ca_file ? cli->ca_file : getenv("BERM_CA_FILE"),
    };
    struct berm_problem problem;
    bool ok;

    options.api_key = read_key(cli, &ok);
    if (!ok)
        return NULL;
    if (options.url && options.url[0] == '\0')
        options.url = NULL;
    if (berm_client_new(&options, &cli->client, &problem) < 0) {
        cli_problem(cli, &problem);
        return NULL;
    }
    if (catch_signals(cli) < 0) {
        cli_fail(cli, "cannot catch signals: %s", strerror(errno));
        return NULL;
    }
    berm_client_set_cancel_fd(cli->client, cli->signal_fd);
    return cli->client;
}

int cli_take_signal(struct cli *cli)
{
    struct signalfd_siginfo info;

    if (cli->signal_fd < 0 || read(cli->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return 0;
    return (int)info.ssi_signo;
}

void cli_die_of(int signo)
{
    sigset_t set;

    signal(signo, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, signo);
    raise(signo);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + signo);
}

static const char *advice(const struct cli *cli, const struct berm_problem *problem)
{
    const char *url = cli->url ? cli->url : getenv("BERM_URL");
    bool own = !url || strstr(url, "//127.") || strstr(url, "//localhost") || strstr(url, "//[::1]");

    if (problem->kind == BERM_PROBLEM_CONNECT)
        return own ? "is bermd running? try: make run, or: systemctl start bermd" : "check --url or BERM_URL";
    if (problem->kind != BERM_PROBLEM_API)
        return NULL;
    if (problem->http_status == 401)
        return "set BERM_API_KEY or use --api-key-file; the operator makes keys with: berm key add";
    if (strcmp(problem->code, "image_not_found") == 0)
        return "images are made with: berm image build, or: berm image import";
    if (strcmp(problem->code, "capacity_exceeded") == 0)
        return "all places for sandboxes are taken; remove some, or try again later";
    return NULL;
}

int cli_problem(struct cli *cli, const struct berm_problem *problem)
{
    const char *hint = advice(cli, problem);

    if (problem->kind == BERM_PROBLEM_CANCELLED) {
        int signo = cli_take_signal(cli);
        if (cli->temporary)
            unlink(cli->temporary);
        cli_die_of(signo ? signo : SIGINT);
    }
    cli_fail(cli, "%s", problem->message);
    if (hint)
        fprintf(stderr, "%s\n", hint);
    return runs_command(cli) ? STATUS_COMMAND_FAILED : STATUS_FAILED;
}

struct berm_client *cli_begin(struct cli *cli, int argc, char **argv, void *values, int min, int max,
                              struct cli_operands *ret, int *ret_status)
{
    struct berm_client *client;

    *ret_status = STATUS_USAGE;
    if (cli_parse(cli, argc, argv, values, min, max, ret) < 0)
        return NULL;
    if (cli->help) {
        *ret_status = cli_help(cli);
        return NULL;
    }
    client = cli_client(cli);
    *ret_status = client ? STATUS_OK : STATUS_FAILED;
    return client;
}

/* ---- commands ---- */

/*
 * A pipe whose reader stopped would block us for good, deaf to Ctrl-C; so we wait for room and for signals, and
 * write no more than fits the room that POLLOUT promises.
 */
int cli_output_write(const struct cli_output *out, const void *bytes, size_t n)
{
    const char *at = bytes;

    while (n > 0) {
        struct pollfd fds[] = { { .fd = out->fd, .events = POLLOUT }, { .fd = out->cancel_fd, .events = POLLIN } };
        ssize_t wrote;

        if (RETRY_EINTR(poll(fds, 2, -1)) < 0)
            return -1;
        if (fds[1].revents) {
            errno = ECANCELED;
            return -1;
        }
        wrote = RETRY_EINTR(write(out->fd, at, MIN(n, (size_t)4096)));
        if (wrote < 0 && errno != EAGAIN)
            return -1;
        if (wrote > 0) {
            at += wrote;
            n -= (size_t)wrote;
        }
    }
    return 0;
}

static int on_stdout(void *data, const void *bytes, size_t n)
{
    const struct cli *cli = data;

    return cli_output_write(&(struct cli_output){ STDOUT_FILENO, cli->signal_fd }, bytes, n);
}

static int on_stderr(void *data, const void *bytes, size_t n)
{
    const struct cli *cli = data;

    return cli_output_write(&(struct cli_output){ STDERR_FILENO, cli->signal_fd }, bytes, n);
}

int cli_exec(struct cli *cli, struct berm_client *client, const char *id, struct berm_exec *exec, int *ret_status,
             struct berm_problem *problem)
{
    int code = 0;

    exec->on_stdout = on_stdout;
    exec->on_stderr = on_stderr;
    exec->data = cli;
    if (berm_sandbox_exec(client, id, exec, &code, problem) == 0) {
        *ret_status = code & 0xff;
        return 0;
    }
    if (problem->kind == BERM_PROBLEM_LOCAL && problem->errnum == EPIPE) {
        *ret_status = 128 + SIGPIPE;
        return 0;
    }
    if (problem->kind == BERM_PROBLEM_LOCAL && problem->errnum == ECANCELED)
        problem->kind = BERM_PROBLEM_CANCELLED;
    return -1;
}

/* ---- streams ---- */

static int show_item(struct cli *cli, const struct berm_item *item, cli_on_event on_event, void *data)
{
    switch (item->kind) {
    case BERM_ITEM_STDOUT:
    case BERM_ITEM_DATA:
        return on_stdout(cli, item->data, item->size);
    case BERM_ITEM_STDERR:
        return on_stderr(cli, item->data, item->size);
    case BERM_ITEM_EVENT:
        return on_event ? on_event(cli, item, data) : 0;
    default:
        return 0;
    }
}

int cli_stream(struct cli *cli, struct berm_stream *stream, cli_on_event on_event, void *data, int *ret_exit_code)
{
    struct berm_problem problem;
    struct berm_item item;
    int rc, status = STATUS_OK;

    while ((rc = berm_stream_next(stream, -1, &item, &problem)) > 0 && item.kind != BERM_ITEM_END) {
        if (item.kind == BERM_ITEM_EXIT && ret_exit_code)
            *ret_exit_code = item.exit_code;
        rc = show_item(cli, &item, on_event, data);
        if (rc != 0)
            break;
    }
    if (rc < 0 && item.kind != BERM_ITEM_NONE) /* the output failed */
        problem = (struct berm_problem){ .kind = errno == ECANCELED ? BERM_PROBLEM_CANCELLED : BERM_PROBLEM_LOCAL,
                                         .errnum = errno,
                                         .message = "writing the output" };
    berm_stream_close(stream);
    if (rc < 0 && problem.kind == BERM_PROBLEM_LOCAL && problem.errnum == EPIPE)
        return 128 + SIGPIPE;
    if (rc < 0)
        status = cli_problem(cli, &problem);
    return status;
}

int cli_event_line(struct cli *cli, const struct berm_item *item, void *data)
{
    _cleanup_(buf_free) struct buf line;

    (void)data;
    buf_init(&line, 6 * item->size + 2);
    if (clean_append(&line, (struct str){ item->data, item->size }, CLEAN_JSON) < 0 ||
        buf_append(&line, "\n", 1) < 0)
        return -1;
    return on_stdout(cli, buf_head(&line), line.len);
}
