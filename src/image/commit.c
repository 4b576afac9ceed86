#include "image/commit.h"

#include "base/sys.h"
#include "image/confine.h"
#include "image/stage.h"
#include "image/unpack.h"
#include "image/unpack_child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ARENA_MAX (1u << 20)

struct archiver {
    pid_t pid;
    int output;
};

/*
 * Holes are told, so that a huge file with nothing in it is refused by its size at once instead of being read. Of
 * the attributes only those that the unpacker takes are asked for.
 */
static char *const archiver_argv[] = {
    (char *)(uintptr_t) "tar",
    (char *)(uintptr_t) "--create",
    (char *)(uintptr_t) "--file=-",
    (char *)(uintptr_t) "--format=pax",
    (char *)(uintptr_t) "--sparse",
    (char *)(uintptr_t) "--numeric-owner",
    (char *)(uintptr_t) "--one-file-system",
    (char *)(uintptr_t) "--xattrs",
    (char *)(uintptr_t) "--xattrs-include=user.*",
    (char *)(uintptr_t) "--xattrs-include=security.capability",
    (char *)(uintptr_t) "--anchored",
    (char *)(uintptr_t) "--exclude=./proc",
    (char *)(uintptr_t) "--exclude=./sys",
    (char *)(uintptr_t) "--exclude=./dev",
    (char *)(uintptr_t) "--exclude=./etc/hostname",
    (char *)(uintptr_t) "--exclude=./etc/hosts",
    (char *)(uintptr_t) "--exclude=./etc/resolv.conf",
    (char *)(uintptr_t) ".",
    NULL,
};

/* Root in there, but of nothing else: neither a file of the host nor a process or a network is within its reach. */
static int become_reader(const struct image_commit *commit)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWIPC) < 0 || fchdir(commit->root_fd) < 0 ||
        setns(commit->userns_fd, CLONE_NEWUSER) < 0)
        return -1;
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return -1;
    /* After the ids, for their change takes it away. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return -1;
    return confine_capabilities(1ull << CAP_DAC_READ_SEARCH);
}

static _Noreturn void run_archiver(const struct image_commit *commit, int output)
{
    static char *const environment[] = { (char *)(uintptr_t) "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                         (char *)(uintptr_t) "LC_ALL=C.UTF-8", NULL };
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;

    sigemptyset(&none);
    if (null < 0 || become_reader(commit) < 0 || dup2(null, 0) < 0 || dup2(null, 2) < 0 || dup2(output, 1) < 0 ||
        close_range(3, ~0u, 0) < 0 || sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        _exit(126);
    execvpe(archiver_argv[0], archiver_argv, environment);
    _exit(127);
}

static int start_archiver(const struct image_commit *commit, struct archiver *ret, struct berm_error *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "starting tar");
    ret->pid = fork();
    if (ret->pid == 0)
        run_archiver(commit, ends[1]);
    close(ends[1]);
    ret->output = ends[0];
    if (ret->pid > 0)
        return 0;
    close_fd(&ret->output);
    return berm_fail(err, BERM_E_SYSTEM, errno, "starting tar");
}

/* 0 if it read everything. */
static int end_archiver(struct archiver *archiver, struct berm_error *err)
{
    int status;

    close_fd(&archiver->output);
    if (RETRY_EINTR(waitpid(archiver->pid, &status, 0)) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "waiting for tar");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "tar failed with %s %d", WIFEXITED(status) ? "status" : "signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* Where every sandbox has mounts of its own; without them the tree would be no root for anybody else. */
static int make_mount_points(int rootfs, struct berm_error *err)
{
    static const struct {
        const char *name;
        mode_t mode;
    } points[] = { { "proc", 0555 }, { "sys", 0555 }, { "dev", 0755 } };

    for (size_t i = 0; i < ARRAY_SIZE(points); i++)
        if (mkdirat(rootfs, points[i].name, points[i].mode) < 0 ||
            fchmodat(rootfs, points[i].name, points[i].mode, 0) < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "making /%s", points[i].name);
    return 0;
}

/* The unpacker's reason comes first: a tar that nobody listens to any more fails, too. */
static int copy_tree(const struct image_commit *commit, int rootfs, struct image_import_report *report,
                     struct berm_error *err)
{
    struct archiver archiver;
    struct berm_error ended = { 0 };
    uint64_t spared = UNPACK_BYTES_MAX - MIN(commit->bytes_max, UNPACK_BYTES_MAX);
    int unpacked, archived;

    if (start_archiver(commit, &archiver, err) < 0)
        return -1;
    report->bytes = spared; /* what may not be used */
    unpacked = unpack_stream(
        &(struct unpack_job){ .root_fd = rootfs, .source_fd = archiver.output, .stage = "Unpacking" }, report, err);
    archived = end_archiver(&archiver, &ended);
    report->bytes -= MIN(report->bytes, spared);
    if (unpacked < 0)
        return -1;
    if (archived < 0)
        return berm_fail(err, ended.code, ended.errnum, "%s", ended.message);
    return make_mount_points(rootfs, err);
}

static int commit_staged(struct image_stage *stage, const char *name, const struct image_commit *commit,
                         struct image *ret, struct image_import_report *report, struct berm_error *err)
{
    _cleanup_close_ int rootfs = openat(stage->fd, "rootfs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct image_config config;
    struct arena arena;
    int rc;

    if (rootfs < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "the staging directory");
    if (copy_tree(commit, rootfs, report, err) < 0)
        return -1;
    arena_init(&arena, ARENA_MAX);
    rc = image_config_init(&config, &arena, err);
    if (rc == 0)
        rc = image_stage_publish(stage, name, &config, NULL, ret, err);
    arena_free(&arena);
    return rc;
}

int image_commit(const char *images_dir, const char *name, const struct image_commit *commit, struct image *ret,
                 struct image_import_report *report, struct berm_error *err)
{
    struct image_stage stage;
    int rc;

    memset(report, 0, sizeof(*report));
    if (!image_name_valid(str_from(name)))
        return berm_fail_field(err, "name", "not an image name (a-z, 0-9 and ._-, at most 64)");
    if (image_stage_begin(&stage, images_dir, err) < 0)
        return -1;
    rc = commit_staged(&stage, name, commit, ret, report, err);
    image_stage_end(&stage);
    return rc;
}
