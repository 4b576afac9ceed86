#include "daemon/console/cookie.h"

static struct str before(struct str text, char stop)
{
    const char *at = text.n ? memchr(text.p, stop, text.n) : NULL;

    return (struct str){ text.p, at ? (size_t)(at - text.p) : text.n };
}

bool cookie_next(struct str *field, struct cookie *ret)
{
    while (field->n) {
        struct str pair = before(*field, ';'), name = before(pair, '=');
        bool has_value = name.n < pair.n;

        field->p += pair.n + (pair.n < field->n);
        field->n -= pair.n + (pair.n < field->n);
        ret->name = str_trim(name);
        ret->value = has_value ? str_trim((struct str){ name.p + name.n + 1, pair.n - name.n - 1 })
                               : (struct str){ name.p + name.n, 0 };
        if (ret->name.n)
            return true;
    }
    return false;
}

/* A browser compares the prefix without case, a server that reads our cookie back may do so with all of it. */
static bool is_console(struct str name)
{
    return str_eq_nocase(name, STR(CONSOLE_COOKIE)) || str_eq_nocase(name, STR(CONSOLE_COOKIE_SECURE));
}

bool set_cookie_is_console(struct str field)
{
    struct cookie cookie;

    return cookie_next(&field, &cookie) && is_console(cookie.name);
}

size_t cookie_without_console(struct str field, char *out)
{
    struct cookie cookie;
    size_t n = 0;

    while (field.n) {
        struct str pair = before(field, ';'), rest = pair;

        field.p += pair.n + (pair.n < field.n);
        field.n -= pair.n + (pair.n < field.n);
        pair = str_trim(pair);
        if (!pair.n || (cookie_next(&rest, &cookie) && is_console(cookie.name)))
            continue;
        if (n) {
            out[n++] = ';';
            out[n++] = ' ';
        }
        memcpy(out + n, pair.p, pair.n);
        n += pair.n;
    }
    out[n] = '\0';
    return n;
}
