/* interceptor.c - the interceptor that connections are offered to, and the names that it stands in for. */
#include "daemon/egress/internal.h"

/* "*" stands for any run of bytes. */
static bool glob_fits(const char *pattern, struct str name)
{
    const char *star = NULL;
    size_t at = 0, star_at = 0;

    while (at < name.n) {
        if (*pattern == '*') {
            star = pattern++;
            star_at = at;
        } else if (*pattern == name.p[at]) {
            pattern++;
            at++;
        } else if (star) {
            pattern = star + 1;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool interceptor_wants_name(const struct egress *egress, struct str name)
{
    if (egress->interceptor_port == 0 || name.n == 0)
        return false;
    for (char **pattern = egress->interceptor_names; pattern && *pattern; pattern++)
        if (glob_fits(*pattern, name))
            return true;
    return false;
}

void interceptor_clear(struct egress *egress)
{
    for (char **name = egress->interceptor_names; name && *name; name++)
        free(*name);
    free(egress->interceptor_names);
    egress->interceptor_names = NULL;
    egress->interceptor_port = 0;
}

static char **copy_names(const char *const *names)
{
    size_t count = 0;
    char **copy;

    while (names[count])
        count++;
    copy = calloc(count + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = strdup(names[i]);
        if (copy[i])
            continue;
        while (i > 0)
            free(copy[--i]);
        free(copy);
        return NULL;
    }
    return copy;
}

int egress_set_interceptor(struct egress *egress, const struct egress_interceptor *interceptor)
{
    char **names = NULL;

    if (interceptor && interceptor->names && !(names = copy_names(interceptor->names)))
        return -1;
    interceptor_clear(egress);
    if (!interceptor)
        return 0;
    egress->interceptor_ip = interceptor->ip;
    egress->interceptor_port = interceptor->port;
    egress->interceptor_names = names;
    return 0;
}
