/* config_value.c - text to value and back, for the table of options. */
#include "daemon/config_value.h"

#include <limits.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Longer names first: "ms" before "m". */
static const struct unit size_units[] = {
    { "KiB", 1u << 10 }, { "MiB", 1u << 20 }, { "GiB", 1u << 30 }, { "TiB", (uint64_t)1 << 40 },
    { "K", 1u << 10 },   { "M", 1u << 20 },   { "G", 1u << 30 },   { "T", (uint64_t)1 << 40 },
    { "B", 1 },          { "", 1 },
};
static const struct unit duration_units[] = {
    { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
};

/* Digits with at most three after a point, times a unit; exact, so that 1.5GiB is what one expects. */
static int parse_with_unit(struct str text, const struct unit *units, size_t count, uint64_t *ret)
{
    uint64_t whole = 0, thousandths = 0, total;
    size_t i = 0, fraction_digits = 0;

    for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++)
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, text.p[i] - '0', &whole))
            return -1;
    if (i == 0)
        return -1;
    if (i < text.n && text.p[i] == '.') {
        for (i++; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++) {
            if (++fraction_digits > 3)
                return -1;
            thousandths = thousandths * 10 + (uint64_t)(text.p[i] - '0');
        }
        if (fraction_digits == 0)
            return -1;
    }
    for (; fraction_digits < 3; fraction_digits++)
        thousandths *= 10;

    struct str suffix = { text.p + i, text.n - i };
    for (size_t u = 0; u < count; u++) {
        if (!str_is(suffix, units[u].name))
            continue;
        if (__builtin_mul_overflow(whole, units[u].factor, &total) || (thousandths && units[u].factor == 1) ||
            __builtin_add_overflow(total, units[u].factor * thousandths / 1000, &total))
            return -1;
        *ret = total;
        return 0;
    }
    return -1;
}

int config_parse_size(struct str text, uint64_t *ret)
{
    return parse_with_unit(text, size_units, ARRAY_SIZE(size_units), ret);
}

int config_parse_duration(struct str text, uint64_t *ret_ms)
{
    return parse_with_unit(text, duration_units, ARRAY_SIZE(duration_units), ret_ms);
}

static int set_number(const struct option_row *row, struct str text, uint64_t *ret, struct berm_error *err)
{
    const char *form = "a number";
    uint64_t value;
    int rc;

    if (row->type == OPTION_SIZE) {
        rc = config_parse_size(text, &value);
        form = "a size such as 64MiB";
    } else if (row->type == OPTION_DURATION) {
        rc = config_parse_duration(text, &value);
        form = "a duration such as 90s or 10m";
    } else {
        rc = str_to_u64(text, &value);
    }
    if (rc < 0)
        return berm_fail_field(err, row->name, "%s.%s: \"%.*s\" is not %s", row->section, row->name,
                               (int)MIN(text.n, (size_t)64), text.p, form);
    if (value < row->min || value > row->max)
        return berm_fail_field(err, row->name, "%s.%s: %.*s is out of range (%llu to %llu%s)", row->section,
                               row->name, (int)MIN(text.n, (size_t)64), text.p, (unsigned long long)row->min,
                               (unsigned long long)row->max, row->type == OPTION_DURATION ? " ms" : "");
    *ret = value;
    return 0;
}

static int replace_text(char **slot, char *text, struct berm_error *err)
{
    if (!text)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "settings");
    free(*slot);
    *slot = text;
    return 0;
}

static char *absolute_path(struct str text)
{
    char cwd[PATH_MAX], *joined = NULL;

    if (text.n > 0 && text.p[0] == '/')
        return str_dup(text);
    if (!getcwd(cwd, sizeof(cwd)) || asprintf(&joined, "%s/%.*s", cwd, (int)text.n, text.p) < 0)
        return NULL;
    return joined;
}

static bool has_word(const char *words, struct str word)
{
    while (*words) {
        size_t n = strcspn(words, " ");

        if (str_eq((struct str){ words, n }, word))
            return true;
        words += n + (words[n] == ' ');
    }
    return false;
}

