/* filter_print.h - the published form of the sandboxes' filter. */
#pragma once

#include <stdio.h>

/*
 * A line per system call of this architecture that the table names: number, name and what it answers, separated by
 * tabs: "allow", "check" (it depends on the arguments), or the error's name. All others answer ENOSYS. Returns 0,
 * or -1 if the output failed.
 */
int filter_print(FILE *out);
