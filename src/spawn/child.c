/*
 * child.c - the order of things between clone3 and exec.
 *
 * The child begins as host root in fresh mount, pid and uts namespaces that belong to the *initial* user namespace:
 * nothing that runs inside later has any right over them. It joins its cgroups and the network and IPC namespaces
 * of its slot, builds the root and pivots; only then does it enter the sandbox's user namespace and drop what is
 * left, so that no step that touches the image or executes code has rights outside.
 *
 * It writes the failed step and errno to the status pipe and exits; success closes the pipe at exec.
 */
#include "child.h"

#include "base/sys.h"
#include "broker.h"
#include "caps.h"
#include "landlock.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS)

_Noreturn void child_fail(int status_fd, enum step step)
{
    struct child_failure failure = { .step = step, .errnum = errno ? errno : EIO };

    write_all(status_fd, &failure, sizeof(failure));
    _exit(1);
}

void child_unblock_signals(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What the operator gave the daemon is not for sandboxes; what they took from it stays. */
static int reset_priorities(bool reset_oom_score)
{
    if (reset_oom_score && write_small_file(AT_FDCWD, "/proc/self/oom_score_adj", "0") < 0)
        return -1;
    return getpriority(PRIO_PROCESS, 0) < 0 ? setpriority(PRIO_PROCESS, 0, 0) : 0;
}

static void enter_root(const struct child_plan *plan, int status_fd)
{
    int proc;

    CHILD_DO(ATTACH, rootfs_attach(plan->tree_fd));
    CHILD_DO(PROC, proc = procfs_mount(plan->tree_fd));
    CHILD_DO(PROC_MASKS, procfs_mask(proc));
    CHILD_DO(PIVOT, rootfs_pivot(plan->tree_fd));
}

/* Both the soft and the hard one: raising is a capability that the sandbox lacks. */
static int set_resource_limits(uint32_t nofile)
{
    const struct rlimit files = { nofile, nofile }, core = { 0, 0 };

    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &core) < 0)
        return -1;
    umask(022);
    return setsid() < 0 ? -1 : 0;
}

static int become_root_inside(void)
{
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0)
        return -1;
    return setresuid(0, 0, 0);
}

/* /dev/null of the sandbox as 0, 1 and 2, the agent's socket as 3, everything else closed by exec. */
static int arrange_descriptors(int listen_fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (null < 0)
        return -1;
    for (int fd = 0; fd <= 2; fd++)
        if (dup2(null, fd) < 0)
            return -1;
    if (dup2(listen_fd, SPAWN_AGENT_FD) < 0)
        return -1;
    return close_range(SPAWN_AGENT_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC);
}

static int exec_agent(int agent_fd, const char *hostname)
{
    char name[80];
    char *const argv[] = { (char[]){ "berm-agent" }, (char[]){ "--sandbox" }, (char[]){ "--default-signals" },
                           NULL };
    char *const envp[] = { (char[]){ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
                           (char[]){ "HOME=/root" }, name, NULL };

    snprintf(name, sizeof(name), "HOSTNAME=%s", hostname);
    return (int)syscall(SYS_execveat, agent_fd, "", argv, envp, AT_EMPTY_PATH);
}

static void drop_privileges(const struct child_plan *plan, int ruleset, int status_fd)
{
    int listener;

    CHILD_DO(JOIN_USERNS, setns(plan->userns_fd, CLONE_NEWUSER));
    CHILD_DO(IDS, become_root_inside());
    CHILD_DO(CAPS, caps_drop_to_sandbox());
    CHILD_DO(NO_NEW_PRIVS, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (ruleset >= 0)
        CHILD_DO(LANDLOCK_ENTER, landlock_enter(ruleset));
    if (!plan->filter_listens) {
        CHILD_DO(SECCOMP, filter_install(plan->filter));
        return;
    }
    CHILD_DO(SECCOMP, listener = filter_install_listening(plan->filter));
    broker_hand_over(plan->broker_fd, listener);
}

static _Noreturn void child_main(const struct child_plan *plan, int status_fd)
{
    int ruleset = -EBADF;

    child_unblock_signals();
    CHILD_DO(PRIORITY, reset_priorities(plan->reset_oom_score));
    CHILD_DO(JOIN_CGROUP, cgroup_join_v1(plan->cgroups, plan->name));
    CHILD_DO(JOIN_NETNS, setns(plan->netns_fd, CLONE_NEWNET));
    CHILD_DO(JOIN_IPCNS, setns(plan->ipcns_fd, CLONE_NEWIPC));
    CHILD_DO(CGROUPNS, unshare(CLONE_NEWCGROUP));
    CHILD_DO(HOSTNAME, sethostname(plan->hostname, strlen(plan->hostname)));
    enter_root(plan, status_fd);
    if (plan->landlock_abi >= LANDLOCK_ABI_MIN)
        CHILD_DO(LANDLOCK, ruleset = landlock_ruleset_new(plan->landlock_abi, plan->tree_fd));
    CHILD_DO(DESCRIPTORS, arrange_descriptors(plan->listen_fd));
    drop_privileges(plan, ruleset, status_fd);
    /* Not before: the table is a copy of the worker's, which may be fuller than the sandbox's limit. */
    CHILD_DO(RLIMITS, set_resource_limits(plan->nofile));
    CHILD_DO(EXEC, exec_agent(plan->stage->agent_fd, plan->hostname));
    _exit(1);
}

pid_t child_clone(uint64_t namespaces, int cgroup_fd, int *ret_status_fd)
{
    const struct clone_args args = {
        .flags = namespaces | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
        .exit_signal = SIGCHLD,
        .cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
    };
    _cleanup_close_ int read_end = -EBADF, write_end = -EBADF;
    int pipes[2];
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    read_end = pipes[0];
    write_end = pipes[1];
    pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    if (pid >= 0)
        *ret_status_fd = pid == 0 ? TAKE_FD(write_end) : TAKE_FD(read_end);
    return pid;
}

pid_t child_start(const struct child_plan *plan, int cgroup_fd, int *ret_status_fd)
{
    int status_fd = -EBADF;
    pid_t pid = child_clone(NAMESPACES, cgroup_fd, &status_fd);

    if (pid == 0)
        child_main(plan, status_fd);
    *ret_status_fd = status_fd;
    return pid;
}
