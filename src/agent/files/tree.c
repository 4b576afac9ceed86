#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* A file with more than one name that has been copied: its copy's path below the root of the copy. */
struct known_link {
    struct known_link *next;
    dev_t dev;
    ino_t ino;
    char path[];
};

struct copy {
    int root; /* the directory that holds the copy */
    struct known_link *links;
    struct tree_error *err;
};

static int fail(struct copy *copy, const char *what)
{
    copy->err->errnum = errno;
    snprintf(copy->err->what, sizeof(copy->err->what), "%s", what);
    return -1;
}

/* --- removing --- */

static int remove_entry(int dir, const char *name);

static int remove_children(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *children = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    int rc = 0;

    if (!children) {
        close_fd(&fd);
        return -1;
    }
    while (rc == 0 && (entry = readdir(children)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = remove_entry(dirfd(children), entry->d_name);
    closedir(children);
    return rc;
}

static int remove_entry(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
        return 0;
    if ((errno != ENOTEMPTY && errno != EEXIST) || remove_children(dir, name) < 0)
        return -1;
    return unlinkat(dir, name, AT_REMOVEDIR);
}

/* --- attributes --- */

/* Best effort: file systems differ in what they can hold, and mv(1) does not fail for it either. */
static void copy_xattrs(int from, int to)
{
    char names[4096], value[65536];
    ssize_t n = flistxattr(from, names, sizeof(names));

    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
        ssize_t size = fgetxattr(from, names + at, value, sizeof(value));
        if (size >= 0)
            (void)fsetxattr(to, names + at, value, (size_t)size, 0);
    }
}

/* Owner before mode: a change of owner clears the set-user-id bit. Best effort as well. */
static void copy_attributes(int dir, const char *name, const struct stat *st)
{
    const struct timespec times[2] = { st->st_atim, st->st_mtim };
    int rc = fchownat(dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW);

    if (!S_ISLNK(st->st_mode))
        rc |= fchmodat(dir, name, st->st_mode & 07777, 0);
    rc |= utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
    (void)rc;
}

/* --- copying --- */

static int copy_bytes(struct copy *copy, int from, int to)
{
    char bytes[65536];
    ssize_t n;

    /* In the kernel where it can; it says so before the first byte if it cannot. */
    while ((n = copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0)) > 0)
        ;
    if (n < 0 && errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
        return fail(copy, "copy");
    while ((n = RETRY_EINTR(read(from, bytes, sizeof(bytes)))) > 0) {
        for (ssize_t done = 0; done < n;) {
            ssize_t wrote = RETRY_EINTR(write(to, bytes + done, (size_t)(n - done)));
            if (wrote < 0)
                return fail(copy, "write");
            done += wrote;
        }
    }
    return n < 0 ? fail(copy, "read") : 0;
}

static int copy_regular(struct copy *copy, int from_dir, const char *from, int to_dir, const char *to)
{
    _cleanup_close_ int in = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    _cleanup_close_ int out = -EBADF;

    if (in < 0)
        return fail(copy, "open");
    out = openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return fail(copy, "create");
    if (copy_bytes(copy, in, out) < 0)
        return -1;
    copy_xattrs(in, out);
    return close(TAKE_FD(out)) < 0 ? fail(copy, "write") : 0;
}

static int copy_symlink(struct copy *copy, int from_dir, const char *from, int to_dir, const char *to)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(from_dir, from, target, sizeof(target) - 1);

    if (n < 0)
        return fail(copy, "read link");
    target[n] = '\0';
    return symlinkat(target, to_dir, to) < 0 ? fail(copy, "create link") : 0;
}

static int copy_entry(struct copy *copy, int from_dir, const char *from, int to_dir, const char *to,
                      const char *path);

static int copy_children(struct copy *copy, DIR *from, int to, const char *path)
{
    struct dirent *entry;

    while ((entry = readdir(from))) {
        char below[PATH_MAX];
        int n;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        n = snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(below)) {
            errno = ENAMETOOLONG;
            return fail(copy, "copy");
        }
        if (copy_entry(copy, dirfd(from), entry->d_name, to, entry->d_name, below) < 0)
            return -1;
    }
    return 0;
}

