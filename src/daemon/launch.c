#include "daemon/launch.h"

#include "base/sys.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define FALLBACK_ID           62737 /* when the system has no user of the configured name */
#define LEAVE_MS              5000
#define SPAWN_ARGS_MAX        40
#define CLEANING_SLACK        256
#define SPAWNER_SANDBOXES_MAX 16384

/* --- directories and the lock --- */

void launch_raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

void launch_find_user(const struct config *config, struct launch *launch)
{
    const struct passwd *user = getpwnam(config->user);

    launch->uid = user ? user->pw_uid : FALLBACK_ID;
    launch->gid = user ? user->pw_gid : FALLBACK_ID;
    if (geteuid() != 0) {
        launch->uid = geteuid();
        launch->gid = getegid();
    }
}

static int make_parents(const char *path, struct berm_error *err)
{
    char partial[PATH_MAX];

    if (str_copy(str_from(path), partial, sizeof(partial)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENAMETOOLONG, "%s", path);
    for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(partial, 0755) < 0 && errno != EEXIST)
            return berm_fail(err, BERM_E_SYSTEM, errno, "make %s", partial);
        *slash = '/';
    }
    return 0;
}

/* `mode` and owner are set only where we make the directory: an operator's choice stays. */
static int make_dir(int parent, const char *name, mode_t mode, uid_t uid, gid_t gid, struct berm_error *err)
{
    if (mkdirat(parent, name, mode) < 0) {
        if (errno == EEXIST)
            return 0;
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the directory %s", name);
    }
    if (geteuid() == 0 && fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "give away the directory %s", name);
    if (fchmodat(parent, name, mode, 0) < 0) /* whatever the umask was */
        return berm_fail(err, BERM_E_SYSTEM, errno, "set the mode of the directory %s", name);
    return 0;
}

