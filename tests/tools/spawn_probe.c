/*
 * spawn_probe.c - stands in for the agent in tests of berm-spawn: pid 1 of a sandbox that carries out one command
 * per connection of descriptor 3 and answers in text. Everything it tries it tries for real; errors come back as
 * "error <name>".
 */
#include "probe_fuse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int out;

static void say_result(long rc)
{
    if (rc < 0)
        dprintf(out, "error %d %s\n", errno, strerror(errno));
    else
        dprintf(out, "ok %ld\n", rc);
}

static void do_read(char **arg)
{
    char buf[16384];
    ssize_t n;
    int fd = open(arg[0], O_RDONLY | O_NONBLOCK);

    if (fd < 0) {
        say_result(-1);
        return;
    }
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        if (write(out, buf, (size_t)n) < 0)
            break;
    if (n < 0)
        say_result(-1);
    close(fd);
}

static void do_list(char **arg)
{
    DIR *dir = opendir(arg[0]);
    struct dirent *entry;

    if (!dir) {
        say_result(-1);
        return;
    }
    while ((entry = readdir(dir)))
        dprintf(out, "%s\n", entry->d_name);
    closedir(dir);
}

static void do_stat(char **arg)
{
    struct stat st;

    if (lstat(arg[0], &st) < 0)
        say_result(-1);
    else
        dprintf(out, "mode %o uid %u gid %u size %lld rdev %u:%u\n", st.st_mode, st.st_uid, st.st_gid,
                (long long)st.st_size, major(st.st_rdev), minor(st.st_rdev));
}

