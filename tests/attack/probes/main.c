/* main.c - finds the probe by its name, and what all probes share (see probe.h). */
#include "probe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum exit_code { EXIT_REACHED = 0, EXIT_REFUSED = 1, EXIT_BROKEN = 2 };

static const struct probe *const tables[] = {
    probes_a1, probes_a2, probes_a3, probes_a4, probes_a5, probes_a6,          probes_a7,   probes_a9,
    probes_b1, probes_b2, probes_b4, probes_b5, probes_b7, probes_c1,          probes_c2,   probes_c3,
    probes_c4, probes_c5, probes_c6, probes_c8, probes_d1, probes_daemon_user, probes_wire,
};

static unsigned items_reached, items_refused;

static void report(const char *verdict, const char *detail, const char *item, va_list args)
{
    printf("%s\t", verdict);
    vprintf(item, args);
    printf("\t%s\n", detail);
    fflush(stdout);
}

void reached(const char *detail, const char *item, ...)
{
    items_reached++;
    va_list args;
    va_start(args, item);
    report("reached", detail, item, args);
    va_end(args);
}

void refused(const char *why, const char *item, ...)
{
    items_refused++;
    va_list args;
    va_start(args, item);
    report("refused", why, item, args);
    va_end(args);
}

static const char *describe(long result, char *buf, size_t size)
{
    if (result == TRY_BLOCKED)
        return "blocked";
    if (result <= TRY_SIGNAL) {
        int signal = (int)(TRY_SIGNAL - result);
        if (signal == SIGSYS)
            return "SIGSYS";
        if (signal == SIGKILL)
            return "SIGKILL";
        snprintf(buf, size, "signal %d", signal);
        return buf;
    }
    if (result < 0)
        return errno_name((int)-result);
    snprintf(buf, size, "%ld", result);
    return buf;
}

void outcome(long result, const char *item, ...)
{
    char text[32];
    const char *detail = describe(result, text, sizeof text);
    va_list args;
    va_start(args, item);
    if (result < 0) {
        items_refused++;
        report("refused", detail, item, args);
    } else {
        items_reached++;
        report("reached", detail, item, args);
    }
    va_end(args);
}

void broken(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("broken\t");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    fflush(stdout);
    _exit(EXIT_BROKEN);
}

