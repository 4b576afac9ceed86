#include "options.h"

#include "request.h"
#include "step.h"

enum option_kind { OPT_STRING, OPT_U64, OPT_U32, OPT_MODE };

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset;
    uint64_t min, max; /* numbers */
    enum spawn_mode mode;
};

#define FIELD(member) offsetof(struct spawn_options, member)

static const struct option_row option_table[] = {
    { "--socket-fd", OPT_U32, FIELD(socket_fd), 0, INT32_MAX },
    { "--data", OPT_STRING, FIELD(data) },
    { "--images", OPT_STRING, FIELD(images) },
    { "--agent", OPT_STRING, FIELD(agent) },
    { "--cgroup-parent", OPT_STRING, FIELD(cgroup_parent) },
    { "--oci-runtime", OPT_STRING, FIELD(oci_runtime) },
    { "--owner-uid", OPT_U32, FIELD(owner_uid), 0, UINT32_MAX - 1 },
    { "--owner-gid", OPT_U32, FIELD(owner_gid), 0, UINT32_MAX - 1 },
    { "--disk-pool", OPT_U64, FIELD(disk_pool), 256u << 20, INT64_MAX },
    { "--max-memory", OPT_U64, FIELD(ceiling.memory_bytes), SPAWN_MIN_MEMORY, SPAWN_MAX_BYTES },
    { "--max-disk", OPT_U64, FIELD(ceiling.disk_bytes), SPAWN_MIN_DISK, SPAWN_MAX_BYTES },
    { "--max-cpu-millis", OPT_U32, FIELD(ceiling.cpu_millis), SPAWN_MIN_CPU_MILLIS, SPAWN_MAX_CPU_MILLIS },
    { "--max-pids", OPT_U32, FIELD(ceiling.pids), SPAWN_MIN_PIDS, SPAWN_MAX_PIDS },
    { "--max-sandboxes", OPT_U32, FIELD(max_sandboxes), 1, SPAWN_MAX_SANDBOXES },
    { "--stop-all", OPT_MODE, .mode = SPAWN_MODE_STOP_ALL },
    { "--check", OPT_MODE, .mode = SPAWN_MODE_CHECK },
    { "--print-filter", OPT_MODE, .mode = SPAWN_MODE_PRINT_FILTER },
};

static int take_number(const struct option_row *row, const char *text, void *to, struct berm_error *err)
{
    uint64_t value;

    if (str_to_u64(str_from(text), &value) < 0 || value < row->min || value > row->max)
        return berm_fail_field(err, row->name, "%s takes a number from %llu to %llu", row->name,
                               (unsigned long long)row->min, (unsigned long long)row->max);
    if (row->kind == OPT_U64)
        memcpy(to, &value, sizeof(value));
    else
        memcpy(to, &(uint32_t){ (uint32_t)value }, sizeof(uint32_t));
    return 0;
}

static const struct option_row *find_option(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++)
        if (strcmp(option_table[i].name, name) == 0)
            return &option_table[i];
    return NULL;
}

static bool plain_name(const char *s)
{
    size_t n = strlen(s);

    if (n == 0 || n > 64 || s[0] == '.')
        return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

static int check_complete(const struct spawn_options *o, struct berm_error *err)
{
    if (o->mode == SPAWN_MODE_CHECK || o->mode == SPAWN_MODE_PRINT_FILTER)
        return 0;
    if (!o->data || o->data[0] != '/')
        return berm_fail_field(err, "--data", "--data must name a directory by its absolute path");
    if (!plain_name(o->cgroup_parent))
        return berm_fail_field(err, "--cgroup-parent", "--cgroup-parent must be one plain name");
    if (o->mode == SPAWN_MODE_STOP_ALL)
        return 0;
    if (!o->images || o->images[0] != '/')
        return berm_fail_field(err, "--images", "--images must name a directory by its absolute path");
    if (!o->agent)
        return berm_fail_field(err, "--agent", "--agent must name the agent's program file");
    if (o->socket_fd < 0)
        return berm_fail_field(err, "--socket-fd", "--socket-fd must name the socket to the daemon");
    return 0;
}

static const struct spawn_options defaults = {
    .socket_fd = -EBADF,
    .cgroup_parent = "berm",
    .ceiling = {
        .memory_bytes = SPAWN_MAX_BYTES,
        .disk_bytes = SPAWN_MAX_BYTES,
        .cpu_millis = SPAWN_MAX_CPU_MILLIS,
        .pids = SPAWN_MAX_PIDS,
    },
    .max_sandboxes = 2048,
};

int spawn_options_parse(int argc, char **argv, struct spawn_options *ret, struct berm_error *err)
{
    *ret = defaults;
    for (int i = 1; i < argc; i++) {
        const struct option_row *row = find_option(argv[i]);
        void *to;

        if (!row && i + 1 < argc && step_fault_option(argv[i], argv[i + 1])) {
            i++;
            continue;
        }
        if (!row)
            return berm_fail_field(err, argv[i], "unknown option %s", argv[i]);
        if (row->kind == OPT_MODE) {
            ret->mode = row->mode;
            continue;
        }
        if (++i >= argc)
            return berm_fail_field(err, row->name, "%s takes a value", row->name);
        to = (char *)ret + row->offset;
        if (row->kind == OPT_STRING)
            memcpy(to, &argv[i], sizeof(argv[i]));
        else if (take_number(row, argv[i], to, err) < 0)
            return -1;
    }
    return check_complete(ret, err);
}
