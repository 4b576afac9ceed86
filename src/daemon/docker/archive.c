/*
 * archive.c - GET, HEAD and PUT /containers/X/archive, GET /containers/X/export: tar streams in and out of a
 * container.
 *
 * The tar that packs and unpacks is the container's own, run inside: whatever a hostile archive or file tree does
 * to it, it does behind the same walls as any other program there. The daemon looks at no byte of it.
 */
#include "base/base64.h"
#include "base/sys.h"
#include "daemon/agent_exec.h"
#include "daemon/docker/engine.h"

#define STAT_MAX    4096
#define SECONDS_MAX 253402300799 /* the end of the year 9999 */
#define STDERR_MAX  512

struct archive {
    struct request *request;
    struct container *container; /* until its agent answers */
    struct boot_wait boot;
    struct agent_link *link; /* a reference */
    struct agent_exec *exec;
    const char *path;
    bool put, head_only, whole, begun;
    struct buf stat; /* what stat(1) wrote */
    char said[STDERR_MAX];
    size_t said_length;
};

static void clean_up(struct request *request)
{
    struct archive *archive = request->state;

    container_boot_cancel(&archive->boot);
    agent_exec_cancel(archive->exec);
    agent_link_unref(archive->link);
    buf_free(&archive->stat);
}

static const char *argv_text(struct request *request, const char *const *words)
{
    struct json_writer w;
    struct buf text;
    const char *result = NULL;

    buf_init(&text, DOCKER_BODY_MAX);
    json_writer_init(&w, &text);
    json_array_begin(&w);
    for (; *words; words++)
        json_cstring(&w, *words);
    json_array_end(&w);
    if (json_writer_finish(&w) == 0)
        result = arena_strdup(&request->arena, buf_str(&text));
    buf_free(&text);
    return result;
}

/* What tar or stat complained about, for the answer. */
static void keep_said(struct archive *archive, struct str bytes)
{
    size_t n = MIN(bytes.n, sizeof(archive->said) - archive->said_length);

    memcpy(archive->said + archive->said_length, bytes.p, n);
    archive->said_length += n;
}

static void fail_with_said(struct archive *archive, int status)
{
    size_t n = archive->said_length;

    while (n > 0 && (archive->said[n - 1] == '\n' || archive->said[n - 1] == '\r'))
        n--;
    docker_fail(archive->request, status, "%.*s", (int)n, archive->said);
}

/* -1: answered. */
static int start(struct archive *archive, const char *const *words, const struct agent_exec_callbacks *callbacks,
                 bool with_stdin)
{
    struct agent_exec_spec spec = { .argv = argv_text(archive->request, words),
                                    .cwd = "/",
                                    .with_stdin = with_stdin };
    struct berm_error err;

    if (spec.argv)
        archive->exec = agent_exec_start(archive->link, &spec, callbacks, archive, &err);
    else
        berm_fail(&err, BERM_E_INVALID_REQUEST, 0, "the path is too long");
    if (archive->exec)
        return 0;
    docker_fail_error(archive->request, &err);
    return -1;
}

/* --- PUT --- */

static void on_put_output(void *data, int stream, struct str bytes)
{
    (void)stream;
    keep_said(data, bytes);
}

static void on_put_drain(void *data)
{
    struct archive *archive = data;

    if (archive->request->exchange)
        http_body_resume(archive->request->exchange);
}

static void on_put_end(void *data, int exit_code, const struct berm_error *err)
{
    struct archive *archive = data;

    archive->exec = NULL;
    http_body_resume(archive->request->exchange); /* what still comes is dropped */
    if (err->code != BERM_OK)
        docker_fail_error(archive->request, err);
    else if (exit_code != 0)
        fail_with_said(archive, exit_code == 44 ? 404 : 500);
    else
        request_respond_empty(archive->request, 200);
}

static void on_upload(struct request *request, struct str piece)
{
    struct archive *archive = request->state;

    if (archive->exec && !agent_exec_write(archive->exec, piece))
        http_body_pause(request->exchange);
}

static void on_upload_end(struct request *request)
{
    struct archive *archive = request->state;

    if (archive->exec)
        agent_exec_end_input(archive->exec);
}

