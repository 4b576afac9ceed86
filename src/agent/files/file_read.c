/* file_read.c - POST /api/read. */
#include "agent/agent.h"
#include "agent/http/routes.h"
#include "agent/http/text_reply.h"
#include "file_type.h"
#include "files.h"
#include "mime.h"

#include <fcntl.h>
#include <sys/stat.h>

#define READ_MAX ((int64_t)32 * 1024 * 1024)

enum wanted { WANT_BY_TYPE, WANT_TEXT, WANT_BASE64 };

struct file_read {
    struct file_request *f;
    struct output content;
    enum wanted wanted;
    struct file_type type;
};

static void reply_too_large(struct file_request *f, int64_t size)
{
    struct context_item context[] = { CTX_STR("path", f->path), CTX_STR("operation", f->operation),
                                      CTX_INT("actualSize", size), CTX_INT("maxSize", READ_MAX) };

    reply_error(f->rq, AGENT_E_FILE_TOO_LARGE, context, 4,
                "File '%s' is too large to be read at once: %lld bytes, the limit is %lld", f->path,
                (long long)size, (long long)READ_MAX);
}

static void strip_bom(struct output *content)
{
    struct output_chunk *first = content->first;

    if (first && first->len >= 3 && memcmp(first->bytes, "\xef\xbb\xbf", 3) == 0)
        first->taken = 3;
}

static void reply_content(struct file_read *r, const char *type)
{
    struct file_request *f = r->f;
    bool text = r->wanted == WANT_TEXT || (r->wanted == WANT_BY_TYPE && mime_is_text(type));
    struct text_reply *reply = text_reply_new();

    if (reply) {
        struct json_writer *w = &reply->w;
        json_pair_bool(w, "success", true);
        json_pair_cstring(w, "path", f->path);
        json_pair_cstring(w, "encoding", text ? "utf-8" : "base64");
        json_pair_bool(w, "isBinary", !text);
        json_pair_cstring(w, "mimeType", type);
        json_pair_int(w, "size", (int64_t)r->content.total);
        json_pair_timestamp(w);
        if (text)
            strip_bom(&r->content);
        text_reply_add(reply, "content", text ? TEXT_UTF8 : TEXT_BASE64, &r->content);
    }
    text_reply_send(f->rq, reply);
}

static void finish(struct file_read *r)
{
    output_free(&r->content);
    file_done(r->f);
    free(r);
}

static void on_type(struct file_type *type, const char *mime)
{
    struct file_read *r = container_of(type, struct file_read, type);

    reply_content(r, mime);
    finish(r);
}

/* --- reading --- */

/*
 * Reads to the end rather than to st_size, which is 0 for what /proc makes up. False after having answered. The
 * descriptor is non-blocking and a regular file's, so nothing in here waits for anybody.
 */
static bool read_content(struct file_read *r, int fd)
{
    for (;;) {
        size_t room;
        char *at = output_reserve(&r->content, &room);
        ssize_t n = at ? RETRY_EINTR(read(fd, at, room)) : -1;
        if (n == 0)
            return true;
        if (n < 0) {
            file_reply_failed(r->f, at ? errno : ENOMEM);
            return false;
        }
        output_commit(&r->content, (size_t)n);
        if ((int64_t)r->content.total > READ_MAX) {
            reply_too_large(r->f, (int64_t)r->content.total);
            return false;
        }
    }
}

/* The file, open, or -1 after having answered. */
static int open_file(struct file_request *f)
{
    int base = file_base(f, f->path);
    struct stat st;
    int fd;

    if (base == -1)
        return -1;
    /* Looked at before it is opened: opening a FIFO or a device can have effects. */
    if (fstatat(base, f->path, &st, 0) < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            file_reply_not_found(f);
        else
            file_reply_failed(f, errno);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        file_reply_not_found(f);
        return -1;
    }
    if (st.st_size > READ_MAX) {
        reply_too_large(f, st.st_size);
        return -1;
    }
    fd = openat(base, f->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        file_reply_failed(f, errno);
    return fd;
}

static enum wanted wanted_encoding(const struct json *body)
{
    const struct json *value = json_get(body, "encoding");

    if (!value || value->type != JSON_STRING)
        return WANT_BY_TYPE;
    if (str_is(value->string, "base64"))
        return WANT_BASE64;
    return str_is(value->string, "utf-8") || str_is(value->string, "utf8") ? WANT_TEXT : WANT_BY_TYPE;
}

static void work(struct file_request *f)
{
    _cleanup_close_ int fd = open_file(f);
    struct file_read *r = fd >= 0 ? calloc(1, sizeof(*r)) : NULL;

    if (!r) {
        if (fd >= 0)
            file_reply_failed(f, ENOMEM);
        file_done(f);
        return;
    }
    r->f = f;
    r->wanted = wanted_encoding(f->rq->body);
    if (!read_content(r, fd)) {
        finish(r);
        return;
    }
    file_type_find(&r->type, f, on_type);
}

void handle_read(struct request *rq)
{
    const char *path = file_path(rq, "path");

    if (path)
        file_start(rq, "file.read", path, NULL, work);
}
