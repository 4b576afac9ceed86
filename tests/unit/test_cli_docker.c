/* Dockerfiles and templates, without a daemon. */
#include "cli/dockerfile.h"

#include "base/json.h"
#include "cli/docker.h"
#include "unit.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, (size_t)64 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static void parse(const char *text, struct dockerfile *ret)
{
    struct berm_error err = { 0 };

    if (dockerfile_parse(&arena, str_from(text), ret, &err) < 0)
        fail_msg("%s", err.message);
}

static void lines_are_joined_and_comments_dropped(void **state)
{
    struct dockerfile file;

    (void)state;
    parse("\n# c\nfrom a:1 AS x\r\nRUN one && \\\n  # between\n\n  two\nCMD [\"a\", \"b c\"]\n", &file);
    assert_int_equal(file.count, 3);
    assert_string_equal(file.items[0].name, "FROM");
    assert_str(file.items[0].text, STR("a:1 AS x"));
    assert_int_equal(file.items[0].line, 3);
    assert_str(file.items[1].text, STR("one &&   two"));
    assert_int_equal(file.items[1].line, 4);
    assert_int_equal(file.items[2].word_count, 2);
    assert_str(file.items[2].words[1], STR("b c"));
}

static void flags_and_here_documents_are_taken_apart(void **state)
{
    struct dockerfile file;

    (void)state;
    parse("COPY --from=b --chown=1:2 a b\nRUN <<-EOF\n\techo $x\n\tEOF\nRUN [not json\n", &file);
    assert_int_equal(file.items[0].flag_count, 2);
    assert_str(file.items[0].flags[1].name, STR("chown"));
    assert_str(file.items[0].flags[1].value, STR("1:2"));
    assert_str(file.items[0].text, STR("a b"));
    assert_str(file.items[1].heredoc, STR("\techo $x\n"));
    assert_null(file.items[2].words);
}

static void a_directive_changes_the_escape_character(void **state)
{
    struct dockerfile file;

    (void)state;
    parse("# syntax=x\n# escape=`\nRUN a`\n b\\\n", &file);
    assert_int_equal(file.escape, '`');
    assert_str(file.items[0].text, STR("a b\\"));
}

static const char *look_up(const void *data, struct str name)
{
    (void)data;
    return str_is(name, "A") ? "one" : str_is(name, "EMPTY") ? "" : NULL;
}

static void check_expansion(const char *text, const char *want)
{
    struct berm_error err = { 0 };
    char *got = dockerfile_expand(&arena, str_from(text), '\\', look_up, NULL, &err);

    if (!want)
        assert_null(got);
    else
        assert_string_equal(got ? got : err.message, want);
}

static void variables_are_expanded_as_docker_does(void **state)
{
    (void)state;
    check_expansion("$A ${A}x $B$", "one onex $");
    check_expansion("${B:-two} ${EMPTY:-three} ${A:-no} ${A:+yes} ${B:+no}", "two three one yes ");
    check_expansion("${B:-${A:+nested}}", "nested");
    check_expansion("\\$A '$A' \"$A\"", "$A '$A' \"one\"");
    check_expansion("${A", NULL);
    check_expansion("${A:?no}", NULL);
    check_expansion("${}", NULL);
    check_expansion("${B:-${B:-${B:-${B:-${B:-${B:-${B:-${B:-${B:-${B:-x}}}}}}}}}}", NULL);
}

static void words_are_split_at_spaces_outside_of_quotes(void **state)
{
    struct berm_error err;
    char **words;
    size_t count;

    (void)state;
    assert_int_equal(dockerfile_split(&arena, STR(" a 'b c' d\\ e \"f\\\"g\"h "), '\\', &words, &count, &err), 0);
    assert_int_equal(count, 4);
    assert_string_equal(words[1], "b c");
    assert_string_equal(words[2], "d e");
    assert_string_equal(words[3], "f\"gh");
    assert_int_equal(dockerfile_split(&arena, STR("'a"), '\\', &words, &count, &err), -1);
}

static void check_format(const char *format, const char *want)
{
    static const char json[] = "{\"A\":{\"B\":\"text\"},\"L\":[\"x\",\"y\"],\"O\":{\"k\":{}},\"N\":3,\"Z\":null}";
    const struct json *value = NULL;
    struct berm_error err = { 0 };
    struct buf out;

    buf_init(&out, 1 << 16);
    assert_int_equal(json_parse(&arena, STR(json), 8, &value, &err), 0);
    if (docker_format(&out, format, value, &err) < 0)
        assert_null(want);
    else
        assert_str(buf_str(&out), str_from(want ? want : "(an error)"));
    buf_free(&out);
}

static void templates_do_what_wrangler_and_people_use(void **state)
{
    (void)state;
    check_format("{{.A.B}}\\t{{ .N }}", "text\t3");
    check_format("{{json .L}} {{len .O}} {{ len .L }} {{len .none}}", "[\"x\",\"y\"] 1 2 0");
    check_format("{{range .L}}<{{.}}>{{end}}!", "<x><y>!");
    check_format("{{range .none}}{{range .x}}{{.}}{{end}}{{end}}.", ".");
    check_format("{{.Z}} {{.A.none.deep}}", "<no value> <no value>");
    check_format("{{range .L}}", NULL);
    check_format("{{end}}", NULL);
    check_format("{{.A", NULL);
    check_format("{{index .L 0}}", NULL);
    check_format("{{..A}}", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_joined_and_comments_dropped),
        cmocka_unit_test(flags_and_here_documents_are_taken_apart),
        cmocka_unit_test(a_directive_changes_the_escape_character),
        cmocka_unit_test(variables_are_expanded_as_docker_does),
        cmocka_unit_test(words_are_split_at_spaces_outside_of_quotes),
        cmocka_unit_test(templates_do_what_wrangler_and_people_use),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
