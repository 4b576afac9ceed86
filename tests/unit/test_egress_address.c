/* Which addresses are the public internet, in every form that an address can be given. */
#include "unit.h"

#include <sys/socket.h>

#include "daemon/egress/address.h"

static struct ip ip_of(const char *text)
{
    struct ip ip;

    if (ip_parse(str_from(text), &ip) < 0)
        fail_msg("%s is no address", text);
    return ip;
}

static const char *const kinds[][2] = {
    { "127.0.0.1", "loopback" },
    { "127.255.255.255", "loopback" },
    { "::1", "loopback" },
    { "::ffff:127.0.0.1", "loopback" },
    { "10.0.0.1", "private" },
    { "172.16.0.1", "private" },
    { "172.31.255.255", "private" },
    { "192.168.1.1", "private" },
    { "fd12:3456::1", "private" },
    { "fc00::1", "private" },
    { "100.64.0.1", "shared by carriers" },
    { "100.127.255.255", "shared by carriers" },
    { "169.254.1.1", "link-local" },
    { "fe80::1", "link-local" },
    { "169.254.169.254", "metadata service" },
    { "::ffff:169.254.169.254", "metadata service" },
    { "64:ff9b::169.254.169.254", "metadata service" },
    { "2002:a9fe:a9fe::1", "metadata service" },
    { "100.100.100.200", "metadata service" },
    { "168.63.129.16", "metadata service" },
    { "fd00:ec2::254", "metadata service" },
    { "64:ff9b::10.0.0.1", "private" },
    { "2002:c0a8:101::", "private" },
    { "::10.0.0.1", "reserved" },
    { "::", "reserved" },
    { "0.0.0.0", "this host" },
    { "0.1.2.3", "this host" },
    { "224.0.0.1", "multicast" },
    { "ff02::1", "multicast" },
    { "255.255.255.255", "reserved" },
    { "240.0.0.1", "reserved" },
    { "192.0.0.1", "reserved" },
    { "192.0.2.1", "reserved" },
    { "198.18.0.1", "reserved" },
    { "198.51.100.7", "reserved" },
    { "203.0.113.9", "reserved" },
    { "2001:db8::1", "reserved" },
    { "2001::1", "reserved" },
    { "64:ff9b:1::1", "reserved" },
    { "100::1", "reserved" },
    { "fec0::1", "reserved" },
    { "4000::1", "reserved" },
    { "1.1.1.1", NULL },
    { "172.32.0.1", NULL },
    { "100.128.0.1", NULL },
    { "192.0.1.1", NULL },
    { "223.255.255.255", NULL },
    { "2606:4700:4700::1111", NULL },
    { "2001:4860:4860::8888", NULL },
    { "64:ff9b::1.1.1.1", NULL },
    { "2002:101:101::1", NULL },
};

static void what_is_not_public_is_told_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct ip ip = ip_of(kinds[i][0]);
        const char *what = ip_special(&ip);

        if (!what != !kinds[i][1] || (what && strcmp(what, kinds[i][1]) != 0))
            fail_msg("%s: %s", kinds[i][0], what ? what : "public");
    }
}

static void other_spellings_of_addresses_are_none(void **state)
{
    static const char *const bad[] = { "",           "1",        "127.1",     "0x7f.0.0.1", "2130706433",
                                       "0177.0.0.1", "1.2.3.4.", "1.2.3.4.5", "256.1.1.1",  "1.2.3.-4",
                                       " 1.2.3.4",   "1.2.3.4 ", ":::",       "fe80::1%lo", "1::2::3",
                                       "[::1]",      "::g",      "1.2.3.4/8", "localhost" };
    struct ip ip;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (ip_parse(str_from(bad[i]), &ip) == 0)
            fail_msg("\"%s\" was taken", bad[i]);
    assert_int_equal(ip_parse((struct str){ "1.2.3.4\0", 8 }, &ip), -1);
}

static void ranges_hold_what_agrees_with_their_prefix(void **state)
{
    struct cidr ten, six, one;
    struct ip in = ip_of("10.255.0.1"), out = ip_of("11.0.0.0"), v6 = ip_of("2001:db8:ffff::1");

    (void)state;
    assert_int_equal(cidr_parse(STR("10.0.0.0/8"), &ten), 0);
    assert_int_equal(cidr_parse(STR("2001:db8::/32"), &six), 0);
    assert_int_equal(cidr_parse(STR("192.0.2.7"), &one), 0);
    assert_true(cidr_contains(&ten, &in));
    assert_false(cidr_contains(&ten, &out));
    assert_true(cidr_contains(&six, &v6));
    assert_false(cidr_contains(&ten, &v6));
    assert_int_equal(one.bits, 128);
    assert_true(cidr_within(&one, &one));
    assert_false(cidr_within(&ten, &one));
}

static void ranges_are_exact(void **state)
{
    static const char *const bad[] = { "10.0.0.0/33",    "10.0.0.1/8",     "10.0.0.0/",
                                       "10.0.0.0/-1",    "10.0.0.0/8/8",   "/8",
                                       "2001:db8::/129", "2001:db8::1/32", "10.0.0.0/08x",
                                       "10.0.0.0/0008",  "ten/8" };
    struct cidr cidr;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (cidr_parse(str_from(bad[i]), &cidr) == 0)
            fail_msg("\"%s\" was taken", bad[i]);
}

static void addresses_survive_sockets_and_text(void **state)
{
    static const char *const texts[] = { "1.2.3.4", "255.255.255.255", "2001:db8::1", "::1" };
    struct sockaddr_storage storage;
    char text[IP_TEXT_SIZE];
    uint16_t port;
    struct ip back;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct ip ip = ip_of(texts[i]);

        ip_to_sockaddr(&ip, 443, &storage);
        assert_int_equal(storage.ss_family, ip_is_v4(&ip) ? AF_INET : AF_INET6);
        assert_int_equal(ip_from_sockaddr(&storage, &back, &port), 0);
        assert_true(ip_equal(&ip, &back));
        assert_int_equal(port, 443);
        ip_format(&back, text);
        assert_string_equal(text, texts[i]);
    }
    storage.ss_family = AF_UNIX;
    assert_int_equal(ip_from_sockaddr(&storage, &back, &port), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_public_is_told_what_it_is),
        cmocka_unit_test(other_spellings_of_addresses_are_none),
        cmocka_unit_test(ranges_hold_what_agrees_with_their_prefix),
        cmocka_unit_test(ranges_are_exact),
        cmocka_unit_test(addresses_survive_sockets_and_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
