#include "units.h"

#include <stdio.h>

/* The digits at the start of `text`; what follows goes to *ret_rest. */
static int leading_digits(const char *text, uint64_t *ret, const char **ret_rest)
{
    size_t n = strspn(text, "0123456789");

    *ret_rest = text + n;
    return str_to_u64((struct str){ text, n }, ret);
}

int parse_size(const char *text, uint64_t *ret_bytes)
{
    static const char letters[] = "kmgt";
    uint64_t value, factor = 1;
    const char *rest, *letter;

    if (leading_digits(text, &value, &rest) < 0)
        return -1;
    if (*rest) {
        letter = strchr(letters, *rest | 0x20);
        if (letter && *letter) {
            factor = (uint64_t)1 << (10 * (letter - letters + 1));
            rest++;
            if (str_eq_nocase(str_from(rest), STR("ib")))
                rest += 2;
        }
        if (str_eq_nocase(str_from(rest), STR("b")))
            rest++;
    }
    if (*rest || value == 0 || __builtin_mul_overflow(value, factor, &value) || value > INT64_MAX)
        return -1;
    *ret_bytes = value;
    return 0;
}

int parse_count(const char *text, uint32_t *ret)
{
    uint64_t value;

    if (str_to_u64(str_from(text), &value) < 0 || value == 0 || value > UINT32_MAX)
        return -1;
    *ret = (uint32_t)value;
    return 0;
}

int parse_cpus(const char *text, uint32_t *ret_millis)
{
    uint64_t whole = 0, millis = 0;
    const char *rest = text;
    unsigned digits = 0;

    if (*text != '.' && leading_digits(text, &whole, &rest) < 0)
        return -1;
    if (*rest == '.') {
        for (rest++; *rest >= '0' && *rest <= '9' && digits < 3; rest++, digits++)
            millis = millis * 10 + (uint64_t)(*rest - '0');
        if (digits == 0)
            return -1;
        for (; digits < 3; digits++)
            millis *= 10;
    }
    if (*rest || whole > UINT32_MAX / 1000 - 1 || whole * 1000 + millis == 0)
        return -1;
    *ret_millis = (uint32_t)(whole * 1000 + millis);
    return 0;
}

int parse_duration(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    uint64_t value;
    const char *rest;

    if (leading_digits(text, &value, &rest) < 0 || value == 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(rest, units[i].unit) != 0)
            continue;
        if (__builtin_mul_overflow(value, units[i].ms, &value) || value > INT64_MAX)
            return -1;
        *ret_ms = (int64_t)value;
        return 0;
    }
    return -1;
}

const char *format_size(uint64_t bytes, char *out)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(out, SIZE_TEXT_MAX, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}
