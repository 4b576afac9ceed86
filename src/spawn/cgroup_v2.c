/*
 * cgroup_v2.c - the interface files of the v2 controllers.
 */
#include "cgroup.h"

#include "base/sys.h"

#define CPU_PERIOD_USEC 100000

static int write_number(int groupfd, const char *file, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return write_small_file(groupfd, file, text);
}

static int set_memory(int groupfd, uint64_t bytes)
{
    if (write_number(groupfd, "memory.max", bytes) < 0)
        return -1;
    /* The file is missing on kernels without swap. */
    if (write_small_file(groupfd, "memory.swap.max", "0") < 0 && errno != ENOENT)
        return -1;
    return 0;
}

static int set_cpu(int groupfd, uint32_t millis)
{
    char text[48];

    snprintf(text, sizeof(text), "%llu %d", (unsigned long long)millis * (CPU_PERIOD_USEC / 1000), CPU_PERIOD_USEC);
    return write_small_file(groupfd, "cpu.max", text);
}

int cgroup_v2_set(int groupfd, enum cgroup_controller c, const struct spawn_limits *limits)
{
    switch (c) {
    case CGROUP_MEMORY:
        return set_memory(groupfd, limits->memory_bytes);
    case CGROUP_PIDS:
        return write_number(groupfd, "pids.max", limits->pids);
    case CGROUP_CPU:
        return set_cpu(groupfd, limits->cpu_millis);
    default:
        errno = EINVAL;
        return -1;
    }
}

void cgroup_v2_stat(int groupfd, enum cgroup_controller c, struct cgroup_stat *ret)
{
    if (c == CGROUP_MEMORY) {
        ret->memory_bytes = cgroup_read_number(groupfd, "memory.current");
        ret->memory_peak_bytes = cgroup_read_number(groupfd, "memory.peak");
    } else if (c == CGROUP_PIDS) {
        ret->pids = (uint32_t)cgroup_read_number(groupfd, "pids.current");
    } else if (c == CGROUP_CPU) {
        ret->cpu_usec = cgroup_read_keyed(groupfd, "cpu.stat", "usage_usec");
    }
}

uint32_t cgroup_v2_oom_kills(int groupfd)
{
    return (uint32_t)cgroup_read_keyed(groupfd, "memory.events", "oom_kill");
}

static unsigned read_controllers(int groupfd, const char *file)
{
    char text[512];
    unsigned set = 0;
    char *save = NULL;

    if (read_small_file(groupfd, file, text, sizeof(text)) < 0)
        return 0;
    for (char *word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
        for (unsigned c = 0; c < CGROUP_CONTROLLERS; c++)
            if (strcmp(word, cgroup_controller_name(c)) == 0)
                set |= 1u << c;
    return set;
}

/* One write each: a single refused controller (cpu, with real-time processes about) must not cost the others. */
unsigned cgroup_v2_enable(int groupfd, unsigned controllers)
{
    unsigned usable = controllers & read_controllers(groupfd, "cgroup.controllers");
    unsigned enabled = read_controllers(groupfd, "cgroup.subtree_control");

    for (unsigned c = 0; c < CGROUP_CONTROLLERS; c++) {
        char text[24];
        if (!(usable & ~enabled & 1u << c))
            continue;
        snprintf(text, sizeof(text), "+%s", cgroup_controller_name(c));
        if (write_small_file(groupfd, "cgroup.subtree_control", text) == 0)
            enabled |= 1u << c;
    }
    return enabled & usable;
}
