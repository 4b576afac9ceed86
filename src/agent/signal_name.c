#include "signal_name.h"

#include <signal.h>

#define SIGNAL_MAX 64 /* of the kernel; libc keeps two of them to itself, which is no reason not to send them */

int signal_by_name(struct str text)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = {
        { "HUP", SIGHUP },   { "INT", SIGINT },       { "QUIT", SIGQUIT }, { "ILL", SIGILL },
        { "TRAP", SIGTRAP }, { "ABRT", SIGABRT },     { "BUS", SIGBUS },   { "FPE", SIGFPE },
        { "KILL", SIGKILL }, { "USR1", SIGUSR1 },     { "SEGV", SIGSEGV }, { "USR2", SIGUSR2 },
        { "PIPE", SIGPIPE }, { "ALRM", SIGALRM },     { "TERM", SIGTERM }, { "CHLD", SIGCHLD },
        { "CONT", SIGCONT }, { "STOP", SIGSTOP },     { "TSTP", SIGTSTP }, { "TTIN", SIGTTIN },
        { "TTOU", SIGTTOU }, { "URG", SIGURG },       { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
        { "PROF", SIGPROF }, { "WINCH", SIGWINCH },   { "IO", SIGIO },     { "PWR", SIGPWR },
        { "SYS", SIGSYS },   { "VTALRM", SIGVTALRM },
    };
    uint64_t number;

    if (str_to_u64(text, &number) == 0)
        return number <= SIGNAL_MAX ? (int)number : 0;
    if (str_has_prefix(text, STR("SIG")))
        text = (struct str){ text.p + 3, text.n - 3 };
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        if (str_is(text, signals[i].name))
            return signals[i].number;
    return 0;
}
