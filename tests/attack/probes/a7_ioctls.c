/* a7_ioctls.c - terminal injection, file flags, and devices that are a door to the kernel. */
#include "probe.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/loop.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

/* The slave of a terminal of our own, made the controlling one. */
static int own_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        return -errno;
    int zero = 0;
    if (ioctl(master, TIOCSPTLCK, &zero) < 0)
        return -errno;
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return -errno;
    return ioctl(slave, TIOCSCTTY, 0) < 0 ? -errno : slave;
}

static long attempt_tiocsti(void *arg)
{
    int slave = own_terminal();
    if (slave < 0)
        return slave;
    char byte = 'x';
    return sys_result(ioctl(slave, (int)(intptr_t)arg, &byte));
}

static long attempt_tioclinux(void *arg)
{
    (void)arg;
    int slave = own_terminal();
    if (slave < 0)
        return slave;
    char command = 6; /* TIOCL_GETSHIFTSTATE: of a console; on a pty ENOTTY tells that the filter let it through */
    long result = sys_result(ioctl(slave, TIOCLINUX, &command));
    return result == -ENOTTY ? 0 : result;
}

static long attempt_tioccons(void *arg)
{
    (void)arg;
    int slave = own_terminal();
    return slave < 0 ? slave : sys_result(ioctl(slave, TIOCCONS, 0));
}

static long attempt_setflags(void *arg)
{
    char path[] = "berm-probe-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        return -errno;
    int flags = (int)(intptr_t)arg;
    long result = sys_result(ioctl(fd, FS_IOC_SETFLAGS, &flags));
    flags = 0;
    ioctl(fd, FS_IOC_SETFLAGS, &flags);
    close(fd);
    unlink(path);
    return result;
}

static long attempt_freeze(void *arg)
{
    (void)arg; /* thawing what is not frozen: EINVAL once permission is given */
    int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long result = fd < 0 ? -errno : sys_result(ioctl(fd, FITHAW, 0));
    return result == -EINVAL || result == -EOPNOTSUPP ? 0 : result;
}

static void run_ioctls(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    outcome(try_in_child(attempt_tiocsti, (void *)TIOCSTI, 30), "TIOCSTI");
    outcome(try_in_child(attempt_tioclinux, NULL, 30), "TIOCLINUX");
    outcome(try_in_child(attempt_tioccons, NULL, 30), "TIOCCONS");
    outcome(try_in_child(attempt_setflags, (void *)FS_IMMUTABLE_FL, 30), "FS_IOC_SETFLAGS immutable");
    outcome(try_in_child(attempt_setflags, (void *)FS_APPEND_FL, 30), "FS_IOC_SETFLAGS append");
    outcome(try_in_child(attempt_freeze, NULL, 30), "FITHAW");
}

static const struct device {
    const char *name;
    unsigned major_number, minor_number;
    mode_t type;
} devices[] = {
    { "loop-control", 10, 237, S_IFCHR },
    { "loop0", 7, 0, S_IFBLK },
    { "kvm", 10, 232, S_IFCHR },
    { "net/tun", 10, 200, S_IFCHR },
    { "fuse", 10, 229, S_IFCHR },
    { "mem", 1, 1, S_IFCHR },
    { "kmsg", 1, 11, S_IFCHR },
    { "port", 1, 4, S_IFCHR },
    { "vda", 254, 0, S_IFBLK },
    { "sda", 8, 0, S_IFBLK },
    { "console", 5, 1, S_IFCHR },
    { "tty0", 4, 0, S_IFCHR },
    { "vhost-net", 10, 238, S_IFCHR },
    { "vsock", 10, 241, S_IFCHR },
    { "btrfs-control", 10, 234, S_IFCHR },
    { "uinput", 10, 223, S_IFCHR },
    { "userfaultfd", 10, 126, S_IFCHR },
    { "hwrng", 10, 183, S_IFCHR },
};

static long attempt_open_device(void *arg)
{
    const struct device *device = arg;
    char path[64];
    snprintf(path, sizeof path, "/dev/%s", device->name);
    return sys_result(open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

/* A node made by oneself, in each place that can be written. Making it is the item: what is made outside the
 * sandbox's reach of devices may be opened by someone who is not. */
static long attempt_own_node(void *arg)
{
    const struct device *device = arg;
    static const char *const places[] = { ".", "/dev", "/dev/shm", "/tmp" };
    long best = -ENOENT;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/berm-probe-node", places[i]);
        long result =
            sys_result(mknod(path, device->type | 0600, makedev(device->major_number, device->minor_number)));
        unlink(path);
        if (result >= 0)
            return result;
        best = result;
    }
    return best;
}

static void run_devices(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        outcome(try_in_child(attempt_open_device, (void *)&devices[i], 30), "open /dev/%s", devices[i].name);
        outcome(try_in_child(attempt_own_node, (void *)&devices[i], 30), "mknod %s", devices[i].name);
    }
}

const struct probe probes_a7[] = {
    { "A7-ioctls", "terminal injection and file flags", run_ioctls },
    { "A7-devices", "devices that lead into the kernel", run_devices },
    { 0 },
};
