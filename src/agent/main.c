/*
 * main.c - the agent's start and end.
 *
 *   berm-agent [--sandbox] [--no-desk] [--control-port N] [--listen-port N] [--keep-alive-ms N] [CMD ARGS...]
 *
 * In a Berm sandbox (--sandbox) descriptor 3 is a listening unix socket, over which bermd speaks; it carries the
 * internal routes too; where a container runtime cannot hand a descriptor on, TCP port N of the loopback stands in
 * for it. In any case the agent serves TCP port 3000, to the sandbox itself and whoever can reach it. --no-desk: no
 * bermd is at the other end of a connection to DESK_ADDRESS (base/desk.h), as where the agent is tested. An event
 * stream that has been silent for N ms (15,000) gets a comment.
 *
 * As pid 1 the agent is protected by the kernel from signals of its own namespace that it does not handle, SIGKILL
 * included. SIGTERM and SIGINT it handles: from outside (si_pid 0) they end the sandbox, from inside they are
 * ignored.
 */
#include "agent.h"
#include "agent/http/router.h"
#include "agent/init/supervisor.h"
#include "base/log.h"
#include "base/spawn_wire.h"
#include "base/sys.h"
#include "net/server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>

#define OUTPUT_LIMIT  ((size_t)512 * 1024 * 1024)
#define KEEP_ALIVE_MS 15000

extern char **environ;

struct options {
    bool sandbox, no_desk, default_signals;
    uint64_t control_port; /* 0: the inherited socket */
    uint64_t port;
    uint64_t keep_alive_ms;
    char **command; /* NULL-terminated; the first may be NULL */
};

static int usage(const char *problem)
{
    fprintf(stderr,
            "berm-agent: %s\nusage: berm-agent [--sandbox] [--no-desk] [--default-signals] [--control-port N] "
            "[--listen-port N] [--keep-alive-ms N] [COMMAND ARGUMENTS...]\n",
            problem);
    return -1;
}

static bool parse_port(const char *text, uint64_t *ret)
{
    return text && str_to_u64(str_from(text), ret) == 0 && *ret <= 65535;
}

static int parse_options(char **argv, struct options *options)
{
    *options = (struct options){ .port = AGENT_PORT, .keep_alive_ms = KEEP_ALIVE_MS };
    for (argv++; *argv && strncmp(*argv, "--", 2) == 0; argv++) {
        if (strcmp(*argv, "--sandbox") == 0) {
            options->sandbox = true;
        } else if (strcmp(*argv, "--no-desk") == 0) {
            options->no_desk = true;
        } else if (strcmp(*argv, "--default-signals") == 0) {
            options->default_signals = true;
        } else if (strcmp(*argv, "--listen-port") == 0) {
            argv++;
            if (!parse_port(*argv, &options->port))
                return usage("--listen-port needs a port number");
        } else if (strcmp(*argv, "--control-port") == 0) {
            argv++;
            if (!parse_port(*argv, &options->control_port))
                return usage("--control-port needs a port number");
        } else if (strcmp(*argv, "--keep-alive-ms") == 0) {
            argv++;
            if (!*argv || str_to_u64(str_from(*argv), &options->keep_alive_ms) < 0 || options->keep_alive_ms == 0)
                return usage("--keep-alive-ms needs a number of milliseconds");
        } else if (strcmp(*argv, "--") == 0) {
            argv++;
            break;
        } else {
            return usage("unknown option");
        }
    }
    options->command = argv;
    return 0;
}

/* Descriptors 0 to 2 must exist: a pipe of ours that got one of these numbers would end up in a child. */
static int open_standard_fds(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return -1;
    } while (fd <= STDERR_FILENO);
    return close(fd);
}

/* What the starter left open is not for the sandbox. Kernels before 5.9 lack the call, and Berm needs newer ones.
 */
static void close_inherited_fds(unsigned first)
{
    (void)syscall(SYS_close_range, first, ~0U, 0);
}

/*
 * SANDBOX_LOG_LEVEL and SANDBOX_LOG_FORMAT as upstream has them: JSON lines unless "pretty" is asked for. Under
 * bermd the lines are for its operator and are what its own are, unless "json" is asked for.
 */
static void set_up_log(const struct options *options)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    const char *level = getenv("SANDBOX_LOG_LEVEL"), *format = getenv("SANDBOX_LOG_FORMAT");
    enum log_level chosen = LOG_LEVEL_INFO;
    bool json = format ? strcmp(format, "pretty") != 0 : !options->sandbox;

    for (size_t i = 0; level && i < ARRAY_SIZE(names); i++)
        if (str_eq_nocase(str_from(level), str_from(names[i])))
            chosen = (enum log_level)i;
    log_setup("berm-agent", chosen, json);
}

/* --- signals --- */

/*
 * Ignored signals are inherited through execve(2); user commands expect none. To reset them all is 64 calls, 20 us,
 * which who has ignored none can spare us.
 */
static void settle_signals(const struct options *options)
{
    if (!options->default_signals)
        reset_signal_actions();
    signal(SIGPIPE, SIG_IGN);
}

static void stop_on(struct agent *agent, const struct signalfd_siginfo *info)
{
    bool from_inside = getpid() == 1 && info->ssi_pid != 0;

    if (from_inside)
        return;
    shutdown_begin(agent, (int)info->ssi_signo);
}

