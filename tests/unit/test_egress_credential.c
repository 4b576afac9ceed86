/* Secrets, the requests that they are put into, and their way back. */
#include "unit.h"

#include "daemon/egress/credential.h"
#include "daemon/egress/request_fields.h"

static void secrets_are_found_by_name_replaced_and_gone(void **state)
{
    struct secrets secrets = { 0 };

    (void)state;
    for (int i = 0; i < 100; i++) {
        char name[16];

        snprintf(name, sizeof(name), "n%d", (i * 37) % 100);
        assert_int_equal(secrets_set(&secrets, str_from(name), STR("a value"), i), 0);
    }
    assert_int_equal(secrets.count, 100);
    assert_int_equal(secrets_set(&secrets, STR("n5"), STR("another"), 7), 0);
    assert_int_equal(secrets.count, 100);
    assert_str(secrets_find(&secrets, STR("n5"))->value, STR("another"));
    assert_null(secrets_find(&secrets, STR("n")));
    assert_null(secrets_find(&secrets, STR("n55x")));
    for (size_t i = 1; i < secrets.count; i++)
        assert_true(strcmp(secrets.items[i - 1].name, secrets.items[i].name) < 0);
    secrets_remove(&secrets, STR("n5"));
    secrets_remove(&secrets, STR("n5"));
    assert_null(secrets_find(&secrets, STR("n5")));
    assert_int_equal(secrets.count, 99);
    secrets_free(&secrets);
}

static void names_and_values_are_checked(void **state)
{
    (void)state;
    assert_true(secret_name_valid(STR("api-key_1.x")));
    assert_false(secret_name_valid(STR("")));
    assert_false(secret_name_valid(STR(".hidden")));
    assert_false(secret_name_valid(STR("a/b")));
    assert_false(secret_name_valid((struct str){ "a\0b", 3 }));
    assert_true(secret_value_valid(STR("Bearer abc")));
    assert_false(secret_value_valid(STR("short")));
    assert_false(secret_value_valid(STR("long enough\r\nX: y")));
    assert_false(secret_value_valid(STR("long enough ")));
    assert_false(secret_value_valid((struct str){ "long\0enough", 11 }));
    assert_false(secret_value_valid(STR("long \x80 enough")));
}

static const struct egress_credential bearer = { .header = { "Authorization", 13 }, .secret = { "one", 3 } };
static const struct egress_credential missing = { .header = { "X", 1 }, .secret = { "two", 3 } };

static const char *write_head(const char *request, const struct egress_credential *const *list, size_t count,
                              struct leak_guard *guard, struct buf *out)
{
    static const struct h1_limits limits = { .max_head = 4096, .max_headers = H1_MAX_HEADERS };
    struct secrets secrets = { 0 };
    struct h1_head head;
    const char *problem;

    assert_int_equal(secrets_set(&secrets, STR("one"), STR("Bearer s3cret-s3cret"), 0), 0);
    assert_true(h1_parse_request(request, strlen(request), &limits, &head) > 0);
    problem = credentials_write(&head, list, count, &secrets, guard, out);
    secrets_free(&secrets);
    return problem;
}

static void a_field_takes_the_place_of_all_of_its_name(void **state)
{
    const struct egress_credential *const list[] = { &bearer };
    struct leak_guard guard = { 0 };
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    assert_null(
        write_head("GET /x?y HTTP/1.1\r\nHost: a\r\nauthorization: 1\r\nAUTHORIZATION: 2\r\nAccept-Encoding: br\r\n"
                   "Authorization-X:  z \r\n\r\n",
                   list, 1, &guard, &out));
    assert_str(buf_str(&out), STR("GET /x?y HTTP/1.1\r\nHost: a\r\nAuthorization-X: z\r\n"
                                  "Authorization: Bearer s3cret-s3cret\r\n\r\n"));
    assert_int_equal(leak_guard_feed(&guard, STR("the s3cret-s3cre")), 12);
    assert_int_equal(leak_guard_feed(&guard, STR("t")), -1);
    leak_guard_clear(&guard);
    buf_free(&out);
}

static void fields_that_ask_for_a_coding_go_only_with_a_credential(void **state)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\nTE: gzip\r\nA-IM: gzip\r\n"
                                  "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    const struct egress_credential *const list[] = { &bearer };
    struct leak_guard guard = { 0 };
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    assert_null(write_head(request, list, 1, &guard, &out));
    assert_str(buf_str(&out), STR("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret-s3cret\r\n\r\n"));
    buf_clear(&out);
    assert_null(write_head(request, list, 0, &guard, &out));
    assert_str(buf_str(&out), str_from(request));
    leak_guard_clear(&guard);
    buf_free(&out);
}

static void an_upgrade_to_anything_but_websocket_is_left_out(void **state)
{
    static const char *const others[] = { "Upgrade: h2c", "Upgrade: websocket, h2c",
                                          "Upgrade: websocket\r\nupgrade: h2c", "HTTP2-Settings: AAMAAABk",
                                          "UPGRADE: TLS/1.0" };
    static const char kept[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    struct leak_guard guard = { 0 };
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        char request[256];

        buf_clear(&out);
        snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n%s\r\nX: y\r\n\r\n",
                 others[i]);
        assert_null(write_head(request, NULL, 0, &guard, &out));
        assert_str(buf_str(&out), STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nX: y\r\n\r\n"));
    }
    buf_clear(&out);
    assert_null(write_head(kept, NULL, 0, &guard, &out));
    assert_str(buf_str(&out), str_from(kept));
    buf_free(&out);
}

