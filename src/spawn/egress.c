#include "egress.h"

#include "netlink.h"
#include "step.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#define TABLE "berm"
#define IN    "in"  /* what comes back on lo */
#define OUT   "out" /* what leaves a socket */

/* Above the ports that the kernel gives out by itself. */
#define FIRST_PORT     64998
#define LAST_PORT      65534
#define LISTEN_BACKLOG 128
#define DNS_PORT       53
#define LO             UINT32_C(1) /* its number in every namespace */

/* --- nft expressions: linux/netfilter/nf_tables.h has what each attribute means --- */

static void begin_nft(struct netlink_batch *b, int type, uint16_t flags)
{
    const struct nfgenmsg header = { .nfgen_family = NFPROTO_INET };

    netlink_begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &header, sizeof(header));
}

static void begin_batch_mark(struct netlink_batch *b, uint16_t type)
{
    const struct nfgenmsg header = { .res_id = htons(NFNL_SUBSYS_NFTABLES) };

    netlink_begin(b, type, 0, &header, sizeof(header));
    netlink_end(b);
}

static void begin_expression(struct netlink_batch *b, const char *name)
{
    netlink_nest(b, NFTA_LIST_ELEM);
    netlink_put_text(b, NFTA_EXPR_NAME, name);
    netlink_nest(b, NFTA_EXPR_DATA);
}

static void end_expression(struct netlink_batch *b)
{
    netlink_unnest(b);
    netlink_unnest(b);
}

static void put_value(struct netlink_batch *b, uint16_t type, const void *value, size_t n)
{
    netlink_nest(b, type);
    netlink_put(b, NFTA_DATA_VALUE, value, n);
    netlink_unnest(b);
}

static void load_meta(struct netlink_batch *b, uint32_t key)
{
    begin_expression(b, "meta");
    netlink_put_be32(b, NFTA_META_DREG, NFT_REG_1);
    netlink_put_be32(b, NFTA_META_KEY, key);
    end_expression(b);
}

static void load_payload(struct netlink_batch *b, uint32_t base, uint32_t offset, uint32_t n)
{
    begin_expression(b, "payload");
    netlink_put_be32(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
    netlink_put_be32(b, NFTA_PAYLOAD_BASE, base);
    netlink_put_be32(b, NFTA_PAYLOAD_OFFSET, offset);
    netlink_put_be32(b, NFTA_PAYLOAD_LEN, n);
    end_expression(b);
}

static void must_equal(struct netlink_batch *b, const void *value, size_t n)
{
    begin_expression(b, "cmp");
    netlink_put_be32(b, NFTA_CMP_SREG, NFT_REG_1);
    netlink_put_be32(b, NFTA_CMP_OP, NFT_CMP_EQ);
    put_value(b, NFTA_CMP_DATA, value, n);
    end_expression(b);
}

static void set_verdict(struct netlink_batch *b, uint32_t code)
{
    begin_expression(b, "immediate");
    netlink_put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    netlink_nest(b, NFTA_IMMEDIATE_DATA);
    netlink_nest(b, NFTA_DATA_VERDICT);
    netlink_put_be32(b, NFTA_VERDICT_CODE, code);
    netlink_unnest(b);
    netlink_unnest(b);
    end_expression(b);
}

static void load_port(struct netlink_batch *b, uint16_t port)
{
    uint16_t big = htons(port);

    begin_expression(b, "immediate");
    netlink_put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_1);
    put_value(b, NFTA_IMMEDIATE_DATA, &big, sizeof(big));
    end_expression(b);
}

/* --- matches and actions --- */

static void match_family(struct netlink_batch *b, uint8_t family)
{
    load_meta(b, NFT_META_NFPROTO);
    must_equal(b, &family, sizeof(family));
}

static void match_protocol(struct netlink_batch *b, uint8_t protocol)
{
    load_meta(b, NFT_META_L4PROTO);
    must_equal(b, &protocol, sizeof(protocol));
}

static void match_udp_port(struct netlink_batch *b, uint32_t offset, uint16_t port)
{
    uint16_t big = htons(port);

    match_protocol(b, IPPROTO_UDP);
    load_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, offset, sizeof(big));
    must_equal(b, &big, sizeof(big));
}