static void on_signal(struct loop *loop, const struct signalfd_siginfo *info, void *data)
{
    (void)loop;
    if (info->ssi_signo == SIGCHLD)
        child_reap(data);
    else
        stop_on(data, info);
}

static int watch_signals(struct agent *agent)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    return loop_signals(agent->loop, &signals, on_signal, agent);
}

/* --- set-up --- */

/* A quarter of the memory that there is, so that one loud command cannot take the whole sandbox down. */
static size_t output_limit(void)
{
    struct sysinfo info;
    char text[32];
    uint64_t limit = OUTPUT_LIMIT * (uint64_t)4, bytes;

    if (sysinfo(&info) == 0)
        limit = MIN(limit, (uint64_t)info.totalram * info.mem_unit);
    if (read_small_file(AT_FDCWD, "/sys/fs/cgroup/memory.max", text, sizeof(text)) > 0 &&
        str_to_u64((struct str){ text, strcspn(text, "\n") }, &bytes) == 0)
        limit = MIN(limit, bytes);
    return (size_t)(limit / 4);
}

/*
 * musl gives a run of blocks back to the kernel with the last block that is freed, and gets a new one for the next:
 * four mmap, page fault and munmap per request. So of each size that a request takes, two runs are held for ever by
 * a block in each (three fit into one run).
 */
static void hold_memory(void)
{
    static const size_t sizes[] = { 513, 1024, 4096 };

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        static void *volatile blocks[ARRAY_SIZE(sizes)][4];
        for (size_t k = 0; k < ARRAY_SIZE(blocks[i]); k++)
            blocks[i][k] = malloc(sizes[i]);
        free(blocks[i][1]);
        free(blocks[i][2]);
    }
}

static int agent_init(struct agent *agent)
{
    *agent = (struct agent){ .control_listener = -EBADF };
    hold_memory();
    if (env_init(&agent->env, environ) < 0)
        return -1;
    agent->workdir = strdup(AGENT_DEFAULT_WORKDIR);
    agent->loop = loop_new();
    if (!agent->workdir || !agent->loop)
        return -1;
    agent->output_limit = output_limit();
    session_table_init(&agent->sessions);
    watch_table_init(&agent->watches, agent->loop);
    process_table_init(agent);
    interpreter_init(&agent->interpreter, agent);
    if (child_table_init(agent) < 0)
        return -1;
    /* The processes that a session's shell leaves to us come to us also where we are not pid 1. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return -1;
    return watch_signals(agent);
}

static int listen_tcp(struct agent *agent, const char *host, unsigned port, int *ret_fd, struct berm_error *err)
{
    char address[32];
    int fd;

    snprintf(address, sizeof(address), "%s:%u", host, port);
    fd = tcp_listen(address, err);
    if (fd < 0)
        return -1;
    if (http_server_listen_fd(agent->server, fd) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "listen on port %u", port);
    if (ret_fd)
        *ret_fd = fd;
    return 0;
}

static int listen_control(struct agent *agent, unsigned port, struct berm_error *err)
{
    int fd = SPAWN_AGENT_FD;

    if (port != 0)
        return listen_tcp(agent, "127.0.0.1", port, &agent->control_listener, err);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || set_nonblocking(fd) < 0 ||
        http_server_listen_fd(agent->server, fd) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "the inherited socket");
    agent->control_listener = fd;
    return 0;
}

static int serve(struct agent *agent, const struct options *options, struct berm_error *err)
{
    struct http_handler handler = router_handler(agent);
    struct http_limits limits;

    http_limits_default(&limits);
    limits.max_body = UINT64_MAX; /* files are streamed; what is collected has its own limit */
    agent->server = http_server_new(agent->loop, &limits, &handler);
    if (!agent->server)
        return berm_fail(err, BERM_E_SYSTEM, errno, "HTTP server");
    if (options->sandbox && listen_control(agent, (unsigned)options->control_port, err) < 0)
        return -1;
    return listen_tcp(agent, "*", (unsigned)options->port, NULL, err);
}

static void harden(const struct options *options)
{
#ifndef __SANITIZE_ADDRESS__ /* whose leak checker traces its own process */
    /* Nobody inside may trace us or read our memory, also not with our uid. */
    prctl(PR_SET_DUMPABLE, 0);
#endif
    if (options->sandbox)
        umask(022);
}

int main(int argc, char **argv)
{
    struct options options;
    static struct agent agent;
    struct berm_error err;

    (void)argc;
    if (parse_options(argv, &options) < 0)
        return 2;
    set_up_log(&options);
    if (open_standard_fds() < 0)
        return 1;
    close_inherited_fds(options.sandbox && options.control_port == 0 ? SPAWN_AGENT_FD + 1 : STDERR_FILENO + 1);
    settle_signals(&options);
    harden(&options);
    if (agent_init(&agent) < 0) {
        log_error("start_failed", "error", strerror(errno));
        return 1;
    }
    if (serve(&agent, &options, &err) < 0) {
        log_error("start_failed", "error", err.message);
        return 1;
    }
    agent.keep_alive_ms = options.keep_alive_ms;
    agent.command = options.command;
    agent.has_desk = options.sandbox && !options.no_desk;
    if (ca_trust_begin(&agent, supervisor_start) < 0)
        return 1;
    if (loop_run(agent.loop) < 0)
        return 1;
    child_kill_all(&agent);
    process_table_free(&agent);
    fifo_dir_remove(&agent);
    return agent.exit_code;
}
