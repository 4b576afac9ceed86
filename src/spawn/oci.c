#include "oci.h"

#include "base/sys.h"
#include "mounts.h"
#include "oci_child.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define LOG_NAME    "log"
#define PID_NAME    "pid"
#define BUNDLE_PATH 4300
#define LOG_TAIL    512

/* --- beginning --- */

static int find_kind(const char *runtime, enum oci_kind *ret)
{
    const char *name = strrchr(runtime, '/');

    name = name ? name + 1 : runtime;
    if (strcmp(name, "crun") == 0)
        *ret = OCI_CRUN;
    else if (strcmp(name, "runc") == 0)
        *ret = OCI_RUNC;
    else if (strcmp(name, "runsc") == 0)
        *ret = OCI_RUNSC;
    else
        return -1;
    return 0;
}

/* A runtime that others can write would be anybody's way to root. */
static int check_program(const char *runtime, struct berm_error *err)
{
    struct stat st;

    if (runtime[0] != '/')
        return berm_fail_field(err, "--oci-runtime", "--oci-runtime must be an absolute path");
    if (stat(runtime, &st) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "the OCI runtime %s", runtime);
    if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR) || st.st_uid != 0 || st.st_mode & (S_IWGRP | S_IWOTH))
        return berm_fail(err, BERM_E_SYSTEM, 0, "%s must be a program that only root can write", runtime);
    return 0;
}

