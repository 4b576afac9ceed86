/*
 * cgroup.h - limits, killing, freezing and counting by control groups, v2 and v1 behind one face.
 *
 * Every sandbox has one group in the v2 hierarchy where there is one: it starts there (CLONE_INTO_CGROUP), and is
 * killed and frozen through it. Each of the controllers memory, pids and cpu is used where the host has it: in v2,
 * or else in its v1 hierarchy, in a group of the same name. All groups lie below <parent>/<id of the data
 * directory>, so that whatever is found there is ours.
 */
#pragma once

#include "base/error.h"
#include "base/spawn_wire.h"

#include <sys/types.h>

enum cgroup_controller { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU, CGROUP_CONTROLLERS };

struct cgroup_host {
    int v2_fd;                     /* our group in the v2 hierarchy, or -EBADF */
    unsigned v2_controllers;       /* bit per controller that v2 gives us */
    int v1_fd[CGROUP_CONTROLLERS]; /* our group in the v1 hierarchy of the controller, or -EBADF */
    char path[80];                 /* "/<parent>/<id>" */
};

struct cgroup_stat {
    uint64_t memory_bytes, memory_peak_bytes, cpu_usec;
    uint32_t pids, oom_kills;
};

/* Finds the hierarchies and makes our group in each. Fails unless every controller is there in one of them. */
int cgroup_host_open(const char *parent, const char *id, struct cgroup_host *ret, struct berm_error *err);
void cgroup_host_close(struct cgroup_host *host);

/* Removes our own groups, and the parents if nothing else uses them. */
void cgroup_host_remove(const char *parent, const char *id);

/* The group of one sandbox. All return 0, or -1 with errno. */
int cgroup_create(const struct cgroup_host *host, const char *name);
/* Writes the limits that differ from `old` (NULL: all). */
int cgroup_set_limits(const struct cgroup_host *host, const char *name, const struct spawn_limits *old,
                      const struct spawn_limits *limits);
/* For CLONE_INTO_CGROUP; -EBADF where there is no v2 hierarchy. */
int cgroup_open_v2(const struct cgroup_host *host, const char *name);
/* Moves the calling, single-threaded process into the v1 groups. */
int cgroup_join_v1(const struct cgroup_host *host, const char *name);
/* Kills all members: at once where v2 and Linux 5.14 are there, else one after the other. */
int cgroup_kill(const struct cgroup_host *host, const char *name);
bool cgroup_kill_supported(const struct cgroup_host *host, const char *name);
int cgroup_freeze(const struct cgroup_host *host, const char *name, bool on);
int cgroup_read_stat(const struct cgroup_host *host, const char *name, struct cgroup_stat *ret);
uint32_t cgroup_oom_kills(const struct cgroup_host *host, const char *name);
/* EBUSY while a process is still leaving it; a group that is not there is success. */
int cgroup_remove(const struct cgroup_host *host, const char *name);
/* Whether the process is a member of the sandbox's group. */
bool cgroup_has_process(const struct cgroup_host *host, const char *name, pid_t pid);

/* Calls back with the name of every group below ours; one that is in several hierarchies comes several times. */
void cgroup_each(const struct cgroup_host *host, void (*callback)(const char *name, void *data), void *data);

/* The two kinds; used by cgroup.c only. */
int cgroup_v1_set(int groupfd, enum cgroup_controller c, const struct spawn_limits *old,
                  const struct spawn_limits *limits);
int cgroup_v2_set(int groupfd, enum cgroup_controller c, const struct spawn_limits *limits);
void cgroup_v1_stat(int groupfd, enum cgroup_controller c, struct cgroup_stat *ret);
void cgroup_v2_stat(int groupfd, enum cgroup_controller c, struct cgroup_stat *ret);
uint32_t cgroup_v1_oom_kills(int memory_groupfd);
uint32_t cgroup_v2_oom_kills(int groupfd);
/* Makes `controllers` available in the children of the group; returns those that are. */
unsigned cgroup_v2_enable(int groupfd, unsigned controllers);
/* "usage_usec 17" in a file of such lines: the number, or 0. */
uint64_t cgroup_read_keyed(int groupfd, const char *file, const char *key);
uint64_t cgroup_read_number(int groupfd, const char *file);
const char *cgroup_controller_name(enum cgroup_controller c);
