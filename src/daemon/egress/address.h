/*
 * address.h - Internet addresses as values, ranges of them, and which of them are not the public internet. Pure.
 */
#pragma once

#include "base/base.h"

struct sockaddr_storage;

#define IP_TEXT_SIZE 48

/* IPv4 in its mapped form, ::ffff:a.b.c.d, so that there is one form of each. */
struct ip {
    uint8_t bytes[16];
};

/* The addresses that agree with `base` in the first `bits` of the 128. */
struct cidr {
    struct ip base;
    uint8_t bits;
};

bool ip_is_v4(const struct ip *ip);
bool ip_equal(const struct ip *a, const struct ip *b);
/* Dotted decimal with four parts, or IPv6 without zone. -1: it is neither. */
int ip_parse(struct str text, struct ip *ret);
/* As people write it: IPv4 dotted. */
void ip_format(const struct ip *ip, char out[IP_TEXT_SIZE]);
struct ip ip_from_v4(const uint8_t bytes[4]);
/* -1: not an Internet address. */
int ip_from_sockaddr(const struct sockaddr_storage *from, struct ip *ret, uint16_t *ret_port);
/* Of the family that the address is of. */
socklen_t ip_to_sockaddr(const struct ip *ip, uint16_t port, struct sockaddr_storage *ret);

/* "10.0.0.0/8", "2001:db8::/32", or one address. Bits of the base behind the prefix must be 0. */
int cidr_parse(struct str text, struct cidr *ret);
bool cidr_contains(const struct cidr *cidr, const struct ip *ip);
bool cidr_within(const struct cidr *inner, const struct cidr *outer);

/*
 * NULL for the public internet; else what it is ("loopback", "private", "link-local", "metadata service", ...).
 * An IPv6 address that leads to an IPv4 one (mapped, compatible, NAT64, 6to4) is what that one is.
 */
const char *ip_special(const struct ip *ip);
/* Whether the whole range is special: what, else NULL. */
const char *cidr_special(const struct cidr *cidr);
