#include "image/tool.h"

#include "base/sys.h"
#include "image/confine.h"
#include "image/stage.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define EXIT_NOT_FOUND 127
#define EXIT_SETUP     126
#define LINE_MAX_BYTES 512

/* Collects bytes into lines; also a lone CR ends one, as progress displays use it. */
struct lines {
    const struct tool *tool;
    char text[LINE_MAX_BYTES];
    size_t n;
    char last[160]; /* the last line that was not empty */
};

static void end_line(struct lines *lines)
{
    lines->text[lines->n] = '\0';
    if (lines->n > 0) {
        snprintf(lines->last, sizeof(lines->last), "%.*s", (int)sizeof(lines->last) - 1, lines->text);
        if (lines->tool->on_line)
            lines->tool->on_line(lines->tool->arg, lines->text);
    }
    lines->n = 0;
}

static void add_bytes(struct lines *lines, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n' || bytes[i] == '\r')
            end_line(lines);
        else if (bytes[i] == '\t')
            lines->text[lines->n++] = ' ';
        else if (bytes[i] >= ' ' && bytes[i] < 0x7f)
            lines->text[lines->n++] = bytes[i];
        if (lines->n == sizeof(lines->text) - 1)
            end_line(lines);
    }
}

/* Keeps what the tool mounts from reaching the namespace that we come from, and shows it its own processes. */
static int contain_mounts(void)
{
    /* In a chroot "/" is no mount point and cannot be told (EINVAL); tools unmount what they mount there. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 &&
        (errno != EINVAL || mount(NULL, "/proc", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
        return -1;
    return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/* In the child, until exec: nothing may be left to report to but the pipe. */
static _Noreturn void run_child(const struct tool *tool, int output)
{
    sigset_t none;
    sigemptyset(&none);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 ||
        dup2(output, 2) < 0 || sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        _exit(EXIT_SETUP);
    if (tool->contained && contain_mounts() < 0) {
        dprintf(2, "a mount namespace of its own: %s\n", strerror(errno));
        _exit(EXIT_SETUP);
    }
    if (tool->capabilities && confine_capabilities(tool->capabilities) < 0) {
        dprintf(2, "dropping capabilities: %s\n", strerror(errno));
        _exit(EXIT_SETUP);
    }
    umask(022);
    execvp(tool->argv[0], (char *const *)tool->argv);
    dprintf(2, "%s: %s\n", tool->argv[0], strerror(errno));
    _exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_SETUP);
}

static pid_t start(const struct tool *tool, int *ret_output, struct berm_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "starting %s", tool->argv[0]);
    _cleanup_close_ int read_end = ends[0];
    _cleanup_close_ int write_end = ends[1];
    long flags = SIGCHLD | (tool->contained ? CLONE_NEWNS | CLONE_NEWPID : 0);
    pid_t pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, 0L);
    if (pid < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "starting %s", tool->argv[0]);
    if (pid == 0)
        run_child(tool, write_end);
    *ret_output = TAKE_FD(read_end);
    return pid;
}

int tool_wait(int fd, short events)
{
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    /* The signals stay pending: they are only looked at. */
    _cleanup_close_ int signals = signalfd(-1, &blocked, SFD_CLOEXEC);
    struct pollfd fds[] = { { .fd = fd, .events = events }, { .fd = signals, .events = POLLIN } };
    if (RETRY_EINTR(poll(fds, ARRAY_SIZE(fds), -1)) < 0 || fds[1].revents)
        return -1;
    return 0;
}

/* Reads until every holder of the pipe's other end is gone; -1 when interrupted. */
static int follow(int output, struct lines *lines)
{
    char bytes[4096];
    for (;;) {
        if (tool_wait(output, POLLIN) < 0)
            return -1;
        ssize_t n = RETRY_EINTR(read(output, bytes, sizeof(bytes)));
        if (n <= 0) {
            end_line(lines);
            return 0;
        }
        add_bytes(lines, bytes, (size_t)n);
    }
}

int tool_run(const struct tool *tool, struct berm_error *err)
{
    struct lines lines = { .tool = tool };
    _cleanup_close_ int output = -EBADF;
    pid_t pid = start(tool, &output, err);
    if (pid < 0)
        return -1;
    int followed = follow(output, &lines);
    if (followed < 0)
        kill(pid, SIGKILL);
    int status;
    if (RETRY_EINTR(waitpid(pid, &status, 0)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "waiting for %s", tool->argv[0]);
    if (followed < 0)
        return berm_fail(err, BERM_E_TIMED_OUT, 0, "%s was interrupted", tool->argv[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_FOUND)
        return berm_fail(err, BERM_E_SYSTEM, 0, "%s (a program that makes images is not installed)", lines.last);
    return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "%s failed with %s %d: %s", tool->argv[0],
                     WIFEXITED(status) ? "status" : "signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), lines.last);
}
