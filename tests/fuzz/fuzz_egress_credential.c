/* fuzz_egress_credential.c - any request gets credentials: what is sent is the same request, with them, and nothing
 * else. */
#include "daemon/egress/credential.h"
#include "daemon/egress/request_fields.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = { .max_head = 64 << 10, .max_headers = H1_MAX_HEADERS };
static const struct egress_credential items[] = { { .header = { "Authorization", 13 }, .secret = { "a", 1 } },
                                                  { .header = { "X-Api-Key", 9 }, .secret = { "b", 1 } } };
static const struct egress_credential *const credentials[] = { &items[0], &items[1] };

static bool is_ours(struct str name)
{
    return str_eq_nocase(name, items[0].header) || str_eq_nocase(name, items[1].header) ||
           str_eq_nocase(name, STR("Accept-Encoding")) || str_eq_nocase(name, STR("TE")) ||
           str_eq_nocase(name, STR("A-IM")) || str_eq_nocase(name, STR("Sec-WebSocket-Extensions"));
}

/* Of an upgrade nothing is left, or all of it, and then it is to WebSocket. */
static void compare_upgrades(const struct h1_head *before, const struct h1_head *after)
{
    assert(request_fields_upgrade(after));
    if (request_fields_upgrade(before))
        assert(str_eq(before->upgrade, after->upgrade));
    else
        assert(after->upgrade.n == 0 && !h1_header(after, "Upgrade").p && !h1_header(after, "HTTP2-Settings").p);
}

static void compare(const struct h1_head *before, const struct h1_head *after)
{
    size_t at = 0;

    assert(str_eq(before->method, after->method) && str_eq(before->target, after->target));
    assert(str_eq(before->host, after->host));
    compare_upgrades(before, after);
    assert(before->framing == after->framing && before->content_length == after->content_length);
    assert(before->keep_alive == after->keep_alive && before->minor_version == after->minor_version);
    for (size_t i = 0; i < before->header_count; i++) {
        if (is_ours(before->headers[i].name) ||
            (!request_fields_upgrade(before) && request_field_upgrades(before->headers[i].name)))
            continue;
        assert(str_eq(before->headers[i].name, after->headers[at].name));
        assert(str_eq(before->headers[i].value, after->headers[at++].value));
    }
    assert(after->header_count == at + 2);
    assert(str_is(h1_header(after, "authorization"), "Bearer first-secret"));
    assert(str_is(h1_header(after, "x-api-key"), "second-secret"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct secrets secrets = { 0 };
    struct leak_guard guard = { 0 };
    struct h1_head before, after;
    struct buf out;

    if (h1_parse_request((const char *)data, size, &limits, &before) <= 0 ||
        before.header_count > H1_MAX_HEADERS - 2)
        return 0;
    secrets_set(&secrets, STR("a"), STR("Bearer first-secret"), 0);
    secrets_set(&secrets, STR("b"), STR("second-secret"), 0);
    buf_init(&out, 256 << 10);
    assert(!credentials_write(&before, credentials, 2, &secrets, &guard, &out));
    assert(h1_parse_request(buf_head(&out), out.len, &limits, &after) == (ssize_t)out.len);
    compare(&before, &after);
    assert(guard.count == 2);
    secrets_remove(&secrets, STR("b"));
    assert(credentials_write(&before, credentials, 2, &secrets, &guard, &out));
    buf_free(&out);
    leak_guard_clear(&guard);
    secrets_free(&secrets);
    return 0;
}
