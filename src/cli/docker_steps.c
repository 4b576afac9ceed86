/* docker_steps.c - the instructions that change files: each runs inside the stage's sandbox, never on this machine.
 */
#include "cli/docker_build.h"

#include "base/sys.h"
#include "image/rewrite.h"

#include <fcntl.h>
#include <sys/socket.h>

/* --- RUN --- */

static const struct dockerfile_flag *flag_of(const struct dockerfile_instruction *item, const char *name)
{
    for (size_t i = 0; i < item->flag_count; i++)
        if (str_is(item->flags[i].name, name))
            return &item->flags[i];
    return NULL;
}

/* Caches are only for speed; secrets and binds would be files that are not there. */
static int check_run_flags(struct build *build, const struct dockerfile_instruction *item)
{
    for (size_t i = 0; i < item->flag_count; i++) {
        const struct dockerfile_flag *flag = &item->flags[i];

        if (str_is(flag->name, "mount") && (memmem(flag->value.p, flag->value.n, "type=cache", 10) ||
                                            memmem(flag->value.p, flag->value.n, "type=tmpfs", 10)))
            continue;
        if (str_is(flag->name, "network") && (str_is(flag->value, "default") || str_is(flag->value, "none")))
            continue;
        return build_fail(build, item->line, "RUN --%.*s is not supported", (int)flag->name.n, flag->name.p);
    }
    return 0;
}

static int add_env(struct build *build, const struct stage *stage, struct cli_list *list)
{
    list->items = arena_calloc(build->arena, stage->variable_count + 1, sizeof(*list->items));
    if (!list->items)
        return build_fail(build, 0, "out of memory");
    for (size_t i = 0; i < stage->variable_count; i++)
        if (stage->variables[i].value)
            list->items[list->count++] =
                arena_printf(build->arena, "%s=%s", stage->variables[i].name, stage->variables[i].value);
    return 0;
}

static char **shell_words(struct build *build, const struct stage *stage, const char *script)
{
    char **words = arena_calloc(build->arena, stage->shell_count + 10, sizeof(*words));
    size_t n = 0;

    if (!words)
        return NULL;
    if (stage->user) {
        words[n++] = (char *)(uintptr_t) "su";
        words[n++] = (char *)(uintptr_t) "-s";
        words[n++] = (char *)(uintptr_t) "/bin/sh";
        words[n++] = (char *)(uintptr_t)stage->user;
        words[n++] = (char *)(uintptr_t) "-c";
    } else if (stage->shell) {
        for (size_t i = 0; i < stage->shell_count; i++)
            words[n++] = (char *)(uintptr_t)stage->shell[i].p;
    } else {
        words[n++] = (char *)(uintptr_t) "/bin/sh";
        words[n++] = (char *)(uintptr_t) "-c";
    }
    words[n] = (char *)(uintptr_t)script;
    return words;
}

static char **run_words(struct build *build, const struct stage *stage, const struct dockerfile_instruction *item)
{
    char **words;

    if (item->heredoc.p)
        return shell_words(build, stage, arena_strdup(build->arena, item->heredoc));
    if (!item->words)
        return shell_words(build, stage, arena_strdup(build->arena, item->text));
    words = arena_calloc(build->arena, item->word_count + 1, sizeof(*words));
    for (size_t i = 0; words && i < item->word_count; i++)
        words[i] = (char *)(uintptr_t)item->words[i].p;
    return words;
}

/* What it writes is progress, and goes to stderr like the rest of it. */
static int run_words_in(struct build *build, const struct stage *stage, char *const *words)
{
    struct docker_command_options options = { .cwd = stage->workdir ? stage->workdir : "/", .to_stderr = true };

    if (add_env(build, stage, &options.env) < 0)
        return -1;
    return docker_run_command(build->docker, stage->container, words, &options);
}

