#include "error.h"

#include <stdarg.h>
#include <stdio.h>

struct err_row {
    const char *wire;
    int status;
};

static const struct err_row err_table[BERM_E_COUNT] = {
    [BERM_OK] = { "ok", 200 },
#define BERM_ERR(name, wire_code, http_status) [BERM_E_##name] = { wire_code, http_status },
#include "errors.def"
#undef BERM_ERR
};

__attribute__((format(printf, 2, 0))) static void format_message(struct berm_error *err, const char *format,
                                                                 va_list args)
{
    int n = vsnprintf(err->message, sizeof(err->message), format, args);
    size_t at = n < 0 ? 0 : MIN((size_t)n, sizeof(err->message) - 1);

    if (err->errnum != 0 && at < sizeof(err->message) - 1)
        snprintf(err->message + at, sizeof(err->message) - at, ": %s", strerror(err->errnum));
}

int(berm_fail)(struct berm_error *err, enum berm_err code, int errnum, const char *format, ...)
{
    va_list args;

    if (!err)
        return -1;
    err->code = code;
    err->errnum = errnum;
    err->field[0] = '\0';
    va_start(args, format);
    format_message(err, format, args);
    va_end(args);
    return -1;
}

int(berm_fail_field)(struct berm_error *err, const char *field, const char *format, ...)
{
    va_list args;

    if (!err)
        return -1;
    err->code = BERM_E_INVALID_REQUEST;
    err->errnum = 0;
    snprintf(err->field, sizeof(err->field), "%s", field);
    va_start(args, format);
    format_message(err, format, args);
    va_end(args);
    return -1;
}

int(berm_error_wrap)(struct berm_error *err, const char *format, ...)
{
    char context[sizeof(err->message)];
    char whole[2 * sizeof(err->message) + 2];
    va_list args;

    if (!err)
        return -1;
    va_start(args, format);
    vsnprintf(context, sizeof(context), format, args);
    va_end(args);
    snprintf(whole, sizeof(whole), "%s: %s", context, err->message);
    memcpy(err->message, whole, sizeof(err->message) - 1);
    err->message[sizeof(err->message) - 1] = '\0';
    return -1;
}

static const struct err_row *row_of(enum berm_err code)
{
    return (unsigned)code < BERM_E_COUNT ? &err_table[code] : &err_table[BERM_E_INTERNAL];
}

const char *berm_err_wire(enum berm_err code)
{
    return row_of(code)->wire;
}

int berm_err_status(enum berm_err code)
{
    return row_of(code)->status;
}
