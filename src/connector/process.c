/* process.c - starts cloudflared. */
#include "connector/connector.h"

#include "base/sys.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define FILES_MAX 4096

static const char *const places[] = { "/usr/local/bin/cloudflared", "/usr/bin/cloudflared", "/bin/cloudflared" };

static const char *find_program(const struct connector *connector)
{
    if (connector->program)
        return access(connector->program, X_OK) == 0 ? connector->program : NULL;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    errno = ENOENT;
    return NULL;
}

/* Only async-signal-safe calls. */
_Noreturn static void become(const char *program, const char *const *argv, const char *const *env, int null,
                             int output)
{
    const struct rlimit files = { FILES_MAX, FILES_MAX }, none = { 0, 0 };
    sigset_t unblocked;

    sigemptyset(&unblocked);
    sigprocmask(SIG_SETMASK, &unblocked, NULL);
    if (setsid() < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 ||
        close_range(3, ~0U, 0) < 0 || chdir("/") < 0 || setrlimit(RLIMIT_NOFILE, &files) < 0 ||
        setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        _exit(126);
    reset_signal_actions();
    execve(program, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
    _exit(127);
}

/* The token is in the environment, which only its own user can read, and not among the arguments. */
pid_t cloudflared_spawn(const struct connector *connector, bool named, const char *token, int *ret_output)
{
    char variable[sizeof("TUNNEL_TOKEN=") + CONNECTOR_TEXT] = "";
    const char *env[] = { "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", "LANG=C.UTF-8",
                          named ? variable : NULL, NULL };
    const char *program = find_program(connector), *argv[CLOUDFLARED_ARGS];
    _cleanup_close_ int null = program ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -EBADF;
    _cleanup_close_ int write_end = -EBADF;
    int ends[2];
    pid_t pid;

    if (null < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    write_end = ends[1];
    if (named)
        snprintf(variable, sizeof(variable), "TUNNEL_TOKEN=%s", token);
    cloudflared_arguments(named, NULL, connector->origin, argv);
    pid = set_nonblocking(ends[0]) < 0 ? -1 : fork_bound();
    if (pid == 0)
        become(program, argv, env, null, write_end);
    explicit_bzero(variable, sizeof(variable));
    if (pid < 0)
        close(ends[0]);
    else
        *ret_output = ends[0];
    return pid;
}
