/* doctor_spawner.c - what `berm-spawn --check` tells `berm doctor`. */
#include "doctor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/sys.h"

static bool find_spawner(char *out, size_t size)
{
    /* At the top of a build, installed, and where meson builds it. */
    static const char *const beside[] = { "berm-spawn", "../libexec/berm/berm-spawn", "../spawn/berm-spawn" };
    char self[3000];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n < 0)
        return false;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
        snprintf(out, size, "%s/%s", self, beside[i]);
        if (access(out, X_OK) == 0)
            return true;
    }
    return false;
}

/* What it prints goes to `out`; its exit status, or -1. */
static int run_spawner(const char *path, char *out, size_t size)
{
    int fds[2], status = 0;
    ssize_t n;
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    child = fork();
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        dup2(fds[1], STDOUT_FILENO);
        execl(path, path, "--check", (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    n = child > 0 ? read_to_end(fds[0], out, size - 1) : -1;
    close(fds[0]);
    out[MAX(n, (ssize_t)0)] = '\0';
    if (child < 0 || RETRY_EINTR(waitpid(child, &status, 0)) < 0)
        return -1;
    return n >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The bytes up to `end`, which is stepped over; false if it is not there. */
static bool take_until(struct str *rest, char end, struct str *ret)
{
    const char *at = memchr(rest->p, end, rest->n);

    if (!at)
        return false;
    *ret = (struct str){ rest->p, (size_t)(at - rest->p) };
    *rest = (struct str){ at + 1, rest->n - ret->n - 1 };
    return true;
}

/* Lines of "name TAB ok|degraded|missing TAB detail". "missing" is only said of what is required. */
static bool take_rows(struct doctor_report *report, struct str text)
{
    struct str line, name, word;

    while (take_until(&text, '\n', &line)) {
        struct doctor_row *row;
        enum health health;

        if (!take_until(&line, '\t', &name) || !take_until(&line, '\t', &word))
            return false;
        if (str_is(word, "ok"))
            health = HEALTH_OK;
        else if (str_is(word, "degraded"))
            health = HEALTH_NOTE;
        else if (str_is(word, "missing"))
            health = HEALTH_MISSING;
        else
            return false;
        row = doctor_add(report, name, NULL, health == HEALTH_MISSING);
        finding_set(&row->finding, health, "%.*s", (int)MIN(line.n, (size_t)250), line.p);
    }
    return text.n == 0;
}

bool doctor_ask_spawner(struct doctor_report *report)
{
    struct doctor_row *row = doctor_add(report, STR("spawner"), "sandboxes cannot be made", true);
    size_t before = report->count;
    char path[4096], text[16384];
    int status;

    if (geteuid() != 0) {
        finding_set(&row->finding, HEALTH_NOTE, "only root can try the layers; what follows is looked up");
        row->why = NULL;
        return false;
    }
    if (!find_spawner(path, sizeof(path))) {
        finding_set(&row->finding, HEALTH_MISSING, "berm-spawn is not installed beside berm");
        return false;
    }
    status = run_spawner(path, text, sizeof(text));
    if ((status == 0 || status == 1) && text[0] && take_rows(report, str_from(text))) {
        finding_set(&row->finding, HEALTH_OK, "every layer tried");
        return true;
    }
    report->count = before;
    finding_set(&row->finding, HEALTH_MISSING, "%.200s --check failed (status %d)", path, status);
    return false;
}