static int copy_directory(struct copy *copy, int from_dir, const char *from, int to_dir, const char *to,
                          const char *path)
{
    _cleanup_close_ int out = -EBADF;
    int in = openat(from_dir, from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *children = in >= 0 ? fdopendir(in) : NULL;
    int rc = -1;

    if (!children) {
        close_fd(&in);
        return fail(copy, "open");
    }
    if (mkdirat(to_dir, to, 0700) < 0 ||
        (out = openat(to_dir, to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        fail(copy, "create");
    else
        rc = copy_children(copy, children, out, path);
    if (rc == 0)
        copy_xattrs(dirfd(children), out);
    closedir(children);
    return rc;
}

/* 1: linked to the copy that there is already. */
static int link_known(struct copy *copy, const struct stat *st, int to_dir, const char *to)
{
    for (const struct known_link *link = copy->links; link; link = link->next)
        if (link->dev == st->st_dev && link->ino == st->st_ino)
            return linkat(copy->root, link->path, to_dir, to, 0) == 0;
    return 0;
}

/* Without memory the next name becomes a file of its own. */
static void remember_link(struct copy *copy, const struct stat *st, const char *path)
{
    size_t n = strlen(path) + 1;
    struct known_link *link = malloc(sizeof(*link) + n);

    if (!link)
        return;
    *link = (struct known_link){ .next = copy->links, .dev = st->st_dev, .ino = st->st_ino };
    memcpy(link->path, path, n);
    copy->links = link;
}

/* `path` is that of the copy below copy->root. */
static int copy_entry(struct copy *copy, int from_dir, const char *from, int to_dir, const char *to,
                      const char *path)
{
    struct stat st;
    bool shared;
    int rc;

    if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(copy, "look at");
    shared = st.st_nlink > 1 && !S_ISDIR(st.st_mode);
    if (shared && link_known(copy, &st, to_dir, to))
        return 0;
    if (S_ISREG(st.st_mode))
        rc = copy_regular(copy, from_dir, from, to_dir, to);
    else if (S_ISDIR(st.st_mode))
        rc = copy_directory(copy, from_dir, from, to_dir, to, path);
    else if (S_ISLNK(st.st_mode))
        rc = copy_symlink(copy, from_dir, from, to_dir, to);
    else
        rc = mknodat(to_dir, to, (st.st_mode & S_IFMT) | 0600, st.st_rdev) < 0 ? fail(copy, "create") : 0;
    if (rc < 0)
        return -1;
    copy_attributes(to_dir, to, &st);
    if (shared)
        remember_link(copy, &st, path);
    return 0;
}

/* --- moving --- */

/* The directory that holds `path`, open. */
static int open_parent(int base, const char *path)
{
    char parent[PATH_MAX];
    size_t n = strlen(path);
    const char *slash;

    while (n > 1 && path[n - 1] == '/')
        n--;
    slash = memrchr(path, '/', n);
    n = slash ? (size_t)(slash - path) : 0;
    if (!slash)
        return openat(base, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (n >= sizeof(parent)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(parent, path, n);
    parent[n] = '\0';
    return openat(base, n > 0 ? parent : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Each level of a tree takes descriptors. */
static void raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int tree_move(int from_dir, const char *from, int to_dir, const char *to, struct tree_error *err)
{
    struct copy copy = { .err = err };
    char name[32];
    int rc;

    raise_fd_limit();
    umask(0);
    snprintf(name, sizeof(name), ".berm-move-%d", (int)getpid());
    copy.root = open_parent(to_dir, to);
    if (copy.root < 0)
        return fail(&copy, "open target directory");
    rc = copy_entry(&copy, from_dir, from, copy.root, name, name);
    if (rc == 0 && renameat(copy.root, name, to_dir, to) < 0)
        rc = fail(&copy, "rename");
    if (rc < 0) {
        remove_entry(copy.root, name);
        return -1;
    }
    return remove_entry(from_dir, from) < 0 ? fail(&copy, "remove source") : 0;
}
