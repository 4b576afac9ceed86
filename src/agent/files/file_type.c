#include "file_type.h"

#include "agent/agent.h"
#include "file_sniff.h"
#include "mime.h"

#include <fcntl.h>
#include <sys/stat.h>

#define OUTPUT_MAX ((size_t)4096)
#define TIME_MS    10000
#define UNKNOWN    "application/octet-stream"

/* "text/x-shellscript\n" and nothing else; file(1) also reports its troubles on stdout. */
static const char *type_of_output(struct file_type *type, const struct child *child)
{
    struct output_chunk *chunk = type->output.outputs[STREAM_STDOUT].first;
    struct str text;

    if (child_exit_code(child) != 0 || type->output.overflowed || !chunk)
        return UNKNOWN;
    text = (struct str){ chunk->bytes, chunk->len };
    while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == ' '))
        text.n--;
    if (!memchr(text.p, '/', text.n) || memchr(text.p, ' ', text.n) || memchr(text.p, '\n', text.n) ||
        memchr(text.p, 0, text.n))
        return UNKNOWN;
    return arena_strdup(&type->f->rq->arena, text);
}

static void on_end(struct child *child, void *data)
{
    struct file_type *type = data;
    const char *mime = type_of_output(type, child);

    collector_free(&type->output);
    type->on_type(type, mime ? mime : UNKNOWN);
}

static bool start_command(struct file_type *type)
{
    static const struct child_events events = { .on_end = on_end };
    struct file_request *f = type->f;
    const char *argv[] = { "file", "--mime-type", "-b", "--", f->path, NULL };
    struct agent *agent = f->rq->agent;
    struct child_spec spec = CHILD_SPEC_INIT;
    struct child_error err;
    struct child *child;

    collector_init(&type->output, OUTPUT_MAX);
    spec.file = argv[0];
    spec.argv = (char *const *)(uintptr_t)argv;
    spec.envp = env_merge(&f->rq->arena, &agent->env, NULL);
    spec.cwd_fd = f->cwd_fd >= 0 ? f->cwd_fd : -1;
    spec.fds[1] = CHILD_PIPE;
    if (!spec.envp)
        return false;
    child = child_spawn(agent, &spec, &type->output.sink, &events, type, &err);
    if (!child)
        return false; /* perhaps an image without file(1) */
    child_set_time_limit(child, TIME_MS);
    return true;
}

/* Of an image without file(1): what can be told without it. */
static const char *sniff(struct file_request *f)
{
    _cleanup_close_ int fd =
        openat(f->cwd_fd >= 0 ? f->cwd_fd : AT_FDCWD, f->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return UNKNOWN;
    n = RETRY_EINTR(pread(fd, scratch, FILE_SNIFF_BYTES, 0));
    return n < 0 ? UNKNOWN : file_sniff((struct str){ scratch, (size_t)n }, (size_t)n < FILE_SNIFF_BYTES);
}

void file_type_find(struct file_type *type, struct file_request *f,
                    void (*on_type)(struct file_type *type, const char *mime))
{
    const char *mime = mime_by_name(f->path);

    type->f = f;
    type->on_type = on_type;
    if (!mime && start_command(type))
        return;
    on_type(type, mime ? mime : sniff(f));
}
