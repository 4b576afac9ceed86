/*
 * oci_gvisor.c - runsc (gVisor). It differs from other runtimes in three ways. It can be root of the sandbox's user
 * namespace and nothing more, so it is started in there and has no right outside. It cannot hand a descriptor on,
 * so the agent serves a port of the loopback as well, and a relay connects it with the agent's socket. It is
 * therefore started in the foreground, and the relay is the process that the worker watches: it ends when runsc
 * ends, with its status.
 */
#include "oci.h"

#include "base/sys.h"
#include "oci_child.h"
#include "oci_relay.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define STATE_DIR               RANGE_CLAIM_DIR "/state" /* in the sandbox's private mounts: nothing of it stays */
#define NOBODY                  65534
#define PR_SET_PDEATHSIG_KILL() prctl(PR_SET_PDEATHSIG, SIGKILL)

static int become(uid_t id)
{
    return setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0 ? -1 : 0;
}

/* --- runsc --- */

static int exec_runsc(const struct oci *oci, const char *name, const char *bundle)
{
    char *const argv[] = {
        (char *)(uintptr_t)oci->runtime, (char[]){ "--root" },
        (char[]){ STATE_DIR },           (char[]){ "--network=host" },
        (char[]){ "--ignore-cgroups" },  (char[]){ "run" },
        (char[]){ "--bundle" },          (char *)(uintptr_t)bundle,
        (char *)(uintptr_t)name,         NULL,
    };
    char *const envp[] = { (char[]){ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };

    return execve(oci->runtime, argv, envp);
}

/* As pid 1 of its own namespace, so that nothing outlives it. */
static _Noreturn void runsc_main(const struct oci *oci, const struct child_plan *plan, int status_fd)
{
    CHILD_DO(OCI_HOST, PR_SET_PDEATHSIG_KILL());
    CHILD_DO(OCI_HOST, mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    CHILD_DO(OCI_EXEC, exec_runsc(oci, plan->name, OCI_BUNDLE));
    _exit(1);
}

static _Noreturn void wait_for(pid_t pid)
{
    int status;

    if (pid < 0 || RETRY_EINTR(waitpid(pid, &status, 0)) < 0)
        _exit(1);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Becomes root of the sandbox, with namespaces that it owns. The ids of the parent are gone from here on. */
static _Noreturn void inner_main(const struct oci *oci, const struct child_plan *plan, int stderr_fd, int status_fd)
{
    pid_t pid;

    CHILD_DO(DESCRIPTORS, oci_arrange_descriptors(OCI_NULL, -EBADF));
    CHILD_DO(DESCRIPTORS, dup2(stderr_fd, STDERR_FILENO));
    CHILD_DO(JOIN_USERNS, setns(plan->userns_fd, CLONE_NEWUSER));
    CHILD_DO(IDS, become(0));
    CHILD_DO(OCI_HOST, PR_SET_PDEATHSIG_KILL());
    CHILD_DO(OCI_HOST, unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS));
    CHILD_DO(NO_NEW_PRIVS, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHILD_DO(OCI_EXEC, pid = fork());
    if (pid == 0)
        runsc_main(oci, plan, status_fd);
    /* The status pipe's end is the relay's word that the agent runs; the worker's lock must not outlive it in here.
     */
    close_range(STDERR_FILENO + 1, ~0U, 0);
    wait_for(pid);
}

/* --- the relay --- */

/* Why it did not start, for whoever asks (oci_explain). */
static void write_log(int log_fd, const struct relay *relay)
{
    write_all(log_fd, relay->tail, relay->tail_length);
}

static _Noreturn void relay_main(struct relay *relay, pid_t pid, int log_fd, int status_fd)
{
    const struct child_failure failure = { .step = STEP_OCI_EXEC, .errnum = ECANCELED };

    if (relay_wait(relay) < 0) {
        write_log(log_fd, relay);
        write_all(status_fd, &failure, sizeof(failure));
        _exit(1);
    }
    close(log_fd);
    close(status_fd); /* the agent runs */
    relay_run(relay);
    wait_for(pid);
}

/* Nobody of the sandbox's own ids, in its network namespace and its cgroups: what it copies is hostile. */
static int confine_relay(const struct child_plan *plan)
{
    if (become(plan->uid_base + NOBODY) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* A relay keeps what it needs at 4 and above; everything else is closed. */
static int keep_only(int *fds[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int fd = fcntl(*fds[i], F_DUPFD_CLOEXEC, 512);
        if (fd < 0)
            return -1;
        *fds[i] = fd;
    }
    for (size_t i = 0; i < count; i++)
        if (dup3(*fds[i], SPAWN_AGENT_FD + 1 + (int)i, O_CLOEXEC) < 0)
            return -1;
    for (size_t i = 0; i < count; i++)
        *fds[i] = SPAWN_AGENT_FD + 1 + (int)i;
    return close_range(SPAWN_AGENT_FD + 1 + (unsigned)count, ~0U, 0);
}

_Noreturn void oci_gvisor_main(const struct oci *oci, const struct child_plan *plan, int status_fd)
{
    struct relay relay = { .listen_fd = plan->listen_fd, .port = OCI_CONTROL_PORT };
    int log_fd, pipes[2];
    int *kept[] = { &status_fd, &relay.listen_fd, &relay.child_pidfd, &relay.stderr_fd, &log_fd };
    pid_t pid;

    CHILD_DO(OCI_BUNDLE, log_fd = oci_open_log(oci, plan->name));
    CHILD_DO(OCI_EXEC, pipe2(pipes, O_CLOEXEC));
    CHILD_DO(OCI_EXEC, pid = fork());
    if (pid == 0)
        inner_main(oci, plan, pipes[1], status_fd);
    relay.stderr_fd = pipes[0];
    CHILD_DO(OCI_EXEC, relay.child_pidfd = pidfd_open_pid(pid));
    CHILD_DO(DESCRIPTORS, keep_only(kept, ARRAY_SIZE(kept)));
    CHILD_DO(DESCRIPTORS, set_nonblocking(relay.stderr_fd));
    CHILD_DO(IDS, confine_relay(plan));
    relay_main(&relay, pid, log_fd, status_fd);
}