static const struct {
    int value;
    const char *name;
} errno_names[] = {
    { EPERM, "EPERM" },
    { ENOENT, "ENOENT" },
    { ESRCH, "ESRCH" },
    { EINTR, "EINTR" },
    { EIO, "EIO" },
    { ENXIO, "ENXIO" },
    { E2BIG, "E2BIG" },
    { ENOEXEC, "ENOEXEC" },
    { EBADF, "EBADF" },
    { ECHILD, "ECHILD" },
    { EAGAIN, "EAGAIN" },
    { ENOMEM, "ENOMEM" },
    { EACCES, "EACCES" },
    { EFAULT, "EFAULT" },
    { ENOTBLK, "ENOTBLK" },
    { EBUSY, "EBUSY" },
    { EEXIST, "EEXIST" },
    { EXDEV, "EXDEV" },
    { ENODEV, "ENODEV" },
    { ENOTDIR, "ENOTDIR" },
    { EISDIR, "EISDIR" },
    { EINVAL, "EINVAL" },
    { ENFILE, "ENFILE" },
    { EMFILE, "EMFILE" },
    { ENOTTY, "ENOTTY" },
    { EFBIG, "EFBIG" },
    { ENOSPC, "ENOSPC" },
    { ESPIPE, "ESPIPE" },
    { EROFS, "EROFS" },
    { EMLINK, "EMLINK" },
    { EPIPE, "EPIPE" },
    { ERANGE, "ERANGE" },
    { ENAMETOOLONG, "ENAMETOOLONG" },
    { ENOSYS, "ENOSYS" },
    { ELOOP, "ELOOP" },
    { ENODATA, "ENODATA" },
    { EOVERFLOW, "EOVERFLOW" },
    { EUSERS, "EUSERS" },
    { ENOPROTOOPT, "ENOPROTOOPT" },
    { EPROTONOSUPPORT, "EPROTONOSUPPORT" },
    { ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT" },
    { EOPNOTSUPP, "EOPNOTSUPP" },
    { EPFNOSUPPORT, "EPFNOSUPPORT" },
    { EAFNOSUPPORT, "EAFNOSUPPORT" },
    { EADDRINUSE, "EADDRINUSE" },
    { EADDRNOTAVAIL, "EADDRNOTAVAIL" },
    { ENETDOWN, "ENETDOWN" },
    { ENETUNREACH, "ENETUNREACH" },
    { ECONNRESET, "ECONNRESET" },
    { ENOBUFS, "ENOBUFS" },
    { ETIMEDOUT, "ETIMEDOUT" },
    { ECONNREFUSED, "ECONNREFUSED" },
    { EHOSTUNREACH, "EHOSTUNREACH" },
    { EDQUOT, "EDQUOT" },
    { ENOKEY, "ENOKEY" },
    { ETOOMANYREFS, "ETOOMANYREFS" },
    { EPROTO, "EPROTO" },
    { ETXTBSY, "ETXTBSY" },
    { ENOTCONN, "ENOTCONN" },
};

const char *errno_name(int error)
{
    static char unknown[24];
    for (size_t i = 0; i < sizeof errno_names / sizeof errno_names[0]; i++)
        if (errno_names[i].value == error)
            return errno_names[i].name;
    snprintf(unknown, sizeof unknown, "errno %d", error);
    return unknown;
}

static void child_main(long (*attempt)(void *arg), void *arg, int result_fd) __attribute__((noreturn));
static void child_main(long (*attempt)(void *arg), void *arg, int result_fd)
{
    setsid(); /* a signal or a hang-up that the attempt brings about stays in its own session */
    long result = attempt(arg);
    if (write(result_fd, &result, sizeof result) != (ssize_t)sizeof result)
        _exit(EXIT_BROKEN);
    _exit(0);
}

long try_in_child(long (*attempt)(void *arg), void *arg, unsigned seconds)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        broken("pipe: %s", errno_name(errno));
    pid_t pid = fork();
    if (pid < 0)
        broken("fork: %s", errno_name(errno));
    if (pid == 0)
        child_main(attempt, arg, pipe_fds[1]);
    close(pipe_fds[1]);

    struct pollfd poller = { .fd = pipe_fds[0], .events = POLLIN };
    int ready = poll(&poller, 1, (int)seconds * 1000);
    long result = TRY_BLOCKED;
    bool answered = ready > 0 && read(pipe_fds[0], &result, sizeof result) == (ssize_t)sizeof result;
    close(pipe_fds[0]);
    if (ready <= 0)
        kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (answered || ready <= 0)
        return answered ? result : TRY_BLOCKED;
    if (WIFSIGNALED(status))
        return TRY_SIGNAL - WTERMSIG(status);
    return 0; /* it left by itself without an answer: the call was exit() or the like */
}

#ifdef __x86_64__
long raw_syscall(long number, const long args[6])
{
    long result;
    register long arg4 __asm__("r10") = args[3];
    register long arg5 __asm__("r8") = args[4];
    register long arg6 __asm__("r9") = args[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(args[0]), "S"(args[1]), "d"(args[2]), "r"(arg4), "r"(arg5), "r"(arg6)
                     : "rcx", "r11", "memory");
    return result;
}

long raw_syscall32(long number, long arg1, long arg2, long arg3)
{
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(arg1), "c"(arg2), "d"(arg3)
                     : "r8", "r9", "r10", "r11", "memory");
    return (int)result;
}
#else
#error "the probes know the calling convention of x86-64 only"
#endif

long read_file(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    long length = sys_result(read(fd, buf, size - 1));
    close(fd);
    buf[length > 0 ? length : 0] = '\0';
    return length;
}

long write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    long length = sys_result(write(fd, text, strlen(text)));
    close(fd);
    return length;
}

long long number_argument(int argc, char **argv, int index, const char *name)
{
    if (index >= argc)
        broken("argument missing: %s", name);
    char *end = NULL;
    errno = 0;
    long long value = strtoll(argv[index], &end, 10);
    if (errno != 0 || end == argv[index] || *end != '\0')
        broken("not a number: %s", name);
    return value;
}

static int list_probes(void)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (const struct probe *probe = tables[i]; probe->name != NULL; probe++)
            printf("%s\t%s\n", probe->name, probe->what);
    return EXIT_REACHED;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        broken("usage: berm-probe NAME [ARGS] | --list");
    if (strcmp(argv[1], "--list") == 0)
        return list_probes();
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        for (const struct probe *probe = tables[i]; probe->name != NULL; probe++) {
            if (strcmp(probe->name, argv[1]) != 0)
                continue;
            probe->run(argc - 2, argv + 2);
            if (items_reached + items_refused == 0)
                broken("%s tried nothing", probe->name);
            return items_reached > 0 ? EXIT_REACHED : EXIT_REFUSED;
        }
    }
    broken("no probe is called %s", argv[1]);
}
