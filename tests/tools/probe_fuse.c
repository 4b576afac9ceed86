/*
 * probe_fuse.c - a FUSE server in a few lines, which speaks the kernel's protocol itself: the directory that it
 * mounts holds one file, "hello". Modes: "serve" does that; "hang" answers the first request (INIT) and no other;
 * "deadlock" takes a request that another of its threads waits for, and sleeps, which nothing can kill. Two more
 * are about many of them: probe_fuse_hoard() and probe_fuse_storm().
 */
#include "probe_fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELLO_NODE 2
#define BUFFER     (FUSE_MIN_READ_BUFFER + 65536)

static const char hello[] = "hello from FUSE\n";
static const char *mount_target;

static void say(int out, long rc)
{
    if (rc < 0)
        dprintf(out, "error %d %s\n", errno, strerror(errno));
    else
        dprintf(out, "ok %ld\n", rc);
}

static void reply(int fd, const struct fuse_in_header *in, int error, const void *body, size_t n)
{
    char message[sizeof(struct fuse_out_header) + 4096];
    struct fuse_out_header head = { .len = (unsigned)(sizeof(head) + n), .error = error, .unique = in->unique };

    memcpy(message, &head, sizeof(head));
    if (n > 0)
        memcpy(message + sizeof(head), body, n);
    if (write(fd, message, sizeof(head) + n) < 0)
        _exit(3);
}

static struct fuse_attr attributes(uint64_t node)
{
    struct fuse_attr attr = { .ino = node, .nlink = 1, .blksize = 4096 };

    attr.mode = node == HELLO_NODE ? S_IFREG | 0644 : S_IFDIR | 0755;
    attr.size = node == HELLO_NODE ? sizeof(hello) - 1 : 0;
    return attr;
}

static void answer(int fd, const struct fuse_in_header *in, const void *body)
{
    struct fuse_init_out init = {
        .major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 65536, .max_write = 65536
    };
    struct fuse_attr_out attr = { .attr = attributes(in->nodeid) };
    struct fuse_entry_out entry = { .nodeid = HELLO_NODE, .attr = attributes(HELLO_NODE) };
    struct fuse_open_out open_out = { .open_flags = FOPEN_DIRECT_IO };
    const struct fuse_read_in *read_in = body;

    switch (in->opcode) {
    case FUSE_INIT:
        reply(fd, in, 0, &init, sizeof(init));
        break;
    case FUSE_GETATTR:
        reply(fd, in, 0, &attr, sizeof(attr));
        break;
    case FUSE_LOOKUP:
        if (strcmp(body, "hello") == 0)
            reply(fd, in, 0, &entry, sizeof(entry));
        else
            reply(fd, in, -ENOENT, NULL, 0);
        break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        reply(fd, in, 0, &open_out, sizeof(open_out));
        break;
    case FUSE_READ:
        if (read_in->offset >= sizeof(hello) - 1)
            reply(fd, in, 0, NULL, 0);
        else
            reply(fd, in, 0, hello + read_in->offset, sizeof(hello) - 1 - read_in->offset);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
        break;
    default:
        reply(fd, in, -ENOSYS, NULL, 0);
    }
}

static void *look_inside(void *arg)
{
    char path[4200];
    struct stat st;

    (void)arg;
    snprintf(path, sizeof(path), "%s/nothing", mount_target);
    stat(path, &st);
    return NULL;
}

static void serve(int fd, const char *mode)
{
    static char buffer[BUFFER];
    int count = 0;

    for (;;) {
        ssize_t n = read(fd, buffer, sizeof(buffer));
        pthread_t thread;
        if (n < (ssize_t)sizeof(struct fuse_in_header))
            _exit(0);
        if (count > 0 && strcmp(mode, "serve") != 0)
            for (;;)
                pause();
        answer(fd, (const struct fuse_in_header *)buffer, buffer + sizeof(struct fuse_in_header));
        if (count++ == 0 && strcmp(mode, "deadlock") == 0)
            pthread_create(&thread, NULL, look_inside, NULL);
    }
}

static int mount_device(const char *source, const char *target, const char *type, unsigned long flags,
                        const char *options)
{
    char text[4096];
    int fd = open("/dev/fuse", O_RDWR);

    if (fd < 0)
        return -1;
    snprintf(text, sizeof(text), "fd=%d,rootmode=40000,user_id=0,group_id=0%s", fd, options);
    if (mount(source, target, type, flags, text) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Mounts, holds what it has mounted and takes it out of sight, as often as it may. */
void probe_fuse_hoard(int out, const char *target)
{
    int held = 0;

    if (fork() != 0)
        return;
    while (mount_device("probe", target, "fuse.probe", 0, "") >= 0 && open(target, O_PATH) >= 0 &&
           umount2(target, MNT_DETACH) == 0)
        held++;
    dprintf(out, "held %d, then error %d\n", held, errno);
    close(out);
    for (;;)
        pause();
}

/* Mounts one that nothing can kill, takes it out of sight, and the next, without end. */
void probe_fuse_storm(int out, const char *target)
{
    if (fork() != 0)
        return;
    say(out, 0);
    close(out);
    for (;;) {
        int fd = mount_device("probe", target, "fuse.probe", 0, "");
        if (fd >= 0 && fork() == 0) {
            mount_target = target;
            serve(fd, "deadlock");
        }
        close(fd);
        umount2(target, MNT_DETACH);
    }
}

void probe_fuse_serve(int out, const char *mode, const char *target)
{
    pid_t pid = fork();
    int fd;

    if (pid != 0)
        return;
    mount_target = target;
    fd = mount_device("probe", target, "fuse.probe", MS_NOSUID | MS_NODEV, ",allow_other");
    say(out, fd);
    close(out);
    if (fd >= 0)
        serve(fd, mode);
    _exit(0);
}

void probe_fuse_mount(int out, char **arg)
{
    unsigned long flags = strtoul(arg[3], NULL, 0);

    if (strncmp(arg[4], "FUSE", 4) == 0)
        say(out, mount_device(arg[0], arg[1], arg[2], flags, arg[4] + 4));
    else
        say(out, mount(arg[0], arg[1], arg[2], flags, arg[4]));
}

void probe_fuse_umount(int out, char **arg)
{
    say(out, umount2(arg[0], (int)strtol(arg[1], NULL, 0)));
}
