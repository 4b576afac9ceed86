/* Policies: what they are made from, and what they say. */
#include "unit.h"

#include "daemon/egress/policy.h"

static struct cidr lab, forbidden;
static struct egress_ceiling ceiling = { &lab, &forbidden, 1, 1, NULL };

static int set_up(void **state)
{
    (void)state;
    return cidr_parse(STR("10.77.0.0/16"), &lab) || cidr_parse(STR("93.184.216.0/24"), &forbidden);
}

static int make(const char *text, struct egress_policy **ret, struct berm_error *err)
{
    const struct json *body;
    struct arena arena;
    int rc;

    arena_init(&arena, 1 << 20);
    if (json_parse(&arena, str_from(text), 16, &body, err) < 0)
        fail_msg("%s: %s", text, err->message);
    rc = egress_policy_new(body, &ceiling, ret, err);
    arena_free(&arena);
    return rc;
}

static struct egress_policy *good(const char *text)
{
    struct egress_policy *policy;
    struct berm_error err;

    if (make(text, &policy, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return policy;
}

static enum egress_verdict address(const struct egress_policy *policy, const char *text, uint16_t port)
{
    const char *reason;
    struct ip ip;

    assert_int_equal(ip_parse(str_from(text), &ip), 0);
    return egress_check_address(policy, &ip, port, &reason);
}

static enum egress_verdict name(const struct egress_policy *policy, const char *text, uint16_t port)
{
    const struct egress_rule *rule;
    const char *reason;

    return egress_check_name(policy, str_from(text), port, &rule, &reason);
}

static void without_a_policy_the_public_internet_is_open(void **state)
{
    struct egress_policy *policy;

    (void)state;
    assert_int_equal(egress_policy_new(NULL, &ceiling, &policy, NULL), 0);
    assert_int_equal(address(policy, "1.1.1.1", 25), EGRESS_ALLOW);
    assert_int_equal(address(policy, "2606:4700::1", 443), EGRESS_ALLOW);
    assert_int_equal(address(policy, "10.0.0.1", 80), EGRESS_DENY);
    assert_int_equal(address(policy, "169.254.169.254", 80), EGRESS_DENY);
    assert_int_equal(address(policy, "64:ff9b::10.0.0.1", 80), EGRESS_DENY);
    assert_int_equal(address(policy, "10.77.1.2", 80), EGRESS_ALLOW);    /* the operator's lab */
    assert_int_equal(address(policy, "93.184.216.34", 80), EGRESS_DENY); /* the operator's deny */
    egress_policy_unref(policy);
}

static void deny_lets_through_what_is_named_only(void **state)
{
    struct egress_policy *policy =
        good("{\"mode\":\"deny\",\"hosts\":[\"pypi.org\",\"*.debian.org\"],"
             "\"cidrs\":[\"1.1.1.0/24\",{\"cidr\":\"8.8.8.8\",\"ports\":[53,\"80-90\"]}]}");

    (void)state;
    assert_int_equal(address(policy, "1.1.1.1", 22), EGRESS_ALLOW);
    assert_int_equal(address(policy, "8.8.8.8", 85), EGRESS_ALLOW);
    assert_int_equal(address(policy, "8.8.8.8", 91), EGRESS_ASK_NAME);
    assert_int_equal(address(policy, "10.0.0.1", 80), EGRESS_DENY);
    assert_int_equal(name(policy, "pypi.org", 443), EGRESS_ALLOW);
    assert_int_equal(name(policy, "www.pypi.org", 443), EGRESS_DENY);
    assert_int_equal(name(policy, "xpypi.org", 443), EGRESS_DENY);
    assert_int_equal(name(policy, "deb.debian.org", 80), EGRESS_ALLOW);
    assert_int_equal(name(policy, "a.b.debian.org", 80), EGRESS_ALLOW);
    assert_int_equal(name(policy, "debian.org", 80), EGRESS_DENY);
    assert_int_equal(name(policy, "evildebian.org", 80), EGRESS_DENY);
    assert_int_equal(name(policy, "", 80), EGRESS_DENY);
    egress_policy_unref(policy);
    policy = good("{\"mode\":\"deny\"}");
    assert_int_equal(address(policy, "1.1.1.1", 443), EGRESS_DENY);
    egress_policy_unref(policy);
}

static void denied_hosts_make_every_connection_tell_its_name(void **state)
{
    struct egress_policy *policy =
        good("{\"mode\":\"allow\",\"deny\":{\"hosts\":[\"*.evil.com\",\"evil.com\"],\"cidrs\":[\"9.9.9.0/24\"]}}");
    const char *reason;

    (void)state;
    assert_int_equal(address(policy, "1.1.1.1", 443), EGRESS_ASK_NAME);
    assert_int_equal(address(policy, "9.9.9.9", 443), EGRESS_DENY);
    assert_int_equal(name(policy, "good.com", 443), EGRESS_ALLOW);
    assert_int_equal(name(policy, "evil.com", 443), EGRESS_DENY);
    assert_int_equal(name(policy, "x.evil.com", 443), EGRESS_DENY);
    assert_int_equal(name(policy, "", 443), EGRESS_DENY);
    assert_int_equal(egress_check_question(policy, STR("x.evil.com"), &reason), EGRESS_DENY);
    assert_int_equal(egress_check_question(policy, STR("good.com"), &reason), EGRESS_ALLOW);
    egress_policy_unref(policy);
}

static void ports_hold_everywhere(void **state)
{
    struct egress_policy *policy = good("{\"mode\":\"allow\",\"ports\":[443,\"8000-8999\"]}");

    (void)state;
    assert_int_equal(address(policy, "1.1.1.1", 443), EGRESS_ALLOW);
    assert_int_equal(address(policy, "1.1.1.1", 8500), EGRESS_ALLOW);
    assert_int_equal(address(policy, "1.1.1.1", 25), EGRESS_DENY);
    egress_policy_unref(policy);
}

static enum egress_verdict request(const struct egress_policy *policy, const char *host, const char *method,
                                   const char *path)
{
    const struct egress_rule *rule;
    const char *reason;

    assert_int_equal(egress_check_name(policy, str_from(host), 80, &rule, &reason), EGRESS_ALLOW);
    return egress_check_request(rule, str_from(method), str_from(path), &reason);
}

static void methods_and_paths_are_exact_and_ambiguous_paths_refused(void **state)
{
    static const char *const odd[] = { "/v1/../admin", "/v1/./x", "/v1//x", "/v1/%2e%2e/x",
                                       "/v1/x\\y",     "/v1/x;y", "/v1/..", "/v1/.",
                                       "v1/x",         "",        "*" };
    struct egress_policy *policy = good("{\"mode\":\"deny\",\"hosts\":[{\"host\":\"*.com\",\"methods\":[\"GET\"]},"
                                        "{\"host\":\"api.com\",\"methods\":[\"GET\",\"POST\"],"
                                        "\"paths\":[\"/v1/*\",\"/status\"]}]}");

    (void)state;
    assert_int_equal(request(policy, "api.com", "POST", "/v1/items"), EGRESS_ALLOW);
    assert_int_equal(request(policy, "api.com", "POST", "/v1/..items"), EGRESS_ALLOW);
    assert_int_equal(request(policy, "api.com", "GET", "/status"), EGRESS_ALLOW);
    assert_int_equal(request(policy, "api.com", "GET", "/status/x"), EGRESS_DENY);
    assert_int_equal(request(policy, "api.com", "GET", "/v2"), EGRESS_DENY);
    assert_int_equal(request(policy, "api.com", "DELETE", "/v1/items"), EGRESS_DENY);
    assert_int_equal(request(policy, "api.com", "post", "/v1/items"), EGRESS_DENY);
    assert_int_equal(request(policy, "www.com", "GET", "/anything/../x"), EGRESS_ALLOW);
    assert_int_equal(request(policy, "www.com", "POST", "/"), EGRESS_DENY);
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
        if (request(policy, "api.com", "GET", odd[i]) != EGRESS_DENY)
            fail_msg("%s was let through", odd[i]);
    egress_policy_unref(policy);
}

static size_t credentials(const struct egress_policy *policy, const char *method, const char *path, bool tls)
{
    const struct egress_credential *found[POLICY_CREDENTIALS_MAX];
    const struct egress_rule *rule;
    const char *reason;

    assert_int_equal(egress_check_name(policy, STR("api.com"), 443, &rule, &reason), EGRESS_ALLOW);
    return egress_find_credentials(rule, str_from(method), str_from(path), tls, found);
}

static void credentials_are_for_their_requests_only(void **state)
{
    struct egress_policy *policy = good(
        "{\"mode\":\"allow\",\"hosts\":[{\"host\":\"api.com\",\"credentials\":["
        "{\"header\":\"A\",\"secret\":\"one\",\"methods\":[\"GET\"],\"paths\":[\"/v1/*\"]},"
        "{\"header\":\"B\",\"secret\":\"two\",\"plainHttp\":true},{\"header\":\"a\",\"secret\":\"three\"}]}]}");

    (void)state;
    assert_true(egress_policy_intercepts(policy));
    assert_int_equal(credentials(policy, "GET", "/v1/x", true), 2); /* one, two: three is of the same name as one */
    assert_int_equal(credentials(policy, "GET", "/v2", true), 2);   /* two, three */
    assert_int_equal(credentials(policy, "GET", "/v1/../x", false), 1);
    assert_int_equal(credentials(policy, "POST", "/", false), 1);
    assert_int_equal(request(policy, "api.com", "TRACE", "/"), EGRESS_DENY);
    assert_int_equal(request(policy, "other.com", "TRACE", "/"), EGRESS_ALLOW);
    assert_null(egress_policy_missing_secret(policy)); /* this ceiling knows of no secrets */
    egress_policy_unref(policy);
    policy = good("{\"mode\":\"allow\",\"hosts\":[{\"host\":\"a.com\",\"ports\":[80]}]}");
    assert_false(egress_policy_intercepts(policy));
    egress_policy_unref(policy);
}

static const char *const bad[][2] = {
    { "{}", "mode" },
    { "{\"mode\":\"none\"}", "mode" },
    { "{\"mode\":\"allow\",\"dns\":{}}", "egress" },
    { "{\"mode\":\"allow\",\"hosts\":[\"a.com\"]}", "hosts" },
    { "{\"mode\":\"deny\",\"hosts\":[\"1.2.3.4\"]}", "hosts" },
    { "{\"mode\":\"deny\",\"hosts\":[\"a*.com\"]}", "hosts" },
    { "{\"mode\":\"deny\",\"hosts\":[\"*.*.com\"]}", "hosts" },
    { "{\"mode\":\"deny\",\"hosts\":[\"http://a.com\"]}", "hosts" },
    { "{\"mode\":\"deny\",\"hosts\":[7]}", "hosts" },
    { "{\"mode\":\"deny\",\"hosts\":\"a.com\"}", "hosts" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"headers\":{}}]}", "hosts" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"ports\":[80]}]}", "hosts" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"methods\":[\"get\"]}]}", "methods" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"paths\":[\"v1\"]}]}", "paths" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"paths\":[\"/a*b\"]}]}", "paths" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"paths\":[\"/%41\"]}]}", "paths" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"paths\":[]}]}", "paths" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"credentials\":[]}]}", "credentials" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"credentials\":[{\"header\":\"A\"}]}]}", "credentials" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"credentials\":[{\"header\":\"Host\",\"secret\":"
      "\"a\"}]}]}",
      "credentials" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"credentials\":[{\"header\":\"proxy-X\",\"secret\":"
      "\"a\"}]}]}",
      "credentials" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"credentials\":[{\"header\":\"A: "
      "b\",\"secret\":\"a\"}]}]}",
      "credentials" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"a.com\",\"credentials\":[{\"header\":\"A\",\"secret\":\"../"
      "a\"}]}]}",
      "credentials" },
    { "{\"mode\":\"deny\",\"hosts\":[{\"host\":\"*\",\"credentials\":[{\"header\":\"A\",\"secret\":\"a\"}]}]}",
      "credentials" },
    { "{\"mode\":\"deny\",\"deny\":{\"hosts\":[{\"host\":\"a.com\",\"credentials\":[{\"header\":\"A\","
      "\"secret\":\"a\"}]}]}}",
      "deny.hosts" },
    { "{\"mode\":\"deny\",\"cidrs\":[\"10.0.0.0/8\"]}", "cidrs" },
    { "{\"mode\":\"deny\",\"cidrs\":[\"10.77.0.0/15\"]}", "cidrs" },
    { "{\"mode\":\"deny\",\"cidrs\":[\"169.254.169.254\"]}", "cidrs" },
    { "{\"mode\":\"deny\",\"cidrs\":[\"64:ff9b::a00:1\"]}", "cidrs" },
    { "{\"mode\":\"deny\",\"cidrs\":[\"93.184.216.34\"]}", "cidrs" },
    { "{\"mode\":\"deny\",\"cidrs\":[\"1.2.3.4/33\"]}", "cidrs" },
    { "{\"mode\":\"deny\",\"ports\":[0]}", "ports" },
    { "{\"mode\":\"deny\",\"ports\":[65536]}", "ports" },
    { "{\"mode\":\"deny\",\"ports\":[\"90-80\"]}", "ports" },
    { "{\"mode\":\"deny\",\"ports\":[]}", "ports" },
    { "{\"mode\":\"deny\",\"deny\":{\"ports\":[1]}}", "deny" },
    { "{\"mode\":\"deny\",\"deny\":{\"hosts\":[{\"host\":\"a.com\",\"ports\":[1]}]}}", "deny.hosts" },
    { "{\"mode\":\"deny\",\"deny\":{\"cidrs\":[{\"cidr\":\"1.2.3.4\",\"ports\":[1]}]}}", "deny.cidrs" },
    { "[]", "egress" },
};

static void what_could_not_be_kept_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct egress_policy *policy;
        struct berm_error err = { 0 };

        if (make(bad[i][0], &policy, &err) == 0)
            fail_msg("%s was taken", bad[i][0]);
        if (err.code != BERM_E_INVALID_REQUEST || strcmp(err.field, bad[i][1]) != 0)
            fail_msg("%s: field %s: %s", bad[i][0], err.field, err.message);
    }
}

static void the_text_of_a_policy_makes_the_same_policy(void **state)
{
    struct egress_policy *policy = good("{ \"mode\" : \"deny\", \"cidrs\" : [ \"10.77.1.0/24\" ] }"), *again;

    (void)state;
    assert_string_equal(policy->text, "{\"mode\":\"deny\",\"cidrs\":[\"10.77.1.0/24\"]}");
    again = good(policy->text);
    assert_string_equal(again->text, policy->text);
    assert_int_equal(address(again, "10.77.1.1", 80), EGRESS_ALLOW);
    egress_policy_unref(again);
    egress_policy_unref(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_policy_the_public_internet_is_open),
        cmocka_unit_test(deny_lets_through_what_is_named_only),
        cmocka_unit_test(denied_hosts_make_every_connection_tell_its_name),
        cmocka_unit_test(ports_hold_everywhere),
        cmocka_unit_test(methods_and_paths_are_exact_and_ambiguous_paths_refused),
        cmocka_unit_test(credentials_are_for_their_requests_only),
        cmocka_unit_test(what_could_not_be_kept_is_refused),
        cmocka_unit_test(the_text_of_a_policy_makes_the_same_policy),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
