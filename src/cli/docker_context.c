#include "cli/docker_context.h"

#include "base/buf.h"
#include "base/sys.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#define IGNORE_MAX   ((size_t)256 * 1024)
#define PATTERNS_MAX 2000
#define DEPTH_MAX    64
#define CHUNK        65536

struct pattern {
    char *text;
    bool keeps; /* "!" */
};

struct docker_context {
    int dirfd;
    struct arena arena;
    struct pattern *patterns;
    size_t pattern_count;
};

/* --- .dockerignore --- */

static int take_pattern(struct docker_context *context, struct str line)
{
    struct pattern *pattern = &context->patterns[context->pattern_count];

    line = str_trim(line);
    if (line.n == 0 || line.p[0] == '#')
        return 0;
    pattern->keeps = line.p[0] == '!';
    if (pattern->keeps)
        line = str_trim((struct str){ line.p + 1, line.n - 1 });
    while (line.n > 0 && (line.p[0] == '/' || str_has_prefix(line, STR("./"))))
        line = line.p[0] == '/' ? (struct str){ line.p + 1, line.n - 1 } : (struct str){ line.p + 2, line.n - 2 };
    while (line.n > 0 && line.p[line.n - 1] == '/')
        line.n--;
    if (line.n == 0 || context->pattern_count == PATTERNS_MAX)
        return line.n == 0 ? 0 : -1;
    pattern->text = arena_strdup(&context->arena, line);
    context->pattern_count++;
    return pattern->text ? 0 : -1;
}

static int read_ignore(struct docker_context *context, struct berm_error *err)
{
    _cleanup_close_ int fd = open_beneath(context->dirfd, ".dockerignore", O_RDONLY, 0);
    char *text = arena_alloc(&context->arena, IGNORE_MAX);
    ssize_t n;

    context->patterns = arena_calloc(&context->arena, PATTERNS_MAX + 1, sizeof(*context->patterns));
    if (!text || !context->patterns)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, ".dockerignore");
    if (fd < 0)
        return errno == ENOENT ? 0 : berm_fail(err, BERM_E_SYSTEM, errno, ".dockerignore");
    n = read_to_end(fd, text, IGNORE_MAX);
    if (n < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, ".dockerignore");
    for (struct str rest = { text, (size_t)n }; rest.n > 0;) {
        const char *lf = memchr(rest.p, '\n', rest.n);
        struct str line = { rest.p, lf ? (size_t)(lf - rest.p) : rest.n };

        rest.p += line.n + (lf != NULL);
        rest.n -= line.n + (lf != NULL);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (take_pattern(context, line) < 0)
            return berm_fail(err, BERM_E_INVALID_REQUEST, 0, ".dockerignore has more than %d patterns",
                             PATTERNS_MAX);
    }
    return 0;
}

/* With "**" for any number of directories; a pattern that matches a directory matches all below it. */
static bool matches(const char *pattern, const char *path)
{
    if (!strncmp(pattern, "**/", 3)) {
        for (const char *at = path; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL)
            if (matches(pattern + 3, at))
                return true;
        return false;
    }
    return fnmatch(pattern, path, FNM_PATHNAME | FNM_LEADING_DIR) == 0;
}

static bool ignored(const struct docker_context *context, const char *path)
{
    bool out = false;

    for (size_t i = 0; i < context->pattern_count; i++)
        if (matches(context->patterns[i].text, path))
            out = !context->patterns[i].keeps;
    return out;
}

/* Whether something below an ignored directory may be kept. */
static bool may_keep(const struct docker_context *context)
{
    for (size_t i = 0; i < context->pattern_count; i++)
        if (context->patterns[i].keeps)
            return true;
    return false;
}

int docker_context_open(const char *path, struct docker_context **ret, struct berm_error *err)
{
    struct docker_context *context = calloc(1, sizeof(*context));

    if (!context)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "context");
    arena_init(&context->arena, (size_t)8 << 20);
    context->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (context->dirfd < 0) {
        berm_fail(err, BERM_E_NOT_FOUND, errno, "unable to prepare context: %s", path);
    } else if (read_ignore(context, err) == 0) {
        *ret = context;
        return 0;
    }
    docker_context_free(context);
    return -1;
}

void docker_context_free(struct docker_context *context)
{
    if (!context)
        return;
    close_fd(&context->dirfd);
    arena_free(&context->arena);
    free(context);
}

/* --- writing --- */

struct copying {
    struct docker_context *context;
    const struct docker_copy *copy;
    struct archive *out;
    EVP_MD_CTX *hash;
    size_t copied;
    struct berm_error *err;
};