static int take_lock(int data, const struct config *config, struct launch *launch, struct berm_error *err)
{
    _cleanup_close_ int fd = openat(data, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    char text[32] = "";

    if (fd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s/lock", config->data);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return berm_fail(err, BERM_E_SYSTEM, errno, "%s/lock", config->data);
        if (read_small_file(data, "lock", text, sizeof(text)) > 0)
            text[strcspn(text, "\n")] = '\0';
        return berm_fail(err, BERM_E_CONFLICT, 0, "another bermd (pid %s) serves %s", text[0] ? text : "unknown",
                         config->data);
    }
    snprintf(text, sizeof(text), "%d\n", getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, strlen(text), 0) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s/lock", config->data);
    launch->lock_fd = TAKE_FD(fd);
    return 0;
}

/* The store itself has to be readable by the daemon's user; the directories above it need not. */
static int open_images(const struct config *config, struct launch *launch, struct berm_error *err)
{
    struct stat st;

    if (make_parents(config->images, err) < 0 || make_dir(AT_FDCWD, config->images, 0755, 0, 0, err) < 0)
        return -1;
    launch->images_dirfd = open(config->images, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (launch->images_dirfd < 0 || fstat(launch->images_dirfd, &st) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", config->images);
    if (st.st_uid != launch->uid && st.st_gid != launch->gid && (st.st_mode & 05) != 05)
        return berm_fail(err, BERM_E_SYSTEM, EACCES, "uid %u must be able to read the images: chmod 755 %s",
                         (unsigned)launch->uid, config->images);
    return 0;
}

int launch_prepare(const struct config *config, struct launch *ret, struct berm_error *err)
{
    _cleanup_close_ int data = -EBADF;

    *ret = (struct launch){
        .lock_fd = -EBADF, .run_dirfd = -EBADF, .state_dirfd = -EBADF, .images_dirfd = -EBADF, .spawn_fd = -EBADF
    };
    launch_find_user(config, ret);
    if (make_parents(config->data, err) < 0 || make_dir(AT_FDCWD, config->data, 0755, 0, 0, err) < 0)
        return -1;
    data = open(config->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (data < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", config->data);
    if (take_lock(data, config, ret, err) < 0 || make_dir(data, "state", 0700, ret->uid, ret->gid, err) < 0 ||
        make_dir(data, "run", 0711, 0, 0, err) < 0)
        return -1;
    ret->run_dirfd = openat(data, "run", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    ret->state_dirfd = openat(data, "state", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (ret->run_dirfd < 0 || ret->state_dirfd < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", config->data);
    return open_images(config, ret, err);
}

/* --- berm-spawn --- */

extern char **environ;

struct arguments {
    const char *argv[SPAWN_ARGS_MAX];
    char numbers[SPAWN_ARGS_MAX][24];
    size_t count;
};

static void add_text(struct arguments *a, const char *flag, const char *value)
{
    a->argv[a->count++] = flag;
    if (value)
        a->argv[a->count++] = value;
}

static void add_number(struct arguments *a, const char *flag, uint64_t value)
{
    char *text = a->numbers[a->count];

    snprintf(text, sizeof(a->numbers[0]), "%llu", (unsigned long long)value);
    add_text(a, flag, text);
}

static void serve_arguments(const struct config *config, const struct launch *launch, int socket_fd,
                            struct arguments *a)
{
    add_text(a, config->spawn, NULL);
    add_number(a, "--socket-fd", (uint64_t)socket_fd);
    add_text(a, "--data", config->data);
    add_text(a, "--images", config->images);
    add_text(a, "--agent", config->agent);
    add_number(a, "--owner-uid", launch->uid);
    add_number(a, "--owner-gid", launch->gid);
    add_number(a, "--max-memory", config->max_memory);
    add_number(a, "--max-disk", config->max_disk);
    add_number(a, "--max-cpu-millis", config->max_cpu);
    add_number(a, "--max-pids", config->max_pids);
    /* berm-spawn counts those that it is still cleaning up, too. */
    add_number(a, "--max-sandboxes", MIN(config->max_sandboxes + CLEANING_SLACK, (uint64_t)SPAWNER_SANDBOXES_MAX));
    if (!strncmp(config->runtime, "oci:", 4))
        add_text(a, "--oci-runtime", config->runtime + 4);
}

static bool become(const struct launch *as)
{
    return setgroups(0, NULL) == 0 && setresgid(as->gid, as->gid, as->gid) == 0 &&
           setresuid(as->uid, as->uid, as->uid) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/* A session of its own: Ctrl-C on the daemon's terminal is not for it. Only async-signal-safe calls in the child.
 */
pid_t launch_program(const char *const *argv, const int *fds, size_t fd_count, const struct launch *as)
{
    /* Opened by us: the directories above need not be open to whom it runs as. */
    _cleanup_close_ int program = open(argv[0], O_PATH | O_CLOEXEC);
    sigset_t none;
    pid_t pid;

    if (program < 0 || (pid = fork()) < 0)
        return -1;
    if (pid > 0)
        return pid;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    for (size_t i = 0; i < fd_count; i++)
        fcntl(fds[i], F_SETFD, 0);
    if (!as || geteuid() != 0 || become(as))
        execveat(program, "", (char *const *)(uintptr_t)argv, environ, AT_EMPTY_PATH);
    _exit(127);
}

int launch_spawner(const struct config *config, struct launch *launch, struct berm_error *err)
{
    struct arguments arguments = { 0 };
    int pair[2];

    if (config->spawn_fd != UINT64_MAX) {
        launch->spawn_fd = (int)config->spawn_fd;
        if (fcntl(launch->spawn_fd, F_SETFD, FD_CLOEXEC) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "--spawn-fd %d", launch->spawn_fd);
        return 0;
    }
    if (geteuid() != 0)
        return berm_fail(err, BERM_E_SYSTEM, 0,
                         "bermd must be started as root: it starts berm-spawn, then gives root up for good");
    if (access(config->spawn, X_OK) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", config->spawn);
    if (access(config->agent, R_OK) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", config->agent);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "socketpair");
    serve_arguments(config, launch, pair[1], &arguments);
    launch->spawn_pid = launch_program(arguments.argv, &pair[1], 1, NULL);
    close(pair[1]);
    launch->spawn_fd = pair[0];
    if (launch->spawn_pid < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "start berm-spawn");
    return 0;
}

void launch_wait(pid_t pid)
{
    struct pollfd poll_fd = { .events = POLLIN };

    if (pid <= 0)
        return;
    poll_fd.fd = pidfd_open_pid(pid);
    if (poll_fd.fd < 0)
        return;
    if (poll(&poll_fd, 1, LEAVE_MS) > 0)
        waitpid(pid, NULL, 0);
    close(poll_fd.fd);
}

int launch_stop_all(const struct config *config)
{
    struct arguments arguments = { 0 };
    struct launch launch;
    struct berm_error err;
    int status;
    pid_t pid;

    if (access(config->data, F_OK) < 0 && errno == ENOENT)
        return 0;
    if (launch_prepare(config, &launch, &err) < 0) {
        fprintf(stderr, "bermd: %s%s\n", err.message,
                err.code == BERM_E_CONFLICT ? "; stop it first, then call --stop-all again" : "");
        return 1;
    }
    add_text(&arguments, config->spawn, NULL);
    add_text(&arguments, "--stop-all", NULL);
    add_text(&arguments, "--data", config->data);
    pid = launch_program(arguments.argv, NULL, 0, NULL);
    if (pid < 0 || RETRY_EINTR(waitpid(pid, &status, 0)) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "bermd: %s --stop-all failed\n", config->spawn);
        return 1;
    }
    return 0;
}

/* --- giving root up --- */

static int drop_capabilities(struct berm_error *err)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { 0 };

    if (syscall(SYS_capset, &header, none) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "drop capabilities");
    return 0;
}

static int drop_bounding_set(struct berm_error *err)
{
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "drop capability %lu from the bounding set", cap);
    return 0;
}

int launch_drop_privileges(const struct launch *launch, struct berm_error *err)
{
    umask(077);
    if (geteuid() == 0) {
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
            return berm_fail(err, BERM_E_SYSTEM, errno, "drop ambient capabilities");
        if (drop_bounding_set(err) < 0)
            return -1;
        if (setgroups(0, NULL) < 0 || setresgid(launch->gid, launch->gid, launch->gid) < 0 ||
            setresuid(launch->uid, launch->uid, launch->uid) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "become uid %u", (unsigned)launch->uid);
        if (launch->uid != 0 && setuid(0) == 0)
            return berm_fail(err, BERM_E_SYSTEM, 0, "root could be had back");
    }
    if (drop_capabilities(err) < 0)
        return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "prctl");
    return 0;
}
