/* cp_file.c - cp: single files, through the file API where it takes the path, else through cat in the sandbox. */
#include <fcntl.h>
#include <sys/stat.h>

#include "cli/cp.h"

/* ---- helper commands ---- */

struct helper {
    struct cp *cp;
    berm_sink sink;
    void *data;
    char errors[400];
    size_t errors_len;
};

static int helper_stdout(void *data, const void *bytes, size_t n)
{
    struct helper *h = data;

    return h->sink ? h->sink(h->data, bytes, n) : 0;
}

static int helper_stderr(void *data, const void *bytes, size_t n)
{
    struct helper *h = data;

    n = MIN(n, sizeof(h->errors) - 1 - h->errors_len);
    memcpy(h->errors + h->errors_len, bytes, n);
    h->errors_len += n;
    return 0;
}

/* The first line, without anything that a terminal would act on: the sandbox wrote it. */
static const char *first_line(struct helper *h)
{
    h->errors[h->errors_len] = '\0';
    h->errors[strcspn(h->errors, "\r\n")] = '\0';
    for (char *c = h->errors; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    return h->errors[0] ? h->errors : "the command in the sandbox failed";
}

int cp_run(struct cp *cp, const char *const *argv, int stdin_fd, berm_sink sink, void *data)
{
    struct helper helper = { .cp = cp, .sink = sink, .data = data };
    struct berm_exec exec = {
        .argv = argv,
        .has_stdin = stdin_fd >= 0,
        .stdin_fd = stdin_fd,
        .on_stdout = helper_stdout,
        .on_stderr = helper_stderr,
        .data = &helper,
    };
    struct berm_problem problem;
    int code = 0;

    if (berm_sandbox_exec(cp->client, cp->id, &exec, &code, &problem) < 0) {
        cp_progress_end(cp);
        if (problem.kind == BERM_PROBLEM_LOCAL && problem.errnum == ECANCELED)
            problem.kind = BERM_PROBLEM_CANCELLED;
        return cli_problem(cp->cli, &problem);
    }
    if (code == 0)
        return STATUS_OK;
    cp_progress_end(cp);
    return cli_fail(cp->cli, "%s:%s: %s", cp->id, cp->remote, first_line(&helper));
}

/* ---- what a path is ---- */

struct words {
    char text[8];
    size_t n;
};

static int take_word(void *data, const void *bytes, size_t n)
{
    struct words *w = data;

    if (n > sizeof(w->text) - 1 - w->n) {
        errno = EPROTO;
        return -1;
    }
    memcpy(w->text + w->n, bytes, n);
    w->n += n;
    return 0;
}

int cp_probe(struct cp *cp, const char *path, struct cp_remote_info *ret)
{
    static const char script[] = "if [ -d \"$1\" ]; then echo d; elif [ -f \"$1\" ]; then"
                                 " if [ -x \"$1\" ]; then echo x; else echo f; fi;"
                                 " elif [ -e \"$1\" ]; then echo o; else echo n; fi";
    const char *const argv[] = { "sh", "-c", script, "sh", path, NULL };
    struct words answer = { 0 };
    int status = cp_run(cp, argv, -1, take_word, &answer);

    if (status != STATUS_OK)
        return status;
    *ret = (struct cp_remote_info){ 0 };
    if (strcmp(answer.text, "d\n") == 0)
        ret->type = CP_DIRECTORY;
    else if (strcmp(answer.text, "f\n") == 0 || strcmp(answer.text, "x\n") == 0)
        *ret = (struct cp_remote_info){ CP_FILE, answer.text[0] == 'x' };
    else if (strcmp(answer.text, "o\n") == 0)
        ret->type = CP_OTHER;
    else if (strcmp(answer.text, "n\n") != 0)
        return cli_fail(cp->cli, "the sandbox gave a strange answer about %s", path);
    return STATUS_OK;
}

/* Whether the file API takes the path. What it would not, or might read otherwise than we, goes through a command.
 */
static bool in_workspace(const char *path)
{
    return strncmp(path, "/workspace/", 11) == 0 && !strstr(path, "/../") && !strstr(path, "//") &&
           !(strlen(path) >= 3 && strcmp(path + strlen(path) - 3, "/..") == 0);
}

/* ---- into the sandbox ---- */

struct file_source {
    struct cp *cp;
    int fd;
};

static ssize_t read_source(void *data, void *bytes, size_t n)
{
    const struct file_source *s = data;
    ssize_t got = RETRY_EINTR(read(s->fd, bytes, n));

    if (got > 0)
        cp_progress(s->cp, (size_t)got);
    return got;
}

static int put_file(struct cp *cp, int fd, const struct stat *info, const char *remote)
{
    struct file_source source = { cp, fd };
    struct berm_problem problem;

    if (berm_file_put(cp->client, cp->id, remote, read_source, &source, info->st_size, &problem) == 0)
        return STATUS_OK;
    cp_progress_end(cp);
    return cli_problem(cp->cli, &problem);
}

static int set_executable(struct cp *cp, const char *remote)
{
    const char *const argv[] = { "chmod", "+x", remote, NULL };

    return cp_run(cp, argv, -1, NULL, NULL);
}

int cp_file_up(struct cp *cp, const char *remote)
{
    static const char script[] = "mkdir -p -- \"$(dirname -- \"$1\")\" && cat > \"$1\"";
    const char *const argv[] = { "sh", "-c", script, "sh", remote, NULL };
    bool from_stdin = strcmp(cp->local, "-") == 0;
    _cleanup_close_ int opened = from_stdin ? -1 : open(cp->local, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int fd = from_stdin ? STDIN_FILENO : opened, status;
    struct stat info;

    if (fd < 0 || fstat(fd, &info) < 0)
        return cli_fail(cp->cli, "%s: %s", cp->local, strerror(errno));
    if (!from_stdin && S_ISREG(info.st_mode) && info.st_size <= BERM_FILE_PUT_MAX && in_workspace(remote))
        status = put_file(cp, fd, &info, remote);
    else
        status = cp_run(cp, argv, fd, NULL, NULL);
    if (status == STATUS_OK && !from_stdin && S_ISREG(info.st_mode) && info.st_mode & 0111)
        status = set_executable(cp, remote);
    return status;
}

/* ---- out of the sandbox ---- */

struct file_sink {
    struct cp *cp;
    struct cli_output out;
};

static int write_sink(void *data, const void *bytes, size_t n)
{
    const struct file_sink *s = data;

    if (cli_output_write(&s->out, bytes, n) < 0)
        return -1;
    cp_progress(s->cp, n);
    return 0;
}

static int fetch_file(struct cp *cp, int fd)
{
    const char *const argv[] = { "cat", "--", cp->remote, NULL };
    struct file_sink sink = { cp, { fd, cp->cli->signal_fd } };
    struct berm_problem problem;

    if (!in_workspace(cp->remote))
        return cp_run(cp, argv, -1, write_sink, &sink);
    if (berm_file_get(cp->client, cp->id, cp->remote, write_sink, &sink, &problem) == 0)
        return STATUS_OK;
    cp_progress_end(cp);
    if (problem.kind == BERM_PROBLEM_LOCAL && problem.errnum == ECANCELED)
        problem.kind = BERM_PROBLEM_CANCELLED;
    return cli_problem(cp->cli, &problem);
}

/* Beside the target and under its name only when complete, so that a broken copy leaves what was there before. */
static int replace_file(struct cp *cp, const char *local, bool executable)
{
    char *temporary = arena_printf(&cp->cli->arena, "%s.berm-XXXXXX", local);
    mode_t mask = umask(0);
    _cleanup_close_ int fd = -1;
    int status;

    umask(mask);
    if (temporary)
        fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return cli_fail(cp->cli, "%s: %s", local, strerror(errno));
    cp->cli->temporary = temporary;
    status = fetch_file(cp, fd);
    if (status == STATUS_OK && (fchmod(fd, (executable ? 0777 : 0666) & ~mask) < 0 || rename(temporary, local) < 0))
        status = cli_fail(cp->cli, "%s: %s", local, strerror(errno));
    if (status != STATUS_OK)
        unlink(temporary);
    cp->cli->temporary = NULL;
    return status;
}

int cp_file_down(struct cp *cp, const char *local, bool executable)
{
    struct stat info;
    _cleanup_close_ int fd = -1;

    if (strcmp(local, "-") == 0)
        return fetch_file(cp, STDOUT_FILENO);
    /* A device, a pipe or a link stays what it is and is written to. */
    if (lstat(local, &info) < 0 || S_ISREG(info.st_mode))
        return replace_file(cp, local, executable);
    fd = open(local, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return cli_fail(cp->cli, "%s: %s", local, strerror(errno));
    return fetch_file(cp, fd);
}
