#include "port_head.h"

/* --- the answer's head --- */

static bool next_line(struct str *rest, struct str *line)
{
    const char *end = memchr(rest->p, '\n', rest->n);

    if (!end)
        return false;
    *line = (struct str){ rest->p, (size_t)(end - rest->p) };
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    *rest = (struct str){ end + 1, rest->n - (size_t)(end + 1 - rest->p) };
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK" -> 200, else -1. */
static int parse_status_line(struct str line)
{
    const char *p = line.p;

    if (line.n < 12 || memcmp(p, "HTTP/1.", 7) != 0 || !is_digit(p[7]) || p[8] != ' ' || !is_digit(p[9]) ||
        !is_digit(p[10]) || !is_digit(p[11]) || (line.n > 12 && p[12] != ' ') || p[9] == '0')
        return -1;
    return (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
}

static void take_location(struct str line, struct str *ret)
{
    static const struct str name = { "Location:", 9 };

    if (ret->n == 0 && line.n > name.n && str_eq_nocase((struct str){ line.p, name.n }, name))
        *ret = str_trim((struct str){ line.p + name.n, line.n - name.n });
}

int port_head_parse(struct str bytes, struct str *ret_location)
{
    struct str rest = bytes, line;

    for (;;) {
        int status;
        if (!next_line(&rest, &line))
            /* So that what is not HTTP is seen for what it is even if it never ends its line. */
            return rest.n > 0 && memcmp(rest.p, "HTTP/1.", MIN(rest.n, (size_t)7)) != 0 ? -1 : 0;
        status = parse_status_line(line);
        if (status < 0)
            return -1;
        *ret_location = (struct str){ "", 0 };
        do {
            if (!next_line(&rest, &line))
                return 0;
            take_location(line, ret_location);
        } while (line.n > 0);
        if (status >= 200 || status == 101)
            return status;
    }
}

bool port_head_redirects(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* --- targets --- */

int port_head_target(struct str path, struct buf *ret_target)
{
    if ((path.n == 0 || path.p[0] != '/') && buf_append_str(ret_target, STR("/")) < 0)
        return -1;
    for (size_t i = 0; i < path.n && path.p[i] != '#'; i++) {
        unsigned char c = (unsigned char)path.p[i];
        bool plain = c > 0x20 && c < 0x7f && !strchr("\"<>\\^`{|}", c);
        if ((plain ? buf_append(ret_target, &path.p[i], 1) : buf_printf(ret_target, "%%%02X", c)) < 0)
            return -1;
    }
    return 0;
}

static struct str skip(struct str s, size_t n)
{
    return (struct str){ s.p + n, s.n - n };
}

/* A host that means this machine. */
static bool is_loopback(struct str host)
{
    return str_eq_nocase(host, STR("localhost")) || str_is(host, "127.0.0.1") || str_is(host, "0.0.0.0") ||
           str_is(host, "[::1]") || str_is(host, "[::]");
}

/* "host:port" at the beginning up to '/', '?' or '#'; takes it off. */
static int take_authority(struct str *rest, unsigned *port)
{
    size_t n = 0, host_n;
    uint64_t number = 80;

    while (n < rest->n && !strchr("/?#", rest->p[n]))
        n++;
    host_n = n;
    while (host_n > 0 && is_digit(rest->p[host_n - 1]))
        host_n--;
    if (host_n > 0 && rest->p[host_n - 1] == ':') {
        if (host_n < n && str_to_u64((struct str){ rest->p + host_n, n - host_n }, &number) < 0)
            return -1;
        host_n--;
    } else {
        host_n = n;
    }
    if (!is_loopback((struct str){ rest->p, host_n }) || number == 0 || number > 65535)
        return -1;
    *port = (unsigned)number;
    *rest = skip(*rest, n);
    return 0;
}

static bool has_scheme(struct str s)
{
    size_t n = 0;

    while (n < s.n && !strchr(":/?#", s.p[n]))
        n++;
    return n < s.n && s.p[n] == ':';
}

/* The part of `target` that a relative reference replaces the end of. */
static struct str base_of(struct str target, bool keep_path)
{
    size_t n = 0;

    while (n < target.n && target.p[n] != '?')
        n++;
    while (!keep_path && n > 0 && target.p[n - 1] != '/')
        n--;
    return (struct str){ target.p, n };
}

/* The base that is there is a target already; what follows is one but for the slash. */
static int append_relative(struct buf *target, struct str reference)
{
    struct buf tail;
    int rc;

    buf_init(&tail, PORT_TARGET_MAX);
    rc = port_head_target(reference, &tail);
    if (rc == 0)
        rc = buf_append(target, buf_head(&tail) + 1, tail.len - 1);
    buf_free(&tail);
    return rc;
}

int port_head_follow(struct str location, struct str target, unsigned *port, struct buf *ret_target)
{
    static const struct str http = { "http:", 5 };
    struct str rest = location;

    if (rest.n >= http.n && str_eq_nocase((struct str){ rest.p, http.n }, http)) {
        rest = skip(rest, http.n);
        if (!str_has_prefix(rest, STR("//")))
            return -1;
    }
    if (str_has_prefix(rest, STR("//"))) {
        rest = skip(rest, 2);
        return take_authority(&rest, port) < 0 ? -1 : port_head_target(rest, ret_target);
    }
    if (rest.n == 0 || has_scheme(rest))
        return -1;
    if (rest.p[0] == '/')
        return port_head_target(rest, ret_target);
    if (buf_append_str(ret_target, base_of(target, rest.p[0] == '?' || rest.p[0] == '#')) < 0)
        return -1;
    if (rest.p[0] == '#')
        return 0;
    return append_relative(ret_target, rest);
}