static int make_directories(struct oci *oci, struct berm_error *err)
{
    if (mkdir(oci->directory, 0700) < 0 && errno != EEXIST)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make %s", oci->directory);
    oci->dir_fd = open(oci->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (oci->dir_fd < 0 || fchmod(oci->dir_fd, 0700) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "open %s", oci->directory);
    if (mkdirat(oci->dir_fd, "state", 0700) < 0 && errno != EEXIST)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make %s/state", oci->directory);
    return 0;
}

/* For those who have to clean up without being told which runtime it was. */
static int record_runtime(const struct oci *oci, struct berm_error *err)
{
    if (unlinkat(oci->dir_fd, "runtime", 0) < 0 && errno != ENOENT)
        return berm_fail(err, BERM_E_SYSTEM, errno, "record the OCI runtime");
    if (symlinkat(oci->runtime, oci->dir_fd, "runtime") < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "record the OCI runtime");
    return 0;
}

/* None, if there is none or it is no longer what it was: then what it made is taken away as far as we know it. */
static void recall_runtime(struct oci *oci)
{
    ssize_t n;

    oci->dir_fd = open(oci->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (oci->dir_fd < 0)
        return;
    n = readlinkat(oci->dir_fd, "runtime", oci->recorded, sizeof(oci->recorded) - 1);
    if (n <= 0)
        return;
    oci->recorded[n] = '\0';
    if (find_kind(oci->recorded, &oci->kind) == 0 && check_program(oci->recorded, NULL) == 0)
        oci->runtime = oci->recorded;
}

int oci_open(const char *runtime, const char *data, const char *groups, struct oci *ret, struct berm_error *err)
{
    *ret = (struct oci){ .runtime = runtime, .groups = groups, .dir_fd = -EBADF, .host_mounts_fd = -EBADF };
    while (*ret->groups == '/')
        ret->groups++;
    snprintf(ret->directory, sizeof(ret->directory), "%s/oci", data);
    if (!runtime)
        recall_runtime(ret);
    else if (find_kind(runtime, &ret->kind) < 0)
        return berm_fail_field(err, "--oci-runtime", "%s is none of crun, runc and runsc", runtime);
    else if (check_program(runtime, err) < 0 || make_directories(ret, err) < 0 || record_runtime(ret, err) < 0)
        return -1;
    if (!ret->runtime)
        return 0;
    ret->host_mounts_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (ret->host_mounts_fd < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "prepare for the OCI runtime");
    return 0;
}

/* In a file now, for memory cannot be mounted; the same mode as there, for the same reason (see stage.c). */
int oci_install_agent(const struct oci *oci, int agent_fd, struct berm_error *err)
{
    static char chunk[65536];
    char self[32];
    _cleanup_close_ int from = -EBADF, to = -EBADF;
    ssize_t n;

    snprintf(self, sizeof(self), "/proc/self/fd/%d", agent_fd);
    from = open(self, O_RDONLY | O_CLOEXEC);
    to = openat(oci->dir_fd, "agent.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0700);
    if (from < 0 || to < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "copy the agent");
    while ((n = RETRY_EINTR(read(from, chunk, sizeof(chunk)))) > 0)
        if (write_all(to, chunk, (size_t)n) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "copy the agent");
    /* runsc reads it itself, as root of the sandbox; its guests cannot reach each other's memory in any case. */
    if (n < 0 || fchmod(to, oci->kind == OCI_RUNSC ? 0555 : 0111) < 0 ||
        renameat(oci->dir_fd, "agent.new", oci->dir_fd, "agent") < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "copy the agent");
    return 0;
}

/* --- in the child --- */

/*
 * A private copy of the host's mounts. crun does not work where there are v1 hierarchies and a v2 one beside them:
 * it is not to see the latter. (The group that we were cloned into stays ours.)
 */
static int enter_host(const struct oci *oci)
{
    if (setns(oci->host_mounts_fd, CLONE_NEWNS) < 0 || unshare(CLONE_NEWNS) < 0)
        return -1;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -1;
    if (umount2("/sys/fs/cgroup/unified", MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
        return -1;
    return 0;
}

/* O_EXCL: an image that has something of that name gets no further. */
static int attach_agent(int dir, int root)
{
    _cleanup_close_ int target = openat(root, OCI_AGENT_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
    _cleanup_close_ int agent = mount_clone(dir, "agent", false);

    if (target < 0 || agent < 0)
        return -1;
    if (mount_add_flags(agent, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, false) < 0)
        return -1;
    return mount_attach(agent, root, OCI_AGENT_NAME);
}

/* Under its name in our directory; runsc, who may not look in there, has it at OCI_BUNDLE in its private place. */
static int write_bundle(const struct oci *oci, const struct child_plan *plan)
{
    _cleanup_close_ int bundle = -EBADF;

    if (mkdirat(oci->dir_fd, plan->name, 0700) < 0)
        return -1;
    if (oci_detaches(oci))
        bundle = openat(oci->dir_fd, plan->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    else
        bundle = open(OCI_BUNDLE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return bundle < 0 ? -1 : oci_config_write(bundle, oci, plan);
}

/*
 * The runtime looks for the root as root of the sandbox, who may not walk through directories that are closed to
 * others, as the data directory's parents may be. So this directory, which holds nothing that the runtime needs, is
 * covered with one that holds the root, and a null device: crun gives its standard streams to root of the sandbox,
 * and /dev/null is not ours to give away.
 */
static int make_place(uid_t owner)
{
    static const struct mount_option options[] = { { "mode", "0711" }, { "nr_inodes", "64" }, { NULL, NULL } };
    _cleanup_close_ int place = mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);

    if (place < 0 || mkdirat(place, "rootfs", 0711) < 0 || mkdirat(place, "bundle", 0711) < 0 ||
        mkdirat(place, "state", 0700) < 0 || fchownat(place, "state", owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (mknodat(place, "null", S_IFCHR | 0666, makedev(1, 3)) < 0 || fchmodat(place, "null", 0666, 0) < 0)
        return -1;
    return mount_attach(place, AT_FDCWD, RANGE_CLAIM_DIR);
}

static int attach_root(const struct oci *oci, const struct child_plan *plan)
{
    _cleanup_close_ int dir = open(oci->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_close_ int root = -EBADF;

    if (dir < 0 || make_place(plan->uid_base) < 0 || mount_attach(plan->tree_fd, AT_FDCWD, OCI_ROOT) < 0)
        return -1;
    root = open(OCI_ROOT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return root < 0 ? -1 : attach_agent(dir, root);
}

int oci_arrange_descriptors(const char *null_device, int listen_fd)
{
    int null = open(null_device, O_RDWR | O_CLOEXEC | O_NOCTTY);

    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        if (dup2(null, fd) < 0)
            return -1;
    if (null < 0 || (listen_fd >= 0 && dup2(listen_fd, SPAWN_AGENT_FD) < 0))
        return -1;
    return close_range(listen_fd >= 0 ? SPAWN_AGENT_FD + 1 : SPAWN_AGENT_FD, ~0U, CLOSE_RANGE_CLOEXEC);
}

struct command {
    char bundle[BUNDLE_PATH], pid_file[BUNDLE_PATH + 8], log[BUNDLE_PATH + 8], state[BUNDLE_PATH];
    char *argv[20];
    size_t argc;
};

static void add(struct command *c, const char *argument)
{
    if (c->argc < ARRAY_SIZE(c->argv) - 1)
        c->argv[c->argc++] = (char *)(uintptr_t)argument; /* execve does not change it */
}

static void begin_command(struct command *c, const struct oci *oci, const char *name)
{
    *c = (struct command){ .argc = 0 };
    snprintf(c->bundle, sizeof(c->bundle), "%s/%s", oci->directory, name);
    snprintf(c->pid_file, sizeof(c->pid_file), "%s/" PID_NAME, c->bundle);
    snprintf(c->log, sizeof(c->log), "%s/" LOG_NAME, c->bundle);
    snprintf(c->state, sizeof(c->state), "%s/state", oci->directory);
    add(c, oci->runtime);
    add(c, "--root");
    add(c, c->state);
    add(c, "--log");
    add(c, c->log);
    if (oci->kind == OCI_CRUN)
        add(c, "--cgroup-manager=disabled"); /* it stays in the groups that it was started in */
}

static int exec_runtime(const struct oci *oci, struct command *c)
{
    char *const envp[] = { (char[]){ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };

    return execve(oci->runtime, c->argv, envp);
}

static int exec_run(const struct oci *oci, const char *name)
{
    struct command c;

    begin_command(&c, oci, name);
    add(&c, "run");
    add(&c, "--detach");
    add(&c, "--no-new-keyring");
    add(&c, "--preserve-fds");
    add(&c, "1");
    add(&c, "--pid-file");
    add(&c, c.pid_file);
    add(&c, "--bundle");
    add(&c, c.bundle);
    add(&c, name);
    return exec_runtime(oci, &c);
}

static _Noreturn void child_main(const struct oci *oci, const struct child_plan *plan, int status_fd)
{
    child_unblock_signals();
    umask(022);
    CHILD_DO(JOIN_CGROUP, cgroup_join_v1(plan->cgroups, plan->name));
    CHILD_DO(JOIN_NETNS, setns(plan->netns_fd, CLONE_NEWNET));
    CHILD_DO(OCI_HOST, enter_host(oci));
    CHILD_DO(OCI_BUNDLE, attach_root(oci, plan));
    CHILD_DO(OCI_BUNDLE, write_bundle(oci, plan));
    if (!oci_detaches(oci))
        oci_gvisor_main(oci, plan, status_fd);
    CHILD_DO(DESCRIPTORS, oci_arrange_descriptors(OCI_NULL, plan->listen_fd));
    CHILD_DO(OCI_EXEC, exec_run(oci, plan->name));
    _exit(1);
}

pid_t oci_start(const struct oci *oci, const struct child_plan *plan, int cgroup_fd, int *ret_status_fd)
{
    int status_fd = -EBADF;
    pid_t pid = child_clone(0, cgroup_fd, &status_fd);

    if (pid == 0)
        child_main(oci, plan, status_fd);
    *ret_status_fd = status_fd;
    return pid;
}

/* --- when the runtime has exited --- */

/* The last line of its log, as far as it is printable. */
static void read_log(const struct oci *oci, const char *name, char text[LOG_TAIL])
{
    char path[64];
    _cleanup_close_ int fd = -EBADF;
    struct stat st;
    ssize_t n = -1;
    char *line;

    snprintf(path, sizeof(path), "%s/" LOG_NAME, name);
    fd = openat(oci->dir_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0)
        n = pread(fd, text, LOG_TAIL - 1, MAX(st.st_size - (LOG_TAIL - 1), 0));
    text[MAX(n, 0)] = '\0';
    for (char *c = text; *c; c++)
        *c = *c >= ' ' && *c < 127 ? *c : '\n';
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    line = strrchr(text, '\n');
    if (line)
        memmove(text, line + 1, strlen(line + 1) + 1);
}

int oci_explain(const struct oci *oci, const char *name, struct berm_error *err)
{
    char text[LOG_TAIL];

    read_log(oci, name, text);
    return berm_fail(err, BERM_E_SYSTEM, 0, "OCI runtime: %.110s", text[0] ? text : "it failed");
}

int oci_open_log(const struct oci *oci, const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/" LOG_NAME, name);
    return openat(oci->dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

pid_t oci_started(const struct oci *oci, const char *name, int wait_status, struct berm_error *err)
{
    char path[64], text[LOG_TAIL];
    uint64_t pid;
    ssize_t n;

    if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0)
        return oci_explain(oci, name, err);
    snprintf(path, sizeof(path), "%s/" PID_NAME, name);
    n = read_small_file(oci->dir_fd, path, text, sizeof(text));
    if (n < 0 || str_to_u64(str_trim((struct str){ text, strcspn(text, "\n") }), &pid) < 0 || pid <= 1 ||
        pid > INT32_MAX)
        return berm_fail(err, BERM_E_SYSTEM, EPROTO, "OCI runtime: no pid");
    return (pid_t)pid;
}

/* --- the end --- */

static void run_delete(const struct oci *oci, const char *name)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct command c;
        begin_command(&c, oci, name);
        add(&c, "delete");
        add(&c, "--force");
        add(&c, name);
        exec_runtime(oci, &c);
        _exit(1);
    }
    if (pid > 0)
        RETRY_EINTR(waitpid(pid, NULL, 0));
}

static _Noreturn void delete_main(const struct oci *oci, const char *name)
{
    child_unblock_signals();
    if (enter_host(oci) < 0 || oci_arrange_descriptors("/dev/null", -EBADF) < 0)
        _exit(1);
    run_delete(oci, name);
    if (oci->kind != OCI_CRUN)
        oci_remove_groups(oci->groups, name);
    _exit(0);
}

pid_t oci_delete(const struct oci *oci, const char *name)
{
    pid_t pid = fork();

    if (pid == 0)
        delete_main(oci, name);
    return pid;
}

/* What is left of a directory that holds nothing but files. */
static int remove_directory(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir) {
        close_fd(&fd);
        return errno == ENOENT ? 0 : -1;
    }
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && unlinkat(fd, entry->d_name, 0) < 0 && errno == EISDIR)
            unlinkat(fd, entry->d_name, AT_REMOVEDIR);
    closedir(dir);
    return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -1 : 0;
}

int oci_remove_bundle(const struct oci *oci, const char *name)
{
    char state[64];

    snprintf(state, sizeof(state), "state/%s", name);
    if (remove_directory(oci->dir_fd, state) < 0)
        return -1;
    return remove_directory(oci->dir_fd, name);
}

void oci_sweep(const struct oci *oci, const char *name)
{
    pid_t pid;

    if (oci->dir_fd < 0 || faccessat(oci->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    pid = oci->runtime ? oci_delete(oci, name) : -1;
    if (pid > 0)
        RETRY_EINTR(waitpid(pid, NULL, 0));
    oci_remove_bundle(oci, name);
}

void oci_each(const struct oci *oci, void (*callback)(const char *name, void *data), void *data)
{
    int fd = openat(oci->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir) {
        close_fd(&fd);
        return;
    }
    while ((entry = readdir(dir)))
        if (entry->d_name[0] == 's' && entry->d_name[1] >= '0' && entry->d_name[1] <= '9')
            callback(entry->d_name, data);
    closedir(dir);
}
