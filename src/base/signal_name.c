#include "signal_name.h"

#include <signal.h>

#define SIGNAL_MAX 64 /* of the kernel; libc keeps two of them to itself, which is no reason not to send them */

static const struct {
    const char *name;
    int number;
} signals[] = {
    { "SIGHUP", SIGHUP },   { "SIGINT", SIGINT },       { "SIGQUIT", SIGQUIT }, { "SIGILL", SIGILL },
    { "SIGTRAP", SIGTRAP }, { "SIGABRT", SIGABRT },     { "SIGBUS", SIGBUS },   { "SIGFPE", SIGFPE },
    { "SIGKILL", SIGKILL }, { "SIGUSR1", SIGUSR1 },     { "SIGSEGV", SIGSEGV }, { "SIGUSR2", SIGUSR2 },
    { "SIGPIPE", SIGPIPE }, { "SIGALRM", SIGALRM },     { "SIGTERM", SIGTERM }, { "SIGCHLD", SIGCHLD },
    { "SIGCONT", SIGCONT }, { "SIGSTOP", SIGSTOP },     { "SIGTSTP", SIGTSTP }, { "SIGTTIN", SIGTTIN },
    { "SIGTTOU", SIGTTOU }, { "SIGURG", SIGURG },       { "SIGXCPU", SIGXCPU }, { "SIGXFSZ", SIGXFSZ },
    { "SIGPROF", SIGPROF }, { "SIGWINCH", SIGWINCH },   { "SIGIO", SIGIO },     { "SIGPWR", SIGPWR },
    { "SIGSYS", SIGSYS },   { "SIGVTALRM", SIGVTALRM },
};

int signal_by_name(struct str text)
{
    uint64_t number;

    if (str_to_u64(text, &number) == 0)
        return number <= SIGNAL_MAX ? (int)number : 0;
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        struct str name = str_from(signals[i].name);
        if (str_eq(text, name) || str_eq(text, (struct str){ name.p + 3, name.n - 3 }))
            return signals[i].number;
    }
    return 0;
}

const char *signal_name(int signo)
{
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        if (signals[i].number == signo)
            return signals[i].name;
    return NULL;
}
