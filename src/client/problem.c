/* problem.c - what a call tells when it fails. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

int problem_set(struct berm_problem *problem, enum berm_problem_kind kind, int errnum, const char *format, ...)
{
    va_list args;
    size_t used;

    if (!problem)
        return -1;
    *problem = (struct berm_problem){ .kind = kind, .errnum = errnum };
    va_start(args, format);
    vsnprintf(problem->message, sizeof(problem->message), format, args);
    va_end(args);
    used = strlen(problem->message);
    if (errnum != 0)
        snprintf(problem->message + used, sizeof(problem->message) - used, ": %s", strerror(errnum));
    problem_clean(problem->message);
    return -1;
}

int problem_memory(struct berm_problem *problem)
{
    return problem_set(problem, BERM_PROBLEM_SYSTEM, ENOMEM, "client");
}

int problem_protocol(struct berm_problem *problem, const struct berm_error *err)
{
    return problem_set(problem, BERM_PROBLEM_TRANSPORT, 0, "unexpected answer from the daemon: %s", err->message);
}

void problem_clean(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        bool c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f; /* U+0080 to U+009F, of two bytes */

        if (*c < 0x20 || *c == 0x7f || c1)
            *c = '?';
        if (c1)
            *++c = '?';
    }
}
