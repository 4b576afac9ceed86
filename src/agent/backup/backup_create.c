/*
 * backup_create.c - POST /api/backup/create.
 *
 *   GIT      what .gitignore leaves out, if that is asked for and there is a repository
 *   PACK     mksquashfs, with the patterns of both in a file beside the archive
 */
#include "agent/files/make_parents.h"
#include "backup.h"
#include "base/sys.h"

#include <fcntl.h>
#include <sys/stat.h>

#define MKSQUASHFS     "/usr/bin/mksquashfs"
#define DEFAULT_FORMAT "lz4"
#define DEFAULT_CPUS   8
#define DEPTH_MAX      16 /* of what a pattern with a slash leaves out */

static void fail(struct backup *b, const char *message)
{
    backup_fail(b, AGENT_E_BACKUP_CREATE_FAILED, NULL, 0, message);
}

/* --- what is left out --- */

/* One line. What holds a newline is none: it cannot be named. */
static int put_line(struct buf *out, const char *before, struct str pattern)
{
    if (pattern.n == 0 || memchr(pattern.p, '\n', pattern.n) || memchr(pattern.p, '\0', pattern.n))
        return 0;
    return buf_append(out, before, strlen(before)) < 0 || buf_append_str(out, pattern) < 0 ||
                   buf_append(out, "\n", 1) < 0
               ? -1
               : 0;
}

/* A path below the directory, and no pattern. The last two are special in the file itself. */
static int put_path(struct buf *out, struct str path)
{
    static const char special[] = "\\*?[]# ";
    struct buf quoted;
    int rc = 0;

    buf_init(&quoted, SIZE_MAX / 4);
    for (size_t i = 0; rc == 0 && i < path.n; i++) {
        const char pair[2] = { '\\', path.p[i] };
        bool plain = pair[1] == '\0' || !strchr(special, pair[1]);
        rc = plain ? buf_append(&quoted, pair + 1, 1) : buf_append(&quoted, pair, 2);
    }
    if (rc == 0)
        rc = put_line(out, "", buf_str(&quoted));
    buf_free(&quoted);
    return rc;
}

/*
 * At any depth. "... NAME" is mksquashfs's way to say so; with a slash in it, it leaves out all that the first
 * component matches, so that is said for each depth.
 */
static int put_pattern(struct buf *out, struct str pattern)
{
    char above[2 * DEPTH_MAX + 1] = "";

    if (!memchr(pattern.p, '/', pattern.n))
        return put_line(out, "", pattern) < 0 ? -1 : put_line(out, "... ", pattern);
    for (size_t depth = 0; depth < DEPTH_MAX; depth++) {
        if (put_line(out, above, pattern) < 0)
            return -1;
        memcpy(above + 2 * depth, "*/", 3);
    }
    return 0;
}

/* mksquashfs has no double star: at the ends it means nothing there, and inside a single component at least. */
static struct str without_stars(struct arena *arena, struct str text)
{
    char *copy = arena_strdup(arena, text), *inner;

    if (!copy)
        return (struct str){ NULL, 0 };
    while (strncmp(copy, "**/", 3) == 0)
        copy += 3;
    while ((inner = strstr(copy, "/**/")))
        memmove(inner, inner + 3, strlen(inner + 3) + 1);
    if (strlen(copy) >= 3 && strcmp(copy + strlen(copy) - 3, "/**") == 0)
        copy[strlen(copy) - 3] = '\0';
    return strcmp(copy, "**") == 0 ? STR("") : str_from(copy);
}

static int put_user_patterns(struct backup *b)
{
    const struct json *excludes = json_get(b->rq->body, "excludes");

    for (size_t i = 0; excludes && excludes->type == JSON_ARRAY && i < excludes->array.count; i++) {
        struct str pattern = without_stars(&b->rq->arena, excludes->array.items[i].string);
        if (!pattern.p || put_pattern(&b->patterns, pattern) < 0)
            return -1;
    }
    return 0;
}

