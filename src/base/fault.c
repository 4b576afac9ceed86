#include "fault.h"

#include "base.h"

#include <signal.h>
#include <sys/mman.h>

#define FAULTS_MAX 16

const char *fault_wanted;
static bool *struck; /* by number in the list; shared with processes forked later */

void fault_setup(void)
{
    const char *wanted = getenv("BERM_FAULT_AT");

    if (!wanted || !*wanted)
        return;
    struck = mmap(NULL, FAULTS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (struck == MAP_FAILED)
        abort();
    fault_wanted = wanted;
}

/* The signal when `item`, one of the list, names the point; else 0. */
static int signal_at(struct str item, const char *point)
{
    size_t n = strlen(point);

    if (item.n < n || memcmp(item.p, point, n) != 0)
        return 0;
    if (item.n == n)
        return SIGKILL;
    return str_eq((struct str){ item.p + n, item.n - n }, STR("/stop")) ? SIGSTOP : 0;
}

void fault_hit(const char *point)
{
    const char *at = fault_wanted;

    for (size_t i = 0; i < FAULTS_MAX && *at; i++) {
        size_t n = strcspn(at, ",");
        int signo = signal_at((struct str){ at, n }, point);

        if (signo && !struck[i]) {
            struck[i] = true;
            kill(getpid(), signo);
        }
        at += n + (at[n] == ',');
    }
}
