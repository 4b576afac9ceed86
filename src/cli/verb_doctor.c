#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/json.h"
#include "base/sys.h"
#include "cli/doctor.h"

struct doctor_args {
    const char *data;
    bool json;
};

/* clang-format off */
static const struct cli_option doctor_options[] = {
    { 0, "json", NULL, "print JSON", CLI_FLAG, offsetof(struct doctor_args, json) },
    { 0, "data", "DIR", "the daemon's data directory (default: /var/lib/berm)", CLI_TEXT, offsetof(struct doctor_args, data) },
    CLI_OPTIONS_END
};
/* clang-format on */

#define CHECKS_MAX 32

struct row {
    const char *name, *why;
    bool required;
    struct finding finding;
};

struct report {
    struct row rows[CHECKS_MAX];
    size_t count;
};

/* ---- berm-spawn --check: it tries for real what the rows only look at ---- */

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

/* Its last line goes to `detail`; its exit status, or -1. */
static int run_spawner(const char *path, char *detail, size_t size)
{
    char text[8192];
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
        dup2(fds[1], STDERR_FILENO);
        execl(path, path, "--check", (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    n = child > 0 ? read_to_end(fds[0], text, sizeof(text) - 1) : -1;
    close(fds[0]);
    if (child < 0 || RETRY_EINTR(waitpid(child, &status, 0)) < 0)
        return -1;
    text[MAX(n, (ssize_t)0)] = '\0';
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    n = n > 0 && strrchr(text, '\n') ? strrchr(text, '\n') - text + 1 : 0;
    snprintf(detail, size, "%.150s", text + n);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void check_spawner(struct finding *ret)
{
    char path[4096], said[160];
    int status;

    if (geteuid() != 0) {
        finding_set(ret, HEALTH_NOTE, "needs root to try: run berm doctor with sudo");
        return;
    }
    if (!find_spawner(path, sizeof(path))) {
        finding_set(ret, HEALTH_MISSING, "berm-spawn is not installed beside berm");
        return;
    }
    status = run_spawner(path, said, sizeof(said));
    if (status == 0)
        finding_set(ret, HEALTH_OK, "berm-spawn --check: passed");
    else
        finding_set(ret, HEALTH_MISSING, "berm-spawn --check: %s", said[0] ? said : "failed");
}

/* ---- the report ---- */

static void add_row(struct report *r, const char *name, const char *why, bool required)
{
    r->rows[r->count] = (struct row){ .name = name, .why = why, .required = required };
    r->count++;
}

static void examine(struct cli *cli, const char *data_dir, struct report *r)
{
    for (const struct check *c = doctor_checks; c->name && r->count + 1 < CHECKS_MAX; c++) {
        add_row(r, c->name, c->why, c->required);
        c->run(cli, data_dir, &r->rows[r->count - 1].finding);
    }
    add_row(r, "spawner", "sandboxes cannot be made", true);
    check_spawner(&r->rows[r->count - 1].finding);
}

static bool all_required(const struct report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->rows[i].required && r->rows[i].finding.health == HEALTH_MISSING)
            return false;
    }
    return true;
}

static int print_report_json(struct cli *cli, const struct report *r)
{
    static const char *const words[] = { "ok", "note", "missing" };
    struct json_writer w;
    struct buf out;
    char *text;
    int status;

    buf_init(&out, 256 * 1024);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_pair_bool(&w, "ok", all_required(r));
    json_key(&w, "checks");
    json_array_begin(&w);
    for (size_t i = 0; i < r->count; i++) {
        json_object_begin(&w);
        json_pair_cstring(&w, "name", r->rows[i].name);
        json_pair_bool(&w, "required", r->rows[i].required);
        json_pair_cstring(&w, "result", words[r->rows[i].finding.health]);
        json_pair_cstring(&w, "detail", r->rows[i].finding.detail);
        json_object_end(&w);
    }
    json_array_end(&w);
    json_object_end(&w);
    text = json_writer_finish(&w) == 0 ? buf_steal(&out, NULL) : NULL;
    status = text ? print_json(cli, text) : cli_fail(cli, "out of memory");
    free(text);
    buf_free(&out);
    return status;
}

static int print_report(struct cli *cli, const struct report *r)
{
    bool colour = isatty(STDOUT_FILENO) && cli->colour;

    for (size_t i = 0; i < r->count; i++) {
        const struct row *row = &r->rows[i];
        bool missing = row->finding.health == HEALTH_MISSING;
        const char *word = missing ? (row->required ? "MISSING" : "missing")
                                   : (row->finding.health == HEALTH_NOTE ? "note" : "ok");
        const char *paint = missing && row->required  ? "\033[31m"
                            : strcmp(word, "ok") == 0 ? "\033[32m"
                                                      : "\033[33m";

        printf("%s%-8s%s %-19s %s\n", colour ? paint : "", word, colour ? "\033[0m" : "", row->name,
               row->finding.detail);
        if (row->finding.health != HEALTH_OK)
            printf("%-8s %-19s without it: %s\n", "", "", row->why);
    }
    printf("\n%s\n", all_required(r) ? "This host can run sandboxes." : "This host cannot run sandboxes.");
    return fflush(stdout) == 0 ? STATUS_OK : cli_fail(cli, "writing the report: %s", strerror(errno));
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct doctor_args args = { .data = "/var/lib/berm" };
    struct report report = { .count = 0 };
    struct cli_operands operands;
    int status;

    if (cli_parse(cli, argc, argv, &args, 0, 0, &operands) < 0)
        return STATUS_USAGE;
    if (cli->help)
        return cli_help(cli);
    examine(cli, args.data, &report);
    status = args.json ? print_report_json(cli, &report) : print_report(cli, &report);
    return status == STATUS_OK && !all_required(&report) ? STATUS_FAILED : status;
}

const struct verb verb_doctor = {
    .name = "doctor",
    .operands = "",
    .summary = "tell what this host offers for sandboxes and what it lacks",
    .details = "Run it as root for a complete answer. Status 1: something is missing that Berm cannot do without.",
    .options = doctor_options,
    .run = run,
};