static void start_put(struct archive *archive)
{
    static const struct agent_exec_callbacks callbacks = { .on_output = on_put_output,
                                                           .on_drain = on_put_drain,
                                                           .on_end = on_put_end };
    static const char script[] =
        "[ -d \"$1\" ] || { echo \"Could not find the file $1 in the container\" >&2; exit 44; }; "
        "exec tar -xpf - -C \"$1\"";
    const char *const words[] = { "sh", "-c", script, "sh", archive->path, NULL };

    if (start(archive, words, &callbacks, true) < 0)
        return;
    archive->request->on_body = on_upload;
    archive->request->on_body_end = on_upload_end;
    http_body_resume(archive->request->exchange);
}

/* --- GET --- */

static void begin_tar(struct archive *archive, const char *stat_field)
{
    const struct http_field fields[] = { { "Content-Type", "application/x-tar" },
                                         { "X-Docker-Container-Path-Stat", stat_field } };

    archive->begun = true;
    request_begin(archive->request, 200, fields, stat_field ? 2 : 1, archive->head_only ? 0 : HTTP_CHUNKED);
}

static void on_tar_output(void *data, int stream, struct str bytes)
{
    struct archive *archive = data;

    if (stream == AGENT_EXEC_STDERR)
        keep_said(archive, bytes);
    else if (!request_write(archive->request, bytes))
        agent_exec_pause(archive->exec);
}

static void on_tar_end(void *data, int exit_code, const struct berm_error *err)
{
    struct archive *archive = data;

    archive->exec = NULL;
    /* 1: a file changed while it was read, which is for tar to say and not an end. */
    if (err->code == BERM_OK && exit_code <= 1)
        request_end(archive->request);
    else if (archive->request->exchange)
        http_exchange_abort(archive->request->exchange);
}

static bool path_is_root(const char *path)
{
    return path[strspn(path, "/")] == '\0';
}

static void start_tar(struct archive *archive)
{
    static const struct agent_exec_callbacks callbacks = { .on_output = on_tar_output, .on_end = on_tar_end };
    static const char one[] = "cd \"$(dirname -- \"$1\")\" && exec tar -cf - -- \"$(basename -- \"$1\")\"";
    static const char all[] =
        "cd / && exec tar --one-file-system -cf - --exclude ./proc --exclude ./sys --exclude ./dev .";
    const char *const words[] = { "sh", "-c",          archive->whole || path_is_root(archive->path) ? all : one,
                                  "sh", archive->path, NULL };

    start(archive, words, &callbacks, false);
}

/* Go's FileMode: the permissions, and the kind and three more in bits of its own. */
static int64_t go_mode(unsigned long mode)
{
    static const struct {
        unsigned long kind, bits;
    } kinds[] = { { 0040000, 1UL << 31 }, { 0120000, 1UL << 27 }, { 0010000, 1UL << 25 },
                  { 0140000, 1UL << 24 }, { 0060000, 1UL << 26 }, { 0020000, 1UL << 26 | 1UL << 21 } };
    unsigned long result = mode & 0777;

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if ((mode & 0170000) == kinds[i].kind)
            result |= kinds[i].bits;
    result |= mode & 04000 ? 1UL << 23 : 0;
    result |= mode & 02000 ? 1UL << 22 : 0;
    result |= mode & 01000 ? 1UL << 20 : 0;
    return (int64_t)result;
}

/* "/a/b/" -> "b"; "/" is itself. */
static struct str last_name(const char *path)
{
    size_t n = strlen(path), from;

    while (n > 1 && path[n - 1] == '/')
        n--;
    for (from = n; from > 0 && path[from - 1] != '/';)
        from--;
    return from == n ? (struct str){ path, n } : (struct str){ path + from, n - from };
}

