/* The console's login: sessions, its cookie, where a request of a browser comes from. */
#include "unit.h"

#include "daemon/api/fields.h"
#include "daemon/api/origin.h"
#include "daemon/console/assets.h"
#include "daemon/console/cookie.h"
#include "daemon/console/session.h"

/* --- sessions --- */

static const uint8_t key_hash[API_KEY_HASH_BYTES] = { 1, 2, 3 };

static void a_session_is_found_by_its_token_until_its_time_is_over(void **state)
{
    static struct web_sessions sessions;
    char token[WEB_SESSION_TOKEN_BYTES];
    struct web_session *session;

    (void)state;
    web_session_open(&sessions, key_hash, 1000, token);
    assert_int_equal(strlen(token), WEB_SESSION_TOKEN_BYTES - 1);
    session = web_session_find(&sessions, str_from(token), 1000);
    assert_non_null(session);
    assert_memory_equal(session->key_hash, key_hash, sizeof(key_hash));
    assert_non_null(web_session_find(&sessions, str_from(token), 1000 + WEB_SESSION_LIFE_MS - 1));
    assert_null(web_session_find(&sessions, str_from(token), 1000 + WEB_SESSION_LIFE_MS));
    web_session_end(session);
    assert_null(web_session_find(&sessions, str_from(token), 1000));
    web_session_end(NULL);
}

static void a_token_that_was_not_given_out_opens_nothing(void **state)
{
    static struct web_sessions sessions;
    char token[WEB_SESSION_TOKEN_BYTES];

    (void)state;
    assert_null(web_session_find(&sessions, STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 0));
    web_session_open(&sessions, key_hash, 0, token);
    assert_null(web_session_find(&sessions, STR(""), 1));
    assert_null(web_session_find(&sessions, (struct str){ token, strlen(token) - 1 }, 1));
    token[51] = token[51] == 'a' ? 'q' : 'a';
    assert_null(web_session_find(&sessions, str_from(token), 1));
}

static void the_table_keeps_no_secret_and_is_bounded(void **state)
{
    static struct web_sessions sessions;
    char tokens[WEB_SESSIONS_MAX + 1][WEB_SESSION_TOKEN_BYTES];

    (void)state;
    for (size_t i = 0; i <= WEB_SESSIONS_MAX; i++)
        web_session_open(&sessions, key_hash, 1000 + i, tokens[i]);
    assert_null(web_session_find(&sessions, str_from(tokens[0]), 2000));
    for (size_t i = 1; i <= WEB_SESSIONS_MAX; i++)
        assert_non_null(web_session_find(&sessions, str_from(tokens[i]), 2000));
    assert_null(memmem(&sessions, sizeof(sessions), tokens[1], 26));
}

/* --- cookies --- */

static void cookies_are_taken_one_by_one(void **state)
{
    struct str field = STR(" a=1; berm-session = x=y ;; =only; flag;\tb=");
    struct cookie cookie;

    (void)state;
    assert_true(cookie_next(&field, &cookie));
    assert_str(cookie.name, STR("a"));
    assert_str(cookie.value, STR("1"));
    assert_true(cookie_next(&field, &cookie));
    assert_str(cookie.name, STR("berm-session"));
    assert_str(cookie.value, STR("x=y"));
    assert_true(cookie_next(&field, &cookie));
    assert_str(cookie.name, STR("flag"));
    assert_int_equal(cookie.value.n, 0);
    assert_true(cookie_next(&field, &cookie));
    assert_str(cookie.name, STR("b"));
    assert_int_equal(cookie.value.n, 0);
    assert_false(cookie_next(&field, &cookie));
}

