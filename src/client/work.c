/* work.c - code contexts, git, watches and ports: what is asked of a sandbox with one document. */
#include "client/call.h"
#include "client/stream.h"

#include <stdio.h>

/* --- contexts --- */

static const struct member members[] = {
    NEEDED(berm_context, id, "id"),
    NEEDED(berm_context, language, "language"),
    TEXT(berm_context, cwd, "cwd"),
    NO_MORE,
};

static const struct list_type context_list = { members, sizeof(struct berm_context), "contexts", NULL };

int berm_context_create(struct berm_client *client, const char *id, const char *language, const char *cwd,
                        const char *const *env, char **ret_context, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    document_begin(&d);
    document_text(&d, "language", language ? language : "python");
    document_text(&d, "cwd", cwd);
    if (write_pairs(&d.w, "env_vars", env, problem) < 0)
        return -1;
    return call_json(client, "POST", sandbox_target(id, "/contexts", problem), &d, "contextId", ret_context,
                     problem);
}

int berm_context_list(struct berm_client *client, const char *id, struct berm_context_list **ret_list,
                      struct berm_problem *problem)
{
    return call_list(client, sandbox_target(id, "/contexts", problem), NULL, &context_list, false,
                     (void **)ret_list, problem);
}

void berm_context_list_free(struct berm_context_list *list)
{
    any_list_free(list);
}

int berm_context_delete(struct berm_client *client, const char *id, const char *context,
                        struct berm_problem *problem)
{
    return call_text(client, "DELETE", named_target(id, "/contexts/", context, "", problem), NULL, NULL, problem);
}

int berm_context_interrupt(struct berm_client *client, const char *id, const char *context,
                           struct berm_problem *problem)
{
    return call_text(client, "POST", named_target(id, "/contexts/", context, "/interrupt", problem), NULL, NULL,
                     problem);
}

/* --- streams that begin with a document --- */

static int post_stream(struct berm_client *client, char *target, struct document *d, enum stream_kind kind,
                       struct berm_stream **ret_stream, struct berm_problem *problem)
{
    struct stream_request request = { .kind = kind, .method = "POST", .target = target, .body = &d->buf };

    if (!target || document_end(d, problem) < 0) {
        free(target);
        return -1;
    }
    return stream_open(client, &request, ret_stream, problem);
}

int berm_code_run(struct berm_client *client, const char *id, const struct berm_code *code,
                  struct berm_stream **ret_stream, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    document_begin(&d);
    if (!code->context || !code->code)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "no context or no code given");
    document_text(&d, "context_id", code->context);
    document_text(&d, "code", code->code);
    document_number(&d, "timeout_ms", code->timeout_ms);
    return post_stream(client, sandbox_target(id, "/code", problem), &d, STREAM_TYPED, ret_stream, problem);
}

static void write_texts(struct json_writer *w, const char *key, const char *const *texts)
{
    if (!texts)
        return;
    json_key(w, key);
    json_array_begin(w);
    for (; *texts; texts++)
        json_cstring(w, *texts);
    json_array_end(w);
}

int berm_watch(struct berm_client *client, const char *id, const struct berm_watch *watch,
               struct berm_stream **ret_stream, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    document_begin(&d);
    document_text(&d, "path", watch->path);
    json_pair_bool(&d.w, "recursive", watch->recursive);
    write_texts(&d.w, "include", watch->include);
    write_texts(&d.w, "exclude", watch->exclude);
    return post_stream(client, sandbox_target(id, "/watch", problem), &d, STREAM_TYPED, ret_stream, problem);
}

int berm_watch_check(struct berm_client *client, const char *id, const char *path, const char *since,
                     char **ret_json, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;

    document_begin(&d);
    document_text(&d, "path", path);
    document_text(&d, "since", since);
    return call_text(client, "POST", sandbox_target(id, "/watch/check", problem), &d, ret_json, problem);
}

int berm_port_wait(struct berm_client *client, const char *id, const struct berm_port_wait *wait,
                   struct berm_stream **ret_stream, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;
    char rest[32];

    document_begin(&d);
    snprintf(rest, sizeof(rest), "/ports/%u/wait", wait->port);
    document_text(&d, "mode", wait->path ? "http" : "tcp");
    document_text(&d, "path", wait->path);
    document_text(&d, "processId", wait->process);
    document_number(&d, "interval", wait->interval_ms);
    return post_stream(client, sandbox_target(id, rest, problem), &d, STREAM_TYPED, ret_stream, problem);
}

/* --- git --- */

static int take_clone(const char *json, char **ret_directory, char **ret_branch, struct berm_problem *problem)
{
    _cleanup_(arena_free) struct arena arena;
    _cleanup_free_ char *directory = NULL, *branch = NULL;
    const struct json *answer;
    struct berm_error err;

    arena_init(&arena, ARENA_MAX);
    if (json_parse(&arena, str_from(json), JSON_MAX_DEPTH, &answer, &err) < 0)
        return problem_protocol(problem, &err);
    if (take_string(answer, "targetDir", &directory, problem) < 0 ||
        take_string(answer, "branch", &branch, problem) < 0)
        return -1;
    if (ret_directory)
        *ret_directory = TAKE_PTR(directory);
    if (ret_branch)
        *ret_branch = TAKE_PTR(branch);
    return 0;
}

int berm_git_checkout(struct berm_client *client, const char *id, const struct berm_git *git, char **ret_directory,
                      char **ret_branch, struct berm_problem *problem)
{
    _cleanup_document_ struct document d;
    _cleanup_free_ char *json = NULL;

    document_begin(&d);
    document_text(&d, "repoUrl", git->url);
    document_text(&d, "branch", git->branch);
    document_text(&d, "targetDir", git->directory);
    document_number(&d, "depth", git->depth);
    if (call_text(client, "POST", sandbox_target(id, "/git/checkout", problem), &d, &json, problem) < 0)
        return -1;
    return take_clone(json, ret_directory, ret_branch, problem);
}
