/* The small pure parts of the agent: environments, MIME types, simple commands, collected output. */
#include "agent/child/env.h"
#include "agent/child/simple_command.h"
#include "agent/exec/collector.h"
#include "agent/files/mime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

/* --- env --- */

static void an_environment_replaces_adds_and_finds(void **state)
{
    char *start[] = { (char *)"A=1", (char *)"no-equals", (char *)"AB=2", (char *)"A=3", NULL };
    struct env env, over;

    (void)state;
    assert_int_equal(env_init(&env, start), 0);
    assert_int_equal(env.count, 2);
    assert_string_equal(env_get(&env, "A"), "3");
    assert_null(env_get(&env, "B"));
    assert_int_equal(env_init(&over, NULL), 0);
    assert_int_equal(env_set(&over, STR("AB"), STR("")), 0);
    assert_int_equal(env_set(&over, STR("C"), STR("x=y")), 0);
    assert_int_equal(env_apply(&env, &over), 0);
    assert_string_equal(env_get(&env, "AB"), "");
    assert_string_equal(env_get(&env, "C"), "x=y");
    assert_int_equal(env.count, 3);
    env_free(&over);
    env_free(&env);
}

static void a_merge_lays_one_environment_over_another(void **state)
{
    char *base_items[] = { (char *)"A=1", (char *)"B=2", NULL },
         *over_items[] = { (char *)"B=3", (char *)"C=4", NULL };
    struct env base, over;
    struct arena arena;
    char **merged;

    (void)state;
    arena_init(&arena, 4096);
    env_init(&base, base_items);
    env_init(&over, over_items);
    merged = env_merge(&arena, &base, &over);
    assert_string_equal(merged[0], "A=1");
    assert_string_equal(merged[1], "B=3");
    assert_string_equal(merged[2], "C=4");
    assert_null(merged[3]);
    env_free(&base);
    env_free(&over);
    arena_free(&arena);
}

static void env_of_json_takes_strings_and_skips_null(void **state)
{
    static const char *const bad[] = {
        "{\"A\":1}", "{\"\":\"x\"}", "{\"A=\":\"x\"}", "{\"A\\u0000\":\"x\"}", "{\"A\":\"x\\u0000\"}", "{\"A\":{}}"
    };
    struct env env = { 0 };
    struct berm_error err;
    const struct json *json;
    struct arena arena;

    (void)state;
    arena_init(&arena, 65536);
    assert_int_equal(json_parse(&arena, STR("{\"A\":\"1\",\"N\":null,\"\xc3\xa9\":\"\"}"), 8, &json, &err), 0);
    assert_int_equal(env_from_json(&env, json, "env_vars", &err), 0);
    assert_int_equal(env.count, 2);
    assert_string_equal(env.items[0], "A=1");
    env_free(&env);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(json_parse(&arena, str_from(bad[i]), 8, &json, &err), 0);
        assert_int_equal(env_from_json(&env, json, "env_vars", &err), -1);
        assert_string_equal(err.field, "env_vars");
        assert_int_equal(env.count, 0);
    }
    arena_free(&arena);
}

static void identifiers_are_what_a_shell_takes(void **state)
{
    (void)state;
    assert_true(env_is_identifier(STR("_")));
    assert_true(env_is_identifier(STR("aZ_09")));
    assert_false(env_is_identifier(STR("")));
    assert_false(env_is_identifier(STR("0a")));
    assert_false(env_is_identifier(STR("a-b")));
    assert_false(env_is_identifier(STR("a\xc3\xa9")));
}

/* --- mime --- */

