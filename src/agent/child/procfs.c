#include "procfs.h"

#include "base/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#define DESCENDANTS_MAX ((size_t)65536)

void pid_list_free(struct pid_list *list)
{
    free(list->pids);
    *list = (struct pid_list){ 0 };
}

static bool has(const struct pid_list *list, pid_t pid)
{
    for (size_t i = 0; list && i < list->count; i++)
        if (list->pids[i] == pid)
            return true;
    return false;
}

static int append(struct pid_list *list, pid_t pid)
{
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 32;
        pid_t *pids = reallocarray(list->pids, cap, sizeof(*pids));
        if (!pids)
            return -1;
        list->pids = pids;
        list->cap = cap;
    }
    list->pids[list->count++] = pid;
    return 0;
}

/* "12 345 6 " in any pieces. */
static int read_numbers(int fd, struct pid_list *list)
{
    char bytes[1024];
    pid_t pid = 0;
    ssize_t n;

    while ((n = RETRY_EINTR(read(fd, bytes, sizeof(bytes)))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] >= '0' && bytes[i] <= '9') {
                pid = pid * 10 + (bytes[i] - '0');
            } else if (pid > 0) {
                if (append(list, pid) < 0)
                    return -1;
                pid = 0;
            }
        }
    }
    return pid > 0 ? append(list, pid) : 0;
}

int proc_children(pid_t pid, struct pid_list *list)
{
    char path[64];
    DIR *tasks;
    struct dirent *entry;
    int rc = 0;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    if (!tasks)
        return 0;
    while (rc == 0 && (entry = readdir(tasks))) {
        _cleanup_close_ int fd = -EBADF;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%.16s/children", entry->d_name);
        fd = openat(dirfd(tasks), path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
            rc = read_numbers(fd, list);
    }
    closedir(tasks);
    return rc;
}

int proc_descendants(pid_t pid, const struct pid_list *spared, struct pid_list *list)
{
    size_t at = list->count;
    size_t kept = at;

    if (proc_children(pid, list) < 0)
        return -1;
    for (size_t i = at; i < list->count; i++)
        if (!has(spared, list->pids[i]))
            list->pids[kept++] = list->pids[i];
    list->count = kept;
    for (; at < list->count && list->count < DESCENDANTS_MAX; at++)
        if (proc_children(list->pids[at], list) < 0)
            return -1;
    return 0;
}

bool proc_tells_children(void)
{
    return access("/proc/thread-self/children", R_OK) == 0;
}

/* /proc/PID/NAME into `text`, or "". */
static const char *read_text(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    if (read_small_file(AT_FDCWD, path, text, size) < 0)
        text[0] = '\0';
    return text;
}

bool proc_is_zombie(pid_t pid)
{
    char text[1024];
    const char *after_name = strrchr(read_text(pid, "stat", text, sizeof(text)), ')');

    return after_name && strncmp(after_name, ") Z", 3) == 0;
}

uint64_t proc_children_cpu_us(pid_t pid)
{
    char text[1024];
    const char *after_name = strrchr(read_text(pid, "stat", text, sizeof(text)), ')');
    unsigned long long user = 0, system = 0;

    /* state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt utime stime, then what we want */
    if (!after_name || sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %llu %llu",
                              &user, &system) != 2)
        return 0;
    return (user + system) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

uint64_t proc_resident_bytes(pid_t pid)
{
    char text[128];
    unsigned long long pages = 0;

    if (sscanf(read_text(pid, "statm", text, sizeof(text)), "%*u %llu", &pages) != 1)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t proc_proportional_bytes(pid_t pid)
{
    char text[2048];
    const char *line = strstr(read_text(pid, "smaps_rollup", text, sizeof(text)), "\nPss:");
    unsigned long long kib = 0;

    if (!line || sscanf(line, "\nPss: %llu", &kib) != 1)
        return proc_resident_bytes(pid);
    return kib * 1024;
}