static int fail_archive(const struct copying *c, struct archive *archive, const char *what)
{
    return berm_fail(c->err, BERM_E_SYSTEM, archive_errno(archive), "%.128s: %s", what,
                     archive_error_string(archive));
}

static void hash_bytes(const struct copying *c, const void *p, size_t n)
{
    EVP_DigestUpdate(c->hash, p, n);
}

static int put_header(const struct copying *c, struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry), *link = archive_entry_symlink(entry);
    uint32_t mode = archive_entry_mode(entry);
    int64_t size = archive_entry_size(entry);

    archive_entry_set_uid(entry, c->copy->uid >= 0 ? c->copy->uid : 0);
    archive_entry_set_gid(entry, c->copy->gid >= 0 ? c->copy->gid : 0);
    archive_entry_set_uname(entry, NULL);
    archive_entry_set_gname(entry, NULL);
    if (c->copy->mode >= 0 && archive_entry_filetype(entry) != AE_IFLNK)
        archive_entry_set_perm(entry, (mode_t)c->copy->mode);
    hash_bytes(c, name, strlen(name) + 1);
    hash_bytes(c, &mode, sizeof(mode));
    hash_bytes(c, &size, sizeof(size));
    if (link)
        hash_bytes(c, link, strlen(link) + 1);
    if (archive_write_header(c->out, entry) != ARCHIVE_OK)
        return fail_archive(c, c->out, name);
    return 0;
}

static int put_file_bytes(const struct copying *c, int fd, const char *path, int64_t size)
{
    char bytes[CHUNK];

    while (size > 0) {
        ssize_t n = RETRY_EINTR(read(fd, bytes, (size_t)MIN(size, (int64_t)sizeof(bytes))));

        if (n <= 0)
            return berm_fail(c->err, BERM_E_SYSTEM, n < 0 ? errno : EIO, "%.128s changed while it was read", path);
        hash_bytes(c, bytes, (size_t)n);
        if (archive_write_data(c->out, bytes, (size_t)n) != n)
            return fail_archive(c, c->out, path);
        size -= n;
    }
    return 0;
}

static int put_entry(struct copying *c, const char *path, int fd, const struct stat *st, const char *link,
                     const char *name)
{
    struct archive_entry *entry = archive_entry_new();
    int rc;

    if (!entry)
        return berm_fail(c->err, BERM_E_SYSTEM, ENOMEM, "%.128s", path);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_mode(entry, st->st_mode);
    archive_entry_set_mtime(entry, st->st_mtim.tv_sec, 0);
    archive_entry_set_size(entry, S_ISREG(st->st_mode) ? st->st_size : 0);
    if (link)
        archive_entry_set_symlink(entry, link);
    rc = put_header(c, entry);
    if (rc == 0 && S_ISREG(st->st_mode))
        rc = put_file_bytes(c, fd, path, st->st_size);
    archive_entry_free(entry);
    c->copied++;
    return rc;
}

static int put_tree(struct copying *c, const char *path, const char *name, unsigned depth);

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory, sorted, so that the digest does not depend on their order on disk. */
static int list_directory(struct copying *c, int fd, char ***ret, size_t *ret_count)
{
    DIR *dir = fdopendir(dup(fd));
    struct dirent *item;
    size_t room = 0;

    *ret = NULL;
    *ret_count = 0;
    if (!dir)
        return berm_fail(c->err, BERM_E_SYSTEM, errno, "read a directory");
    while ((item = readdir(dir))) {
        if (!strcmp(item->d_name, ".") || !strcmp(item->d_name, ".."))
            continue;
        if (*ret_count == room) {
            char **more = reallocarray(*ret, room = room ? 2 * room : 64, sizeof(**ret));

            if (!more)
                break;
            *ret = more;
        }
        (*ret)[*ret_count] = strdup(item->d_name);
        if (!(*ret)[*ret_count])
            break;
        ++*ret_count;
    }
    closedir(dir);
    if (*ret_count)
        qsort(*ret, *ret_count, sizeof(**ret), compare_names);
    return item ? berm_fail(c->err, BERM_E_SYSTEM, ENOMEM, "read a directory") : 0;
}

