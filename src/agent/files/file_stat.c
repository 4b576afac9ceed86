/* file_stat.c - POST /api/stat, Berm's own: of one file what list-files tells of those of a directory. */
#include "agent/http/routes.h"
#include "file_entry.h"
#include "files.h"

#include <fcntl.h>

static void reply_entry(struct file_request *f, const struct stat *st)
{
    struct str name = file_base_name(f->path);
    struct reply reply;

    reply_begin(&reply);
    json_pair_cstring(&reply.w, "path", f->path);
    json_key(&reply.w, "file");
    json_object_begin(&reply.w);
    json_pair_string(&reply.w, "name", name);
    json_pair_cstring(&reply.w, "absolutePath", f->path);
    json_pair_string(&reply.w, "relativePath", name);
    file_entry_put(&reply.w, st);
    json_object_end(&reply.w);
    reply_send(f->rq, &reply);
}

static void work(struct file_request *f)
{
    int base = file_base(f, f->path);
    struct stat st;

    if (base == -1) {
        file_done(f);
        return;
    }
    if (fstatat(base, f->path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        reply_entry(f, &st);
    else if (errno == ENOENT || errno == ENOTDIR)
        file_reply_not_found(f);
    else
        file_reply_failed(f, errno);
    file_done(f);
}

void handle_stat(struct request *rq)
{
    const char *path = file_path(rq, "path");

    if (path)
        file_start(rq, "file.stat", path, NULL, work);
}
