#include "daemon/egress/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

bool ip_is_v4(const struct ip *ip)
{
    return memcmp(ip->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

struct ip ip_from_v4(const uint8_t bytes[4])
{
    struct ip ip;

    memcpy(ip.bytes, mapped_prefix, sizeof(mapped_prefix));
    memcpy(ip.bytes + sizeof(mapped_prefix), bytes, 4);
    return ip;
}

int ip_parse(struct str text, struct ip *ret)
{
    char copy[IP_TEXT_SIZE];
    uint8_t v4[4];

    if (str_copy(text, copy, sizeof(copy)) < 0)
        return -1;
    if (inet_pton(AF_INET, copy, v4) == 1) {
        *ret = ip_from_v4(v4);
        return 0;
    }
    return inet_pton(AF_INET6, copy, ret->bytes) == 1 ? 0 : -1;
}

void ip_format(const struct ip *ip, char out[IP_TEXT_SIZE])
{
    char room[U64_TEXT];
    char *at = out;

    if (!ip_is_v4(ip)) {
        inet_ntop(AF_INET6, ip->bytes, out, IP_TEXT_SIZE);
        return;
    }
    /* Once for each request, where inet_ntop(3) would print. */
    for (int i = 12; i < 16; i++) {
        struct str digits = u64_text(ip->bytes[i], room);

        memcpy(at, digits.p, digits.n);
        at += digits.n;
        *at++ = i < 15 ? '.' : '\0';
    }
}

int ip_from_sockaddr(const struct sockaddr_storage *from, struct ip *ret, uint16_t *ret_port)
{
    const struct sockaddr_in *v4 = (const void *)from;
    const struct sockaddr_in6 *v6 = (const void *)from;

    if (from->ss_family == AF_INET) {
        *ret = ip_from_v4((const uint8_t *)&v4->sin_addr);
        *ret_port = ntohs(v4->sin_port);
        return 0;
    }
    if (from->ss_family != AF_INET6)
        return -1;
    memcpy(ret->bytes, &v6->sin6_addr, sizeof(ret->bytes));
    *ret_port = ntohs(v6->sin6_port);
    return 0;
}

socklen_t ip_to_sockaddr(const struct ip *ip, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in *v4 = (void *)ret;
    struct sockaddr_in6 *v6 = (void *)ret;

    memset(ret, 0, sizeof(*ret));
    if (ip_is_v4(ip)) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        memcpy(&v4->sin_addr, ip->bytes + 12, 4);
        return sizeof(*v4);
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    memcpy(&v6->sin6_addr, ip->bytes, sizeof(ip->bytes));
    return sizeof(*v6);
}

/* --- ranges --- */

static bool same_prefix(const struct ip *a, const struct ip *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    return rest == 0 || ((a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest)) == 0;
}

static bool zero_behind(const struct ip *ip, unsigned bits)
{
    for (unsigned i = bits; i < 128; i++)
        if (ip->bytes[i / 8] & (0x80u >> (i % 8)))
            return false;
    return true;
}

int cidr_parse(struct str text, struct cidr *ret)
{
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    struct str address = { text.p, slash ? (size_t)(slash - text.p) : text.n };
    struct str length = { slash ? slash + 1 : "", slash ? text.n - address.n - 1 : 0 };
    uint64_t bits;
    bool dotted;

    if (ip_parse(address, &ret->base) < 0)
        return -1;
    dotted = !memchr(address.p, ':', address.n);
    bits = dotted ? 32 : 128;
    if (slash && (str_to_u64(length, &bits) < 0 || length.n > 3 || bits > (dotted ? 32 : 128)))
        return -1;
    ret->bits = (uint8_t)(bits + (dotted ? 96 : 0));
    return zero_behind(&ret->base, ret->bits) ? 0 : -1;
}

bool cidr_contains(const struct cidr *cidr, const struct ip *ip)
{
    return same_prefix(&cidr->base, ip, cidr->bits);
}

bool cidr_within(const struct cidr *inner, const struct cidr *outer)
{
    return inner->bits >= outer->bits && cidr_contains(outer, &inner->base);
}

/* --- what is not the public internet --- */

struct special_range {
    struct cidr cidr;
    const char *what;
};

#define V4(a, b, c, d, bits, what)                                                                                 \
    {                                                                                                              \
        { { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d } }, 96 + (bits) }, what                        \
    }
#define V6(bits, what, ...)                                                                                        \
    {                                                                                                              \
        { { { __VA_ARGS__ } }, bits }, what                                                                        \
    }

/* The first that fits tells the name. IANA's special-purpose registries, and the metadata services that lie
 * outside.
 */
static const struct special_range special_ranges[] = {
    V4(169, 254, 169, 254, 32, "metadata service"),
    V4(169, 254, 170, 2, 32, "metadata service"),
    V4(100, 100, 100, 200, 32, "metadata service"),
    V4(168, 63, 129, 16, 32, "metadata service"),
    V4(192, 0, 0, 192, 32, "metadata service"),
    V4(0, 0, 0, 0, 8, "this host"),
    V4(10, 0, 0, 0, 8, "private"),
    V4(100, 64, 0, 0, 10, "shared by carriers"),
    V4(127, 0, 0, 0, 8, "loopback"),
    V4(169, 254, 0, 0, 16, "link-local"),
    V4(172, 16, 0, 0, 12, "private"),
    V4(192, 0, 0, 0, 24, "reserved"),
    V4(192, 0, 2, 0, 24, "reserved"),
    V4(192, 88, 99, 0, 24, "reserved"),
    V4(192, 168, 0, 0, 16, "private"),
    V4(198, 18, 0, 0, 15, "reserved"),
    V4(198, 51, 100, 0, 24, "reserved"),
    V4(203, 0, 113, 0, 24, "reserved"),
    V4(224, 0, 0, 0, 4, "multicast"),
    V4(240, 0, 0, 0, 4, "reserved"),
    V6(128, "metadata service", 0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54),
    V6(128, "loopback", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
    V6(7, "private", 0xfc),
    V6(10, "link-local", 0xfe, 0x80),
    V6(8, "multicast", 0xff),
};

/* Of IPv6 only 2000::/3 is given out; inside it these are not hosts of the internet. */
static const struct cidr global_v6 = { { { 0x20 } }, 3 };
static const struct special_range reserved_v6[] = {
    V6(23, "reserved", 0x20, 0x01, 0x00), /* protocol assignments, Teredo among them */
    V6(32, "reserved", 0x20, 0x01, 0x0d, 0xb8),
    V6(20, "reserved", 0x3f, 0xff, 0x00),
};

static const struct cidr nat64 = { { { 0, 0x64, 0xff, 0x9b } }, 96 };
static const struct cidr six_to_four = { { { 0x20, 0x02 } }, 16 };
static const struct cidr compatible = { { { 0 } }, 96 };

static const char *find(const struct special_range *ranges, size_t count, const struct ip *ip)
{
    for (size_t i = 0; i < count; i++)
        if (cidr_contains(&ranges[i].cidr, ip))
            return ranges[i].what;
    return NULL;
}

/* The IPv4 address that an IPv6 one leads to. */
static bool embedded(const struct ip *ip, struct ip *ret)
{
    if (cidr_contains(&nat64, ip))
        *ret = ip_from_v4(ip->bytes + 12);
    else if (cidr_contains(&six_to_four, ip))
        *ret = ip_from_v4(ip->bytes + 2);
    else
        return false;
    return true;
}

const char *ip_special(const struct ip *ip)
{
    const char *what = find(special_ranges, ARRAY_SIZE(special_ranges), ip);
    struct ip inner;

    if (what || ip_is_v4(ip))
        return what;
    if (embedded(ip, &inner))
        return ip_special(&inner);
    if (cidr_contains(&compatible, ip) || !cidr_contains(&global_v6, ip))
        return "reserved";
    return find(reserved_v6, ARRAY_SIZE(reserved_v6), ip);
}

const char *cidr_special(const struct cidr *cidr)
{
    for (size_t i = 0; i < ARRAY_SIZE(special_ranges); i++)
        if (cidr_within(cidr, &special_ranges[i].cidr))
            return special_ranges[i].what;
    if (cidr->bits == 128 || (cidr->bits >= 96 && !ip_is_v4(&cidr->base)))
        return ip_special(&cidr->base);
    return NULL;
}