static void types_go_by_the_last_extension_in_lower_case(void **state)
{
    static const char *const cases[][2] = {
        { "a.txt", "text/plain" },
        { "/x.y/a.json", "application/json" },
        { "a.b.svg", "image/svg+xml" },
        { "m.rs", "application/rls-services+xml" },
        { "dump.sql", "application/x-sql" },
        { "a.TXT", NULL },
        { ".bashrc", NULL },
        { ".txt", NULL },
        { "Makefile", NULL },
        { "a.txt.bak", NULL },
        { "x.txt/file", NULL },
        { "a.", NULL },
        { "", NULL },
        { "a.zzzzzz", NULL },
        { "a.123", "application/vnd.lotus-1-2-3" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *type = mime_by_name(cases[i][0]);
        if (cases[i][1])
            assert_string_equal(type, cases[i][1]);
        else
            assert_null(type);
    }
}

static void text_is_what_the_read_routes_send_as_text(void **state)
{
    static const char *const text[] = { "text/anything",       "application/json", "image/svg+xml",
                                        "application/ld+json", "application/x-sh", "inode/x-empty",
                                        "application/yaml" };
    static const char *const binary[] = { "application/x-sql",
                                          "image/png",
                                          "application/octet-stream",
                                          "inode/x-fifo",
                                          "application/jsonx",
                                          "",
                                          "json",
                                          "application/" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(text); i++)
        assert_true(mime_is_text(text[i]));
    for (size_t i = 0; i < ARRAY_SIZE(binary); i++)
        assert_false(mime_is_text(binary[i]));
}

/* --- simple commands --- */

static void plain_words_need_no_shell(void **state)
{
    static const char *const simple[] = { "ls", "ls -la /tmp", "  /bin/true\t ", "git log --oneline -5",
                                          "a.out x=1 y:2,z@%+" };
    static const char *const complex[] = {
        "",      "  ",     "echo hi",  "true",    ":",       "[",     "cd /",     "A=1",    "A=1 ls",     "ls *",
        "ls ~",  "ls $x",  "ls 'a'",   "ls | wc", "ls > x",  "ls;ls", "ls &",     "ls\nls", "(ls)",       "!ls",
        "ls #x", "ls \\x", "ls \"x\"", "if",      "time ls", "{",     "ls {a,b}", "%1",     "ls\xc3\xa9", ". x",
    };
    struct arena arena;
    char **words;

    (void)state;
    arena_init(&arena, 65536);
    for (size_t i = 0; i < ARRAY_SIZE(simple); i++)
        assert_non_null(simple_command_split(&arena, str_from(simple[i])));
    for (size_t i = 0; i < ARRAY_SIZE(complex); i++)
        assert_null(simple_command_split(&arena, str_from(complex[i])));
    words = simple_command_split(&arena, STR(" ls\t -l  /x "));
    assert_string_equal(words[0], "ls");
    assert_string_equal(words[1], "-l");
    assert_string_equal(words[2], "/x");
    assert_null(words[3]);
    arena_free(&arena);
}

/* The list in simple_command.c against the bash of this machine: everything it calls its own needs the shell. */
static void every_word_of_bash_needs_the_shell(void **state)
{
    FILE *list = popen("bash -c 'compgen -b; compgen -k'", "r");
    struct arena arena;
    char word[64];
    int count = 0;

    (void)state;
    assert_non_null(list);
    arena_init(&arena, 1 << 20);
    for (; fscanf(list, "%63s", word) == 1; count++)
        assert_null(simple_command_split(&arena, str_from(word)));
    assert_int_equal(pclose(list), 0);
    assert_true(count > 60);
    arena_free(&arena);
}

static void programs_are_found_by_absolute_entries_of_path_only(void **state)
{
    char *envp[] = { (char *)"X=1", (char *)"PATH=/nope:/bin", NULL },
         *relative[] = { (char *)"PATH=.:/bin", NULL };
    char *empty[] = { (char *)"PATH=", NULL }, *none[] = { NULL };
    struct arena arena;

    (void)state;
    arena_init(&arena, 65536);
    assert_string_equal(simple_command_find(&arena, "sh", envp), "/bin/sh");
    assert_string_equal(simple_command_find(&arena, "./x", envp), "./x");
    assert_null(simple_command_find(&arena, "no-such-program", envp));
    assert_null(simple_command_find(&arena, "sh", relative));
    assert_null(simple_command_find(&arena, "sh", empty));
    assert_null(simple_command_find(&arena, "sh", none));
    arena_free(&arena);
}

static void environments_that_make_bash_do_something_are_not_plain(void **state)
{
    static const char *const special[] = { "BASH_ENV=x",   "BASH_FUNC_f%%=() { :; }", "SHELLOPTS=xtrace",
                                           "LC_ALL=xx_YY", "LANG=de_DE.UTF-8",        "POSIXLY_CORRECT=1" };
    char *plain[] = { (char *)"LANG=C.UTF-8", (char *)"LC_ALL=", (char *)"HOME=/root", (char *)"BASH=x", NULL };

    (void)state;
    assert_true(simple_command_env_is_plain(plain));
    for (size_t i = 0; i < ARRAY_SIZE(special); i++) {
        char *envp[] = { (char *)(uintptr_t)special[i], NULL };
        assert_false(simple_command_env_is_plain(envp));
    }
}

/* --- output --- */

static void put(struct collector *collector, const char *bytes, size_t n)
{
    while (n > 0) {
        size_t room;
        char *at = collector->sink.reserve(&collector->sink, STREAM_STDOUT, &room, false);
        assert_non_null(at);
        room = MIN(room, n);
        memcpy(at, bytes, room);
        collector->sink.commit(&collector->sink, STREAM_STDOUT, room);
        bytes += room;
        n -= room;
    }
}

static void expect_output(struct output *output, const char *bytes, size_t n)
{
    struct output_chunk *chunk;

    assert_int_equal(output->total, n);
    while ((chunk = output_shift(output))) {
        assert_memory_equal(chunk->bytes, bytes, chunk->len);
        bytes += chunk->len;
        free(chunk);
    }
}

static void output_keeps_what_was_written_across_chunks(void **state)
{
    struct collector collector;
    size_t n = 3000000;
    char *bytes = malloc(n);

    (void)state;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * 31 >> 3);
    collector_init(&collector, n);
    put(&collector, bytes, n);
    assert_false(collector.overflowed);
    expect_output(&collector.outputs[STREAM_STDOUT], bytes, n);
    free(bytes);
}