static int put_ignored(struct backup *b)
{
    bool any = b->output.outputs[STREAM_STDOUT].total > 0;
    struct str names = backup_said(b, STREAM_STDOUT);

    if (any && names.n == 0) /* without memory: nothing may be packed that was to be left out */
        return -1;
    while (names.n > 0) {
        size_t n = strnlen(names.p, names.n);
        if (put_path(&b->patterns, (struct str){ names.p, n }) < 0)
            return -1;
        n += n < names.n;
        names = (struct str){ names.p + n, names.n - n };
    }
    return 0;
}

/* --- packing --- */

static void reply_packed(struct backup *b)
{
    struct reply reply;
    struct stat st;

    reply_begin(&reply);
    json_pair_int(&reply.w, "sizeBytes", stat(b->archive, &st) == 0 ? (int64_t)st.st_size : 0);
    json_pair_cstring(&reply.w, "archivePath", b->archive);
    reply_send_unstamped(b->rq, &reply);
    backup_free(b);
}

static void on_packed(struct backup *b, int exit_code)
{
    struct str said = backup_said(b, STREAM_STDERR);
    struct context_item more[] = { CTX_INT("exitCode", exit_code),
                                   { .key = "stderr", .type = CONTEXT_STRING, .string = said } };

    if (b->patterns_path)
        unlink(b->patterns_path);
    if (exit_code == 0)
        reply_packed(b);
    else
        backup_fail(b, AGENT_E_BACKUP_CREATE_FAILED, more, 2, "Cannot pack the directory");
}

/* Never through a link that somebody has put there. */
static int write_patterns(struct backup *b)
{
    _cleanup_close_ int fd = -EBADF;

    b->patterns_path = arena_printf(&b->rq->arena, "%s.exclude", b->archive);
    if (!b->patterns_path)
        return -1;
    unlink(b->patterns_path);
    fd = open(b->patterns_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -1 : write_all(fd, buf_head(&b->patterns), b->patterns.len);
}

static void pack(struct backup *b)
{
    const struct json *compression = json_get(b->rq->body, "compression");
    const struct json *format = json_get(compression, "format"), *threads = json_get(compression, "threads");
    const char *argv[] = { MKSQUASHFS,   b->dir,         b->archive,  "-comp",      DEFAULT_FORMAT, "-processors",
                           NULL /* 6 */, "-no-progress", "-noappend", "-wildcards", "-ef",          NULL /* 11 */,
                           NULL };

    if (format && format->type == JSON_STRING)
        argv[4] = format->string.p;
    argv[6] = arena_printf(&b->rq->arena, "%lld",
                           (long long)(threads && threads->type == JSON_INT ? threads->integer : DEFAULT_CPUS));
    if (!argv[6]) {
        fail(b, "out of memory");
        return;
    }
    if (b->patterns.len == 0) {
        argv[9] = NULL;
    } else if (write_patterns(b) < 0) {
        fail(b, "Cannot write the list of what is left out");
        return;
    } else {
        argv[11] = b->patterns_path;
    }
    backup_run(b, argv, NULL, on_packed);
}

static void on_git(struct backup *b, int exit_code)
{
    /* Without git, or where there is no repository, nothing is left out. */
    if (exit_code == 0 && (b->output.overflowed || put_ignored(b) < 0))
        fail(b, "More files are ignored than can be named");
    else
        pack(b);
}

void backup_create(struct backup *b)
{
    static const char *const git[] = { "git",      "-c", "safe.directory=*",   "ls-files", "-z",
                                       "--others", "-i", "--exclude-standard", "--",       ".",
                                       NULL };
    const struct json *gitignore = json_get(b->rq->body, "gitignore");
    struct context_item binary = CTX_STR("binaryPath", MKSQUASHFS);
    struct stat st;

    if (make_parents(AT_FDCWD, b->archive) < 0)
        fail(b, "Cannot make the directory of the archive");
    else if (stat(b->dir, &st) < 0 || !S_ISDIR(st.st_mode))
        fail(b, "The directory does not exist");
    else if (access(MKSQUASHFS, X_OK) < 0)
        backup_fail(b, AGENT_E_BACKUP_CREATE_FAILED, &binary, 1, "mksquashfs is not there");
    else if (put_user_patterns(b) < 0)
        fail(b, "out of memory");
    else if (gitignore && gitignore->type == JSON_BOOL && gitignore->boolean)
        backup_run(b, git, b->dir, on_git);
    else
        pack(b);
}
