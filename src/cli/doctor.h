/* doctor.h - what this host offers and lacks: one check per row, each asking the kernel rather than its version. */
#pragma once

#include "cli/cli.h"

enum health { HEALTH_OK, HEALTH_NOTE, HEALTH_MISSING };

struct finding {
    enum health health;
    char detail[200];
};

struct check {
    const char *name; /* "cgroup controllers" */
    const char *why;  /* what goes without it */
    bool required;
    void (*run)(struct cli *cli, const char *data_dir, struct finding *ret);
};

extern const struct check doctor_checks[]; /* ended by a row without a name */

void finding_set(struct finding *f, enum health health, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
