/*
 * options.h - command lines from tables: each verb lists its options once, for the parser, its help and completion.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

enum cli_kind {
    CLI_FLAG,     /* bool */
    CLI_TEXT,     /* const char * */
    CLI_LIST,     /* struct cli_list: every value given */
    CLI_ENV,      /* struct cli_list of NAME=VALUE; a bare NAME takes its value from the environment */
    CLI_SIZE,     /* uint64_t bytes: 512m, 1g */
    CLI_COUNT,    /* uint32_t, at least 1 */
    CLI_CPUS,     /* uint32_t thousandths: 1, 0.5 */
    CLI_DURATION, /* int64_t milliseconds: 30, 90s, 10m, 500ms */
};

struct cli_list {
    const char **items; /* NULL-terminated; NULL while empty */
    size_t count;
};

struct cli_option {
    char letter;       /* 0: none */
    const char *name;  /* NULL ends the table */
    const char *value; /* what the help calls it; NULL for flags */
    const char *help;
    enum cli_kind kind;
    size_t offset; /* of the variable in the verb's struct */
};

#define CLI_OPTIONS_END                                                                                            \
    {                                                                                                              \
        .name = NULL                                                                                               \
    }

/* A table and the struct that its offsets are in. */
struct cli_option_set {
    const struct cli_option *table;
    void *values;
};

struct cli_operands {
    char **items; /* NULL-terminated, in the arena */
    int count;
};

/*
 * Takes the options out of argv (without the program and verb). `options_first`: everything from the first operand
 * on is operands, as commands want it; else both may mix. "--" ends the options and vanishes. Values go to the
 * sets' structs, strings borrow argv, the environment or `arena`. -1 with INVALID_REQUEST.
 */
int options_parse(const struct cli_option_set *sets, size_t set_count, bool options_first, struct arena *arena,
                  int argc, char **argv, struct cli_operands *ret, struct berm_error *err);