int build_run(struct build *build, struct stage *stage, const struct dockerfile_instruction *item)
{
    char **words;
    int status;

    if (check_run_flags(build, item) < 0)
        return -1;
    build_hash(stage, "RUN", 4);
    build_hash(stage, item->text.p, item->text.n + 1);
    build_hash(stage, item->heredoc.p ? item->heredoc.p : "", item->heredoc.n);
    for (size_t i = 0; i < stage->variable_count; i++)
        if (!stage->variables[i].is_env && stage->variables[i].value)
            build_hash(stage, stage->variables[i].value, strlen(stage->variables[i].value) + 1);
    if (build->dry)
        return 0;
    words = run_words(build, stage, item);
    if (!words || !words[0])
        return build_fail(build, item->line, "RUN has no command");
    status = run_words_in(build, stage, words);
    if (status > 0)
        return build_fail(build, item->line, "the command '%.160s' returned %d", item->text.p, status);
    return status;
}

int build_workdir(struct build *build, struct stage *stage)
{
    char *const words[] = { (char *)(uintptr_t) "mkdir", (char *)(uintptr_t) "-p", (char *)(uintptr_t) "--",
                            (char *)(uintptr_t)stage->workdir, NULL };
    struct docker_command_options options = { .cwd = "/", .to_stderr = true };

    build_hash(stage, "WORKDIR", 8);
    build_hash(stage, stage->workdir, strlen(stage->workdir) + 1);
    if (build->dry)
        return 0;
    return docker_run_command(build->docker, stage->container, words, &options) == 0 ? 0 : -1;
}

/* --- COPY and ADD --- */

