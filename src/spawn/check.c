#include "check.h"
int check_host(const struct spawn_options *options)
{
    (void)options;
    return 0;
}
