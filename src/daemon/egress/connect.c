/* connect.c - the CONNECT by which a connection goes through a proxy or an interceptor, and its answer. */
#include "daemon/egress/internal.h"
#include "net/h1.h"

#define HEAD_MAX 8192

/* `value` is a name that was normalized, or in base64: no byte of it means anything in a head. */
int connect_write(struct buf *out, const struct ip *ip, uint16_t port, const char *header, struct str value)
{
    char text[IP_TEXT_SIZE], target[IP_TEXT_SIZE + 10];

    ip_format(ip, text);
    snprintf(target, sizeof(target), ip_is_v4(ip) ? "%s:%u" : "[%s]:%u", text, port);
    if (buf_printf(out, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", target, target) < 0)
        return -1;
    if (header && buf_printf(out, "%s: %.*s\r\n", header, (int)value.n, value.p) < 0)
        return -1;
    return buf_append_str(out, STR("\r\n"));
}

int connect_read(struct str answer, size_t *ret_size)
{
    static const struct h1_limits limits = { .max_head = HEAD_MAX, .max_headers = H1_MAX_HEADERS };
    struct h1_head head;
    ssize_t n = answer.n ? h1_parse_response(answer.p, answer.n, &limits, STR("CONNECT"), &head) : 0;

    if (n <= 0)
        return n < 0 ? -1 : 0;
    *ret_size = (size_t)n;
    return head.status >= 200 ? head.status : -1;
}