static int put_children(struct copying *c, int fd, const char *path, const char *name, unsigned depth)
{
    char below[PATH_MAX], target[PATH_MAX];
    char **names;
    size_t count;
    int rc = list_directory(c, fd, &names, &count);

    for (size_t i = 0; i < count; i++) {
        bool root = !strcmp(path, ".");

        if (rc == 0 &&
            (snprintf(below, sizeof(below), "%s%s%s", root ? "" : path, root ? "" : "/", names[i]) >=
                 (int)sizeof(below) ||
             snprintf(target, sizeof(target), "%s%s%s", name, name[0] ? "/" : "", names[i]) >= (int)sizeof(target)))
            rc = berm_fail(c->err, BERM_E_INVALID_REQUEST, 0, "a path is too long below %.128s", path);
        if (rc == 0)
            rc = put_tree(c, below, target, depth + 1);
        free(names[i]);
    }
    free(names);
    return rc;
}

/* `path` of the context becomes `name` of the container. */
static int put_tree(struct copying *c, const char *path, const char *name, unsigned depth)
{
    char link[PATH_MAX];
    _cleanup_close_ int fd = open_beneath(c->context->dirfd, path, O_PATH | O_NOFOLLOW, 0), data = -EBADF;
    bool out = ignored(c->context, path);
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0)
        return berm_fail(c->err, BERM_E_NOT_FOUND, errno, "%.128s", path);
    if (depth > DEPTH_MAX)
        return berm_fail(c->err, BERM_E_INVALID_REQUEST, 0, "directories are nested too deep at %.128s", path);
    if (out && !(S_ISDIR(st.st_mode) && may_keep(c->context)))
        return 0;
    if (S_ISLNK(st.st_mode)) {
        n = readlinkat(fd, "", link, sizeof(link) - 1);
        if (n < 0)
            return berm_fail(c->err, BERM_E_SYSTEM, errno, "%.128s", path);
        link[n] = '\0';
        return put_entry(c, path, -1, &st, link, name);
    }
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return 0; /* sockets, devices and pipes are no files to copy */
    data = open_beneath(c->context->dirfd, path, O_RDONLY | O_NONBLOCK, 0);
    if (data < 0 || fstat(data, &st) < 0)
        return berm_fail(c->err, BERM_E_SYSTEM, errno, "%.128s", path);
    if (!S_ISDIR(st.st_mode))
        return put_entry(c, path, data, &st, NULL, name);
    if (!out && name[0] && put_entry(c, path, -1, &st, NULL, name) < 0)
        return -1;
    return put_children(c, data, path, name, depth);
}

/* --- sources --- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int target_name(const struct copying *c, const char *source, bool is_directory, char out[PATH_MAX])
{
    const char *target = c->copy->target + strspn(c->copy->target, "/");
    size_t n = strlen(target);
    bool into = n == 0 || target[n - 1] == '/';
    int length;

    while (n > 0 && target[n - 1] == '/')
        n--;
    if (is_directory || !into) /* a directory's contents go there; a file gets that name */
        length = snprintf(out, PATH_MAX, "%.*s", (int)n, target);
    else
        length = snprintf(out, PATH_MAX, "%.*s%s%s", (int)n, target, n ? "/" : "", base_name(source));
    return length < PATH_MAX ? 0 : berm_fail(c->err, BERM_E_INVALID_REQUEST, 0, "the target is too long");
}

