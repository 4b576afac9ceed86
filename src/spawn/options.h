/*
 * options.h - the command line of berm-spawn.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "base/spawn_wire.h"

#include <sys/types.h>

enum spawn_mode { SPAWN_MODE_SERVE, SPAWN_MODE_STOP_ALL, SPAWN_MODE_CHECK, SPAWN_MODE_PRINT_FILTER };

struct spawn_options {
    enum spawn_mode mode;
    int socket_fd;
    const char *data;
    const char *images;
    const char *agent;
    const char *cgroup_parent;
    const char *oci_runtime; /* NULL: the OCI back end is off */
    uid_t owner_uid;
    gid_t owner_gid;
    uint64_t disk_pool; /* 0: chosen from the free space */
    struct spawn_limits ceiling;
    uint32_t max_sandboxes;
};

#define SPAWN_MAX_SANDBOXES 16384

/* The strings of *ret borrow argv. */
int spawn_options_parse(int argc, char **argv, struct spawn_options *ret, struct berm_error *err);
