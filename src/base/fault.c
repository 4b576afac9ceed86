#include "fault.h"

#include "base.h"

#include <signal.h>

const char *fault_wanted;

void fault_setup(void)
{
    const char *wanted = getenv("BERM_FAULT_AT");

    fault_wanted = wanted && *wanted ? wanted : NULL;
}

void fault_hit(const char *point)
{
    if (strcmp(point, fault_wanted) == 0)
        kill(getpid(), SIGKILL);
}
