#include "daemon/egress/dns_message.h"

#define HEADER_SIZE              12
#define CLASS_IN                 1
#define TYPE_OPT                 41
#define NAME_MAX_WIRE            255
#define OPT_SIZE                 11

#define FLAG_RESPONSE            0x8000
#define FLAG_TRUNCATED           0x0200
#define FLAG_RECURSION_DESIRED   0x0100
#define FLAG_RECURSION_AVAILABLE 0x0080
#define OPCODE(flags)            ((flags) >> 11 & 0xf)

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, size_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value & 0xffff);
}

/* --- questions --- */

/* The size on the wire of an uncompressed name at `p`, 0 when it is none; its text with dots goes to `text`. */
static size_t read_name(const uint8_t *p, size_t n, char text[NAME_MAX_WIRE + 1], size_t *ret_length)
{
    size_t at = 0, length = 0;

    while (at < n && p[at] != 0) {
        size_t label = p[at];

        if (label > 63 || at + 1 + label >= n || at + 1 + label >= NAME_MAX_WIRE)
            return 0;
        memcpy(text + length, p + at + 1, label);
        length += label;
        text[length++] = '.';
        at += 1 + label;
    }
    if (at >= n)
        return 0;
    *ret_length = length;
    return at + 1;
}

/* A dot inside a label would make another name of it. */
static bool dots_only_between(const uint8_t *p)
{
    for (; *p; p += 1 + *p)
        if (memchr(p + 1, '.', *p))
            return false;
    return true;
}

/* The additional section may hold one OPT record and nothing else. */
static int read_additional(const uint8_t *p, size_t n, unsigned count, struct dns_question *ret)
{
    if (count == 0)
        return n == 0 ? 0 : -1;
    if (count > 1 || n < OPT_SIZE || p[0] != 0 || get16(p + 1) != TYPE_OPT || get16(p + 9) != n - OPT_SIZE)
        return -1;
    ret->edns = true;
    ret->udp_size = MAX(DNS_UDP_MAX, MIN(get16(p + 3), DNS_EDNS_MAX));
    return 0;
}

int dns_parse_question(const uint8_t *p, size_t n, struct dns_question *ret)
{
    char text[NAME_MAX_WIRE + 1];
    size_t size, length;
    uint16_t flags;

    *ret = (struct dns_question){ .udp_size = DNS_UDP_MAX, .name = { "", 0 } };
    if (n < HEADER_SIZE)
        return -1;
    ret->id = get16(p);
    flags = get16(p + 2);
    ret->recursion_desired = flags & FLAG_RECURSION_DESIRED;
    if (flags & FLAG_RESPONSE)
        return -1;
    if (OPCODE(flags) != 0)
        return DNS_NOT_IMPLEMENTED;
    if (get16(p + 4) != 1 || get16(p + 6) != 0 || get16(p + 8) != 0)
        return DNS_FORMAT_ERROR;
    size = read_name(p + HEADER_SIZE, n - HEADER_SIZE, text, &length);
    if (size == 0 || n - HEADER_SIZE - size < 4)
        return DNS_FORMAT_ERROR;
    ret->wire_size = size + 4;
    memcpy(ret->wire, p + HEADER_SIZE, ret->wire_size);
    ret->type = get16(p + HEADER_SIZE + size);
    if (read_additional(p + HEADER_SIZE + ret->wire_size, n - HEADER_SIZE - ret->wire_size, get16(p + 10), ret) < 0)
        return DNS_FORMAT_ERROR;
    if (get16(p + HEADER_SIZE + size + 2) != CLASS_IN)
        return DNS_NOT_IMPLEMENTED;
    if (length > 1 && dots_only_between(ret->wire))
        host_name_normalize((struct str){ text, length - 1 }, ret->storage, &ret->name);
    return 0;
}

/* --- answers --- */

static size_t put_header(const struct dns_question *q, int code, uint8_t *out)
{
    memset(out, 0, HEADER_SIZE);
    put16(out, q->id);
    put16(out + 2, (size_t)(FLAG_RESPONSE | (q->recursion_desired ? FLAG_RECURSION_DESIRED : 0) |
                            FLAG_RECURSION_AVAILABLE | code));
    put16(out + 4, q->wire_size ? 1 : 0);
    memcpy(out + HEADER_SIZE, q->wire, q->wire_size);
    return HEADER_SIZE + q->wire_size;
}

static size_t put_address(const struct dns_question *q, const struct dns_address *address, uint8_t *out)
{
    size_t bytes = q->type == DNS_TYPE_A ? 4 : 16;

    put16(out, 0xc000 | HEADER_SIZE); /* the name of the question */
    put16(out + 2, q->type);
    put16(out + 4, CLASS_IN);
    put32(out + 6, address->ttl);
    put16(out + 10, bytes);
    memcpy(out + 12, address->ip.bytes + 16 - bytes, bytes);
    return 12 + bytes;
}

size_t dns_write_answer(const struct dns_question *q, int code, const struct dns_address *addresses, size_t count,
                        uint8_t *out, size_t max)
{
    size_t size = put_header(q, code, out), answers = 0, opt = q->edns ? OPT_SIZE : 0;

    for (size_t i = 0; i < count && q->wire_size; i++) {
        if (ip_is_v4(&addresses[i].ip) != (q->type == DNS_TYPE_A))
            continue;
        if (size + 28 + opt > max) {
            out[2] |= FLAG_TRUNCATED >> 8;
            break;
        }
        size += put_address(q, &addresses[i], out + size);
        answers++;
    }
    put16(out + 6, answers);
    if (!q->edns)
        return size;
    memset(out + size, 0, OPT_SIZE);
    put16(out + size + 1, TYPE_OPT);
    put16(out + size + 3, DNS_EDNS_MAX);
    put16(out + 10, 1);
    return size + OPT_SIZE;
}
