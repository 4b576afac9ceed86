/*
 * doctor.h - what this host offers and lacks.
 *
 * berm-spawn knows best, since it can try each layer of isolation for real; that needs root. Without it the layers
 * are looked up. The rest (tools, disk, processor, daemon) is looked up here in any case.
 */
#pragma once

#include "cli/cli.h"

enum health { HEALTH_OK, HEALTH_NOTE, HEALTH_MISSING };

struct finding {
    enum health health;
    char detail[300];
};

struct check {
    const char *name; /* the spawner's name for it, if it knows it as well */
    const char *why;  /* what goes without it */
    bool required;
    bool spawner_tries;
    void (*run)(struct cli *cli, const char *data_dir, struct finding *ret);
};

extern const struct check doctor_checks[]; /* ended by a row without a name */

void finding_set(struct finding *f, enum health health, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define DOCTOR_ROWS_MAX 64

struct doctor_row {
    char name[32];
    const char *why; /* or NULL */
    bool required;
    struct finding finding;
};

struct doctor_report {
    struct doctor_row rows[DOCTOR_ROWS_MAX];
    size_t count;
};

struct doctor_row *doctor_add(struct doctor_report *report, struct str name, const char *why, bool required);

/*
 * Adds what `berm-spawn --check` found, and a row "spawner" about whether it could be asked. False if it could not:
 * then the layers must be looked up.
 */
bool doctor_ask_spawner(struct doctor_report *report);
