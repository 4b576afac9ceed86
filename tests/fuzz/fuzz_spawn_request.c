/*
 * Any message that the daemon's user, taken over, can send to berm-spawn. What is accepted must satisfy everything
 * that the code behind relies on; it is checked here again in other words.
 */
#include "spawn/request.h"

#include <sys/socket.h>

static const struct spawn_policy policy = {
    .ceiling = { .memory_bytes = UINT64_C(1) << 34,
                 .disk_bytes = UINT64_C(1) << 36,
                 .cpu_millis = 8000,
                 .pids = 4096,
                 .nofile = 20000 },
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void require_limits(const struct spawn_limits *l)
{
    require(l->memory_bytes >= SPAWN_MIN_MEMORY && l->memory_bytes <= policy.ceiling.memory_bytes);
    require(l->disk_bytes >= SPAWN_MIN_DISK && l->disk_bytes <= policy.ceiling.disk_bytes);
    require(l->cpu_millis >= SPAWN_MIN_CPU_MILLIS && l->cpu_millis <= policy.ceiling.cpu_millis);
    require(l->pids >= SPAWN_MIN_PIDS && l->pids <= policy.ceiling.pids);
    require(l->nofile >= SPAWN_MIN_NOFILE && l->nofile <= policy.ceiling.nofile);
}

static void require_create(const struct spawn_create *c)
{
    size_t n = strnlen(c->hostname, sizeof(c->hostname));

    require_limits(&c->limits);
    require((c->network == SPAWN_NETWORK_NONE || c->network == SPAWN_NETWORK_EGRESS) &&
            c->backend == SPAWN_BACKEND_NATIVE);
    require(n >= 1 && n <= 63);
    require(strspn(c->hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spawn_request r;
    struct berm_error err = { 0 };

    if (spawn_request_check(data, size, &policy, &r, &err) < 0) {
        require(err.errnum > 0 && err.message[0] != '\0');
        return 0;
    }
    require(size == sizeof(r) && r.version == SPAWN_WIRE_VERSION && r.serial != 0);
    require(r.op >= SPAWN_OP_HELLO && r.op <= SPAWN_OP_IMAGE_LIST);
    require(r.key != 0 || r.op == SPAWN_OP_HELLO || r.op == SPAWN_OP_LIST || r.op == SPAWN_OP_PREPARE ||
            r.op == SPAWN_OP_VOLUME_LIST || r.op == SPAWN_OP_IMAGE_LIST);
    require(r.op != SPAWN_OP_COMMIT || r.commit.number != 0);
    if (r.op == SPAWN_OP_CREATE)
        require_create(&r.create);
    if (r.op == SPAWN_OP_SET_LIMITS)
        require_limits(&r.limits);
    if (r.op == SPAWN_OP_VOLUME_CREATE)
        require(r.volume.disk_bytes >= SPAWN_MIN_DISK && r.volume.disk_bytes <= policy.ceiling.disk_bytes);
    if (r.op == SPAWN_OP_VOLUME_MOUNT)
        require(r.volume_mount.number != 0 && r.volume_mount.fd <= INT32_MAX && r.volume_mount.read_only <= 1);
    if (r.op == SPAWN_OP_SOCKET)
        require((r.socket.family == AF_INET || r.socket.family == AF_INET6) &&
                (r.socket.type == SOCK_STREAM || r.socket.type == SOCK_DGRAM));
    if (r.op == SPAWN_OP_PREPARE)
        require(r.prepare.slots <= SPAWN_MAX_READY);
    if (r.op == SPAWN_OP_FREEZE)
        require(r.freeze.on <= 1);
    return 0;
}
