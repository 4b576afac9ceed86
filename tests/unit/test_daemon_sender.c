/* Who a request comes from: what is believed of Forwarded and X-Forwarded-*, from whom, and how far back. */
#include "unit.h"

#include "daemon/sender.h"

#include <stdio.h>

static struct trusted_proxies trust(bool forwarded)
{
    struct trusted_proxies trusted;
    struct config config = { .trusted_proxies = { { (char *)(uintptr_t) "10.0.0.0/8",
                                                    (char *)(uintptr_t) "127.0.0.1",
                                                    (char *)(uintptr_t) "2001:db8:1::/48" },
                                                  3 },
                             .proxy_header = (char *)(uintptr_t)(forwarded ? "forwarded" : "x-forwarded") };
    struct berm_error err;

    assert_int_equal(trusted_proxies_parse(&config, &trusted, &err), 0);
    return trusted;
}

static struct sender find(bool forwarded, const char *peer, const char *fields)
{
    static const struct h1_limits limits = { 32768, H1_MAX_HEADERS };
    static struct h1_head head;
    struct trusted_proxies trusted = trust(forwarded);
    struct sender_peer from = { .local = !strncmp(peer, "127.", 4) || !strcmp(peer, "unix") };
    struct sender sender;
    char text[4096];
    int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);

    from.known = ip_parse(str_from(peer), &from.ip) == 0;
    assert_int_equal(h1_parse_request(text, (size_t)n, &limits, &head), n);
    sender_find(&trusted, &from, &head, &sender);
    return sender;
}

#define XFF(value)   "X-Forwarded-For: " value "\r\n"
#define PROTO(value) "X-Forwarded-Proto: " value "\r\n"
#define FWD(value)   "Forwarded: " value "\r\n"

static void a_stranger_is_who_the_socket_says(void **state)
{
    (void)state;
    struct sender sender = find(false, "203.0.113.7", XFF("127.0.0.1") PROTO("https"));

    assert_string_equal(sender.client, "203.0.113.7");
    assert_false(sender.local || sender.https || sender.https_known);
    sender = find(false, "2001:db8:2::9", FWD("for=127.0.0.1;proto=https"));
    assert_string_equal(sender.client, "2001:db8:2::9");
    assert_false(sender.local || sender.https_known);
}

