/* fuzz_egress_policy.c - any JSON as a policy; one that is taken survives its own text, and decides about anything.
 */
#include "daemon/egress/policy.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct egress_policy *make(struct str text)
{
    static const struct egress_ceiling ceiling;
    struct egress_policy *policy = NULL;
    const struct json *body;
    struct berm_error err;
    struct arena arena;

    arena_init(&arena, 16 << 20);
    if (json_parse(&arena, text, 16, &body, NULL) == 0)
        egress_policy_new(body, &ceiling, &policy, &err);
    arena_free(&arena);
    return policy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct egress_policy *policy = make((struct str){ (const char *)data, size }), *again;
    const struct egress_rule *rule;
    const char *reason;
    struct ip ip = ip_from_v4((uint8_t[]){ 10, 0, 0, 1 });

    if (!policy)
        return 0;
    again = make(str_from(policy->text));
    assert(again && strcmp(again->text, policy->text) == 0);
    assert(egress_check_address(policy, &ip, 80, &reason) == EGRESS_DENY);
    if (egress_check_name(policy, STR("a.example.com"), 443, &rule, &reason) == EGRESS_ALLOW)
        egress_check_request(rule, STR("GET"), STR("/v1/x"), &reason);
    assert(egress_check_name(policy, (struct str){ "", 0 }, 443, &rule, &reason) == EGRESS_DENY);
    egress_policy_unref(again);
    egress_policy_unref(policy);
    return 0;
}
