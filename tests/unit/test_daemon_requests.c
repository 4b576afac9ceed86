/* What the daemon reads out of requests: routes, ids, paths, specifications of sandboxes. */
#include "unit.h"

#include "daemon/api/paths.h"
#include "daemon/api/request.h"
#include "daemon/api/sandbox_spec.h"

static void a_pattern_matches_whole_segments(void **state)
{
    static const struct {
        const char *pattern, *path;
        bool matches;
        const char *first, *second, *rest;
    } cases[] = {
        { "/health", "/health", true, "", "", "" },
        { "/health", "/health/", false },
        { "/health", "/healthz", false },
        { "/health", "health", false },
        { "/health", "", false },
        { "/v1/sandbox/:id", "/v1/sandbox/abc", true, "abc", "", "" },
        { "/v1/sandbox/:id", "/v1/sandbox/", false },
        { "/v1/sandbox/:id", "/v1/sandbox", false },
        { "/v1/sandbox/:id", "/v1/sandbox/abc/", false },
        { "/v1/sandbox/:id/exec", "/v1/sandbox/abc/exec", true, "abc", "", "" },
        { "/v1/sandbox/:id/exec", "/v1/sandbox//exec", false },
        { "/v1/sandbox/:id/exec", "/v1//sandbox/abc/exec", false },
        { "/v1/sandbox/:id/session/:sid", "/v1/sandbox/a/session/b%20c", true, "a", "b%20c", "" },
        { "/v1/sandbox/:id/file/*", "/v1/sandbox/a/file/x/y/z", true, "a", "", "x/y/z" },
        { "/v1/sandbox/:id/file/*", "/v1/sandbox/a/file/", true, "a", "", "" },
        { "/v1/sandbox/:id/file/*", "/v1/sandbox/a/file", false },
        { "/v1/sandbox/:id/file/*", "/v1/sandbox/a/file//etc", true, "a", "", "/etc" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str params[2] = { { "", 0 }, { "", 0 } }, rest = { "", 0 };

        if (route_match(cases[i].pattern, str_from(cases[i].path), params, &rest) != cases[i].matches)
            fail_msg("%s against %s", cases[i].path, cases[i].pattern);
        if (!cases[i].matches)
            continue;
        assert_str(params[0], str_from(cases[i].first));
        assert_str(params[1], str_from(cases[i].second));
        assert_str(rest, str_from(cases[i].rest));
    }
}

static void only_addresses_and_localhost_are_literal_hosts(void **state)
{
    static const char *const literal[] = { "localhost",  "LOCALHOST:8787", "127.0.0.1", "127.0.0.1:80",
                                           "10.1.2.3:1", "[::1]",          "[::1]:8787" };
    static const char *const names[] = {
        "", ":80", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost2", "a127.0.0.1:80"
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(literal); i++)
        assert_true(host_is_literal(str_from(literal[i])));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_false(host_is_literal(str_from(names[i])));
}

static void sandbox_ids_are_lower_case_base32(void **state)
{
    char longest[130];

    (void)state;
    memset(longest, 'a', sizeof(longest));
    assert_true(sandbox_id_valid(STR("abc234567xyz")));
    assert_true(sandbox_id_valid((struct str){ longest, 128 }));
    assert_false(sandbox_id_valid((struct str){ longest, 129 }));
    assert_false(sandbox_id_valid(STR("")));
    for (const char *bad = "189AZ-_.;/% \t\x7f\xc3"; *bad; bad++)
        assert_false(sandbox_id_valid((struct str){ bad, 1 }));
    assert_false(sandbox_id_valid(STR("a\0b")));
}

static void session_ids_have_no_two_dots_in_a_row(void **state)
{
    char longest[129];

    (void)state;
    memset(longest, 'a', sizeof(longest));
    assert_true(session_id_valid(STR("my.session_1-x")));
    assert_true(session_id_valid(STR(".")));
    assert_true(session_id_valid((struct str){ longest, 128 }));
    assert_false(session_id_valid((struct str){ longest, 129 }));
    assert_false(session_id_valid(STR("")));
    assert_false(session_id_valid(STR("a..b")));
    assert_false(session_id_valid(STR("a b")));
    assert_false(session_id_valid(STR("a/b")));
    assert_false(session_id_valid(STR("a\0b")));
    assert_false(session_id_valid(STR("__DISABLE_SESSION__")));
}

static void url_paths_are_decoded_once_and_normalised(void **state)
{
    static const struct {
        const char *rest, *path;
        bool inside;
    } cases[] = {
        { "workspace/main.py", "/workspace/main.py", true },
        { "workspace", "/workspace", true },
        { "workspace/", "/workspace", true },
        { "workspace/a//b/./c", "/workspace/a/b/c", true },
        { "/workspace/x", "/workspace/x", true },
        { "workspace/../etc/passwd", "/etc/passwd", false },
        { "workspace/%2e%2e/etc/passwd", "/etc/passwd", false },
        { "workspace/..%2Fetc/passwd", "/etc/passwd", false },
        { "workspace%2f..%2fetc", "/etc", false },
        { "workspace/%252e%252e/x", "/workspace/%2e%2e/x", true },
        { "workspaces/x", "/workspaces/x", false },
        { "../../../workspace/x", "/workspace/x", true },
        { "..", "/", false },
        { "workspace/a%3Fb%23c", "/workspace/a?b#c", true },
        { "workspace/%C3%A9", "/workspace/\xc3\xa9", true },
        { "workspace/...", "/workspace/...", true },
        { "workspace/a%00b", NULL, false },
        { "workspace/%", NULL, false },
        { "workspace/%4", NULL, false },
        { "workspace/%zz", NULL, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena arena;
        char *path;

        arena_init(&arena, 1 << 20);
        path = path_from_url(&arena, str_from(cases[i].rest));
        if (!cases[i].path) {
            assert_null(path);
        } else {
            assert_string_equal(path, cases[i].path);
            assert_int_equal(path_in_workspace(path), cases[i].inside);
        }
        arena_free(&arena);
    }
}

static void a_relative_directory_starts_at_the_workspace(void **state)
{
    struct arena arena;
    char longest[5000];

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_string_equal(path_normalise(&arena, STR("a/b"), WORKSPACE), "/workspace/a/b");
    assert_string_equal(path_normalise(&arena, STR(""), WORKSPACE), "/workspace");
    assert_string_equal(path_normalise(&arena, STR(".."), WORKSPACE), "/");
    assert_string_equal(path_normalise(&arena, STR("/tmp"), WORKSPACE), "/tmp");
    assert_null(path_normalise(&arena, STR("a\0b"), WORKSPACE));
    memset(longest, 'x', sizeof(longest));
    assert_null(path_normalise(&arena, (struct str){ longest, 4097 }, WORKSPACE));
    assert_non_null(path_normalise(&arena, (struct str){ longest, 4096 }, WORKSPACE));
    arena_free(&arena);
}

static void paths_are_encoded_so_that_they_decode_to_themselves(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_string_equal(path_encode(&arena, "/a b/%2F?&=#\xc3\xa9~._-"), "/a%20b/%252F%3F%26%3D%23%C3%A9~._-");
    arena_free(&arena);
}

/* --- PUT --- */

static const struct egress_ceiling egress_ceiling;

static const struct config ceilings = {
    .max_memory = 1 << 30, .max_cpu = 4000, .max_pids = 100, .max_disk = 1 << 30, .max_nofile = 1000
};

static int decode(struct arena *arena, const char *text, struct sandbox_settings *ret, struct berm_error *err)
{
    const struct json *body;

    memset(err, 0, sizeof(*err));
    assert_int_equal(json_parse(arena, str_from(text), 16, &body, err), 0);
    return sandbox_spec_decode(&ceilings, &egress_ceiling, arena, body, ret, err);
}

static void a_full_specification_is_taken(void **state)
{
    struct sandbox_settings settings;
    struct berm_error err;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_int_equal(decode(&arena,
                            "{\"image\":\"py\",\"limits\":{\"memoryBytes\":67108864,\"cpuMillis\":500,\"pids\":32,"
                            "\"diskBytes\":1048576,\"nofile\":64},\"env\":{\"A\":\"1\",\"B\":null},"
                            "\"labels\":{\"team/x\":\"a b\"},\"sleepAfter\":\"90s\",\"keepAlive\":false}",
                            &settings, &err),
                     0);
    assert_string_equal(settings.image, "py");
    assert_int_equal(settings.limits.memory_bytes, 64 << 20);
    assert_int_equal(settings.limits.cpu_millis, 500);
    assert_int_equal(settings.limits.pids, 32);
    assert_string_equal(settings.env, "{\"A\":\"1\",\"B\":null}");
    assert_string_equal(settings.labels, "{\"team/x\":\"a b\"}");
    assert_int_equal(settings.sleep_after_ms, 90000);
    assert_true(settings.has_keep_alive);
    assert_false(settings.keep_alive);
    arena_free(&arena);
}

static void what_is_not_named_stays_unset(void **state)
{
    struct sandbox_settings settings;
    struct berm_error err;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_int_equal(decode(&arena, "{\"limits\":{\"pids\":null},\"sleepAfter\":null}", &settings, &err), 0);
    assert_null(settings.image);
    assert_null(settings.env);
    assert_int_equal(settings.limits.pids, 0);
    assert_int_equal(settings.sleep_after_ms, 0);
    assert_false(settings.has_keep_alive);
    assert_int_equal(sandbox_spec_decode(&ceilings, &egress_ceiling, &arena, NULL, &settings, &err), 0);
    arena_free(&arena);
}

static void a_wrong_member_is_named(void **state)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        { "{\"imgae\":\"x\"}", "imgae" },
        { "{\"limits\":{\"memory\":1}}", "limits.memory" },
        { "{\"limits\":[]}", "limits" },
        { "{\"limits\":{\"pids\":\"5\"}}", "limits.pids" },
        { "{\"limits\":{\"pids\":101}}", "limits.pids" },
        { "{\"limits\":{\"pids\":-1}}", "limits.pids" },
        { "{\"limits\":{\"pids\":1.5}}", "limits.pids" },
        { "{\"limits\":{\"memoryBytes\":1}}", "limits.memoryBytes" },
        { "{\"limits\":{\"memoryBytes\":9223372036854775807}}", "limits.memoryBytes" },
        { "{\"image\":5}", "image" },
        { "{\"image\":\"../etc\"}", "image" },
        { "{\"image\":\"a\\u0000b\"}", "image" },
        { "{\"env\":[]}", "env" },
        { "{\"env\":{\"1A\":\"x\"}}", "env" },
        { "{\"env\":{\"A=B\":\"x\"}}", "env" },
        { "{\"env\":{\"\":\"x\"}}", "env" },
        { "{\"env\":{\"A\":1}}", "env" },
        { "{\"env\":{\"A\":\"\\u0000\"}}", "env" },
        { "{\"name\":\"a\\u0007\"}", "name" },
        { "{\"name\":\"\\u2066\"}", "name" },
        { "{\"labels\":{\"a b\":\"x\"}}", "labels" },
        { "{\"labels\":{\"a\":5}}", "labels" },
        { "{\"sleepAfter\":0}", "sleepAfter" },
        { "{\"sleepAfter\":-5}", "sleepAfter" },
        { "{\"sleepAfter\":\"soon\"}", "sleepAfter" },
        { "{\"sleepAfter\":\"500ms\"}", "sleepAfter" },
        { "{\"sleepAfter\":true}", "sleepAfter" },
        { "{\"keepAlive\":\"yes\"}", "keepAlive" },
        { "[]", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sandbox_settings settings;
        struct berm_error err;
        struct arena arena;

        arena_init(&arena, 1 << 20);
        if (decode(&arena, cases[i].text, &settings, &err) == 0)
            fail_msg("%s was taken", cases[i].text);
        assert_int_equal(err.code, BERM_E_INVALID_REQUEST);
        assert_string_equal(err.field, cases[i].field);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_matches_whole_segments),
        cmocka_unit_test(only_addresses_and_localhost_are_literal_hosts),
        cmocka_unit_test(sandbox_ids_are_lower_case_base32),
        cmocka_unit_test(session_ids_have_no_two_dots_in_a_row),
        cmocka_unit_test(url_paths_are_decoded_once_and_normalised),
        cmocka_unit_test(a_relative_directory_starts_at_the_workspace),
        cmocka_unit_test(paths_are_encoded_so_that_they_decode_to_themselves),
        cmocka_unit_test(a_full_specification_is_taken),
        cmocka_unit_test(what_is_not_named_stays_unset),
        cmocka_unit_test(a_wrong_member_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
