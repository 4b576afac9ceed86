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

bool step_fault_option(const char *name, const char *value)
{
    uint64_t n;

    if (strcmp(name, "--fail-at") != 0 || str_to_u64(str_from(value), &n) < 0 || n >= STEP_COUNT)
        return false;
    fail_at = (unsigned)n;
    return true;
}

bool step_fault(enum step step)
{
    if (fail_at != step)
        return false;
    errno = EIO;
    return true;
}
#endif
