/*
 * backup_routes.c - backup/create, backup/restore, backup/upload-parts: what a request may say is checked as it
 * will be; the work itself is not in this version, which the routes tell in the form of a failed backup.
 */
#include "base/utf8.h"
#include "routes.h"

#define CREATE  "backup.create"
#define RESTORE "backup.restore"

static const char *const roots[] = { "/workspace", "/home", "/tmp", "/var/tmp", "/app" };

/* The context of every answer here begins with the operation, which also stands beside it. */
static void refuse(struct request *rq, const char *operation, const char *reason)
{
    struct context_item context[] = { CTX_STR("operation", operation), CTX_STR("reason", reason) };

    reply_error(rq, AGENT_E_INVALID_BACKUP_CONFIG, context, 2, "Invalid backup configuration: %s", reason);
}

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
    return str_has_prefix(archive->string, STR("/var/backups/")) ? NULL
                                                                 : "archivePath must start with /var/backups/";
}

static bool is_absent(const struct json *value)
{
    return !value || value->type == JSON_NULL;
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
    for (size_t i = 0; i < excludes->array.count; i++)
        if (excludes->array.items[i].type != JSON_STRING)
            return "excludes must be an array of strings";
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

static bool is_int_from(const struct json *value, int64_t least)
{
    return value && value->type == JSON_INT && value->integer >= least;
}

static const char *part_problem(const struct json *part)
{
    const struct json *url = json_get(part, "url");

    if (!is_int_from(json_get(part, "partNumber"), 1))
        return "partNumber of a part must be a positive integer";
    if (!url || url->type != JSON_STRING || !str_has_prefix(url->string, STR("https://")) || url->string.n == 8)
        return "url of a part must be an absolute https URL";
    if (!is_int_from(json_get(part, "offset"), 0))
        return "offset of a part must be an integer that is not negative";
    return is_int_from(json_get(part, "size"), 1) ? NULL : "size of a part must be a positive integer";
}

static const char *parts_problem(struct request *rq)
{
    const struct json *parts = json_get(rq->body, "parts");

    if (!parts || parts->type != JSON_ARRAY || parts->array.count == 0)
        return "parts must be a non-empty array";
    for (size_t i = 0; i < parts->array.count; i++) {
        const char *problem = part_problem(&parts->array.items[i]);
        if (problem)
            return problem;
    }
    return NULL;
}

static void fail(struct request *rq, enum agent_code code, const char *operation)
{
    const struct json *dir = json_get(rq->body, "dir"), *archive = json_get(rq->body, "archivePath");
    struct context_item context[3] = { CTX_STR("operation", operation), CTX_JSON("archivePath", archive),
                                       CTX_JSON("dir", dir) };

    reply_error(rq, code, context, dir ? 3 : 2, "Backups are not implemented by this version of the agent");
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
    if (problem)
        refuse(rq, CREATE, problem);
    else
        fail(rq, AGENT_E_BACKUP_CREATE_FAILED, CREATE);
}

void handle_backup_restore(struct request *rq)
{
    const char *problem = dir_problem(rq);

    if (!problem)
        problem = archive_problem(rq);
    if (problem)
        refuse(rq, RESTORE, problem);
    else
        fail(rq, AGENT_E_BACKUP_RESTORE_FAILED, RESTORE);
}

void handle_backup_upload_parts(struct request *rq)
{
    const char *problem = archive_problem(rq);

    if (!problem)
        problem = parts_problem(rq);
    if (problem)
        refuse(rq, CREATE, problem);
    else
        fail(rq, AGENT_E_BACKUP_CREATE_FAILED, CREATE);
}