static int add_items(const struct option_row *row, struct config_list *list, struct str text,
                     struct berm_error *err)
{
    size_t at = 0;

    while (at < text.n) {
        size_t end = at;

        while (end < text.n && text.p[end] != ' ' && text.p[end] != ',')
            end++;
        if (end > at) {
            if (list->count == CONFIG_MAX_LISTEN)
                return berm_fail_field(err, row->name, "%s.%s: more than %d items", row->section, row->name,
                                       CONFIG_MAX_LISTEN);
            list->items[list->count] = str_dup((struct str){ text.p + at, end - at });
            if (!list->items[list->count])
                return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "settings");
            list->count++;
        }
        at = end + 1;
    }
    return 0;
}

void config_list_clear(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    list->count = 0;
}

int option_set(struct config *config, const struct option_row *row, struct str text, struct berm_error *err)
{
    void *slot = (char *)config + row->offset;

    if (memchr(text.p ? text.p : "", '\0', text.n))
        return berm_fail_field(err, row->name, "%s.%s: holds a NUL byte", row->section, row->name);
    if (text.n == 0 && row->type != OPTION_LIST)
        return berm_fail_field(err, row->name, "%s.%s: is empty", row->section, row->name);
    switch (row->type) {
    case OPTION_TEXT:
        return replace_text(slot, str_dup(text), err);
    case OPTION_PATH:
        return replace_text(slot, absolute_path(text), err);
    case OPTION_CHOICE:
        if (!has_word(row->choices, text))
            return berm_fail_field(err, row->name, "%s.%s: \"%.*s\" is not one of: %s", row->section, row->name,
                                   (int)MIN(text.n, (size_t)64), text.p, row->choices);
        return replace_text(slot, str_dup(text), err);
    case OPTION_LIST:
        return add_items(row, slot, text, err);
    case OPTION_NUMBER:
    case OPTION_SIZE:
    case OPTION_DURATION:
        return set_number(row, text, slot, err);
    }
    return berm_fail(err, BERM_E_INTERNAL, 0, "unknown option type");
}

bool option_is_set(const struct config *config, const struct option_row *row)
{
    const void *slot = (const char *)config + row->offset;

    if (row->type == OPTION_LIST)
        return ((const struct config_list *)slot)->count > 0;
    if (row->type <= OPTION_CHOICE)
        return *(char *const *)slot != NULL;
    return *(const uint64_t *)slot != UINT64_MAX;
}

static void print_size(uint64_t v, FILE *out)
{
    if (v && v % ((uint64_t)1 << 30) == 0)
        fprintf(out, "%lluGiB", (unsigned long long)(v >> 30));
    else if (v && v % (1u << 20) == 0)
        fprintf(out, "%lluMiB", (unsigned long long)(v >> 20));
    else
        fprintf(out, "%llu", (unsigned long long)v);
}

void option_print(const struct config *config, const struct option_row *row, FILE *out)
{
    const void *slot = (const char *)config + row->offset;
    const struct config_list *list = slot;
    uint64_t number;

    switch (row->type) {
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_CHOICE:
        fputs(*(char *const *)slot ? *(char *const *)slot : "", out);
        return;
    case OPTION_LIST:
        for (size_t i = 0; i < list->count; i++)
            fprintf(out, "%s%s", i ? " " : "", list->items[i]);
        return;
    case OPTION_SIZE:
        print_size(*(const uint64_t *)slot, out);
        return;
    case OPTION_NUMBER:
        number = *(const uint64_t *)slot;
        if (number != UINT64_MAX)
            fprintf(out, "%llu", (unsigned long long)number);
        return;
    case OPTION_DURATION:
        number = *(const uint64_t *)slot;
        fprintf(out, number % 1000 ? "%llums" : "%llus",
                (unsigned long long)(number % 1000 ? number : number / 1000));
        return;
    }
}
