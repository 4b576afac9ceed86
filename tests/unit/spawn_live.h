/*
 * spawn_live.h - for tests that make real sandboxes: one spawner for a group of tests, and a look at everything on
 * the host that belongs to it. They need root, and skip without it.
 */
#pragma once

#include "unit.h"

#include "base/loop.h"
#include "base/sys.h"
#include "spawn_harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static struct spawn_harness live;

static inline void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

#define WAIT_FOR(condition)                                                                                        \
    do {                                                                                                           \
        bool came_ = false; /* a minute at least: sanitizers on a busy machine are slow */                         \
        for (int tries_ = 0; !(came_ = (condition)) && tries_ < 12000; tries_++)                                   \
            pause_ms(5);                                                                                           \
        if (!came_)                                                                                                \
            fail_msg("never came true: %s", #condition);                                                           \
    } while (0)

#define assert_contains(text, part)                                                                                \
    do {                                                                                                           \
        const char *text_ = (text);                                                                                \
        if (!strstr(text_, (part)))                                                                                \
            fail_msg("\"%s\" is not in: %s", (part), text_);                                                       \
    } while (0)

#define assert_done(reply)                                                                                         \
    do {                                                                                                           \
        struct spawn_reply reply_ = (reply);                                                                       \
        if (reply_.error != 0)                                                                                     \
            fail_msg("error %d: %s", reply_.error, reply_.message);                                                \
    } while (0)

static inline const char *from_environment(const char *name)
{
    const char *value = getenv(name);

    if (!value)
        fail_msg("%s is not set: run this through meson test", name);
    return value;
}

static inline int live_init(const char *program_variable)
{
    if (geteuid() != 0) {
        fprintf(stderr, "skipped: needs root\n");
        exit(77);
    }
    harness_init(&live, from_environment(program_variable), from_environment("SPAWN_PROBE"));
    return 0;
}

/* --- what there is on the host --- */

static inline void data_id(char id[32])
{
    struct stat st;

    assert_int_equal(stat(live.data, &st), 0);
    snprintf(id, 32, "%x-%llx", (unsigned)st.st_dev, (unsigned long long)st.st_ino);
}

static inline int count_entries(const char *path, const char *prefix, const char *suffix)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int count = 0;

    if (!dir)
        return 0;
    while ((entry = readdir(dir))) {
        size_t n = strlen(entry->d_name), s = strlen(suffix);
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && n >= s &&
            strcmp(entry->d_name + n - s, suffix) == 0 && strcmp(entry->d_name, ".") != 0 &&
            strcmp(entry->d_name, "..") != 0)
            count++;
    }
    closedir(dir);
    return count;
}

/* Control groups of sandboxes, over all hierarchies; with `own`, also those of the data directory itself. */
static inline int count_cgroups(bool own)
{
    static const char *const roots[] = { "/sys/fs/cgroup",        "/sys/fs/cgroup/unified",
                                         "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids",
                                         "/sys/fs/cgroup/cpu",    "/sys/fs/cgroup/cpu,cpuacct" };
    char id[32], path[128];
    int count = 0;

    data_id(id);
    for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
        snprintf(path, sizeof(path), "%s/berm/%s", roots[i], id);
        count += count_entries(path, "s", "");
        count -= count_entries(path, "s", ".pressure"); /* no group's file begins with s but these */
        count += own && access(path, F_OK) == 0;
    }
    return count;
}

static inline int count_lines(const char *file, const char *part)
{
    FILE *f = fopen(file, "re");
    char *line = NULL;
    size_t size = 0;
    int count = 0;

    assert_non_null(f);
    while (getline(&line, &size, f) > 0)
        count += strstr(line, part) != NULL;
    free(line);
    fclose(f);
    return count;
}

static inline int count_run_files(const char *suffix)
{
    char path[320];

    snprintf(path, sizeof(path), "%s/run", live.data);
    return count_entries(path, "", suffix);
}

/* A child whose name begins so, or 0. The keeper also has the sandboxes of workers that died. */
static inline pid_t child_named(pid_t parent, const char *name)
{
    char path[64], children[4096], comm[32];
    char *save = NULL;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
    if (read_small_file(AT_FDCWD, path, children, sizeof(children)) <= 0)
        return 0;
    for (char *word = strtok_r(children, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        snprintf(path, sizeof(path), "/proc/%s/comm", word);
        if (read_small_file(AT_FDCWD, path, comm, sizeof(comm)) > 0 && strncmp(comm, name, strlen(name)) == 0)
            return (pid_t)strtol(word, NULL, 10);
    }
    return 0;
}

static inline pid_t worker_pid(void)
{
    return child_named(live.keeper, "berm-spawn");
}

/* One that has come after the first, or 0. It is looked for once: it may be the first now and nobody a moment
 * later. */
static inline pid_t successor(pid_t first, pid_t (*look)(void))
{
    pid_t now = look();

    return now != first ? now : 0;
}

/* The pool is mounted where only the worker sees it. */
static inline int count_subvolumes(void)
{
    char path[320];

    snprintf(path, sizeof(path), "/proc/%d/root/disk", (int)worker_pid());
    return count_entries(path, "s", "");
}

static inline int count_loop_devices(void)
{
    int count = 0;

    for (int i = 0; i < 64; i++) {
        char path[64], file[512];
        snprintf(path, sizeof(path), "/sys/block/loop%d/loop/backing_file", i);
        if (read_small_file(AT_FDCWD, path, file, sizeof(file)) > 0)
            count += strstr(file, live.base) != NULL;
    }
    return count;
}

static inline int count_claims(void)
{
    int count = 0;

    for (int i = 0; i < 64; i++) {
        char path[64], owner[512];
        snprintf(path, sizeof(path), "/run/berm/block-%d", i);
        if (read_small_file(AT_FDCWD, path, owner, sizeof(owner)) > 0)
            count += strcmp(owner, live.data) == 0;
    }
    return count;
}

static inline int count_worker_fds(void)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)worker_pid());
    return count_entries(path, "", "");
}

/* Lines of its mount table with this text. */
static inline int count_worker_mounts_of(const char *part)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)worker_pid());
    return count_lines(path, part);
}

static inline int count_worker_mounts(void)
{
    return count_worker_mounts_of("");
}

/* Nothing of any sandbox is left, while the spawner runs. */
static inline bool nothing_left(void)
{
    return count_cgroups(false) == 0 && count_run_files(".sock") == 0 && count_run_files(".meta") == 0 &&
           count_run_files(".new") == 0 && count_run_files(".fuse") == 0 && count_subvolumes() == 0;
}

/* Nothing of the spawner is left. */
static inline bool host_is_clean(void)
{
    return count_cgroups(true) == 0 && count_run_files(".sock") == 0 && count_run_files(".meta") == 0 &&
           count_loop_devices() == 0 && count_claims() == 0 && count_lines("/proc/self/mountinfo", live.base) == 0;
}
