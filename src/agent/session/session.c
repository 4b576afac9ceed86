#include "session.h"

#include "agent/agent.h"
#include "agent/terminal/terminal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

void session_table_init(struct session_table *table)
{
    *table = (struct session_table){ .tail = &table->first };
}

struct session *session_find(struct agent *agent, const char *id)
{
    for (struct session *session = agent->sessions.first; session; session = session->next)
        if (strcmp(session->id, id) == 0)
            return session;
    return NULL;
}

bool session_listed(const struct session *session)
{
    return session->live;
}

static struct session *add(struct agent *agent, const char *id)
{
    struct session *session = calloc(1, sizeof(*session));

    if (!session)
        return NULL;
    session->id = strdup(id);
    if (!session->id) {
        free(session);
        return NULL;
    }
    session->agent = agent;
    session->timeout_ms = -1;
    session->tail = &session->head;
    *agent->sessions.tail = session;
    agent->sessions.tail = &session->next;
    return session;
}

static void reset(struct session *session)
{
    if (session->terminal)
        terminal_kill(session->terminal);
    env_free(&session->env);
    free_ptr(&session->cwd);
    session->live = session->dead = false;
    session->timeout_ms = -1;
}

static void drop(struct session *session)
{
    struct session_table *table = &session->agent->sessions;
    struct session **at = &table->first;

    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    if (!*at)
        table->tail = at;
    reset(session);
    free(session->id);
    free(session);
}

/* --- the queue --- */

static void grant(struct session *session, struct session_op *op)
{
    if ((session->tell_next || session->dead) && !op->creates) {
        session->tell_next = false;
        if (session->dead)
            reset(session);
        op->session = NULL;
        op->terminated(op, session->exit_code);
        return;
    }
    session->holder = op;
    if (!session->live && !op->creates) {
        struct env none = { 0 };
        if (session_establish(session, &none, op->initial_cwd, -1) < 0)
            session->live = true; /* without the first directory: the default one does as well */
    }
    op->run(op);
}

/* A loop rather than recursion: an operation may release the lock inside its run. */
static void pump(struct session *session)
{
    if (session->pumping)
        return;
    session->pumping = true;
    while (!session->holder && session->head) {
        struct session_op *op = session->head;
        session->head = op->next;
        if (!session->head)
            session->tail = &session->head;
        op->next = NULL;
        grant(session, op);
    }
    session->pumping = false;
    if (!session->holder && !session->live)
        drop(session);
}

int session_submit(struct agent *agent, const char *id, struct session_op *op)
{
    struct session *session = session_find(agent, id);

    if (!session)
        session = add(agent, id);
    if (!session)
        return -1;
    op->session = session;
    op->next = NULL;
    *session->tail = op;
    session->tail = &op->next;
    pump(session);
    return 0;
}

void session_release(struct session_op *op)
{
    struct session *session = op->session;

    op->session = NULL;
    session->holder = NULL;
    pump(session);
}

void session_drop_unused(struct session *session)
{
    if (!session->shell && !session->holder && !session->head && !session->pumping)
        drop(session);
}

/* --- for the holder --- */

int session_establish(struct session *session, struct env *env, const char *cwd, int64_t timeout_ms)
{
    char *copy = NULL;

    if (cwd &&
        (cwd[0] == '/' ? (copy = strdup(cwd)) == NULL : asprintf(&copy, "%s/%s", session->agent->workdir, cwd) < 0))
        return -1;
    reset(session);
    session->live = true;
    session->tell_next = false;
    session->env = *env;
    *env = (struct env){ 0 };
    session->cwd = copy;
    session->timeout_ms = timeout_ms;
    return 0;
}

void session_discard(struct session *session)
{
    reset(session);
}

static bool is_directory(const char *path)
{
    struct stat st;

    return path && path[0] && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static const char *home_directory(const struct agent *agent)
{
    const char *home = env_get(&agent->env, "HOME");

    if (is_directory(home))
        return home;
    return is_directory("/root") ? "/root" : "/";
}

const char *session_default_directory(const struct agent *agent)
{
    return is_directory(agent->workdir) ? agent->workdir : home_directory(agent);
}

static const char *start_directory(const struct session *session)
{
    if (!session->cwd)
        return session_default_directory(session->agent);
    return is_directory(session->cwd) ? session->cwd : home_directory(session->agent);
}

static void on_shell_exit(struct shell *shell, int exit_code, void *data)
{
    struct session *session = data;

    (void)shell;
    session->shell = NULL;
    session->dead = true;
    session->exit_code = exit_code;
    if (session->on_stopped) {
        void (*on_stopped)(struct session_op *) = session->on_stopped;
        session->on_stopped = NULL;
        reset(session);
        session->tell_next = session->head != NULL;
        on_stopped(session->holder);
    }
}

static struct env shell_locale(void)
{
    static char *items[] = { (char *)"LANG=C.UTF-8", (char *)"LC_ALL=C.UTF-8" };

    return (struct env){ .items = items, .count = ARRAY_SIZE(items) };
}

int session_environment(const struct session *session, struct env *env)
{
    const struct env locale = shell_locale();

    return env_apply(env, &session->env) < 0 || env_apply(env, &locale) < 0 ? -1 : 0;
}

struct shell *session_shell(struct session *session, struct berm_error *err)
{
    _cleanup_(env_free) struct env env = { 0 };

    if (session->shell)
        return session->shell;
    if (session_environment(session, &env) < 0) {
        berm_fail(err, BERM_E_SYSTEM, ENOMEM, "cannot start the shell");
        return NULL;
    }
    session->shell = shell_start(session->agent, &env, start_directory(session), on_shell_exit, session, err);
    return session->shell;
}

void session_stop(struct session *session, void (*on_stopped)(struct session_op *op))
{
    if (session->shell) {
        session->on_stopped = on_stopped;
        shell_stop(session->shell);
        return;
    }
    if (!session->dead)
        session->exit_code = 0;
    reset(session);
    session->tell_next = session->head != NULL;
    on_stopped(session->holder);
}

int session_open_cwd(struct session *session)
{
    if (session->shell)
        return shell_open_cwd(session->shell);
    return open(start_directory(session), O_PATH | O_DIRECTORY | O_CLOEXEC);
}
