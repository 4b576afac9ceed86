/*
 * request.h - what a request must look like. Pure: the one place that looks at bytes which the daemon chose, and
 * the target of fuzz_spawn_request.
 */
#pragma once

#include "base/error.h"
#include "base/spawn_wire.h"

#define SPAWN_MAX_BYTES      (UINT64_C(1) << 48)
#define SPAWN_MIN_MEMORY     (UINT64_C(8) << 20)
#define SPAWN_MIN_DISK       (UINT64_C(1) << 20)
#define SPAWN_MIN_CPU_MILLIS 10 /* 1 ms of each period of 100 ms, the least the scheduler takes */
#define SPAWN_MAX_CPU_MILLIS 1024000
#define SPAWN_MIN_PIDS       4
#define SPAWN_MAX_PIDS       4194304
#define SPAWN_MIN_NOFILE     16
#define SPAWN_MAX_READY      1024

struct spawn_policy {
    struct spawn_limits ceiling;
    bool oci;    /* an OCI runtime is configured */
    bool egress; /* SPAWN_FEATURE_EGRESS */
};

/*
 * 0 when `message` is exactly one request that this spawner may carry out. On failure err->errnum is the errno for
 * the reply: EPROTO for a message that is not a request at all, EINVAL, ERANGE for a limit, EOPNOTSUPP.
 */
int spawn_request_check(const void *message, size_t n, const struct spawn_policy *policy, struct spawn_request *ret,
                        struct berm_error *err);
