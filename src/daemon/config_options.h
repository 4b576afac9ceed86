/* config_options.h - the table of options, for config.c only. */
#pragma once

#include "daemon/config.h"

enum option_type {
    OPTION_TEXT,
    OPTION_PATH,     /* made absolute */
    OPTION_CHOICE,   /* one of `choices` */
    OPTION_LIST,     /* words separated by spaces or commas; a flag may be repeated */
    OPTION_NUMBER,   /* decimal */
    OPTION_SIZE,     /* bytes, with a unit */
    OPTION_DURATION, /* milliseconds, with a unit */
};

struct option_row {
    const char *section;
    const char *name;
    enum option_type type;
    size_t offset;        /* into struct config */
    const char *fallback; /* the default as text; NULL: unset, or decided by config_load() */
    uint64_t min, max;    /* numbers, sizes, durations */
    const char *choices;  /* space-separated */
    const char *doc;
};

extern const struct option_row option_table[];
extern const size_t option_count;
