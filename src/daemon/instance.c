/* instance.c - what the daemon asks of berm-spawn, in one place. */
#include "base/fault.h"
#include "base/log.h"
#include "daemon/lifecycle.h"
#include "daemon/sandbox_egress.h"

/* All sandboxes have the same host name: a warm one does not know yet whose it will be. */
#define HOSTNAME "sandbox"

bool limits_equal(const struct spawn_limits *a, const struct spawn_limits *b)
{
    return a->memory_bytes == b->memory_bytes && a->disk_bytes == b->disk_bytes && a->cpu_millis == b->cpu_millis &&
           a->pids == b->pids && a->nofile == b->nofile;
}

int instance_create(struct daemon *daemon, uint64_t key, const uint8_t digest[32],
                    const struct spawn_limits *limits, uint32_t network, spawn_done done, void *data,
                    struct berm_error *err)
{
    struct spawn_request request = { .op = SPAWN_OP_CREATE, .key = key };

    memcpy(request.create.image_digest, digest, sizeof(request.create.image_digest));
    request.create.limits = *limits;
    request.create.network = instance_network(daemon, network);
    request.create.backend = daemon->backend;
    memcpy(request.create.hostname, HOSTNAME, sizeof(HOSTNAME));
    return spawn_link_send(daemon->spawn, &request, done, data, err);
}

int instance_set_limits(struct daemon *daemon, uint64_t key, const struct spawn_limits *limits, spawn_done done,
                        void *data, struct berm_error *err)
{
    struct spawn_request request = { .op = SPAWN_OP_SET_LIMITS, .key = key, .limits = *limits };

    return spawn_link_send(daemon->spawn, &request, done, data, err);
}

int instance_socket(struct daemon *daemon, uint64_t key, int family, int type, spawn_done done, void *data,
                    struct berm_error *err)
{
    struct spawn_request request = { .op = SPAWN_OP_SOCKET, .key = key };

    request.socket.family = (uint32_t)family;
    request.socket.type = (uint32_t)type;
    return spawn_link_send(daemon->spawn, &request, done, data, err);
}

/* What berm-spawn could not do now is found at the next adoption: nothing claims the key any more. */
static void on_destroyed(const struct spawn_reply *reply, const struct berm_error *err, void *data)
{
    (void)data;
    if (err->code != BERM_OK && !(reply && reply->error == ENOENT) && err->code != BERM_E_SPAWNER_UNAVAILABLE)
        log_warn("sandbox.destroy_failed", "error", err->message);
}

void instance_destroy(struct daemon *daemon, uint64_t key)
{
    struct spawn_request request = { .op = SPAWN_OP_DESTROY, .key = key };
    struct berm_error err;

    if (spawn_link_send(daemon->spawn, &request, on_destroyed, NULL, &err) < 0)
        log_warn("sandbox.destroy_failed", "error", err.message);
    FAULT_POINT("destroy.sent");
}

void instance_start_error(const struct berm_error *cause, struct berm_error *err)
{
    if (cause->code == BERM_E_SYSTEM && cause->errnum == EDQUOT) /* berm-spawn's own ceiling */
        berm_fail(err, BERM_E_CAPACITY_EXCEEDED, 0, "cannot start the sandbox: %s", cause->message);
    else if (cause->code == BERM_E_SYSTEM)
        berm_fail(err, BERM_E_POOL_ERROR, 0, "pool error: failed to start the sandbox: %s", cause->message);
    else
        *err = *cause;
}

enum end_reason lifecycle_reason(const struct spawn_sandbox *sandbox, int *ret_status)
{
    static const enum end_reason reasons[] = {
        [SPAWN_END_NONE] = END_LOST, [SPAWN_END_EXITED] = END_EXITED, [SPAWN_END_SIGNALED] = END_SIGNALED,
        [SPAWN_END_OOM] = END_OOM,   [SPAWN_END_KILLED] = END_KILLED, [SPAWN_END_UNKNOWN] = END_LOST,
    };

    *ret_status = sandbox->exit_status;
    return sandbox->end_reason < ARRAY_SIZE(reasons) ? reasons[sandbox->end_reason] : END_LOST;
}
