#include "filter_print.h"

#include "filter.h"

#include <seccomp.h>

static const char *action_name(enum filter_verdict verdict)
{
    switch (verdict) {
    case FILTER_ALLOW:
        return "allow";
    case FILTER_EPERM:
        return "EPERM";
    case FILTER_ENOSYS:
        return "ENOSYS";
    case FILTER_BROKER:
        return "broker";
    default:
        return "check";
    }
}

int filter_print(FILE *out)
{
    for (size_t i = 0; i < filter_sandbox_rule_count; i++) {
        const struct filter_rule *rule = &filter_sandbox_rules[i];
        int number = rule->number ? rule->number : seccomp_syscall_resolve_name(rule->name);
        if (number >= 0) /* negative: not on this architecture */
            fprintf(out, "%d\t%s\t%s\n", number, rule->name, action_name(rule->verdict));
    }
    return fflush(out) == 0 && !ferror(out) ? 0 : -1;
}
