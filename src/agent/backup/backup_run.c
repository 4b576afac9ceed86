/* backup_run.c - the programs that make, pack and mount backups, and what their failures become. */
#include "agent/agent.h"
#include "backup.h"

#define OUTPUT_MAX ((size_t)64 * 1024 * 1024) /* git may name many files */
#define MORE_MAX   2

struct backup *backup_new(struct request *rq, const char *operation)
{
    struct backup *b = calloc(1, sizeof(*b));

    if (!b) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Out of memory");
        return NULL;
    }
    b->rq = request_hold(rq);
    b->operation = operation;
    b->dir = json_get(rq->body, "dir")->string.p;
    b->archive = json_get(rq->body, "archivePath")->string.p;
    collector_init(&b->output, OUTPUT_MAX);
    buf_init(&b->patterns, OUTPUT_MAX * 4);
    return b;
}

void backup_free(struct backup *b)
{
    collector_free(&b->output);
    buf_free(&b->patterns);
    request_unhold(b->rq);
    free(b);
}

static void on_end(struct child *child, void *data)
{
    struct backup *b = data;

    b->next(b, child_exit_code(child));
}

void backup_run(struct backup *b, const char *const *argv, const char *cwd,
                void (*next)(struct backup *b, int exit_code))
{
    static const struct child_events events = { .on_end = on_end };
    struct child_spec spec = CHILD_SPEC_INIT;
    struct child_error err = { CHILD_FAIL_RESOURCES, ENOMEM };

    collector_free(&b->output);
    collector_init(&b->output, OUTPUT_MAX);
    b->next = next;
    spec.file = argv[0];
    spec.argv = (char *const *)(uintptr_t)argv;
    spec.envp = env_merge(&b->rq->arena, &b->rq->agent->env, NULL);
    spec.cwd = cwd;
    spec.fds[1] = spec.fds[2] = CHILD_PIPE;
    if (spec.envp && child_spawn(b->rq->agent, &spec, &b->output.sink, &events, b, &err))
        return;
    (void)output_append(&b->output.outputs[STREAM_STDERR], str_from(strerror(err.errnum)));
    next(b, 127);
}

struct str backup_said(struct backup *b, int stream)
{
    return output_take_text(&b->output.outputs[stream], &b->rq->arena);
}

/* The context of every error here begins with the operation, which also stands beside it. */
void backup_refuse(struct request *rq, const char *operation, const char *reason)
{
    struct context_item context[] = { CTX_STR("operation", operation), CTX_STR("reason", reason) };

    reply_error(rq, AGENT_E_INVALID_BACKUP_CONFIG, context, 2, "Invalid backup configuration: %s", reason);
}

void backup_fail(struct backup *b, enum agent_code code, const struct context_item *more, size_t count,
                 const char *message)
{
    struct context_item context[3 + MORE_MAX] = { CTX_STR("operation", b->operation), CTX_STR("dir", b->dir),
                                                  CTX_STR("archivePath", b->archive) };

    for (size_t i = 0; i < count && i < MORE_MAX; i++)
        context[3 + i] = more[i];
    reply_error(b->rq, code, context, 3 + count, "%s", message);
    backup_free(b);
}
