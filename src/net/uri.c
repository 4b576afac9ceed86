/* uri.c - percent-encoding, and the values of a query. */
#include "h1.h"

#include "h1_chars.h"

static int decode(struct str in, bool plus_is_space, char *out, size_t out_size)
{
    size_t n = 0;

    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '%') {
            int high = i + 2 < in.n ? h1_hex(in.p[i + 1]) : -1;
            int low = i + 2 < in.n ? h1_hex(in.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return -1;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0' || n + 1 >= out_size)
            return -1;
        out[n++] = c;
    }
    if (n >= out_size)
        return -1;
    out[n] = '\0';
    return 0;
}

int percent_decode(struct str in, char *out, size_t out_size)
{
    return decode(in, false, out, out_size);
}

int query_decode(struct str in, char *out, size_t out_size)
{
    return decode(in, true, out, out_size);
}

bool query_get(struct str query, const char *name, struct str *ret)
{
    const char *end = query.p + query.n;

    for (const char *p = query.p; p < end;) {
        const char *amp = memchr(p, '&', (size_t)(end - p));
        const char *stop = amp ? amp : end;
        const char *equals = memchr(p, '=', (size_t)(stop - p));
        const char *name_end = equals ? equals : stop;

        if (str_is((struct str){ p, (size_t)(name_end - p) }, name)) {
            *ret = equals ? (struct str){ equals + 1, (size_t)(stop - equals) - 1 } : (struct str){ stop, 0 };
            return true;
        }
        p = amp ? amp + 1 : end;
    }
    return false;
}
