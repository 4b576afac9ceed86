/*
 * b7_shared.c - means of talking that must be private to a sandbox. `B7-leave MARK` puts something in each place
 * and stays, holding it, until its standard input ends; `B7-find MARK` looks for it from somewhere else.
 */
#include "probe.h"

#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char *mark(int argc, char **argv)
{
    if (argc < 1 || strlen(argv[0]) > 32)
        broken("a mark of at most 32 characters");
    return argv[0];
}

/* A System V key that both sides can compute. */
static key_t key_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return (key_t)(hash & 0x7fffffff);
}

static socklen_t abstract_address(struct sockaddr_un *address, const char *name)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    int length = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "berm-probe-%s", name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static const char *const directories[] = { "/dev/shm", "/tmp", "/var/tmp", "/run", "/workspace", "/root" };

static void leave_files(const char *name)
{
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/berm-probe-%s", directories[i], name);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
        if (fd >= 0)
            close(fd);
    }
}

static void remove_files(const char *name)
{
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/berm-probe-%s", directories[i], name);
        unlink(path);
    }
}

static void run_leave(int argc, char **argv)
{
    const char *name = mark(argc, argv);
    unsigned seconds = (unsigned)number_argument(argc, argv, 1, "for how many seconds");
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, NULL);
    char slash[64];
    snprintf(slash, sizeof slash, "/berm-probe-%s", name);
    key_t key = key_of(name);
    leave_files(name);
    mq_open(slash, O_CREAT | O_RDWR, 0666, NULL);
    int shm = shmget(key, 4096, IPC_CREAT | 0666);
    int sem = semget(key, 1, IPC_CREAT | 0666);
    int msg = msgget(key, IPC_CREAT | 0666);
    struct sockaddr_un address;
    socklen_t length = abstract_address(&address, name);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 8) < 0)
        broken("abstract socket: %s", errno_name(errno));
    reached("left", "the marks");
    sigtimedwait(&end, NULL, &(struct timespec){ .tv_sec = seconds });
    mq_unlink(slash);
    shmctl(shm, IPC_RMID, NULL);
    semctl(sem, 0, IPC_RMID);
    msgctl(msg, IPC_RMID, NULL);
    remove_files(name);
}

static void run_find(int argc, char **argv)
{
    const char *name = mark(argc, argv);
    char slash[64];
    snprintf(slash, sizeof slash, "/berm-probe-%s", name);
    key_t key = key_of(name);
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        char path[96];
        struct stat stat_buf;
        snprintf(path, sizeof path, "%s/berm-probe-%s", directories[i], name);
        outcome(sys_result(stat(path, &stat_buf)), "a file in %s", directories[i]);
    }
    outcome(sys_result(mq_open(slash, O_RDONLY)), "a POSIX message queue");
    outcome(sys_result(shmget(key, 0, 0)), "System V shared memory");
    outcome(sys_result(semget(key, 0, 0)), "System V semaphores");
    outcome(sys_result(msgget(key, 0)), "a System V message queue");
    struct sockaddr_un address;
    socklen_t length = abstract_address(&address, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    outcome(sys_result(connect(fd, (struct sockaddr *)&address, length)), "an abstract socket");
    char sockets[65536];
    if (read_file("/proc/net/unix", sockets, sizeof sockets) >= 0 && strstr(sockets, slash + 1) != NULL)
        reached("listed", "its name in /proc/net/unix");
    else
        refused("not listed", "its name in /proc/net/unix");
}

const struct probe probes_b7[] = {
    { "B7-leave", "leaves MARK in every shared place for SECONDS", run_leave },
    { "B7-find", "looks for MARK", run_find },
    { 0 },
};
