/*
 * child_start.c - from a child_spec to a pid.
 *
 * The child of clone(CLONE_VM | CLONE_VFORK) shares our memory while we are suspended: it must not return, allocate
 * or touch anything but its own stack and `struct start`. All signals stay blocked in it until just before execve,
 * so that no handler runs there.
 */
#include "child_start.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#define CHILD_STACK ((size_t)16 * 1024)

struct start {
    const struct child_spec *spec;
    const int *fds;
    const struct rlimit *nofile;
    const char *path_list; /* the child's PATH */
    volatile int errnum;   /* 0: it runs */
    volatile int where;
};

static const char *const default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static const char *find_path(char *const *envp)
{
    for (; *envp; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return default_path;
}

static int give_up(struct start *start, enum child_failure where)
{
    start->where = (int)where;
    start->errnum = errno;
    _exit(127);
}

/* execvp(3) with the child's own PATH. Returns only on failure, with the errno that says most. */
static void exec_search(const struct child_spec *spec, const char *list)
{
    char candidate[PATH_MAX];
    size_t name_len = strlen(spec->file);
    bool denied = false;

    for (const char *at = list;;) {
        size_t n = strcspn(at, ":");
        if (n + name_len + 2 <= sizeof(candidate)) {
            size_t prefix = n > 0 ? n + 1 : 0; /* an empty entry is the current directory */
            memcpy(candidate, at, n);
            if (n > 0)
                candidate[n] = '/';
            memcpy(candidate + prefix, spec->file, name_len + 1);
            execve(candidate, spec->argv, spec->envp);
            if (errno == EACCES)
                denied = true;
            else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != ENAMETOOLONG)
                return;
        }
        if (!at[n])
            break;
        at += n + 1;
    }
    errno = denied ? EACCES : ENOENT;
}

static int move_fds(const struct start *start)
{
    int extra_at = start->spec->extra_at ? start->spec->extra_at : CHILD_EXTRA_FD;

    for (int i = 0; i < 3; i++)
        if (dup2(start->fds[i], i) < 0)
            return -1;
    if (start->spec->extra_fd < 0)
        return 0;
    if (start->spec->extra_fd == extra_at) /* dup2(2) would leave it close-on-exec */
        return fcntl(extra_at, F_SETFD, 0);
    return dup2(start->spec->extra_fd, extra_at) < 0 ? -1 : 0;
}

static void reset_signals(void)
{
    struct sigaction def = { .sa_handler = SIG_DFL };
    sigset_t none;

    sigaction(SIGPIPE, &def, NULL); /* the only one that we ignore */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_main(void *arg)
{
    struct start *start = arg;
    const struct child_spec *spec = start->spec;

    setsid();
    if (move_fds(start) < 0)
        return give_up(start, CHILD_FAIL_RESOURCES);
    if (spec->terminal && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
        return give_up(start, CHILD_FAIL_RESOURCES);
    if (spec->cwd ? chdir(spec->cwd) < 0 : spec->cwd_fd >= 0 && fchdir(spec->cwd_fd) < 0)
        return give_up(start, CHILD_FAIL_CWD);
    if (start->nofile)
        setrlimit(RLIMIT_NOFILE, start->nofile);
    if (spec->before_exec && spec->before_exec(spec->before_exec_arg) < 0)
        return give_up(start, CHILD_FAIL_LIMITS);
    reset_signals();
    if (strchr(spec->file, '/'))
        execve(spec->file, spec->argv, spec->envp);
    else
        exec_search(spec, start->path_list);
    return give_up(start, CHILD_FAIL_EXEC);
}

static pid_t start_by_vfork(struct start *start)
{
    /* One start at a time, and the child is done with the stack when clone() returns. */
    static _Alignas(16) char stack[CHILD_STACK + PATH_MAX];

#ifdef __SANITIZE_ADDRESS__
    /* The frames of a child that went on with execve are never left, and their marks would be taken for ours. */
    __asan_unpoison_memory_region(stack, sizeof(stack));
#endif
    return clone(child_main, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, start);
}

static pid_t start_by_fork(struct start *start)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    setsid();
    if (move_fds(start) < 0 || (start->spec->cwd_fd >= 0 && fchdir(start->spec->cwd_fd) < 0))
        _exit(127);
    /* Above all the sockets: a connection that the agent closes must not stay open because of this copy. */
    (void)syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
    reset_signals();
    _exit(start->spec->run(start->spec->run_arg));
}

pid_t child_start(const struct child_spec *spec, const int fds[3], const struct rlimit *nofile,
                  struct child_error *err)
{
    struct start start = { .spec = spec, .fds = fds, .nofile = nofile };
    sigset_t all, before;
    pid_t pid;

    if (!spec->run)
        start.path_list = find_path(spec->envp);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = spec->run ? start_by_fork(&start) : start_by_vfork(&start);
    if (pid < 0)
        start.errnum = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (start.errnum == 0)
        return pid;
    /* A child that could not exec is a zombie by now; the reaper meets its pid without knowing it. */
    *err = (struct child_error){ (enum child_failure)start.where, start.errnum };
    return -1;
}