static const char *check_fields(const struct egress_rule *rule, const char *field)
{
    static const struct h1_limits limits = { .max_head = 4096, .max_headers = H1_MAX_HEADERS };
    struct h1_head head;
    char request[256];

    snprintf(request, sizeof(request), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", field);
    assert_true(h1_parse_request(request, strlen(request), &limits, &head) > 0);
    return request_fields_check(rule, &head);
}

static void a_field_cannot_ask_for_what_the_rule_has_not_seen(void **state)
{
    static const struct str method = { "POST", 4 }, path = { "/", 1 };
    static const struct egress_credential by_method = { .filter = { .methods = &method, .method_count = 1 } };
    const struct egress_rule methods = { .filter = { .methods = &method, .method_count = 1 } },
                             paths = { .filter = { .paths = &path, .path_count = 1 } }, none = { 0 },
                             credential = { .credentials = &by_method, .credential_count = 1 };

    (void)state;
    assert_non_null(check_fields(&methods, "X-HTTP-Method-Override: DELETE"));
    assert_non_null(check_fields(&methods, "x-http-method: delete"));
    assert_non_null(check_fields(&methods, "X_Method_Override: PUT"));
    assert_non_null(check_fields(&credential, "X-Http-Method-Override: DELETE"));
    assert_non_null(check_fields(&paths, "X-Original-URL: /other"));
    assert_non_null(check_fields(&paths, "X-REWRITE_URL: /other"));
    assert_null(check_fields(&methods, "X-HTTP-Method-Override: POST"));
    assert_null(check_fields(&methods, "X-Original-URL: /other"));
    assert_null(check_fields(&methods, "X-HTTP-Method-Overridden: DELETE"));
    assert_null(check_fields(&paths, "X-HTTP-Method-Override: DELETE"));
    assert_null(check_fields(&none, "X-HTTP-Method-Override: DELETE"));
    assert_null(check_fields(NULL, "X-HTTP-Method-Override: DELETE"));
}

static void a_secret_that_is_not_there_sends_nothing(void **state)
{
    const struct egress_credential *const list[] = { &bearer, &missing };
    struct leak_guard guard = { 0 };
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    buf_append_str(&out, STR("before"));
    assert_non_null(write_head("GET / HTTP/1.1\r\nHost: a\r\n\r\n", list, 2, &guard, &out));
    assert_str(buf_str(&out), STR("before"));
    leak_guard_clear(&guard);
    buf_free(&out);
}

static void a_word_is_found_over_any_pieces(void **state)
{
    static const char text[] = "aabaabaac aabaabaabaac";
    struct leak_guard guard = { 0 };

    (void)state;
    assert_int_equal(leak_guard_add(&guard, STR("aabaabaabaac")), 0);
    assert_int_equal(leak_guard_add(&guard, STR("aabaabaabaac")), 0);
    assert_int_equal(guard.count, 1);
    for (size_t cut = 0; cut < sizeof(text) - 1; cut++) {
        leak_guard_restart(&guard);
        assert_int_not_equal(leak_guard_feed(&guard, (struct str){ text, cut }), -1);
        assert_int_equal(leak_guard_feed(&guard, (struct str){ text + cut, sizeof(text) - 1 - cut }), -1);
    }
    leak_guard_restart(&guard);
    assert_int_equal(leak_guard_feed(&guard, STR("aabaabaa")), 8);
    assert_int_equal(leak_guard_feed(&guard, STR("baaba")), 10);
    assert_int_equal(leak_guard_feed(&guard, STR("x")), 0);
    leak_guard_clear(&guard);
    assert_int_equal(leak_guard_feed(&guard, STR("aabaabaabaac")), 0);
}

static void a_word_is_found_as_others_write_it(void **state)
{
    static const char *const found[] = { "Basic dXNlcjpw+yXNz/w==", "?auth=Basic%20dXNlcjpw%2ByXNz%2Fw%3D%3D&x",
                                         "?auth=dXNlcjpw%2byXNz%2fw%3d%3d",
                                         "{\"a\":\"Basic dXNlcjpw+yXNz\\/w==\"}" };
    struct leak_guard guard = { 0 };

    (void)state;
    assert_int_equal(leak_guard_add(&guard, STR("Basic dXNlcjpw+yXNz/w==")), 0);
    assert_int_equal(guard.count, 4);
    for (size_t i = 0; i < ARRAY_SIZE(found); i++) {
        leak_guard_restart(&guard);
        assert_int_equal(leak_guard_feed(&guard, str_from(found[i])), -1);
    }
    leak_guard_restart(&guard);
    assert_int_equal(leak_guard_feed(&guard, STR("dXNlcjpw%2")), 10);
    assert_int_equal(leak_guard_feed(&guard, STR("0yXNz%2Fw%3D%3D")), 0);
    leak_guard_clear(&guard);
    for (size_t i = 0; i < LEAK_GUARD_WORDS_MAX; i++) {
        char word[16];

        snprintf(word, sizeof(word), "secret-%zu", i);
        assert_int_equal(leak_guard_add(&guard, str_from(word)), 0);
    }
    assert_int_equal(leak_guard_add(&guard, STR("one-too-many")), -1);
    leak_guard_clear(&guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_are_found_by_name_replaced_and_gone),
        cmocka_unit_test(names_and_values_are_checked),
        cmocka_unit_test(a_field_takes_the_place_of_all_of_its_name),
        cmocka_unit_test(fields_that_ask_for_a_coding_go_only_with_a_credential),
        cmocka_unit_test(an_upgrade_to_anything_but_websocket_is_left_out),
        cmocka_unit_test(a_field_cannot_ask_for_what_the_rule_has_not_seen),
        cmocka_unit_test(a_secret_that_is_not_there_sends_nothing),
        cmocka_unit_test(a_word_is_found_over_any_pieces),
        cmocka_unit_test(a_word_is_found_as_others_write_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