/* fill PATH BYTES: what could be written, and the error that ended it */
static void do_fill(char **arg)
{
    static char block[1 << 16];
    long long want = atoll(arg[1]), have = 0;
    int fd = open(arg[0], O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (fd < 0) {
        say_result(-1);
        return;
    }
    memset(block, 'x', sizeof(block));
    while (have < want) {
        ssize_t n = write(fd, block, sizeof(block));
        if (n < 0)
            break;
        have += n;
    }
    if (have < want || fsync(fd) < 0)
        dprintf(out, "error %d %s ", errno, strerror(errno));
    dprintf(out, "written %lld\n", have);
    close(fd);
}

/* alloc BYTES: in a child, so that the OOM killer has somebody to take */
static void do_alloc(char **arg)
{
    size_t size = strtoull(arg[0], NULL, 10);
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            _exit(2);
        for (size_t i = 0; i < size; i += 4096)
            p[i] = 1;
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        say_result(-1);
    else
        dprintf(out, "exit %d signal %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
                WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/* eat BYTES: in pid 1 itself */
static void do_eat(char **arg)
{
    size_t size = strtoull(arg[0], NULL, 10);
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (size_t i = 0; p != MAP_FAILED && i < size; i += 4096)
        p[i] = 1;
    say_result(0);
}

/* forks N: how many children there can be at once */
static void do_forks(char **arg)
{
    int want = atoi(arg[0]), made = 0;
    pid_t pids[4096];

    for (; made < want && made < 4096; made++) {
        pids[made] = fork();
        if (pids[made] == 0) {
            pause();
            _exit(0);
        }
        if (pids[made] < 0)
            break;
    }
    dprintf(out, "made %d\n", made);
    for (int i = 0; i < made; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}

/* leave: a background process that ignores everything it can */
static void do_leave(char **arg)
{
    (void)arg;
    if (fork() == 0) {
        close(out);
        setsid();
        for (int i = 1; i < 64; i++)
            signal(i, SIG_IGN);
        for (;;)
            pause();
    }
    say_result(0);
}

static void do_syscall(char **arg)
{
    long a[7] = { 0 };

    for (int i = 0; i < 7 && arg[i]; i++)
        a[i] = strtol(arg[i], NULL, 0);
    errno = 0;
    say_result(syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]));
}

/* call32: the same kernel by its 32-bit entry, in a child */
static void do_call32(char **arg)
{
    pid_t pid = fork();
    int status;

    (void)arg;
    if (pid == 0) {
#if defined(__x86_64__)
        long nr = 20; /* getpid of i386 */
        __asm__ volatile("int $0x80" : "+a"(nr) : : "memory", "r8", "r9", "r10", "r11");
#endif
        _exit(0);
    }
    waitpid(pid, &status, 0);
    dprintf(out, "exit %d signal %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void do_fds(char **arg)
{
    (void)arg;
    for (int fd = 0; fd < 1024; fd++) {
        char path[64], target[256];
        ssize_t n;
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, target, sizeof(target) - 1);
        target[n < 0 ? 0 : n] = '\0';
        dprintf(out, "%d %s\n", fd, target);
    }
}

static void do_mkdir(char **arg)
{
    say_result(mkdir(arg[0], 0755));
}

static void do_unlink(char **arg)
{
    say_result(unlink(arg[0]));
}

static void do_rename(char **arg)
{
    say_result(rename(arg[0], arg[1]));
}

static void do_mknod(char **arg)
{
    say_result(syscall(SYS_mknodat, AT_FDCWD, arg[0], S_IFCHR | 0666, makedev(1, 3)));
}

static void do_write(char **arg)
{
    int fd = open(arg[0], O_WRONLY);
    long rc = fd < 0 ? -1 : write(fd, arg[1], strlen(arg[1]));

    say_result(rc);
    if (fd >= 0)
        close(fd);
}

static void do_open(char **arg)
{
    int fd = open(arg[0], (int)strtol(arg[1], NULL, 0));

    say_result(fd);
    if (fd >= 0)
        close(fd);
}

static void do_mount(char **arg)
{
    say_result(mount("none", arg[0], "tmpfs", 0, NULL));
}

/* trace1: from a child, which is what user code is */
static void do_trace1(char **arg)
{
    pid_t pid = fork();

    (void)arg;
    if (pid == 0) {
        /* Not the image of pid 1 but one that can be dumped, as after an exec of any program. */
        prctl(PR_SET_DUMPABLE, 1);
        say_result(ptrace(PTRACE_SEIZE, 1, 0, 0));
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void do_kill1(char **arg)
{
    pid_t pid = fork();

    (void)arg;
    if (pid == 0) {
        kill(1, SIGKILL);
        kill(1, SIGSTOP);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    say_result(0);
}

static void do_exit(char **arg)
{
    say_result(0);
    close(out);
    _exit(atoi(arg[0]));
}

static void do_fuse(char **arg)
{
    if (strcmp(arg[0], "hoard") == 0)
        probe_fuse_hoard(out, arg[1]);
    else if (strcmp(arg[0], "storm") == 0)
        probe_fuse_storm(out, arg[1]);
    else
        probe_fuse_serve(out, arg[0], arg[1]);
}

static void do_mount5(char **arg)
{
    probe_fuse_mount(out, arg);
}

static void do_umount(char **arg)
{
    probe_fuse_umount(out, arg);
}

static void do_symlink(char **arg)
{
    say_result(symlink(arg[0], arg[1]));
}

/* Of a child that nobody waits for, so that it may take for ever. */
static void do_look(char **arg)
{
    struct stat st;

    if (fork() == 0) {
        close(out);
        stat(arg[0], &st);
        _exit(0);
    }
    say_result(0);
}

static const struct {
    const char *name;
    int args;
    void (*run)(char **arg);
} commands[] = {
    { "read", 1, do_read },       { "list", 1, do_list },     { "stat", 1, do_stat },
    { "fill", 2, do_fill },       { "alloc", 1, do_alloc },   { "eat", 1, do_eat },
    { "forks", 1, do_forks },     { "leave", 0, do_leave },   { "syscall", 1, do_syscall },
    { "call32", 0, do_call32 },   { "fds", 0, do_fds },       { "mkdir", 1, do_mkdir },
    { "unlink", 1, do_unlink },   { "rename", 2, do_rename }, { "mknod", 1, do_mknod },
    { "write", 2, do_write },     { "open", 2, do_open },     { "mount", 1, do_mount },
    { "trace1", 0, do_trace1 },   { "kill1", 0, do_kill1 },   { "exit", 1, do_exit },
    { "fuse", 2, do_fuse },       { "mount5", 5, do_mount5 }, { "umount", 2, do_umount },
    { "symlink", 2, do_symlink }, { "look", 1, do_look },
};

static void serve(char *line)
{
    char *word[10] = { NULL };
    char *save = NULL;
    int n = 0;

    for (char *at = strtok_r(line, " \n", &save); at && n < 9; at = strtok_r(NULL, " \n", &save))
        word[n++] = at;
    for (size_t i = 0; n > 0 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, word[0]) == 0 && n - 1 >= commands[i].args) {
            commands[i].run(word + 1);
            return;
        }
    dprintf(out, "unknown command\n");
}

int main(void)
{
    if (fcntl(3, F_SETFL, 0) < 0)
        return 9;
    for (;;) {
        char line[1024];
        ssize_t n, have = 0;
        out = accept(3, NULL, NULL);
        if (out < 0)
            continue;
        while ((n = read(out, line + have, sizeof(line) - 1 - (size_t)have)) > 0)
            have += n;
        line[have] = '\0';
        serve(line);
        close(out);
    }
}