static bool is_archive(const char *path)
{
    static const char *const endings[] = { ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst" };
    size_t n = strlen(path);

    for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
        if (n >= strlen(endings[i]) && !strcmp(path + n - strlen(endings[i]), endings[i]))
            return true;
    return false;
}

static int take_archive(struct copying *c, const char *path)
{
    struct docker_archives *archives = c->copy->archives;
    _cleanup_close_ int fd = open_beneath(c->context->dirfd, path, O_RDONLY | O_NONBLOCK, 0);
    char bytes[CHUNK];
    ssize_t n;

    if (fd < 0)
        return berm_fail(c->err, BERM_E_SYSTEM, errno, "%.128s", path);
    if (archives->count == DOCKER_ARCHIVES_MAX)
        return berm_fail(c->err, BERM_E_INVALID_REQUEST, 0, "more than %d archives", DOCKER_ARCHIVES_MAX);
    hash_bytes(c, path, strlen(path) + 1);
    while ((n = RETRY_EINTR(read(fd, bytes, sizeof(bytes)))) > 0)
        hash_bytes(c, bytes, (size_t)n);
    if (n < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return berm_fail(c->err, BERM_E_SYSTEM, errno, "%.128s", path);
    archives->fds[archives->count++] = TAKE_FD(fd);
    c->copied++;
    return 0;
}

static int copy_source(struct copying *c, const char *path)
{
    _cleanup_close_ int fd = open_beneath(c->context->dirfd, path, O_PATH | O_NOFOLLOW, 0);
    char name[PATH_MAX];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || ignored(c->context, path))
        return berm_fail(c->err, BERM_E_NOT_FOUND, 0, "\"/%.128s\": not found in the build context%s", path,
                         fd >= 0 ? " (.dockerignore takes it away)" : "");
    if (c->copy->archives && S_ISREG(st.st_mode) && is_archive(path))
        return take_archive(c, path);
    if (target_name(c, path, S_ISDIR(st.st_mode), name) < 0)
        return -1;
    return put_tree(c, path, name, 0);
}

/* The wildcards of the last component; of those before it, none. */
static int copy_pattern(struct copying *c, const char *pattern)
{
    const char *slash = strrchr(pattern, '/'), *last = slash ? slash + 1 : pattern;
    char directory[PATH_MAX] = ".", path[PATH_MAX];
    _cleanup_close_ int fd = -EBADF;
    char **names;
    size_t count, before = c->copied;
    int rc;

    if (!strpbrk(last, "*?["))
        return copy_source(c, pattern);
    if (slash)
        snprintf(directory, sizeof(directory), "%.*s", (int)(slash - pattern), pattern);
    fd = open_beneath(c->context->dirfd, directory, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return berm_fail(c->err, BERM_E_NOT_FOUND, errno, "%.128s", directory);
    rc = list_directory(c, fd, &names, &count);
    for (size_t i = 0; i < count; i++) {
        if (rc == 0 && snprintf(path, sizeof(path), "%s%s%s", slash ? directory : "", slash ? "/" : "", names[i]) >=
                           (int)sizeof(path))
            rc = berm_fail(c->err, BERM_E_INVALID_REQUEST, 0, "a path is too long in %.128s", directory);
        if (rc == 0 && fnmatch(last, names[i], 0) == 0 && !ignored(c->context, path))
            rc = copy_source(c, path);
        free(names[i]);
    }
    free(names);
    if (rc == 0 && c->copied == before)
        rc = berm_fail(c->err, BERM_E_NOT_FOUND, 0, "nothing in the build context matches %.128s", pattern);
    return rc;
}

/* "./a//b/" -> "a/b"; "" -> "." */
static void tidy_source(const char *source, char out[PATH_MAX])
{
    size_t n = 0;

    while (*source && n + 1 < PATH_MAX) {
        bool begins = n == 0 || out[n - 1] == '/'; /* a component of the path */
        bool is_dot = source[0] == '.' && (source[1] == '/' || !source[1]);

        if (begins && (*source == '/' || is_dot))
            source++;
        else
            out[n++] = *source++;
    }
    while (n > 0 && out[n - 1] == '/')
        n--;
    out[n] = '\0';
    if (n == 0)
        snprintf(out, PATH_MAX, ".");
}

static struct archive *open_out(int fd, struct berm_error *err)
{
    struct archive *out = archive_write_new();

    if (out && archive_write_set_format_pax_restricted(out) == ARCHIVE_OK &&
        archive_write_open_fd(out, fd) == ARCHIVE_OK)
        return out;
    berm_fail(err, BERM_E_SYSTEM, ENOMEM, "tar");
    if (out)
        archive_write_free(out);
    return NULL;
}

static int close_out(struct copying *c, int rc)
{
    if (archive_write_close(c->out) != ARCHIVE_OK && rc == 0)
        rc = fail_archive(c, c->out, "tar");
    archive_write_free(c->out);
    return rc;
}

int docker_context_tar(struct docker_context *context, const struct docker_copy *copy, int fd, uint8_t digest[32],
                       struct berm_error *err)
{
    struct copying c = { .context = context, .copy = copy, .err = err };
    char source[PATH_MAX];
    int rc = 0;

    c.hash = EVP_MD_CTX_new();
    if (!c.hash || EVP_DigestInit_ex(c.hash, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(c.hash);
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "SHA-256");
    }
    c.out = open_out(fd, err);
    if (!c.out)
        rc = -1;
    for (size_t i = 0; rc == 0 && i < copy->source_count; i++) {
        tidy_source(copy->sources[i], source);
        rc = copy_pattern(&c, source);
    }
    if (c.out)
        rc = close_out(&c, rc);
    if (rc == 0 && EVP_DigestFinal_ex(c.hash, digest, NULL) != 1)
        rc = berm_fail(err, BERM_E_INTERNAL, 0, "SHA-256");
    EVP_MD_CTX_free(c.hash);
    return rc;
}