static void trimming_takes_nul_bytes_and_one_newline(void **state)
{
    static const struct {
        struct str in, out;
    } cases[] = {
        { { "a\n", 2 }, { "a", 1 } },
        { { "a\n\n", 3 }, { "a\n", 2 } },
        { { "", 0 }, { "", 0 } },
        { { "\n", 1 }, { "", 0 } },
        { { "a\n\0\0", 4 }, { "a", 1 } },
        { { "\0", 1 }, { "", 0 } },
        { { "a\0b\0\nc", 6 }, { "ab\nc", 4 } },
        { { "\r\n", 2 }, { "\r", 1 } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct collector collector;
        collector_init(&collector, 1 << 20);
        put(&collector, cases[i].in.p, cases[i].in.n);
        output_trim(&collector.outputs[STREAM_STDOUT]);
        expect_output(&collector.outputs[STREAM_STDOUT], cases[i].out.p, cases[i].out.n);
    }
}

static void trimming_finds_the_newline_before_chunks_of_nul_bytes(void **state)
{
    struct collector collector;
    char *zeros = calloc(1, 50000);

    (void)state;
    collector_init(&collector, 1 << 20);
    put(&collector, "text\n", 5);
    put(&collector, zeros, 50000);
    output_trim(&collector.outputs[STREAM_STDOUT]);
    expect_output(&collector.outputs[STREAM_STDOUT], "text", 4);
    free(zeros);
}

static int overflows;

static void count_overflow(struct collector *collector)
{
    (void)collector;
    overflows++;
}

static void past_the_limit_everything_is_dropped_and_told_once(void **state)
{
    struct collector collector;
    char bytes[1000] = { 0 };

    (void)state;
    collector_init(&collector, 2500);
    collector.on_overflow = count_overflow;
    put(&collector, bytes, sizeof(bytes));
    put(&collector, bytes, sizeof(bytes));
    assert_int_equal(overflows, 0);
    for (int i = 0; i < 5; i++)
        put(&collector, bytes, sizeof(bytes));
    assert_int_equal(overflows, 1);
    assert_true(collector.overflowed);
    assert_int_equal(collector.outputs[STREAM_STDOUT].total, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_environment_replaces_adds_and_finds),
        cmocka_unit_test(a_merge_lays_one_environment_over_another),
        cmocka_unit_test(env_of_json_takes_strings_and_skips_null),
        cmocka_unit_test(identifiers_are_what_a_shell_takes),
        cmocka_unit_test(types_go_by_the_last_extension_in_lower_case),
        cmocka_unit_test(text_is_what_the_read_routes_send_as_text),
        cmocka_unit_test(plain_words_need_no_shell),
        cmocka_unit_test(every_word_of_bash_needs_the_shell),
        cmocka_unit_test(programs_are_found_by_absolute_entries_of_path_only),
        cmocka_unit_test(environments_that_make_bash_do_something_are_not_plain),
        cmocka_unit_test(output_keeps_what_was_written_across_chunks),
        cmocka_unit_test(trimming_takes_nul_bytes_and_one_newline),
        cmocka_unit_test(trimming_finds_the_newline_before_chunks_of_nul_bytes),
        cmocka_unit_test(past_the_limit_everything_is_dropped_and_told_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
