/*
 * backup_routes.c - backup/create, backup/upload-parts and backup/restore: what a request may say.
 */
#include "agent/http/routes.h"
#include "backup.h"
#include "base/utf8.h"

#define PARTS_MAX 10000 /* what S3 takes */

static const char *const roots[] = { "/workspace", "/home", "/tmp", "/var/tmp", "/app" };

static const char *text_problem(const struct json *value, const char *what, struct arena *arena)
{
    const char *problem = NULL;

    if (!value || value->type != JSON_STRING || value->string.n == 0)
        problem = "must be a non-empty string";
    else if (memchr(value->string.p, 0, value->string.n))
        problem = "must not hold a NUL character";
    else if (utf8_utf16_units(value->string) > 4096)
        problem = "must not be longer than 4096 characters";
    else if (strstr(value->string.p, ".."))
        problem = "must not hold '..'";
    return problem ? arena_printf(arena, "%s %s", what, problem) : NULL;
}

static bool is_below_a_root(const char *dir)
{
    for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
        size_t n = strlen(roots[i]);
        if (strncmp(dir, roots[i], n) == 0 && (dir[n] == '\0' || dir[n] == '/'))
            return true;
    }
    return false;
}

static const char *dir_problem(struct request *rq)
{
    const struct json *dir = json_get(rq->body, "dir");
    const char *problem = text_problem(dir, "dir", &rq->arena);

    if (problem)
        return problem;
    if (dir->string.p[0] != '/')
        return "dir must be an absolute path";
    return is_below_a_root(dir->string.p) ? NULL : "dir must be in /workspace, /home, /tmp, /var/tmp or /app";
}

static const char *archive_problem(struct request *rq)
{
    const struct json *archive = json_get(rq->body, "archivePath");
    const char *problem = text_problem(archive, "archivePath", &rq->arena);

    if (problem)
        return problem;
    return str_has_prefix(archive->string, STR(BACKUP_PLACE)) ? NULL : "archivePath must start with /var/backups/";
}

static bool is_absent(const struct json *value)
{
    return !value || value->type == JSON_NULL;
}

/* Nothing here runs in a session, but what could be none is refused, as by upstream. */
static const char *session_problem(struct request *rq)
{
    const struct json *session = json_get(rq->body, "sessionId");

    if (is_absent(session))
        return NULL;
    if (session->type != JSON_STRING)
        return "sessionId must be a string";
    if (memchr(session->string.p, 0, session->string.n))
        return "sessionId must not hold a NUL character";
    return is_blank(session->string) ? "sessionId must not be blank" : NULL;
}

static const char *option_problem(struct request *rq)
{
    const struct json *gitignore = json_get(rq->body, "gitignore"), *excludes = json_get(rq->body, "excludes");

    if (!is_absent(gitignore) && gitignore->type != JSON_BOOL)
        return "gitignore must be a boolean";
    if (is_absent(excludes))
        return NULL;
    if (excludes->type != JSON_ARRAY)
        return "excludes must be an array of strings";
    for (size_t i = 0; i < excludes->array.count; i++) {
        const struct json *pattern = &excludes->array.items[i];
        if (pattern->type != JSON_STRING)
            return "excludes must be an array of strings";
        if (memchr(pattern->string.p, 0, pattern->string.n))
            return "excludes must not hold a NUL character";
    }
    return NULL;
}

static const char *compression_problem(struct request *rq)
{
    const struct json *compression = json_get(rq->body, "compression");
    const struct json *format = json_get(compression, "format"), *threads = json_get(compression, "threads");

    if (is_absent(compression))
        return NULL;
    if (compression->type != JSON_OBJECT)
        return "compression must be an object";
    if (!is_absent(format) &&
        (format->type != JSON_STRING ||
         (!str_is(format->string, "gzip") && !str_is(format->string, "lz4") && !str_is(format->string, "zstd"))))
        return "compression.format must be gzip, lz4 or zstd";
    if (!is_absent(threads) && (threads->type != JSON_INT || threads->integer < 1))
        return "compression.threads must be a positive integer";
    return NULL;
}

static bool is_at_least(const struct json *value, int64_t least)
{
    return value && value->type == JSON_INT && value->integer >= least;
}

static bool is_https(const struct json *url)
{
    static const struct str scheme = { "https://", 8 };

    if (!url || url->type != JSON_STRING || url->string.n <= scheme.n || url->string.p[scheme.n] == '/' ||
        !str_eq_nocase((struct str){ url->string.p, scheme.n }, scheme))
        return false;
    for (size_t i = 0; i < url->string.n; i++)
        if ((unsigned char)url->string.p[i] <= ' ' || url->string.p[i] == 0x7f)
            return false;
    return true;
}

static const char *parts_problem(struct request *rq)
{
    const struct json *parts = json_get(rq->body, "parts");

    if (!parts || parts->type != JSON_ARRAY || parts->array.count == 0 || parts->array.count > PARTS_MAX)
        return "parts must be an array of 1 to 10000 parts";
    for (size_t i = 0; i < parts->array.count; i++) {
        const struct json *part = &parts->array.items[i];
        if (part->type != JSON_OBJECT || !is_at_least(json_get(part, "partNumber"), 1))
            return "partNumber must be a positive integer";
        if (!is_https(json_get(part, "url")))
            return "url must be an absolute https URL";
        if (!is_at_least(json_get(part, "offset"), 0))
            return "offset must be an integer, 0 or more";
        if (!is_at_least(json_get(part, "size"), 1))
            return "size must be a positive integer";
    }
    return NULL;
}

static void handle(struct request *rq, const char *operation, const char *problem, void (*work)(struct backup *))
{
    struct backup *b;

    if (problem) {
        backup_refuse(rq, operation, problem);
        return;
    }
    b = backup_new(rq, operation);
    if (b)
        work(b);
}

void handle_backup_create(struct request *rq)
{
    const char *problem = dir_problem(rq);

    if (!problem)
        problem = archive_problem(rq);
    if (!problem)
        problem = option_problem(rq);
    if (!problem)
        problem = compression_problem(rq);
    if (!problem)
        problem = session_problem(rq);
    handle(rq, BACKUP_CREATE, problem, backup_create);
}

void handle_backup_upload_parts(struct request *rq)
{
    const char *problem = archive_problem(rq);

    if (!problem)
        problem = parts_problem(rq);
    if (!problem)
        problem = session_problem(rq);
    if (problem)
        backup_refuse(rq, BACKUP_CREATE, problem);
    else
        backup_upload(rq);
}

void handle_backup_restore(struct request *rq)
{
    const char *problem = dir_problem(rq);

    if (!problem)
        problem = archive_problem(rq);
    handle(rq, BACKUP_RESTORE, problem ? problem : session_problem(rq), backup_restore);
}
