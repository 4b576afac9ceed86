/*
 * directories.c - POST /berm/v1/directories {"paths": [...]}: makes these directories where they are missing and
 * holds them open, so that berm-spawn can mount volumes over them without a path ever coming to it. The answer has
 * the numbers of their descriptors. Those of the call before are let go: a call without paths says that all is
 * mounted.
 */
#include "agent/agent.h"
#include "agent/http/router.h"
#include "agent/http/routes.h"
#include "make_parents.h"

#include <fcntl.h>

static void let_go(struct held_directories *held)
{
    while (held->count > 0)
        close_fd(&held->fds[--held->count]);
}

/* Links are followed: whoever made the image decides where its names lead, and all of it is inside. */
static int hold(struct held_directories *held, const char *path)
{
    int fd;

    if (make_directories(AT_FDCWD, path) < 0)
        return -1;
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    held->fds[held->count++] = fd;
    return 0;
}

static bool paths_valid(const struct json *paths)
{
    if (!paths || paths->array.count > HELD_DIRECTORIES_MAX)
        return false;
    for (size_t i = 0; i < paths->array.count; i++) {
        const struct json *path = &paths->array.items[i];

        if (path->type != JSON_STRING || path->string.n == 0 || path->string.p[0] != '/' ||
            memchr(path->string.p, '\0', path->string.n))
            return false;
    }
    return true;
}

static void reply_numbers(struct request *rq, const struct held_directories *held)
{
    struct json_writer w;
    struct buf body;

    buf_init(&body, 1024);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_key(&w, "fds");
    json_array_begin(&w);
    for (size_t i = 0; i < held->count; i++)
        json_int(&w, held->fds[i]);
    json_array_end(&w);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        http_respond(rq->ex, 200, "application/json", buf_str(&body));
    else
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
    buf_free(&body);
}

void handle_directories(struct request *rq)
{
    struct held_directories *held = &rq->agent->held;
    const struct json *paths = NULL;
    struct berm_error err;

    if (json_field_array(rq->body, "paths", &paths, &err) < 0 || !paths_valid(paths)) {
        reply_invalid(rq, "paths", "must be an array of at most 16 absolute paths", "INVALID_PATH");
        return;
    }
    let_go(held);
    for (size_t i = 0; i < paths->array.count; i++)
        if (hold(held, paths->array.items[i].string.p) < 0) {
            reply_error(rq, AGENT_E_FILESYSTEM_ERROR, NULL, 0, "%s: %s", paths->array.items[i].string.p,
                        strerror(errno));
            let_go(held);
            return;
        }
    reply_numbers(rq, held);
}
