/*
 * Directories go as a tar stream through a command in the sandbox. libarchive works in a thread of its own, with a
 * pipe to the thread that talks to the daemon, so that both may block.
 *
 * What comes out of a sandbox is hostile, for anything there can call itself tar. Held against it: the working
 * directory is the one that the user named, and names that are absolute or have "..", names that pass through a
 * link, links that lead out of the directory, devices, pipes and set-id bits never get to the disk. Nothing is
 * decompressed.
 */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "cli/cp.h"
#include "cli/tree_names.h"

struct worker {
    struct cp *cp;
    int fd; /* the worker's end of the pipe; closed by it */
    _Atomic bool failed;
    unsigned left_out;
};

static void set_failed(struct worker *w, const char *what, struct archive *a)
{
    const char *why = a ? archive_error_string(a) : NULL;

    if (!w->failed)
        cli_fail(w->cp->cli, "%s: %s", what, why ? why : "out of memory");
    w->failed = true;
}

static void leave_out(struct worker *w, const char *name, const char *why)
{
    if (w->left_out++ < 10)
        cli_warn(w->cp->cli, "left out %s: %s", name, why);
}

static int start(struct worker *w, void *(*work)(void *), pthread_t *ret_thread, int pipe_fds[2], int worker_end)
{
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return -1;
    w->fd = pipe_fds[worker_end];
    errno = pthread_create(ret_thread, NULL, work, w);
    if (errno == 0)
        return 0;
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return -1;
}

static int finish(struct worker *w, int status)
{
    if (w->left_out > 10)
        cli_warn(w->cp->cli, "left out %u in all", w->left_out);
    return w->failed || w->left_out > 0 ? STATUS_FAILED : status;
}

/* ---- into the sandbox ---- */

static bool can_read(const char *path)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

    return fd >= 0;
}

/* Says why this entry cannot be sent, or NULL; and takes from it what means nothing in the sandbox. */
static const char *prepare_entry(struct archive_entry *entry)
{
    mode_t type = archive_entry_filetype(entry);

    if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK)
        return "neither a file, a directory nor a link";
    if (type == AE_IFREG && !can_read(archive_entry_sourcepath(entry)))
        return strerror(errno);
    archive_entry_set_uid(entry, 0);
    archive_entry_set_gid(entry, 0);
    archive_entry_set_uname(entry, NULL);
    archive_entry_set_gname(entry, NULL);
    archive_entry_set_perm(entry, archive_entry_perm(entry) & 0777);
    return NULL;
}

static void send_contents(struct worker *w, struct archive *disk, struct archive *tar, struct archive_entry *entry)
{
    static char block[256 * 1024]; /* one packer per process */
    int64_t left = archive_entry_size(entry);

    while (left > 0 && !w->failed) {
        la_ssize_t got = archive_read_data(disk, block, sizeof(block));
        if (got <= 0) {
            /* The tar header is out already: the rest becomes zeros, which must not pass for a good copy. */
            leave_out(w, archive_entry_pathname(entry), "it changed while it was read");
            return;
        }
        got = (la_ssize_t)MIN((int64_t)got, left);
        if (archive_write_data(tar, block, (size_t)got) != got)
            set_failed(w, "sending", tar);
        left -= got;
        cp_progress(w->cp, (size_t)got);
    }
}

static void pack(struct worker *w, struct archive *disk, struct archive *tar)
{
    struct archive_entry *entry = archive_entry_new();

    while (entry && !w->failed) {
        const char *why;
        int rc = archive_read_next_header2(disk, entry);

        if (rc == ARCHIVE_EOF)
            break;
        if (rc == ARCHIVE_FATAL) {
            set_failed(w, "reading the directory", disk);
            break;
        }
        if (rc == ARCHIVE_FAILED) {
            leave_out(w, archive_entry_pathname(entry), archive_error_string(disk));
            continue;
        }
        archive_read_disk_descend(disk);
        why = prepare_entry(entry);
        if (why)
            leave_out(w, archive_entry_pathname(entry), why);
        else if (archive_write_header(tar, entry) < ARCHIVE_WARN)
            set_failed(w, "sending", tar);
        else if (archive_entry_filetype(entry) == AE_IFREG)
            send_contents(w, disk, tar, entry);
        archive_entry_clear(entry);
    }
    archive_entry_free(entry);
}

static void *pack_thread(void *data)
{
    struct worker *w = data;
    struct archive *disk = archive_read_disk_new(), *tar = archive_write_new();

    if (!disk || !tar ||
        archive_read_disk_set_behavior(disk, ARCHIVE_READDISK_NO_XATTR | ARCHIVE_READDISK_NO_ACL |
                                                 ARCHIVE_READDISK_NO_FFLAGS) != ARCHIVE_OK ||
        archive_read_disk_set_symlink_physical(disk) != ARCHIVE_OK ||
        archive_write_set_format_gnutar(tar) != ARCHIVE_OK || archive_write_open_fd(tar, w->fd) != ARCHIVE_OK) {
        set_failed(w, "tar", tar);
    } else if (archive_read_disk_open(disk, ".") != ARCHIVE_OK) {
        set_failed(w, "reading the directory", disk);
    } else {
        pack(w, disk, tar);
        if (!w->failed && archive_write_close(tar) != ARCHIVE_OK)
            set_failed(w, "sending", tar);
    }
    /* After a failure the archive has no end, so that tar in the sandbox fails as well. */
    if (w->failed && tar)
        archive_write_fail(tar);
    archive_write_free(tar);
    archive_read_free(disk);
    close(w->fd);
    return NULL;
}

