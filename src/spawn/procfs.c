/*
 * procfs.c - /proc of a sandbox. Its files belong to host root, whom no id inside maps to, so most of what is
 * dangerous is closed by its mode already. What is covered here is readable by all, and what is made read-only is
 * so once more, whatever the modes say.
 */
#include "rootfs.h"

#include "mounts.h"
#include "stage.h"

#include <fcntl.h>
#include <sys/stat.h>

enum mask_kind { MASK_READ_ONLY, MASK_COVER };

struct mask {
    const char *name;
    enum mask_kind kind;
    bool present;
    bool directory;
};

static struct mask masks[] = {
    { "sys", MASK_READ_ONLY },
    { "irq", MASK_COVER },
    { "bus", MASK_COVER },
    { "fs", MASK_COVER },
    { "sysrq-trigger", MASK_READ_ONLY },
    { "acpi", MASK_COVER },
    { "asound", MASK_COVER },
    { "scsi", MASK_COVER },
    { "cmdline", MASK_COVER },
    { "diskstats", MASK_COVER },
    { "interrupts", MASK_COVER },
    { "kcore", MASK_COVER },
    { "keys", MASK_COVER },
    { "latency_stats", MASK_COVER },
    { "partitions", MASK_COVER },
    { "sched_debug", MASK_COVER },
    { "timer_list", MASK_COVER },
    { "timer_stats", MASK_COVER },
};

/* A file that only its owner may read needs no cover: nobody inside is its owner. */
void procfs_probe(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
        struct mask *m = &masks[i];
        char path[32];
        struct stat st;
        snprintf(path, sizeof(path), "/proc/%s", m->name);
        m->present = stat(path, &st) == 0;
        m->directory = m->present && S_ISDIR(st.st_mode);
        if (m->kind == MASK_COVER && m->present && !m->directory && !(st.st_mode & S_IROTH))
            m->present = false;
    }
}

int procfs_mount(int root_fd)
{
    static const struct mount_option options[] = { { "source", "proc" }, { NULL, NULL } };
    const unsigned attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    _cleanup_close_ int proc = mount_new("proc", options, attributes);

    if (proc < 0 || mount_attach(proc, root_fd, "proc") < 0)
        return -1;
    return TAKE_FD(proc);
}

static int make_read_only(int proc_fd, const char *name)
{
    _cleanup_close_ int fd = mount_clone(proc_fd, name, false);

    if (fd < 0 || mount_add_flags(fd, MOUNT_ATTR_RDONLY, false) < 0)
        return -1;
    return mount_attach(fd, proc_fd, name);
}

int procfs_mask(int proc_fd)
{
    for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
        _cleanup_close_ int cover = -EBADF;
        if (!masks[i].present)
            continue;
        if (masks[i].kind == MASK_READ_ONLY) {
            if (make_read_only(proc_fd, masks[i].name) < 0)
                return -1;
            continue;
        }
        cover = stage_void_clone(masks[i].directory);
        if (cover < 0 || mount_attach(cover, proc_fd, masks[i].name) < 0)
            return -1;
    }
    return 0;
}