/* A line of mode in hex, size and mtime, then the link's target. */
static const char *stat_field(struct archive *archive)
{
    unsigned long mode = 0, size = 0;
    long long mtime = 0;
    const char *target, *result = NULL;
    char time[25];
    struct json_writer w;
    struct buf text, encoded;

    buf_append(&archive->stat, "", 1);
    if (sscanf(buf_head(&archive->stat), "%lx %lu %lld", &mode, &size, &mtime) != 3)
        return NULL;
    target = strchr(buf_head(&archive->stat), '\n');
    format_timestamp(MAX(MIN(mtime, SECONDS_MAX), 0) * 1000, time); /* a program of the container's says it */
    buf_init(&text, 8 * STAT_MAX);
    buf_init(&encoded, 16 * STAT_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    json_key(&w, "name");
    json_string(&w, last_name(archive->path));
    json_pair_int(&w, "size", (int64_t)size);
    json_pair_int(&w, "mode", go_mode(mode));
    json_pair_cstring(&w, "mtime", time);
    json_pair_cstring(&w, "linkTarget", target ? target + 1 : "");
    json_object_end(&w);
    if (json_writer_finish(&w) == 0 && base64_append(&encoded, buf_head(&text), text.len) == 0)
        result = arena_strdup(&archive->request->arena, buf_str(&encoded));
    buf_free(&text);
    buf_free(&encoded);
    return result;
}

static void on_stat_output(void *data, int stream, struct str bytes)
{
    struct archive *archive = data;

    if (stream == AGENT_EXEC_STDERR)
        keep_said(archive, bytes);
    else
        buf_append(&archive->stat, bytes.p, MIN(bytes.n, STAT_MAX - MIN(archive->stat.len, (size_t)STAT_MAX)));
}

static void on_stat_end(void *data, int exit_code, const struct berm_error *err)
{
    struct archive *archive = data;
    const char *field;

    archive->exec = NULL;
    if (err->code != BERM_OK) {
        docker_fail_error(archive->request, err);
        return;
    }
    field = exit_code == 0 ? stat_field(archive) : NULL;
    if (!field) {
        docker_fail(archive->request, 404, "Could not find the file %s in container %.*s", archive->path,
                    (int)archive->request->param.n, archive->request->param.p);
        return;
    }
    archive->said_length = 0;
    begin_tar(archive, field);
    if (archive->head_only)
        request_end(archive->request);
    else
        start_tar(archive);
}

static void start_get(struct archive *archive)
{
    static const struct agent_exec_callbacks callbacks = { .on_output = on_stat_output, .on_end = on_stat_end };
    static const char script[] = "stat -c '%f %s %Y' -- \"$1\" && { readlink -n -- \"$1\" || :; }";
    const char *const words[] = { "sh", "-c", script, "sh", archive->path, NULL };

    if (archive->whole) {
        begin_tar(archive, NULL);
        start_tar(archive);
    } else {
        start(archive, words, &callbacks, false);
    }
}

/* --- both --- */

static void on_booted(struct boot_wait *wait, struct agent_link *link, const struct berm_error *err)
{
    struct archive *archive = container_of(wait, struct archive, boot);

    if (!link) {
        docker_fail_error(archive->request, err);
        return;
    }
    archive->link = agent_link_ref(link);
    if (archive->put)
        start_put(archive);
    else
        start_get(archive);
}

static void on_drain(struct request *request)
{
    struct archive *archive = request->state;

    if (archive->exec)
        agent_exec_resume(archive->exec);
}

/* Absolute and without a NUL; the container's own tools judge the rest. */
static const char *take_path(struct request *request)
{
    const char *path = NULL;

    if (request_query(request, "path", &path) < 0)
        return NULL;
    if (path && path[0] == '/' && strlen(path) < 4096)
        return path;
    if (path && path[0] && strlen(path) < 4096)
        return arena_printf(&request->arena, "/%s", path);
    docker_fail(request, 400, "bad parameter: path cannot be empty");
    return NULL;
}

static void begin(struct request *request, const char *path, bool put, bool whole)
{
    struct container *container = docker_container(request);
    struct archive *archive;

    if (!container)
        return;
    if (container->side) {
        docker_fail(request, 409, "an interceptor has no file system");
        return;
    }
    archive = arena_calloc(&request->arena, 1, sizeof(*archive));
    if (!archive) {
        docker_fail(request, 500, "out of memory");
        return;
    }
    *archive = (struct archive){ .request = request, .path = path, .put = put, .whole = whole };
    archive->head_only = str_is(request->head->method, "HEAD");
    buf_init(&archive->stat, STAT_MAX + 1);
    request->state = archive;
    request->cleanup = clean_up;
    request->on_drained = on_drain;
    if (put) {
        request_stream_body(request);
        http_body_pause(request->exchange);
    }
    archive->boot.done = on_booted;
    container_boot(container, &archive->boot);
}

void docker_archive_get(struct request *request)
{
    const char *path = take_path(request);

    if (path)
        begin(request, path, false, false);
}

void docker_archive_put(struct request *request)
{
    const char *path = take_path(request);

    if (path)
        begin(request, path, true, false);
}

void docker_export(struct request *request)
{
    begin(request, "/", false, true);
}