static void a_trusted_proxy_is_believed_back_to_the_first_stranger(void **state)
{
    static const struct {
        const char *fields, *client;
    } cases[] = {
        { XFF("198.51.100.1"), "198.51.100.1" },
        { XFF("198.51.100.1, 10.1.1.1"), "198.51.100.1" },
        { XFF("127.0.0.1, 198.51.100.1, 10.1.1.1"), "198.51.100.1" },
        { XFF("198.51.100.1") XFF("198.51.100.2"), "198.51.100.2" },
        { XFF("evil, 198.51.100.1"), "198.51.100.1" },
        { XFF("198.51.100.1, evil"), "unknown" },
        { XFF("198.51.100.1,"), "198.51.100.1" },
        { XFF("198.51.100.1,,10.0.0.1"), "unknown" },
        { XFF("10.1.1.1, 10.2.2.2"), "10.1.1.1" },
        { XFF("198.51.100.1:99"), "198.51.100.1" },
        { XFF("[2001:db8:2::1]:99"), "2001:db8:2::1" },
        { XFF("2001:db8:2::1"), "2001:db8:2::1" },
        { XFF("[2001:db8:2::1"), "unknown" },
        { XFF("[198.51.100.1]x"), "unknown" },
        { XFF("::ffff:198.51.100.1"), "198.51.100.1" },
        { FWD("for=198.51.100.1"), "unknown" }, /* not what it was said to write: a client's */
        { "", "unknown" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sender sender = find(false, "10.9.9.9", cases[i].fields);

        if (strcmp(sender.client, cases[i].client))
            fail_msg("case %zu: %s", i, sender.client);
        assert_false(sender.local);
    }
}

static void the_other_form_too(void **state)
{
    static const struct {
        const char *fields, *client;
        int https; /* -1: not known */
    } cases[] = {
        { FWD("for=198.51.100.1;proto=https"), "198.51.100.1", 1 },
        { FWD("proto=http; For=\"198.51.100.1:8080\""), "198.51.100.1", 0 },
        { FWD("for=\"[2001:db8:2::1]:5\";proto=https"), "2001:db8:2::1", 1 },
        { FWD("for=198.51.100.1;proto=https, for=10.0.0.1;proto=http"), "198.51.100.1", 1 },
        { FWD("for=127.0.0.1;proto=https, for=198.51.100.1;proto=http"), "198.51.100.1", 0 },
        { FWD("for=unknown"), "unknown", -1 },
        { FWD("for=_hidden, for=10.0.0.1"), "unknown", -1 },
        { FWD("for=\"127.0.0.1, for=198.51.100.9\""), "unknown", -1 },
        { FWD("for=\"a\\\", for=127.0.0.1\", for=198.51.100.1"), "198.51.100.1", -1 },
        { FWD("host=\"a,b;for=127.0.0.1\";for=198.51.100.1"), "198.51.100.1", -1 },
        { XFF("198.51.100.1") PROTO("https"), "unknown", -1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sender sender = find(true, "10.9.9.9", cases[i].fields);

        if (strcmp(sender.client, cases[i].client) || (sender.https_known ? sender.https : -1) != cases[i].https)
            fail_msg("case %zu: %s %d %d", i, sender.client, sender.https_known, sender.https);
    }
}

static void https_is_what_the_proxy_says(void **state)
{
    (void)state;
    assert_true(find(false, "10.0.0.1", XFF("198.51.100.1") PROTO("https")).https);
    assert_false(find(false, "10.0.0.1", XFF("198.51.100.1") PROTO("https, http")).https);
    assert_false(find(false, "10.0.0.1", XFF("198.51.100.1") PROTO("wss")).https_known);
    assert_false(find(false, "10.0.0.1", PROTO("https")).https_known);
}

static void nobody_behind_a_proxy_is_local_by_accident(void **state)
{
    (void)state;
    assert_true(find(false, "127.0.0.2", "").local);
    assert_false(find(false, "127.0.0.2", XFF("198.51.100.1")).local);
    assert_false(find(false, "127.0.0.2", FWD("for=127.0.0.1")).local);
    assert_false(find(false, "127.0.0.2", "Via: 1.1 x\r\n").local);
    assert_false(find(false, "unix", XFF("127.0.0.1")).local);
    assert_true(find(false, "unix", "").local);
    assert_false(find(false, "127.0.0.1", "").local); /* a proxy that does not say for whom */
    assert_true(find(false, "127.0.0.1", XFF("127.0.0.1")).local);
    assert_true(find(false, "127.0.0.1", XFF("::1")).local);
    assert_false(find(false, "127.0.0.1", XFF("127.0.0.1, 198.51.100.1")).local);
}

static void a_chain_without_end_is_nobody(void **state)
{
#define TEN "10.0.0.1, 10.0.0.1, 10.0.0.1, 10.0.0.1, 10.0.0.1, 10.0.0.1, 10.0.0.1, 10.0.0.1, 10.0.0.1, 10.0.0.1"
    static const char fields[] = XFF(TEN ", " TEN ", " TEN ", " TEN);

    (void)state;
    assert_string_equal(find(false, "10.0.0.1", fields).client, "unknown");
}

static void bad_settings_are_refused(void **state)
{
    struct config config = { .trusted_proxies = { { (char *)(uintptr_t) "10.0.0.1/8" }, 1 },
                             .proxy_header = (char *)(uintptr_t) "x-forwarded" };
    struct trusted_proxies trusted;
    struct berm_error err;

    (void)state;
    assert_int_equal(trusted_proxies_parse(&config, &trusted, &err), -1);
    assert_non_null(strstr(err.message, "10.0.0.1/8"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stranger_is_who_the_socket_says),
        cmocka_unit_test(a_trusted_proxy_is_believed_back_to_the_first_stranger),
        cmocka_unit_test(the_other_form_too),
        cmocka_unit_test(https_is_what_the_proxy_says),
        cmocka_unit_test(nobody_behind_a_proxy_is_local_by_accident),
        cmocka_unit_test(a_chain_without_end_is_nobody),
        cmocka_unit_test(bad_settings_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
