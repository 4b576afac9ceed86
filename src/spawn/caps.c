#include "caps.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define BIT(cap) (UINT64_C(1) << (cap))

/*
 * What root of a container needs to install packages and switch users, and nothing over the kernel: all of these
 * act on the ids and files of its own user namespace only. Left out of the usual container set on purpose: NET_RAW
 * and NET_ADMIN (the network namespace is not its own), MKNOD, AUDIT_WRITE, SYS_PTRACE, DAC_READ_SEARCH.
 */
#define SANDBOX_CAPS                                                                                               \
    (BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) |                  \
     BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_CHROOT) |      \
     BIT(CAP_SETFCAP))

/* SYS_ADMIN: mounts and namespaces. SYS_PTRACE: to enter the namespaces of an agent, which is not dumpable. */
#define WORKER_CAPS                                                                                                \
    (BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_CHROOT) | BIT(CAP_SYS_PTRACE) | BIT(CAP_SETUID) | BIT(CAP_SETGID) |          \
     BIT(CAP_SETPCAP) | BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) |               \
     BIT(CAP_KILL) | BIT(CAP_NET_ADMIN) | BIT(CAP_MKNOD))

/*
 * SYS_ADMIN: mounts, namespaces, snapshots. The rest is for the files of an image and for those who write and read
 * them, which go on with less.
 */
#define IMAGER_CAPS                                                                                                \
    (BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_CHROOT) | BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP) |             \
     BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) |       \
     BIT(CAP_SETFCAP) | BIT(CAP_KILL))

uint64_t caps_sandbox(void)
{
    return SANDBOX_CAPS;
}

static int set_caps(uint64_t caps)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = {
        { .effective = (uint32_t)caps, .permitted = (uint32_t)caps },
        { .effective = (uint32_t)(caps >> 32), .permitted = (uint32_t)(caps >> 32) },
    };

    return (int)syscall(SYS_capset, &header, data);
}

/* EINVAL is the end of the capabilities that this kernel knows. */
static int drop_bounding_set(uint64_t keep)
{
    for (int cap = 0; cap < 64; cap++) {
        if (keep & BIT(cap))
            continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return errno == EINVAL ? 0 : -1;
    }
    return 0;
}

int caps_drop_to_sandbox(void)
{
    if (drop_bounding_set(SANDBOX_CAPS) < 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -1;
    return set_caps(SANDBOX_CAPS);
}

int caps_drop_to_worker(void)
{
    if (drop_bounding_set(WORKER_CAPS) < 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -1;
    return set_caps(WORKER_CAPS);
}

int caps_drop_to_imager(void)
{
    if (drop_bounding_set(IMAGER_CAPS) < 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return set_caps(IMAGER_CAPS);
}
