#include "step.h"

static const char *const step_names[STEP_COUNT] = {
#define X(name, text) [STEP_##name] = text,
    SPAWN_STEPS(X)
#undef X
};

const char *step_name(enum step step)
{
    return (unsigned)step < STEP_COUNT ? step_names[step] : "unknown step";
}

int step_fail(struct berm_error *err, enum step step)
{
    return berm_fail(err, BERM_E_SYSTEM, errno ? errno : EIO, "%s", step_name(step));
}

#ifdef SPAWN_FAULTS
static unsigned fail_at = STEP_COUNT;
static uint64_t fail_after;
static unsigned lacking;

static const char *const feature_names[] = {
    [HOST_DETACHED_TREES] = "detached-trees", [HOST_FILE_IMAGES] = "file-images",
    [HOST_CGROUP_V2] = "cgroup-v2",           [HOST_LANDLOCK] = "landlock",
    [HOST_SIMPLE_QUOTA] = "simple-quota",
};

static bool set_lacking(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(feature_names); i++) {
        if (strcmp(name, feature_names[i]) == 0) {
            lacking |= 1u << i;
            return true;
        }
    }
    return false;
}

bool step_fault_option(const char *name, const char *value)
{
    uint64_t n;

    if (strcmp(name, "--without") == 0)
        return set_lacking(value);
    if (strcmp(name, "--fail-after") == 0)
        return str_to_u64(str_from(value), &fail_after) == 0;
    if (strcmp(name, "--fail-at") != 0 || str_to_u64(str_from(value), &n) < 0 || n >= STEP_COUNT)
        return false;
    fail_at = (unsigned)n;
    return true;
}

/* For those whom a bermd starts, which knows nothing of these options. */
static void read_environment(void)
{
    static const char *const names[][2] = { { "--fail-at", "BERM_SPAWN_FAIL_AT" },
                                            { "--fail-after", "BERM_SPAWN_FAIL_AFTER" } };
    static bool read;

    if (read)
        return;
    read = true;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *value = getenv(names[i][1]);

        if (value && !step_fault_option(names[i][0], value))
            abort();
    }
}

bool step_fault(enum step step)
{
    read_environment();
    if (fail_at != step || fail_after-- > 0)
        return false;
    fail_after = 0;
    errno = EIO;
    return true;
}

bool host_pretends_to_lack(enum host_feature feature)
{
    return lacking >> feature & 1;
}
#endif
