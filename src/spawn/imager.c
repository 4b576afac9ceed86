#include "imager.h"

#include "base/log.h"
#include "base/sys.h"
#include "caps.h"
#include "mounts.h"
#include "namespaces.h"
#include "range.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#define PROGRAM         "berm-commit"
#define SNAPSHOT_FORMAT "c%016llx"
#define SNAPSHOT_SIZE   18
#define TIME_MAX_MS     (15 * 60 * 1000)
#define JOB_FDS         2               /* of a commit: the subvolume, the image */
#define PLACE           RANGE_CLAIM_DIR /* in the job's own mount namespace */

struct imager_process {
    const struct disk_pool *pool;
    const char *images;
    char id[IMAGER_ID_SIZE];
    char program[PATH_MAX];
    int disk_fd; /* the root of the pool */
};

/* --- names --- */

void imager_name(const char *id, uint64_t number, char name[IMAGER_NAME_SIZE])
{
    snprintf(name, IMAGER_NAME_SIZE, "commit-%s-%016llx", id, (unsigned long long)number);
}

bool imager_number(const char *id, const char *name, uint64_t *ret)
{
    char again[IMAGER_NAME_SIZE];
    const char *last = strrchr(name, '-');
    uint8_t bytes[8];

    if (!last || strlen(last + 1) != 16 || hex_decode(str_from(last + 1), bytes, sizeof(bytes)) < 0)
        return false;
    *ret = 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        *ret = *ret << 8 | bytes[i];
    imager_name(id, *ret, again);
    return strcmp(again, name) == 0;
}

/* Beside us: installed, or in a build directory. */
static int find_program(char out[PATH_MAX])
{
    static const char *const places[] = { PROGRAM, "../image/" PROGRAM };
    char self[PATH_MAX - 32];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0)
        return -1;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        snprintf(out, PATH_MAX, "%s/%s", self, places[i]);
        if (access(out, X_OK) == 0)
            return 0;
    }
    return -1;
}

/* --- the tree: in a child, whose mount namespace ends with the job --- */

