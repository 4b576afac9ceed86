#include "request.h"

#include <sys/socket.h>

static int refuse(struct berm_error *err, int errnum, const char *what)
{
    return berm_fail(err, BERM_E_INVALID_REQUEST, errnum, "%s", what);
}

static bool hostname_valid(const char *name, size_t size)
{
    size_t n = strnlen(name, size);

    if (n == 0 || n >= size || n > 63)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
        if (!fine)
            return false;
    }
    return true;
}

struct limit_row {
    const char *name;
    uint64_t value, min, max;
};

static int check_limits(const struct spawn_limits *limits, const struct spawn_limits *ceiling,
                        struct berm_error *err)
{
    const struct limit_row rows[] = {
        { "memory limit", limits->memory_bytes, SPAWN_MIN_MEMORY, ceiling->memory_bytes },
        { "disk limit", limits->disk_bytes, SPAWN_MIN_DISK, ceiling->disk_bytes },
        { "cpu limit", limits->cpu_millis, SPAWN_MIN_CPU_MILLIS, ceiling->cpu_millis },
        { "pids limit", limits->pids, SPAWN_MIN_PIDS, ceiling->pids },
        { "nofile limit", limits->nofile, SPAWN_MIN_NOFILE, ceiling->nofile },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].value < rows[i].min || rows[i].value > rows[i].max)
            return refuse(err, ERANGE, rows[i].name);
    if (limits->reserved != 0)
        return refuse(err, EINVAL, "reserved field");
    return 0;
}

static int check_create(const struct spawn_create *create, const struct spawn_policy *policy,
                        struct berm_error *err)
{
    if (check_limits(&create->limits, &policy->ceiling, err) < 0)
        return -1;
    if (create->network != SPAWN_NETWORK_NONE && create->network != SPAWN_NETWORK_EGRESS)
        return refuse(err, EINVAL, "network");
    if (create->network == SPAWN_NETWORK_EGRESS && !policy->egress)
        return refuse(err, EOPNOTSUPP, "this host has no nft with tproxy");
    if (create->backend != SPAWN_BACKEND_NATIVE && create->backend != SPAWN_BACKEND_OCI)
        return refuse(err, EINVAL, "backend");
    if (create->backend == SPAWN_BACKEND_OCI && !policy->oci)
        return refuse(err, EOPNOTSUPP, "no OCI runtime is configured");
    if (!hostname_valid(create->hostname, sizeof(create->hostname)))
        return refuse(err, EINVAL, "hostname");
    return 0;
}

static int check_socket(const struct spawn_socket *s, struct berm_error *err)
{
    if (s->family != AF_INET && s->family != AF_INET6)
        return refuse(err, EINVAL, "socket family");
    if (s->type != SOCK_STREAM && s->type != SOCK_DGRAM)
        return refuse(err, EINVAL, "socket type");
    return 0;
}

static int check_volume(const struct spawn_volume *v, const struct spawn_limits *ceiling, struct berm_error *err)
{
    return v->disk_bytes >= SPAWN_MIN_DISK && v->disk_bytes <= ceiling->disk_bytes
               ? 0
               : refuse(err, ERANGE, "disk limit");
}

static int check_volume_mount(const struct spawn_volume_mount *m, struct berm_error *err)
{
    if (m->number == 0)
        return refuse(err, EINVAL, "volume");
    if (m->fd > INT32_MAX)
        return refuse(err, EINVAL, "descriptor");
    return m->read_only <= 1 ? 0 : refuse(err, EINVAL, "read_only");
}

static bool needs_key(uint32_t op)
{
    return op != SPAWN_OP_HELLO && op != SPAWN_OP_LIST && op != SPAWN_OP_PREPARE && op != SPAWN_OP_VOLUME_LIST &&
           op != SPAWN_OP_IMAGE_LIST;
}

static int check_body(const struct spawn_request *r, const struct spawn_policy *policy, struct berm_error *err)
{
    switch (r->op) {
    case SPAWN_OP_CREATE:
        return check_create(&r->create, policy, err);
    case SPAWN_OP_SET_LIMITS:
        return check_limits(&r->limits, &policy->ceiling, err);
    case SPAWN_OP_SOCKET:
        return check_socket(&r->socket, err);
    case SPAWN_OP_PREPARE:
        return r->prepare.slots <= SPAWN_MAX_READY ? 0 : refuse(err, ERANGE, "slots");
    case SPAWN_OP_FREEZE:
        return r->freeze.on <= 1 ? 0 : refuse(err, EINVAL, "freeze");
    case SPAWN_OP_VOLUME_CREATE:
        return check_volume(&r->volume, &policy->ceiling, err);
    case SPAWN_OP_VOLUME_MOUNT:
        return check_volume_mount(&r->volume_mount, err);
    case SPAWN_OP_COMMIT:
        return r->commit.number != 0 ? 0 : refuse(err, EINVAL, "image");
    case SPAWN_OP_IMAGE_DELETE:
    case SPAWN_OP_IMAGE_LIST:
    case SPAWN_OP_VOLUME_DELETE:
    case SPAWN_OP_VOLUME_LIST:
    case SPAWN_OP_HELLO:
    case SPAWN_OP_KILL:
    case SPAWN_OP_DESTROY:
    case SPAWN_OP_STAT:
    case SPAWN_OP_LIST:
    case SPAWN_OP_EGRESS:
        return 0;
    default:
        return refuse(err, EINVAL, "unknown operation");
    }
}

int spawn_request_check(const void *message, size_t n, const struct spawn_policy *policy, struct spawn_request *ret,
                        struct berm_error *err)
{
    if (n != sizeof(*ret))
        return refuse(err, EPROTO, "message size");
    memcpy(ret, message, sizeof(*ret));
    if (ret->version != SPAWN_WIRE_VERSION)
        return refuse(err, EPROTO, "wire version");
    if (ret->serial == 0)
        return refuse(err, EINVAL, "serial");
    if (needs_key(ret->op) && ret->key == 0)
        return refuse(err, EINVAL, "key");
    return check_body(ret, policy, err);
}
