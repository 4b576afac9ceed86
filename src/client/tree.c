/* tree.c - files by their names, anywhere in a sandbox. */
#include "client/call.h"

static const struct member members[] = {
    NEEDED(berm_file, name, "name"),
    NEEDED(berm_file, path, "absolutePath"),
    TEXT(berm_file, type, "type"),
    TEXT(berm_file, modified, "modifiedAt"),
    TEXT(berm_file, mode, "mode"),
    NUMBER(berm_file, size, "size", 0),
    NO_MORE,
};

static const struct list_type file_list = { members, sizeof(struct berm_file), "files", "file" };

static int begin(struct document *d, const char *key, const char *path, struct berm_problem *problem)
{
    document_begin(d);
    if (!path || path[0] != '/')
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "'%s' is not an absolute path", path ? path : "");
    document_text(d, key, path);
    return 0;
}

int berm_file_list(struct berm_client *client, const char *id, const char *path, bool recursive, bool hidden,
                   struct berm_file_list **ret_list, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    if (begin(&d, "path", path, problem) < 0)
        return -1;
    json_key(&d.w, "options");
    json_object_begin(&d.w);
    json_pair_bool(&d.w, "recursive", recursive);
    json_pair_bool(&d.w, "includeHidden", hidden);
    json_object_end(&d.w);
    if (document_end(&d, problem) < 0)
        return -1;
    return call_list(client, sandbox_target(id, "/files/list", problem), &d.buf, &file_list, false,
                     (void **)ret_list, problem);
}

int berm_file_stat(struct berm_client *client, const char *id, const char *path, struct berm_file_list **ret_list,
                   struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    if (begin(&d, "path", path, problem) < 0 || document_end(&d, problem) < 0)
        return -1;
    return call_list(client, sandbox_target(id, "/files/stat", problem), &d.buf, &file_list, true,
                     (void **)ret_list, problem);
}

void berm_file_list_free(struct berm_file_list *list)
{
    any_list_free(list);
}

int berm_file_exists(struct berm_client *client, const char *id, const char *path, bool *ret_exists,
                     struct berm_problem *problem)
{
    _cleanup_(arena_free) struct arena arena;
    _cleanup_document_ struct document d;
    _cleanup_free_ char *text = NULL;
    const struct json *answer;
    struct berm_error err;

    arena_init(&arena, ARENA_MAX);
    if (begin(&d, "path", path, problem) < 0 ||
        call_text(client, "POST", sandbox_target(id, "/files/exists", problem), &d, &text, problem) < 0)
        return -1;
    *ret_exists = false;
    if (json_parse(&arena, str_from(text), JSON_MAX_DEPTH, &answer, &err) < 0 ||
        json_field_bool(answer, "exists", ret_exists, &err) < 0)
        return problem_protocol(problem, &err);
    return 0;
}

int berm_file_mkdir(struct berm_client *client, const char *id, const char *path, bool parents,
                    struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    if (begin(&d, "path", path, problem) < 0)
        return -1;
    json_pair_bool(&d.w, "recursive", parents);
    return call_text(client, "POST", sandbox_target(id, "/files/mkdir", problem), &d, NULL, problem);
}

int berm_file_move(struct berm_client *client, const char *id, const char *from, const char *to,
                   struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    if (begin(&d, "sourcePath", from, problem) < 0)
        return -1;
    document_text(&d, "destinationPath", to);
    return call_text(client, "POST", sandbox_target(id, "/files/move", problem), &d, NULL, problem);
}

int berm_file_delete(struct berm_client *client, const char *id, const char *path, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    if (begin(&d, "path", path, problem) < 0)
        return -1;
    return call_text(client, "POST", sandbox_target(id, "/files/delete", problem), &d, NULL, problem);
}