#define SOURCE      false
#define DESTINATION true

static void match_address(struct netlink_batch *b, uint8_t family, bool destination, const char *text)
{
    uint8_t address[16];
    uint32_t n = family == NFPROTO_IPV4 ? 4 : 16;
    uint32_t first = family == NFPROTO_IPV4 ? 12 : 8;

    inet_pton(family == NFPROTO_IPV4 ? AF_INET : AF_INET6, text, address);
    match_family(b, family);
    load_payload(b, NFT_PAYLOAD_NETWORK_HEADER, destination ? first + n : first, n);
    must_equal(b, address, n);
}

static void match_loopback_4(struct netlink_batch *b)
{
    static const uint8_t first_byte = 127;

    match_family(b, NFPROTO_IPV4);
    load_payload(b, NFT_PAYLOAD_NETWORK_HEADER, 16, sizeof(first_byte));
    must_equal(b, &first_byte, sizeof(first_byte));
}

static void rewrite_udp_port(struct netlink_batch *b, uint32_t offset, uint16_t port)
{
    load_port(b, port);
    begin_expression(b, "payload");
    netlink_put_be32(b, NFTA_PAYLOAD_SREG, NFT_REG_1);
    netlink_put_be32(b, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
    netlink_put_be32(b, NFTA_PAYLOAD_OFFSET, offset);
    netlink_put_be32(b, NFTA_PAYLOAD_LEN, sizeof(port));
    netlink_put_be32(b, NFTA_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
    netlink_put_be32(b, NFTA_PAYLOAD_CSUM_OFFSET, 6);
    end_expression(b);
}

static void hand_to_listener(struct netlink_batch *b, uint16_t port)
{
    load_port(b, port);
    begin_expression(b, "tproxy");
    netlink_put_be32(b, NFTA_TPROXY_FAMILY, NFPROTO_UNSPEC);
    netlink_put_be32(b, NFTA_TPROXY_REG_PORT, NFT_REG_1);
    end_expression(b);
}

static void refuse_packet(struct netlink_batch *b)
{
    const uint8_t code = NFT_REJECT_ICMPX_ADMIN_PROHIBITED;

    begin_expression(b, "reject");
    netlink_put_be32(b, NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
    netlink_put(b, NFTA_REJECT_ICMP_CODE, &code, sizeof(code));
    end_expression(b);
}

/* --- the rule set --- */

static void begin_rule(struct netlink_batch *b, const char *chain, uint16_t flags)
{
    begin_nft(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | flags);
    netlink_put_text(b, NFTA_RULE_TABLE, TABLE);
    netlink_put_text(b, NFTA_RULE_CHAIN, chain);
    netlink_nest(b, NFTA_RULE_EXPRESSIONS);
}

static void end_rule(struct netlink_batch *b)
{
    netlink_unnest(b);
    netlink_end(b);
}

static void end_rule_accepting(struct netlink_batch *b)
{
    set_verdict(b, NF_ACCEPT);
    end_rule(b);
}

static void put_table(struct netlink_batch *b, int type, uint16_t flags)
{
    begin_nft(b, type, flags);
    netlink_put_text(b, NFTA_TABLE_NAME, TABLE);
    netlink_end(b);
}

static void put_chain(struct netlink_batch *b, const char *name, uint32_t hook, int priority)
{
    begin_nft(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    netlink_put_text(b, NFTA_CHAIN_TABLE, TABLE);
    netlink_put_text(b, NFTA_CHAIN_NAME, name);
    netlink_put_text(b, NFTA_CHAIN_TYPE, "filter");
    netlink_put_be32(b, NFTA_CHAIN_POLICY, NF_DROP);
    netlink_nest(b, NFTA_CHAIN_HOOK);
    netlink_put_be32(b, NFTA_HOOK_HOOKNUM, hook);
    netlink_put_be32(b, NFTA_HOOK_PRIORITY, (uint32_t)priority);
    netlink_unnest(b);
    netlink_end(b);
}

static void accept_own_addresses(struct netlink_batch *b, const char *chain)
{
    begin_rule(b, chain, 0);
    match_loopback_4(b);
    end_rule_accepting(b);
    begin_rule(b, chain, 0);
    match_address(b, NFPROTO_IPV4, DESTINATION, EGRESS_ADDRESS_4);
    end_rule_accepting(b);
    begin_rule(b, chain, 0);
    match_address(b, NFPROTO_IPV6, DESTINATION, "::1");
    end_rule_accepting(b);
    begin_rule(b, chain, 0);
    match_address(b, NFPROTO_IPV6, DESTINATION, EGRESS_ADDRESS_6);
    end_rule_accepting(b);
}

static void fill_chain_in(struct netlink_batch *b, uint16_t tcp_port, uint16_t udp_port)
{
    accept_own_addresses(b, IN);
    begin_rule(b, IN, 0);
    match_protocol(b, IPPROTO_TCP);
    hand_to_listener(b, tcp_port); /* goes on to the policy, drop, when there is none */
    end_rule_accepting(b);
    begin_rule(b, IN, 0);
    match_udp_port(b, 2, udp_port);
    end_rule_accepting(b);
}

static void send_out_from(struct netlink_batch *b, uint8_t family, const char *own_address, uint16_t udp_port)
{
    begin_rule(b, OUT, 0);
    match_address(b, family, SOURCE, own_address);
    match_protocol(b, IPPROTO_TCP);
    end_rule_accepting(b);
    begin_rule(b, OUT, 0);
    match_address(b, family, SOURCE, own_address);
    match_udp_port(b, 2, DNS_PORT);
    rewrite_udp_port(b, 2, udp_port);
    end_rule_accepting(b);
}

static void fill_chain_out(struct netlink_batch *b, uint16_t udp_port)
{
    begin_rule(b, OUT, 0); /* the resolver's answers */
    match_udp_port(b, 0, udp_port);
    rewrite_udp_port(b, 0, DNS_PORT);
    end_rule_accepting(b);
    accept_own_addresses(b, OUT);
    send_out_from(b, NFPROTO_IPV4, EGRESS_ADDRESS_4, udp_port);
    send_out_from(b, NFPROTO_IPV6, EGRESS_ADDRESS_6, udp_port);
    begin_rule(b, OUT, NLM_F_ACK);
    refuse_packet(b);
    end_rule(b);
}

/* One transaction. */
static int load_rules(uint16_t tcp_port, uint16_t udp_port, bool replace)
{
    struct netlink_batch b;

    if (step_fault(STEP_EGRESS_RULES))
        return -1;
    netlink_init(&b);
    begin_batch_mark(&b, NFNL_MSG_BATCH_BEGIN);
    if (replace)
        put_table(&b, NFT_MSG_DELTABLE, 0);
    put_table(&b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    put_chain(&b, IN, NF_INET_PRE_ROUTING, -150);
    put_chain(&b, OUT, NF_INET_LOCAL_OUT, 0);
    fill_chain_in(&b, tcp_port, udp_port);
    fill_chain_out(&b, udp_port);
    begin_batch_mark(&b, NFNL_MSG_BATCH_END);
    return netlink_talk(&b, NETLINK_NETFILTER);
}

/* --- addresses and routes --- */

static void put_address(struct netlink_batch *b, int family, const char *text)
{
    const struct ifaddrmsg header = {
        .ifa_family = (uint8_t)family,
        .ifa_prefixlen = family == AF_INET ? 32 : 128,
        .ifa_flags = family == AF_INET ? 0 : IFA_F_NODAD,
        .ifa_index = LO,
    };
    uint8_t address[16];

    inet_pton(family, text, address);
    netlink_begin(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, &header, sizeof(header));
    netlink_put(b, IFA_LOCAL, address, family == AF_INET ? 4 : 16);
    netlink_put(b, IFA_ADDRESS, address, family == AF_INET ? 4 : 16);
    netlink_end(b);
}

static void put_default_route(struct netlink_batch *b, int family, const char *source)
{
    const struct rtmsg header = {
        .rtm_family = (uint8_t)family,
        .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_STATIC,
        .rtm_scope = RT_SCOPE_HOST,
        .rtm_type = RTN_LOCAL,
    };
    const uint32_t lo = LO;
    uint8_t address[16];

    inet_pton(family, source, address);
    netlink_begin(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, &header, sizeof(header));
    netlink_put(b, RTA_PREFSRC, address, family == AF_INET ? 4 : 16);
    netlink_put(b, RTA_OIF, &lo, sizeof(lo));
    netlink_end(b);
}

static int add_route(int family, const char *address)
{
    struct netlink_batch b;

    if (step_fault(STEP_EGRESS_ROUTES))
        return -1;
    netlink_init(&b);
    put_address(&b, family, address);
    put_default_route(&b, family, address);
    return netlink_talk(&b, NETLINK_ROUTE);
}

/* --- sockets --- */

static bool no_ipv6(int errnum)
{
    return errnum == EAFNOSUPPORT || errnum == EACCES || errnum == EOPNOTSUPP || errnum == EADDRNOTAVAIL;
}

static int set_option(int sock, int level, int option, int value)
{
    return setsockopt(sock, level, option, &value, sizeof(value));
}

static int new_socket(int type, bool *ret_ipv6)
{
    _cleanup_close_ int sock = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *ret_ipv6 = sock >= 0;
    if (sock < 0 && no_ipv6(errno))
        sock = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0 || set_option(sock, SOL_IP, IP_TRANSPARENT, 1) < 0)
        return -1;
    if (*ret_ipv6 &&
        (set_option(sock, SOL_IPV6, IPV6_V6ONLY, 0) < 0 || set_option(sock, SOL_IPV6, IPV6_TRANSPARENT, 1) < 0))
        return -1;
    return TAKE_FD(sock);
}

static int bind_any(int sock, bool ipv6, uint16_t port)
{
    const struct sockaddr_in any_4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    const struct sockaddr_in6 any_6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

    return ipv6 ? bind(sock, (const struct sockaddr *)&any_6, sizeof(any_6))
                : bind(sock, (const struct sockaddr *)&any_4, sizeof(any_4));
}

/* On the first port, or the first one that nobody inside has taken. */
static int bound_socket(int type, bool any_port, uint16_t *ret_port)
{
    bool ipv6;
    _cleanup_close_ int sock = new_socket(type, &ipv6);

    if (sock < 0)
        return -1;
    for (*ret_port = FIRST_PORT; bind_any(sock, ipv6, *ret_port) < 0; ++*ret_port)
        if (errno != EADDRINUSE || !any_port || *ret_port == LAST_PORT)
            return -1;
    return TAKE_FD(sock);
}

static int make_sockets(struct egress_sockets *ret, bool any_port, uint16_t *ret_tcp_port, uint16_t *ret_udp_port)
{
    _cleanup_close_ int tcp =
        step_fault(STEP_EGRESS_SOCKETS) ? -EBADF : bound_socket(SOCK_STREAM, any_port, ret_tcp_port);
    _cleanup_close_ int udp = tcp < 0 ? -EBADF : bound_socket(SOCK_DGRAM, any_port, ret_udp_port);

    if (udp < 0 || listen(tcp, LISTEN_BACKLOG) < 0)
        return -1;
    *ret = (struct egress_sockets){ TAKE_FD(tcp), TAKE_FD(udp) };
    return 0;
}

int egress_renew(struct egress_sockets *ret, bool any_port)
{
    uint16_t tcp_port, udp_port;

    if (make_sockets(ret, any_port, &tcp_port, &udp_port) < 0)
        return -1;
    if (!any_port || load_rules(tcp_port, udp_port, true) == 0)
        return 0;
    egress_close(ret);
    return -1;
}

int egress_set_up(struct egress_sockets *ret)
{
    uint16_t tcp_port, udp_port;

    if (make_sockets(ret, false, &tcp_port, &udp_port) < 0)
        return -1;
    if (load_rules(tcp_port, udp_port, false) == 0 && add_route(AF_INET, EGRESS_ADDRESS_4) == 0 &&
        (add_route(AF_INET6, EGRESS_ADDRESS_6) == 0 || no_ipv6(errno)))
        return 0;
    egress_close(ret);
    return -1;
}

void egress_close(struct egress_sockets *sockets)
{
    close_fd(&sockets->tcp_fd);
    close_fd(&sockets->udp_fd);
}
