#include "command.h"

#include "agent/agent.h"
#include "agent/child/simple_command.h"
#include "agent/process/process_mark.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

/* One argument may be 128 KiB with its NUL (MAX_ARG_STRLEN); a longer command comes through a descriptor. */
#define ARGUMENT_MAX ((size_t)128 * 1024 - 1)

static int query_text(struct request *rq, const char *name, const char **ret, struct berm_error *err)
{
    struct str raw;
    char *text;

    if (!query_get(http_request(rq->ex)->query, name, &raw) || raw.n == 0)
        return 0;
    text = arena_alloc(&rq->arena, raw.n + 1);
    if (!text)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "query");
    if (percent_decode(raw, text, raw.n + 1) < 0)
        return berm_fail_field(err, name, "is not percent-encoded as it should be");
    *ret = text;
    return 0;
}

int command_session_id(struct request *rq, const char **ret, struct berm_error *err)
{
    struct str field;

    *ret = NULL;
    if (request_field_text(rq->body, "sessionId", ret, err) < 0 || *ret)
        return *ret ? 0 : -1;
    field = h1_header(http_request(rq->ex), "X-Session-Id");
    if (field.n > 0) {
        *ret = arena_strdup(&rq->arena, field);
        return *ret ? 0 : berm_fail(err, BERM_E_SYSTEM, ENOMEM, "X-Session-Id");
    }
    if (query_text(rq, "session", ret, err) < 0 || *ret)
        return *ret ? 0 : -1;
    return query_text(rq, "sessionId", ret, err);
}

int command_limits(const struct json *body, const char *session_id, struct limits *ret, bool *ret_given,
                   struct berm_error *err)
{
    if (limits_from_json(body, ret, ret_given, err) < 0)
        return -1;
    if (*ret_given && session_id && strcmp(session_id, SESSIONLESS_ID) != 0)
        return berm_fail_field(err, "limits", "and a session exclude each other: they need a process of their own");
    return 0;
}

const char *command_env_problem(struct request *rq, const struct env *env)
{
    for (size_t i = 0; i < env->count; i++) {
        struct str name = env_item_name(env->items[i]);
        const char *problem;
        if (env_is_identifier(name))
            continue;
        problem = arena_printf(&rq->arena, "Invalid environment variable name: %.*s", (int)name.n, name.p);
        return problem ? problem : "Invalid environment variable name";
    }
    return NULL;
}

/* What `cwd` (may be NULL) means, in the request's arena; NULL without memory. */
static const char *working_directory(struct request *rq, const char *cwd)
{
    const char *base = session_default_directory(rq->agent);

    if (!cwd || !cwd[0])
        return base;
    return cwd[0] == '/' ? cwd : arena_printf(&rq->arena, "%s/%s", base, cwd);
}