static void the_cookie_is_taken_out_of_what_a_sandbox_gets(void **state)
{
    static const struct {
        const char *field, *left;
    } cases[] = {
        { "a=1; berm-session=secret; b=2", "a=1; b=2" },
        { "berm-session=secret", "" },
        { "__Host-berm-session=secret;a=1", "a=1" },
        { "BERM-SESSION=secret; __host-Berm-Session=secret", "" },
        { " berm-session =secret;berm-session=secret", "" },
        { "xberm-session=mine; berm-session2=mine", "xberm-session=mine; berm-session2=mine" },
        { "a=1;;  ;b=2", "a=1; b=2" },
        { "a=berm-session", "a=berm-session" },
        { "", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char out[128];
        size_t n = cookie_without_console(str_from(cases[i].field), out);

        assert_int_equal(n, strlen(out));
        assert_string_equal(out, cases[i].left);
    }
    assert_true(set_cookie_is_console(STR("berm-session=x; Domain=example.com")));
    assert_true(set_cookie_is_console(STR("__Host-berm-session=x; Path=/; Secure")));
    assert_false(set_cookie_is_console(STR("a=berm-session=x")));
    assert_false(set_cookie_is_console(STR("")));
}

static const char *field_of(const struct field_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (!strcasecmp(list->items[i].name, name))
            return list->items[i].value;
    return NULL;
}

static void a_sandbox_gives_the_apis_origin_no_cookie_and_no_script(void **state)
{
    struct h1_head head = { 0 };
    struct field_list list;
    struct arena arena;
    const struct h1_header headers[] = { { STR("Set-Cookie"), STR("a=1") },
                                         { STR("Clear-Site-Data"), STR("\"cookies\"") },
                                         { STR("Service-Worker-Allowed"), STR("/") },
                                         { STR("Content-Security-Policy"), STR("script-src *") },
                                         { STR("X-Mine"), STR("kept") } };

    (void)state;
    memcpy(head.headers, headers, sizeof(headers));
    head.header_count = ARRAY_SIZE(headers);
    arena_init(&arena, 1 << 20);
    assert_int_equal(fields_copy_foreign(&list, &arena, &head, "sandbox"), 0);
    assert_int_equal(list.count, 3);
    assert_string_equal(field_of(&list, "X-Mine"), "kept");
    assert_string_equal(field_of(&list, "Content-Security-Policy"), "sandbox");
    assert_string_equal(field_of(&list, "X-Content-Type-Options"), "nosniff");
    /* Under a name of its own a sandbox may set cookies, but not ours. */
    head.headers[1] = (struct h1_header){ STR("Set-Cookie"), STR("Berm-Session=1; Domain=localhost") };
    assert_int_equal(fields_copy(&list, &arena, &head, NULL, 0), 0);
    assert_int_equal(list.count, 4);
    assert_string_equal(field_of(&list, "Set-Cookie"), "a=1");
    arena_free(&arena);
}

/* --- origin --- */

static void only_the_own_origin_is_own(void **state)
{
    static const struct {
        const char *host, *origin, *scheme;
        bool own;
    } cases[] = {
        { "localhost:8787", "http://localhost:8787", "http://", true },
        { "berm.example", "https://berm.example", "https://", true },
        { "Berm.Example", "https://berm.example", "https://", true },
        { "berm.example", "http://berm.example", "https://", false },
        { "localhost:8787", "http://localhost:3000", "http://", false },
        { "localhost:8787", "http://8080-abc-token.localhost:8787", "http://", false },
        { "berm.example", "https://berm.example.evil.example", "https://", false },
        { "berm.example", "null", "https://", false },
        { "berm.example", "", "https://", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct h1_head head = { .host = str_from(cases[i].host), .header_count = 1 };

        head.headers[0] = (struct h1_header){ STR("origin"), str_from(cases[i].origin) };
        assert_int_equal(origin_is_own(&head, str_from(cases[i].scheme)), cases[i].own);
        head.header_count = 0;
        assert_false(origin_is_own(&head, str_from(cases[i].scheme)));
    }
}

static void a_page_of_the_same_site_is_foreign(void **state)
{
    static const struct {
        const char *site;
        bool foreign;
    } cases[] = { { "same-origin", false }, { "none", false },       { "same-site", true },
                  { "cross-site", true },   { "Same-Origin", true }, { "anything", true } };
    struct h1_head head = { 0 };

    (void)state;
    assert_false(origin_is_foreign(&head));
    head.header_count = 1;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        head.headers[0] = (struct h1_header){ STR("Sec-Fetch-Site"), str_from(cases[i].site) };
        assert_int_equal(origin_is_foreign(&head), cases[i].foreign);
    }
}

/* --- files --- */

static void a_file_of_the_console_is_found_by_its_whole_name(void **state)
{
    const struct console_asset *page = console_asset_find(STR(""));

    (void)state;
    assert_null(console_asset_find(STR("/")));
    assert_null(console_asset_find(STR("../main.c")));
    if (!page)
        skip(); /* built without the console */
    assert_string_equal(page->type, "text/html; charset=utf-8");
    assert_true(str_has_prefix(page->plain, STR("<!doctype html>")));
    assert_memory_equal(page->gzip.p, "\x1f\x8b", 2);
    assert_non_null(console_asset_find(STR("licences.txt")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_found_by_its_token_until_its_time_is_over),
        cmocka_unit_test(a_token_that_was_not_given_out_opens_nothing),
        cmocka_unit_test(the_table_keeps_no_secret_and_is_bounded),
        cmocka_unit_test(cookies_are_taken_one_by_one),
        cmocka_unit_test(the_cookie_is_taken_out_of_what_a_sandbox_gets),
        cmocka_unit_test(a_sandbox_gives_the_apis_origin_no_cookie_and_no_script),
        cmocka_unit_test(only_the_own_origin_is_own),
        cmocka_unit_test(a_page_of_the_same_site_is_foreign),
        cmocka_unit_test(a_file_of_the_console_is_found_by_its_whole_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
