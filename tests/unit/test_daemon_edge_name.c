/* Host names of the edge, and the cookies of those hosts. */
#include "daemon/edge/name.h"

#include "daemon/edge/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define DOMAIN STR("localhost")

static struct edge_name parse(const char *host)
{
    struct edge_name name;

    edge_name_parse(str_from(host), DOMAIN, &name);
    return name;
}

static void a_preview_names_its_port_its_sandbox_and_its_token(void **state)
{
    static const char *const same[] = { "8080-demo2-abc_1.localhost", "8080-demo2-abc_1.localhost:8787",
                                        "8080-demo2-abc_1.LOCALHOST", "8080-demo2-abc_1.localhost." };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        struct edge_name name = parse(same[i]);

        assert_int_equal(name.kind, EDGE_NAME_PREVIEW);
        assert_int_equal(name.port, 8080);
        assert_true(str_is(name.sandbox, "demo2"));
        assert_true(str_is(name.token, "abc_1"));
    }
}

static void what_is_not_below_the_domain_is_for_the_api(void **state)
{
    static const char *const hosts[] = { "localhost",
                                         "localhost:8787",
                                         ".localhost",
                                         "127.0.0.1:8787",
                                         "[::1]:8787",
                                         "8080-demo-abc.example.com",
                                         "8080-demo-abc-localhost",
                                         "8080-demo-abc.notlocalhost",
                                         "8080-demo-abc.localhost.example.com",
                                         "",
                                         ":80" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
        assert_int_equal(parse(hosts[i]).kind, EDGE_NAME_OTHER);
}

static void every_other_label_below_the_domain_is_a_tunnel_s(void **state)
{
    static const char *const hosts[] = { "app.localhost",
                                         "www.localhost:1",
                                         "80-demo-abc.localhost",
                                         "3000-demo-abc.localhost",
                                         "65536-demo-abc.localhost",
                                         "08080-demo-abc.localhost",
                                         "8080-abc.localhost",
                                         "8080--.localhost",
                                         "8080.localhost",
                                         "-.localhost" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
        assert_int_equal(parse(hosts[i]).kind, EDGE_NAME_TUNNEL);
}

static void several_labels_below_the_domain_are_nobody_s(void **state)
{
    char host[128];

    (void)state;
    assert_int_equal(parse("a.8080-demo-abc.localhost").kind, EDGE_NAME_NOBODY);
    assert_int_equal(parse("..localhost").kind, EDGE_NAME_NOBODY);
    memset(host, 'a', 64);
    memcpy(host + 64, ".localhost", 11);
    assert_int_equal(parse(host).kind, EDGE_NAME_NOBODY);
}

static void ports_tokens_and_labels_have_their_rules(void **state)
{
    (void)state;
    assert_true(edge_port_valid(1024) && edge_port_valid(65535));
    assert_false(edge_port_valid(1023) || edge_port_valid(65536) || edge_port_valid(3000) || edge_port_valid(-1));
    assert_true(edge_token_valid(STR("a")) && edge_token_valid(STR("abc_0123456789ab")));
    assert_false(edge_token_valid(STR("")) || edge_token_valid(STR("abc_0123456789abc")) ||
                 edge_token_valid(STR("A")) || edge_token_valid(STR("a-b")) || edge_token_valid(STR("a.b")));
    assert_true(edge_tunnel_valid(STR("a")) && edge_tunnel_valid(STR("app-1")) && edge_tunnel_valid(STR("1app")));
    assert_false(edge_tunnel_valid(STR("")) || edge_tunnel_valid(STR("-a")) || edge_tunnel_valid(STR("a-")) ||
                 edge_tunnel_valid(STR("a.b")) || edge_tunnel_valid(STR("A")));
    assert_false(edge_tunnel_valid(STR("8080-demo-abc"))); /* could be taken for a preview */
}

static void a_name_that_is_too_long_for_one_label_is_told(void **state)
{
    (void)state;
    static const struct str id = { "abcdefghijklmnopqrstuvwxyz234567abcdefghi", 41 };

    assert_int_equal(edge_preview_length(8080, id, STR("0123456789abcdef")), EDGE_LABEL_MAX);
    assert_int_equal(edge_preview_length(18080, id, STR("0123456789abcdef")), EDGE_LABEL_MAX + 1);
}

static void cookies_stay_at_the_host_that_sets_them(void **state)
{
    static const char *const cases[][2] = {
        { "a=1", "a=1" },
        { "a=1; Path=/; Domain=localhost; Secure", "a=1; Path=/; Secure" },
        { "a=1;domain=localhost", "a=1" },
        { "a=1; DOMAIN = .x.y ;domain", "a=1" },
        { "domain=1; domain=2", "domain=1" },
        { "a=\"1; Domain=x\"; HttpOnly", "a=\"1; HttpOnly" },
        { "a=1; Domains=x", "a=1; Domains=x" },
        { "a=1;", "a=1" },
        { "a=1;;b", "a=1;;b" },
        { "", "" },
    };
    char out[100];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        out[edge_cookie_host_only(str_from(cases[i][0]), out)] = '\0';
        assert_string_equal(out, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_preview_names_its_port_its_sandbox_and_its_token),
        cmocka_unit_test(what_is_not_below_the_domain_is_for_the_api),
        cmocka_unit_test(every_other_label_below_the_domain_is_a_tunnel_s),
        cmocka_unit_test(several_labels_below_the_domain_are_nobody_s),
        cmocka_unit_test(ports_tokens_and_labels_have_their_rules),
        cmocka_unit_test(a_name_that_is_too_long_for_one_label_is_told),
        cmocka_unit_test(cookies_stay_at_the_host_that_sets_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