/* As the sandbox shows it, but read-only and without what is mounted in there. */
static int join(const struct imager_process *p, const char *snapshot, int image, int userns)
{
    static const char *const directories[] = { "image", "disk" };
    static const struct mount_option small[] = { { "mode", "0755" }, { "size", "64k" }, { NULL, NULL } };
    char lower[128];
    const struct mount_option options[] = {
        { "source", "overlay" }, { "lowerdir", lower },        { "index", "off" },
        { "metacopy", "off" },   { "redirect_dir", "follow" }, { NULL, NULL },
    };
    _cleanup_close_ int place = mount_new("tmpfs", small, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    _cleanup_close_ int disk = disk_pool_mount(p->pool);

    if (place < 0 || disk < 0 || mount_attach(place, AT_FDCWD, PLACE) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
        if (mkdirat(place, directories[i], 0700) < 0)
            return -1;
    if (mount_idmap(image, userns) < 0 || mount_attach(image, place, "image") < 0 ||
        mount_attach(disk, place, "disk") < 0)
        return -1;
    snprintf(lower, sizeof(lower), PLACE "/disk/%s/upper:" PLACE "/image", snapshot);
    return mount_new("overlay", options,
                     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

static _Noreturn void fail(int output, const char *what)
{
    struct commit_verdict verdict = { .error = errno ? errno : EIO };

    snprintf(verdict.message, sizeof(verdict.message), "%s: %s", what, strerror(verdict.error));
    (void)write_all(output, &verdict, sizeof(verdict));
    _exit(1);
}

static _Noreturn void execute(const struct imager_process *p, const char *const *argv, int output, int root,
                              int userns)
{
    const int from[] = { output, root, userns };
    int high[ARRAY_SIZE(from)] = { -EBADF, -EBADF, -EBADF };

    for (size_t i = 0; i < ARRAY_SIZE(from); i++)
        if (from[i] >= 0 && (high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 16)) < 0)
            fail(output, "descriptors");
    if (dup2(high[0], STDOUT_FILENO) < 0 || (root >= 0 && dup2(high[1], COMMIT_ROOT_FD) < 0) ||
        (userns >= 0 && dup2(high[2], COMMIT_USERNS_FD) < 0))
        fail(output, "descriptors");
    execv(p->program, (char *const *)(uintptr_t)argv);
    fail(output, "run " PROGRAM);
}

/* The pool's files take part in it, so it is bounded by what the sandbox may fill and by what its image has. */
static uint64_t bytes_of(const struct imager_job *job, int image)
{
    struct statvfs fs;

    return job->disk_bytes + (fstatvfs(image, &fs) == 0 ? (uint64_t)fs.f_blocks * fs.f_frsize : 0);
}

static _Noreturn void run_commit(const struct imager_process *p, const struct imager_job *job, const char *snapshot,
                                 int image, int output)
{
    char name[IMAGER_NAME_SIZE], bytes[24];
    const char *const argv[] = { PROGRAM, p->images, name, bytes, NULL };
    int userns, tree, root;

    imager_name(p->id, job->number, name);
    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)bytes_of(job, image));
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        fail(output, "a mount namespace");
    userns = userns_new(job->uid_base);
    if (userns < 0)
        fail(output, "a user namespace");
    tree = join(p, snapshot, image, userns);
    if (tree < 0 || mount_attach(tree, AT_FDCWD, PLACE) < 0)
        fail(output, "join the layers");
    root = open(PLACE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        fail(output, "open the files");
    execute(p, argv, output, root, userns);
}

static _Noreturn void run_remove(const struct imager_process *p, const struct imager_job *job, int output)
{
    char name[IMAGER_NAME_SIZE];
    const char *const argv[] = { PROGRAM, "--remove", p->images, name, NULL };

    imager_name(p->id, job->number, name);
    execute(p, argv, output, -EBADF, -EBADF);
}

/* --- a job --- */

static void set_error(struct commit_verdict *verdict, int error, const char *message)
{
    *verdict = (struct commit_verdict){ .error = error };
    snprintf(verdict->message, sizeof(verdict->message), "%s", message);
}

/* Until the child has said it all, or is taking too long; it is dead afterwards. */
static void follow(pid_t pid, int output, struct commit_verdict *ret)
{
    uint64_t until = clock_monotonic_ns() / 1000000 + TIME_MAX_MS, now;
    size_t got = 0;

    while (got < sizeof(*ret) && (now = clock_monotonic_ns() / 1000000) < until) {
        struct pollfd readable = { .fd = output, .events = POLLIN };
        ssize_t n;

        if (RETRY_EINTR(poll(&readable, 1, (int)(until - now))) <= 0)
            break;
        n = RETRY_EINTR(read(output, (char *)ret + got, sizeof(*ret) - got));
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    kill(pid, SIGKILL);
    RETRY_EINTR(waitpid(pid, NULL, 0));
    if (got < sizeof(*ret))
        set_error(ret, EIO, "the image could not be made");
    ret->message[sizeof(ret->message) - 1] = '\0';
}

/* `fds` is NULL for a removal. */
static void run_job(const struct imager_process *p, const struct imager_job *job, const char *snapshot,
                    const int *fds, struct commit_verdict *ret)
{
    _cleanup_close_ int ours = -EBADF;
    _cleanup_close_ int theirs = -EBADF;
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0) {
        set_error(ret, errno, "a pipe");
        return;
    }
    ours = ends[0];
    theirs = ends[1];
    pid = fork_bound();
    if (pid == 0 && fds)
        run_commit(p, job, snapshot, fds[1], theirs);
    if (pid == 0)
        run_remove(p, job, theirs);
    close_fd(&theirs);
    if (pid < 0)
        set_error(ret, errno, "start " PROGRAM);
    else
        follow(pid, ours, ret);
}

static void commit(const struct imager_process *p, const struct imager_job *job, const int *fds,
                   struct commit_verdict *ret)
{
    char snapshot[SNAPSHOT_SIZE];

    snprintf(snapshot, sizeof(snapshot), SNAPSHOT_FORMAT, (unsigned long long)job->number);
    if (disk_snapshot(p->disk_fd, snapshot, fds[0]) < 0) {
        set_error(ret, errno, "take a snapshot");
        return;
    }
    run_job(p, job, snapshot, fds, ret);
    if (disk_subvolume_destroy(p->disk_fd, snapshot) < 0)
        log_warn("snapshot_remains", "name", snapshot, "reason", strerror(errno));
}

/* --- life --- */

static void serve_one(const struct imager_process *p, int socket_fd)
{
    struct imager_result result = { .op = 0 };
    struct imager_job job;
    int fds[JOB_FDS] = { -EBADF, -EBADF };
    size_t count = 0;
    ssize_t n = recv_fds(socket_fd, &job, sizeof(job), fds, ARRAY_SIZE(fds), &count);

    if (n <= 0)
        _exit(0);
    if (n != (ssize_t)sizeof(job)) {
        log_error("imager_misread");
        _exit(1);
    }
    result.op = job.op;
    result.number = job.number;
    if (job.op == IMAGER_COMMIT && count == JOB_FDS)
        commit(p, &job, fds, &result.verdict);
    else if (job.op == IMAGER_REMOVE && count == 0)
        run_job(p, &job, NULL, NULL, &result.verdict);
    else
        set_error(&result.verdict, EINVAL, "no such job");
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close_fd(&fds[i]);
    if (RETRY_EINTR(send(socket_fd, &result, sizeof(result), MSG_NOSIGNAL)) < 0)
        _exit(0);
}

/* What one before us could not take away. */
static void remove_snapshots(int disk_fd)
{
    DIR *dir = fdopendir(openat(disk_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *entry;
    uint8_t bytes[8];

    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] == 'c' && strlen(entry->d_name) == SNAPSHOT_SIZE - 1 &&
            hex_decode(str_from(entry->d_name + 1), bytes, sizeof(bytes)) == 0)
            (void)disk_subvolume_destroy(disk_fd, entry->d_name);
    if (dir)
        closedir(dir);
}

static _Noreturn void run(struct imager_process *p, int socket_fd)
{
    prctl(PR_SET_NAME, "berm-imager");
    if (caps_drop_to_imager() < 0)
        _exit(1);
    p->disk_fd = openat(p->pool->mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->disk_fd < 0)
        _exit(1);
    remove_snapshots(p->disk_fd);
    for (;;)
        serve_one(p, socket_fd);
}

int imager_start(const struct disk_pool *pool, const char *images, const char *id, struct imager *ret,
                 struct berm_error *err)
{
    static struct imager_process process;
    _cleanup_close_ int mine = -EBADF;
    _cleanup_close_ int theirs = -EBADF;
    int sockets[2];

    process.pool = pool;
    process.images = images;
    snprintf(process.id, sizeof(process.id), "%s", id);
    if (find_program(process.program) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "find " PROGRAM " beside berm-spawn");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "make the imager's socket");
    mine = sockets[0];
    theirs = sockets[1];
    ret->pid = fork_bound();
    if (ret->pid == 0) {
        close_fd(&mine);
        run(&process, theirs);
    }
    if (ret->pid < 0 || set_nonblocking(mine) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "start the imager");
    ret->socket_fd = TAKE_FD(mine);
    return 0;
}

int imager_send(struct imager *imager, const struct imager_job *job, const int *fds, size_t count)
{
    if (imager->socket_fd < 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (imager->queued == IMAGER_QUEUE_MAX) {
        errno = EAGAIN;
        return -1;
    }
    if (send_fds(imager->socket_fd, job, sizeof(*job), fds, count) < 0)
        return -1;
    imager->queued++;
    return 0;
}

int imager_receive(struct imager *imager, struct imager_result *ret)
{
    ssize_t n = RETRY_EINTR(recv(imager->socket_fd, ret, sizeof(*ret), MSG_DONTWAIT));

    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n != (ssize_t)sizeof(*ret))
        return -1;
    imager->queued--;
    return 1;
}