/* An unnamed file for a tar stream. -1 with build->err. */
static int open_temporary(struct build *build)
{
    const char *directory = getenv("TMPDIR");
    int fd = open(directory && directory[0] ? directory : "/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    if (fd < 0)
        build_fail(build, 0, "a temporary file: %s", strerror(errno));
    return fd;
}

static int upload(struct build *build, const char *container, int fd)
{
    _cleanup_docker_call_ struct docker_call call =
        DOCKER_CALL("PUT", docker_path(build->docker, "/containers/%s/archive?path=/", container));

    if (lseek(fd, 0, SEEK_SET) < 0)
        return build_fail(build, 0, "a temporary file: %s", strerror(errno));
    call.upload_fd = fd;
    call.content_type = "application/x-tar";
    return docker_do(build->docker, &call);
}

/* The stream is the container's word, and may have no end: the rewriter says when it has had enough. */
static int write_piece(void *data, struct str piece)
{
    int fd = *(const int *)data;

    while (piece.n > 0) {
        ssize_t n = RETRY_EINTR(send(fd, piece.p, piece.n, MSG_NOSIGNAL));

        if (n < 0)
            return -1;
        piece = (struct str){ piece.p + n, piece.n - (size_t)n };
    }
    return 0;
}

static int download(struct build *build, const char *container, const char *path, int fd)
{
    _cleanup_docker_call_ struct docker_call call =
        DOCKER_CALL("GET", docker_path(build->docker, "/containers/%s/archive?path=%s", container,
                                       docker_encode(build->docker, path)));

    call.sink = write_piece;
    call.sink_data = &fd;
    return docker_do(build->docker, &call);
}

/* Whether the target is a directory in the container already: a file is then copied into it. */
static bool is_directory(struct build *build, const struct stage *stage, const char *path)
{
    char *const words[] = { (char *)(uintptr_t) "test", (char *)(uintptr_t) "-d", (char *)(uintptr_t)path, NULL };
    struct docker_command_options options = { .cwd = "/", .to_stderr = true };

    return docker_run_command(build->docker, stage->container, words, &options) == 0;
}

/* "1000:1000", "0"; names are looked up in the container afterwards. */
static bool parse_owner(const char *text, long *ret_uid, long *ret_gid)
{
    unsigned long uid, gid;
    int used = 0;

    if (sscanf(text, "%lu:%lu%n", &uid, &gid, &used) == 2 && !text[used] && uid < 65536 && gid < 65536) {
        *ret_uid = (long)uid;
        *ret_gid = (long)gid;
        return true;
    }
    if (sscanf(text, "%lu%n", &uid, &used) == 1 && !text[used] && uid < 65536) {
        *ret_uid = *ret_gid = (long)uid;
        return true;
    }
    return false;
}

static int take_mode(struct build *build, const struct dockerfile_instruction *item, long *ret)
{
    const struct dockerfile_flag *flag = flag_of(item, "chmod");
    long mode = 0;

    *ret = -1;
    if (!flag)
        return 0;
    for (size_t i = 0; i < flag->value.n; i++) {
        if (flag->value.p[i] < '0' || flag->value.p[i] > '7' || mode > 0777)
            return build_fail(build, item->line, "--chmod must be octal digits");
        mode = mode * 8 + (flag->value.p[i] - '0');
    }
    *ret = mode;
    return 0;
}

/* The operands: sources, and the target as the last. */
static int take_operands(struct build *build, const struct stage *stage, const struct dockerfile_instruction *item,
                         char ***ret_words, size_t *ret_count)
{
    if (item->words) {
        *ret_words = arena_calloc(build->arena, item->word_count + 1, sizeof(**ret_words));
        *ret_count = item->word_count;
        if (!*ret_words)
            return build_fail(build, item->line, "out of memory");
        for (size_t i = 0; i < item->word_count; i++)
            if (!((*ret_words)[i] = build_expand(build, stage, item->words[i])))
                return -1;
    } else if (!build_words(build, stage, item->text, ret_words, ret_count)) {
        return -1;
    }
    if (*ret_count < 2)
        return build_fail(build, item->line, "%s needs sources and a target", item->name);
    for (size_t i = 0; i < *ret_count; i++)
        if (!strncmp((*ret_words)[i], "<<", 2))
            return build_fail(build, item->line, "here-documents of %s are not supported", item->name);
        else if (!strncmp((*ret_words)[i], "http://", 7) || !strncmp((*ret_words)[i], "https://", 8) ||
                 !strncmp((*ret_words)[i], "git@", 4))
            return build_fail(build, item->line, "ADD of what is not local is not supported: use RUN curl");
    return 0;
}

/* How a tar stream gets to the target. It is read by nobody but the confined rewriter. */
static int describe_rewriting(struct build *build, const struct docker_copy *copy, struct image_rewrite *job)
{
    const char *target = copy->target + strspn(copy->target, "/");
    size_t n = strlen(target);

    job->keep_single = n == 0 || target[n - 1] == '/';
    while (n > 0 && target[n - 1] == '/')
        n--;
    job->prefix = arena_strdup(build->arena, (struct str){ target, n });
    job->uid = MAX(copy->uid, 0);
    job->gid = MAX(copy->gid, 0);
    job->mode = copy->mode;
    return job->prefix ? 0 : build_fail(build, 0, "out of memory");
}

/* The tar stream of "/" or "x/." has no first component that stands for the source. */
static bool has_own_name(const char *source)
{
    const char *slash = strrchr(source, '/'), *last = slash ? slash + 1 : source;

    return strspn(source, "/") < strlen(source) && strcmp(last, ".") != 0;
}

static int copy_one_from(struct build *build, const struct stage *stage, const struct docker_copy *copy,
                         const char *container, const char *source)
{
    _cleanup_close_ int out = open_temporary(build), ours = -EBADF, theirs = -EBADF;
    struct image_rewrite job = { .to_fd = out, .strip = has_own_name(source) };
    struct image_rewriting rewriting;
    int pair[2], downloaded;

    if (out < 0 || describe_rewriting(build, copy, &job) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return build_fail(build, 0, "a pipe: %s", strerror(errno));
    ours = pair[0];
    job.from_fd = theirs = pair[1];
    if (image_rewrite_start(&job, &rewriting, &build->err) < 0)
        return -1;
    close_fd(&theirs);
    downloaded = download(build, container, source, ours);
    close_fd(&ours);
    if (image_rewrite_finish(&rewriting, &build->err) < 0 || downloaded < 0)
        return -1;
    return upload(build, stage->container, out);
}

static int put_archive(struct build *build, const struct stage *stage, const struct docker_copy *copy, int from_fd)
{
    _cleanup_close_ int out = open_temporary(build);
    struct image_rewrite job = { .from_fd = from_fd, .to_fd = out };
    struct image_rewriting rewriting;

    if (out < 0 || describe_rewriting(build, copy, &job) < 0 ||
        image_rewrite_start(&job, &rewriting, &build->err) < 0 || image_rewrite_finish(&rewriting, &build->err) < 0)
        return -1;
    return upload(build, stage->container, out);
}

static int copy_archives(struct build *build, const struct stage *stage, const struct docker_archives *archives,
                         const struct docker_copy *copy)
{
    for (size_t i = 0; i < archives->count; i++)
        if (put_archive(build, stage, copy, archives->fds[i]) < 0)
            return -1;
    return 0;
}

static void close_archives(struct docker_archives *archives)
{
    for (size_t i = 0; i < archives->count; i++)
        close_fd(&archives->fds[i]);
}

static int change_owner(struct build *build, const struct stage *stage, const char *owner, const char *target)
{
    char *const words[] = { (char *)(uintptr_t) "chown", (char *)(uintptr_t) "-R",  (char *)(uintptr_t)owner,
                            (char *)(uintptr_t) "--",    (char *)(uintptr_t)target, NULL };
    struct docker_command_options options = { .cwd = "/", .to_stderr = true };

    return docker_run_command(build->docker, stage->container, words, &options) == 0 ? 0 : -1;
}

/* A relative target is below the working directory. */
static const char *absolute(struct build *build, const struct stage *stage, const char *target)
{
    const char *base = stage->workdir ? stage->workdir : "/";

    if (target[0] == '/')
        return target;
    if (!strcmp(target, "."))
        return arena_printf(build->arena, "%s/", base);
    if (!strncmp(target, "./", 2))
        target += 2;
    return arena_printf(build->arena, "%s%s%s", base, base[strlen(base) - 1] == '/' ? "" : "/", target);
}

/* From the build's directory. */
static int copy_context(struct build *build, struct stage *stage, const struct docker_copy *wanted, bool unpack)
{
    _cleanup_(close_archives) struct docker_archives archives = { .count = 0 };
    struct docker_copy copy = *wanted;
    _cleanup_close_ int fd = open_temporary(build);
    uint8_t digest[32];

    copy.archives = unpack ? &archives : NULL;
    if (fd < 0 || docker_context_tar(build->context, &copy, fd, digest, &build->err) < 0)
        return -1;
    build_hash(stage, digest, sizeof(digest));
    if (build->dry)
        return 0;
    return upload(build, stage->container, fd) < 0 ? -1 : copy_archives(build, stage, &archives, &copy);
}

/* From another container. */
static int copy_from(struct build *build, struct stage *stage, const struct docker_copy *copy, const char *from)
{
    const char *container;

    for (size_t i = 0; i < copy->source_count; i++)
        build_hash(stage, copy->sources[i], strlen(copy->sources[i]) + 1);
    build_hash(stage, from, strlen(from) + 1);
    if (build->dry)
        return 0;
    container = build_source_container(build, from);
    for (size_t i = 0; container && i < copy->source_count; i++)
        if (copy_one_from(build, stage, copy, container, copy->sources[i]) < 0)
            return -1;
    return container ? 0 : -1;
}

int build_copy(struct build *build, struct stage *stage, const struct dockerfile_instruction *item)
{
    const struct dockerfile_flag *from = flag_of(item, "from"), *owner = flag_of(item, "chown");
    struct docker_copy copy = { .uid = -1, .gid = -1 };
    const char *owner_text = owner ? arena_strdup(build->arena, owner->value) : NULL;
    bool named_owner = false;
    char **words;
    size_t count;
    int rc;

    if (take_operands(build, stage, item, &words, &count) < 0 || take_mode(build, item, &copy.mode) < 0)
        return -1;
    copy.sources = words;
    copy.source_count = count - 1;
    copy.target = absolute(build, stage, words[count - 1]);
    if (owner_text)
        named_owner = !parse_owner(owner_text, &copy.uid, &copy.gid);
    build_hash(stage, item->name, sizeof(item->name));
    build_hash(stage, copy.target, strlen(copy.target) + 1);
    build_hash(stage, owner_text ? owner_text : "", owner_text ? strlen(owner_text) + 1 : 1);
    build_hash(stage, &copy.mode, sizeof(copy.mode));
    if (!build->dry && copy.target[strlen(copy.target) - 1] != '/' &&
        (copy.source_count > 1 || is_directory(build, stage, copy.target)))
        copy.target = arena_printf(build->arena, "%s/", copy.target);
    rc = from ? copy_from(build, stage, &copy, arena_strdup(build->arena, from->value))
              : copy_context(build, stage, &copy, !strcmp(item->name, "ADD"));
    if (rc < 0 || !named_owner || build->dry)
        return rc;
    return change_owner(build, stage, owner_text, copy.target);
}