int cp_tree_up(struct cp *cp, const char *remote)
{
    static const char script[] = "mkdir -p -- \"$1\" && tar -x -o -f - -C \"$1\"";
    const char *const argv[] = { "sh", "-c", script, "sh", remote, NULL };
    struct worker worker = { .cp = cp };
    pthread_t thread;
    int fds[2], status;

    if (chdir(cp->local) < 0)
        return cli_fail(cp->cli, "%s: %s", cp->local, strerror(errno));
    if (start(&worker, pack_thread, &thread, fds, 1) < 0)
        return cli_fail(cp->cli, "cannot start: %s", strerror(errno));
    status = cp_run(cp, argv, fds[0], NULL, NULL);
    close(fds[0]); /* a packer that is still writing gets EPIPE now */
    if (status != STATUS_OK)
        worker.failed = true; /* what the packer has to say about the broken pipe is not news */
    pthread_join(thread, NULL);
    return finish(&worker, status);
}

/* ---- out of the sandbox ---- */

/* Says why this entry is not put on the disk, or NULL; and takes from it what the sandbox has no say in. */
static const char *check_entry(struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry), *hard = archive_entry_hardlink(entry);
    mode_t type = archive_entry_filetype(entry);

    if (!name || !tree_name_valid(name) || (hard && !tree_name_valid(hard)))
        return "its name leads out of the directory";
    if (!hard && type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK)
        return "neither a file, a directory nor a link";
    if (!hard && type == AE_IFLNK && !tree_link_valid(name, archive_entry_symlink(entry)))
        return "a link that leads out of the directory";
    if (!hard && type != AE_IFLNK)
        archive_entry_set_perm(entry, (archive_entry_perm(entry) & 0777) | (type == AE_IFDIR ? 0700 : 0600));
    return NULL;
}

static void save_contents(struct worker *w, struct archive *tar, struct archive *disk, const char *name)
{
    while (!w->failed) {
        const void *block;
        size_t n;
        la_int64_t offset;
        int rc = archive_read_data_block(tar, &block, &n, &offset);

        if (rc == ARCHIVE_EOF)
            break;
        if (rc < ARCHIVE_WARN) {
            set_failed(w, "the tar stream", tar);
            return;
        }
        if (archive_write_data_block(disk, block, n, offset) < ARCHIVE_WARN) {
            set_failed(w, name, disk);
            return;
        }
        cp_progress(w->cp, n);
    }
}

static void unpack(struct worker *w, struct archive *tar, struct archive *disk)
{
    while (!w->failed) {
        struct archive_entry *entry;
        const char *why;
        int rc = archive_read_next_header(tar, &entry);

        if (rc == ARCHIVE_EOF)
            break;
        if (rc < ARCHIVE_WARN) {
            set_failed(w, "the tar stream", tar);
            break;
        }
        if (tree_name_is_root(archive_entry_pathname(entry)))
            continue;
        why = check_entry(entry);
        if (why) {
            leave_out(w, archive_entry_pathname(entry) ? archive_entry_pathname(entry) : "an entry", why);
            continue;
        }
        if (archive_write_header(disk, entry) < ARCHIVE_WARN) {
            leave_out(w, archive_entry_pathname(entry), archive_error_string(disk));
            continue;
        }
        save_contents(w, tar, disk, archive_entry_pathname(entry));
        if (!w->failed && archive_write_finish_entry(disk) < ARCHIVE_WARN)
            set_failed(w, archive_entry_pathname(entry), disk);
    }
}

static void *unpack_thread(void *data)
{
    struct worker *w = data;
    struct archive *tar = archive_read_new(), *disk = archive_write_disk_new();

    if (!tar || !disk || archive_read_support_format_tar(tar) != ARCHIVE_OK ||
        archive_write_disk_set_options(disk, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                                                 ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                                                 ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS) != ARCHIVE_OK ||
        archive_read_open_fd(tar, w->fd, 256 * 1024) != ARCHIVE_OK) {
        set_failed(w, "the tar stream", tar);
    } else {
        unpack(w, tar, disk);
        if (archive_write_close(disk) < ARCHIVE_WARN)
            set_failed(w, "the directory", disk);
    }
    archive_read_free(tar);
    archive_write_free(disk);
    close(w->fd); /* the other side gets EPIPE if we gave up */
    return NULL;
}

static int write_pipe(void *data, const void *bytes, size_t n)
{
    return write_all(*(const int *)data, bytes, n);
}

int cp_tree_down(struct cp *cp, const char *local)
{
    const char *const argv[] = { "tar", "-c", "-f", "-", "-C", cp->remote, ".", NULL };
    struct worker worker = { .cp = cp };
    pthread_t thread;
    int fds[2], status;

    if ((mkdir(local, 0777) < 0 && errno != EEXIST) || chdir(local) < 0)
        return cli_fail(cp->cli, "%s: %s", local, strerror(errno));
    if (start(&worker, unpack_thread, &thread, fds, 0) < 0)
        return cli_fail(cp->cli, "cannot start: %s", strerror(errno));
    status = cp_run(cp, argv, -1, write_pipe, &fds[1]);
    close(fds[1]);
    pthread_join(thread, NULL);
    return finish(&worker, status);
}
