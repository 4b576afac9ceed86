/*
 * cgroup_v1.c - the interface files of the v1 controllers.
 */
#include "cgroup.h"

#include "base/sys.h"

#define CFS_PERIOD_USEC 100000

static int write_number(int groupfd, const char *file, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return write_small_file(groupfd, file, text);
}

/*
 * memory+swap must never be below memory, so when that grows, the other goes first. Where it is not known what
 * holds now (`old` is NULL), the kernel's refusal tells. Without swap accounting the other file is missing, and
 * then there is no swap to limit.
 */
static int set_memory(int groupfd, const struct spawn_limits *old, uint64_t bytes)
{
    static const char memory[] = "memory.limit_in_bytes";
    static const char with_swap[] = "memory.memsw.limit_in_bytes";
    bool grows = old && bytes > old->memory_bytes;

    if (!grows && write_number(groupfd, memory, bytes) < 0) {
        if (old || errno != EINVAL)
            return -1;
        grows = true;
    }
    if (write_number(groupfd, with_swap, bytes) < 0 && errno != ENOENT)
        return -1;
    return grows ? write_number(groupfd, memory, bytes) : 0;
}

int cgroup_v1_set(int groupfd, enum cgroup_controller c, const struct spawn_limits *old,
                  const struct spawn_limits *limits)
{
    switch (c) {
    case CGROUP_MEMORY:
        return set_memory(groupfd, old, limits->memory_bytes);
    case CGROUP_PIDS:
        return write_number(groupfd, "pids.max", limits->pids);
    case CGROUP_CPU:
        return write_number(groupfd, "cpu.cfs_quota_us", (uint64_t)limits->cpu_millis * (CFS_PERIOD_USEC / 1000));
    default:
        errno = EINVAL;
        return -1;
    }
}

void cgroup_v1_stat(int groupfd, enum cgroup_controller c, struct cgroup_stat *ret)
{
    if (c == CGROUP_MEMORY) {
        ret->memory_bytes = cgroup_read_number(groupfd, "memory.usage_in_bytes");
        ret->memory_peak_bytes = cgroup_read_number(groupfd, "memory.max_usage_in_bytes");
    } else if (c == CGROUP_PIDS) {
        ret->pids = (uint32_t)cgroup_read_number(groupfd, "pids.current");
    } else if (c == CGROUP_CPU) {
        /* There when the host mounts cpuacct together with cpu; else the v2 group has the time. */
        uint64_t nsec = cgroup_read_number(groupfd, "cpuacct.usage");
        if (nsec)
            ret->cpu_usec = nsec / 1000;
    }
}

uint32_t cgroup_v1_oom_kills(int memory_groupfd)
{
    return (uint32_t)cgroup_read_keyed(memory_groupfd, "memory.oom_control", "oom_kill");
}
