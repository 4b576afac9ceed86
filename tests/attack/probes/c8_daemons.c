/* c8_daemons.c - processes that try to stay: forked twice, in a session of their own, deaf to signals. `C8-daemon
 * MARK` leaves some behind whose argument is MARK, `C8-find MARK` tells whether one lives. */
#include "probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void become_deaf(void)
{
    for (int signal = 1; signal < 65; signal++)
        if (signal != SIGKILL && signal != SIGSTOP && (signal < 32 || signal > 34))
            sigaction(signal, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
    prctl(PR_SET_PDEATHSIG, 0);
    prctl(PR_SET_DUMPABLE, 0);
}

static void run_stay(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    become_deaf();
    for (;;)
        pause();
}

static void run_daemon(int argc, char **argv)
{
    if (argc < 1)
        broken("a mark");
    int execs[2]; /* ends for the reader when every daemon has become another program */
    if (pipe2(execs, O_CLOEXEC) < 0)
        broken("pipe: %s", errno_name(errno));
    for (int i = 0; i < 8; i++) {
        if (fork() != 0)
            continue;
        setsid();
        if (fork() != 0)
            _exit(0);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int fd = 0; fd < 3; fd++)
            dup2(null, fd);
        execl("/proc/self/exe", "berm-probe", "C8-stay", argv[0], (char *)NULL);
        _exit(2);
    }
    close(execs[1]);
    char byte;
    while (read(execs[0], &byte, 1) < 0 && errno == EINTR)
        ;
    while (wait(NULL) > 0)
        ;
    reached("started", "eight daemons");
}

static void run_find(int argc, char **argv)
{
    if (argc < 1)
        broken("a mark");
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        broken("/proc: %s", errno_name(errno));
    long found = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[300], cmdline[256];
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        long length = atoi(entry->d_name) > 0 ? read_file(path, cmdline, sizeof cmdline) : 0;
        for (long i = 0; i + 1 < length; i++)
            if (cmdline[i] == '\0')
                cmdline[i] = ' ';
        if (length > 0 && strstr(cmdline, "C8-stay") != NULL && strstr(cmdline, argv[0]) != NULL)
            found++;
    }
    closedir(dir);
    outcome(found > 0 ? found : -ESRCH, "a daemon that is still there");
}

const struct probe probes_c8[] = {
    { "C8-stay", "ignores every signal and waits", run_stay },
    { "C8-daemon", "leaves eight daemons marked MARK", run_daemon },
    { "C8-find", "whether a daemon marked MARK lives", run_find },
    { 0 },
};