static int make_command_file(struct str text)
{
    _cleanup_close_ int fd = memfd_create("command", MFD_CLOEXEC);

    if (fd < 0)
        return -1;
    for (size_t done = 0; done < text.n;) {
        ssize_t n = RETRY_EINTR(pwrite(fd, text.p + done, text.n - done, (off_t)done));
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    return TAKE_FD(fd);
}

/* bash reads the descriptor before eval gets the text, and the command does not see it any more. */
static const char *file_command(struct arena *arena)
{
    return arena_printf(arena, "\\builtin eval \"$(</proc/self/fd/%d)\" %d<&-", CHILD_EXTRA_FD, CHILD_EXTRA_FD);
}

/* What every kind of start has in common. False without memory. */
static bool fill_spec(struct request *rq, const struct bash_spec *bash, struct child_spec *spec)
{
    *spec = (struct child_spec)CHILD_SPEC_INIT;
    spec->envp = env_merge(&rq->arena, &rq->agent->env, bash->env);
    spec->cwd = working_directory(rq, bash->cwd);
    spec->fds[0] = bash->pty ? bash->pty->slave : bash->stdin_fd;
    spec->fds[1] = spec->fds[2] = bash->pty ? bash->pty->slave : CHILD_PIPE;
    spec->terminal = bash->pty != NULL;
    spec->limits = bash->limits;
    if (bash->mark != PROCESS_MARK_NONE && !bash->limits) { /* a keeper has its own way */
        spec->before_exec = process_mark_take;
        spec->before_exec_arg = &bash->mark;
    }
    return spec->envp && spec->cwd;
}

struct child *command_spawn_argv(struct request *rq, char **argv, const struct bash_spec *bash, struct sink *sink,
                                 const struct child_events *events, void *data, struct child_error *err)
{
    struct child_spec spec;

    *err = (struct child_error){ CHILD_FAIL_RESOURCES, ENOMEM };
    if (!fill_spec(rq, bash, &spec))
        return NULL;
    spec.argv = argv;
    spec.file = simple_command_find(&rq->arena, argv[0], spec.envp);
    if (!spec.file) {
        *err = (struct child_error){ CHILD_FAIL_EXEC, ENOENT };
        return NULL;
    }
    spec.envp = simple_command_env(&rq->arena, spec.envp, spec.cwd, spec.file);
    return spec.envp ? child_spawn(rq->agent, &spec, sink, events, data, err) : NULL;
}

/* NULL: it takes bash, or did not start; bash then says why in its own words. */
static struct child *spawn_simple(struct request *rq, const struct bash_spec *bash, struct sink *sink,
                                  const struct child_events *events, void *data)
{
    char **words = simple_command_split(&rq->arena, bash->text);
    struct child_error err;
    char **envp;

    if (!words)
        return NULL;
    envp = env_merge(&rq->arena, &rq->agent->env, bash->env);
    if (!envp || !simple_command_env_is_plain(envp))
        return NULL;
    return command_spawn_argv(rq, words, bash, sink, events, data, &err);
}

static struct child *spawn_bash(struct request *rq, const struct bash_spec *bash, struct sink *sink,
                                const struct child_events *events, void *data, struct child_error *err)
{
    _cleanup_close_ int file = -EBADF;
    struct child_spec spec;
    struct child *child;
    const char *text;
    char *argv[4] = { (char *)"/bin/bash", (char *)"-c", NULL, NULL };

    *err = (struct child_error){ CHILD_FAIL_RESOURCES, ENOMEM };
    if (bash->text.n > ARGUMENT_MAX && (file = make_command_file(bash->text)) < 0) {
        err->errnum = errno;
        return NULL;
    }
    text = file >= 0 ? file_command(&rq->arena) : arena_strdup(&rq->arena, bash->text);
    if (!text || !fill_spec(rq, bash, &spec))
        return NULL;
    argv[2] = (char *)(uintptr_t)text;
    spec.file = argv[0];
    spec.argv = argv;
    spec.extra_fd = file;
    child = child_spawn(rq->agent, &spec, sink, events, data, err);
    if (child || err->where != CHILD_FAIL_EXEC || err->errnum != ENOENT)
        return child;
    spec.file = "bash"; /* not every image has it in /bin */
    return child_spawn(rq->agent, &spec, sink, events, data, err);
}

struct child *command_spawn(struct request *rq, const struct bash_spec *bash, struct sink *sink,
                            const struct child_events *events, void *data, struct child_error *err)
{
    struct child *child = spawn_simple(rq, bash, sink, events, data);

    return child ? child : spawn_bash(rq, bash, sink, events, data, err);
}

const char *command_spawn_failure(struct request *rq, const struct child_error *err, const char *cwd)
{
    const char *text;

    if (err->where == CHILD_FAIL_CWD)
        text = arena_printf(&rq->arena, "%s '%s': %s", child_failure_text(err->where), working_directory(rq, cwd),
                            strerror(err->errnum));
    else
        text = arena_printf(&rq->arena, "%s: %s", child_failure_text(err->where), strerror(err->errnum));
    return text ? text : child_failure_text(err->where);
}
