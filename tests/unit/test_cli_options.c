/* Command lines, sizes, times, and the names of a copied tree. */
#include "unit.h"

#include "cli/options.h"
#include "cli/tree_names.h"
#include "cli/units.h"

struct values {
    bool flag, other;
    const char *text;
    struct cli_list list, env;
    uint64_t size;
};

struct globals {
    const char *url;
};

static const struct cli_option table[] = {
    { 'f', "flag", NULL, "", CLI_FLAG, offsetof(struct values, flag) },
    { 'o', "other", NULL, "", CLI_FLAG, offsetof(struct values, other) },
    { 't', "text", "T", "", CLI_TEXT, offsetof(struct values, text) },
    { 'l', "list", "L", "", CLI_LIST, offsetof(struct values, list) },
    { 'e', "env", "E", "", CLI_ENV, offsetof(struct values, env) },
    { 0, "size", "S", "", CLI_SIZE, offsetof(struct values, size) },
    CLI_OPTIONS_END,
};

static const struct cli_option globals_table[] = {
    { 0, "url", "U", "", CLI_TEXT, offsetof(struct globals, url) },
    CLI_OPTIONS_END,
};

struct line {
    const char *words[8];
    const char *operands; /* joined by spaces; NULL: refused */
    bool flag, other;
    const char *text, *url, *list; /* list: joined by commas */
    uint64_t size;
};

static const struct line mixed_lines[] = {
    { .words = { NULL }, .operands = "" },
    { .words = { "a", "b" }, .operands = "a b" },
    { .words = { "-f", "a", "--other" }, .operands = "a", .flag = true, .other = true },
    { .words = { "-fo" }, .operands = "", .flag = true, .other = true },
    { .words = { "-fotx" }, .operands = "", .flag = true, .other = true, .text = "x" },
    { .words = { "-t", "x" }, .operands = "", .text = "x" },
    { .words = { "-t", "-f" }, .operands = "", .text = "-f" },
    { .words = { "--text=x", "--text=y=z" }, .operands = "", .text = "y=z" },
    { .words = { "--text", "x" }, .operands = "", .text = "x" },
    { .words = { "--text=" }, .operands = "", .text = "" },
    { .words = { "--", "-f", "--" }, .operands = "-f --" },
    { .words = { "-", "-f" }, .operands = "-", .flag = true },
    { .words = { "-l", "a", "--list=b", "-lc" }, .operands = "", .list = "a,b,c" },
    { .words = { "--url", "http://x", "--size", "2k" }, .operands = "", .url = "http://x", .size = 2048 },
    { .words = { "--unknown" } },
    { .words = { "-x" } },
    { .words = { "-fx" } },
    { .words = { "--text" } },
    { .words = { "-t" } },
    { .words = { "--flag=yes" } },
    { .words = { "--size", "much" } },
    { .words = { "--fla" } },
    { .words = { "-e", "=x" } },
    { .words = { "-e", "" } },
    { .words = { "-e", "BERM_TEST_NOT_SET" } },
};

static const struct line command_lines[] = {
    { .words = { "-f", "cmd", "-x", "--unknown" }, .operands = "cmd -x --unknown", .flag = true },
    { .words = { "--", "cmd", "--", "-f" }, .operands = "cmd -- -f" },
    { .words = { "cmd", "--", "-f" }, .operands = "cmd -- -f" },
    { .words = { "-t", "x", "--", "-f" }, .operands = "-f", .text = "x" },
};

static void join(char *out, size_t size, const char *const *items, size_t count, char separator)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(items[i]);
        assert_true(used + n + 2 < size);
        if (i > 0)
            out[used++] = separator;
        memcpy(out + used, items[i], n + 1);
        used += n;
    }
}

static void assert_text(const char *got, const char *want)
{
    if (want)
        assert_string_equal(got, want);
    else
        assert_null(got);
}

static void check_line(const struct line *line, bool options_first)
{
    struct values values = { 0 };
    struct globals globals = { 0 };
    const struct cli_option_set sets[] = { { table, &values }, { globals_table, &globals } };
    struct cli_operands operands;
    struct berm_error err;
    struct arena arena;
    char text[200];
    int argc = 0, rc;

    while (argc < 8 && line->words[argc])
        argc++;
    arena_init(&arena, 1 << 20);
    rc = options_parse(sets, 2, options_first, &arena, argc, (char **)(uintptr_t)line->words, &operands, &err);
    assert_int_equal(rc, line->operands ? 0 : -1);
    if (rc == 0) {
        join(text, sizeof(text), (const char *const *)operands.items, (size_t)operands.count, ' ');
        assert_string_equal(text, line->operands);
        assert_null(operands.items[operands.count]);
        assert_int_equal(values.flag, line->flag);
        assert_int_equal(values.other, line->other);
        assert_int_equal(values.size, line->size);
        assert_text(values.text, line->text);
        assert_text(globals.url, line->url);
        join(text, sizeof(text), values.list.items, values.list.count, ',');
        assert_string_equal(text, line->list ? line->list : "");
    } else {
        assert_int_equal(err.code, BERM_E_INVALID_REQUEST);
    }
    arena_free(&arena);
}

static void options_and_operands_may_mix(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(mixed_lines); i++)
        check_line(&mixed_lines[i], false);
}

static void a_command_keeps_its_own_options(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(command_lines); i++)
        check_line(&command_lines[i], true);
}

static void a_bare_variable_is_taken_from_the_environment(void **state)
{
    char *words[] = { (char[]){ "-e" }, (char[]){ "BERM_TEST_SET" }, (char[]){ "-e" }, (char[]){ "A=b=c" } };
    struct values values = { 0 };
    struct cli_option_set set = { table, &values };
    struct cli_operands operands;
    struct arena arena;

    (void)state;
    setenv("BERM_TEST_SET", "va=lue", 1);
    arena_init(&arena, 1 << 20);
    assert_int_equal(options_parse(&set, 1, false, &arena, 4, words, &operands, NULL), 0);
    assert_int_equal(values.env.count, 2);
    assert_string_equal(values.env.items[0], "BERM_TEST_SET=va=lue");
    assert_string_equal(values.env.items[1], "A=b=c");
    assert_null(values.env.items[2]);
    arena_free(&arena);
}

static void sizes_are_read_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: refused */
    } rows[] = { { "1", 1 },
                 { "512m", 536870912 },
                 { "1g", 1073741824 },
                 { "1G", 1073741824 },
                 { "1GiB", 1073741824 },
                 { "1gb", 1073741824 },
                 { "3k", 3072 },
                 { "2T", 2199023255552 },
                 { "100b", 100 },
                 { "8388607t", 8388607ull << 40 },
                 { "8388608t", 0 },
                 { "18446744073709551615", 0 },
                 { "18446744073709551616", 0 },
                 { "0", 0 },
                 { "0g", 0 },
                 { "", 0 },
                 { "g", 0 },
                 { "-1", 0 },
                 { "+1", 0 },
                 { " 1", 0 },
                 { "1 g", 0 },
                 { "1.5g", 0 },
                 { "1e3", 0 },
                 { "1gg", 0 },
                 { "1gi", 0 },
                 { "0x10", 0 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t bytes = 77;
        assert_int_equal(parse_size(rows[i].text, &bytes), rows[i].bytes ? 0 : -1);
        assert_int_equal(bytes, rows[i].bytes ? rows[i].bytes : 77);
    }
}

static void cpus_are_read_in_thousandths(void **state)
{
    static const struct {
        const char *text;
        uint32_t millis;
    } rows[] = { { "1", 1000 }, { "0.5", 500 }, { ".5", 500 }, { "1.25", 1250 }, { "0.001", 1 }, { "64", 64000 },
                 { "0", 0 },    { "0.0", 0 },   { "", 0 },     { ".", 0 },       { "1.", 0 },    { "1.0001", 0 },
                 { "-1", 0 },   { "1,5", 0 },   { "1e1", 0 },  { "4294968", 0 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint32_t millis = 77;
        assert_int_equal(parse_cpus(rows[i].text, &millis), rows[i].millis ? 0 : -1);
        assert_int_equal(millis, rows[i].millis ? rows[i].millis : 77);
    }
}

static void times_are_read_with_their_unit(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = { { "500ms", 500 },  { "30s", 30000 }, { "30", 30000 }, { "10m", 600000 },
                 { "2h", 7200000 }, { "0", 0 },       { "1d", 0 },     { "", 0 },
                 { "s", 0 },        { "-1s", 0 },     { "1 s", 0 },    { "9223372036854775807h", 0 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t ms = 77;
        assert_int_equal(parse_duration(rows[i].text, &ms), rows[i].ms ? 0 : -1);
        assert_int_equal(ms, rows[i].ms ? rows[i].ms : 77);
    }
}

static void sizes_are_written_short(void **state)
{
    char text[SIZE_TEXT_MAX];

    (void)state;
    assert_string_equal(format_size(0, text), "0 B");
    assert_string_equal(format_size(1023, text), "1023 B");
    assert_string_equal(format_size(1536, text), "1.5 KiB");
    assert_string_equal(format_size(100 << 20, text), "100 MiB");
    assert_string_equal(format_size(UINT64_MAX, text), "16.0 EiB");
}

static void names_stay_below_the_tree(void **state)
{
    (void)state;
    assert_true(tree_name_valid("a"));
    assert_true(tree_name_valid("./a//b/..."));
    assert_true(tree_name_valid("..a/b.."));
    assert_false(tree_name_valid(NULL));
    assert_false(tree_name_valid(""));
    assert_false(tree_name_valid("/a"));
    assert_false(tree_name_valid(".."));
    assert_false(tree_name_valid("a/../b"));
    assert_false(tree_name_valid("a/.."));
    assert_true(tree_name_is_root("./"));
    assert_true(tree_name_is_root("././/"));
    assert_false(tree_name_is_root("./a"));
    assert_false(tree_name_is_root("/"));
}

static void links_stay_below_the_tree(void **state)
{
    static const struct {
        const char *name, *target;
        bool valid;
    } rows[] = { { "l", "a", true },
                 { "l", ".", true },
                 { "l", "a/b/./c", true },
                 { "d/l", "../a", true },
                 { "./d/./l", "../a", true },
                 { "d/e/l", "../../a/b", true },
                 { "d/l", "..", true },
                 { "l", "..", false },
                 { "l", "../a", false },
                 { "./l", "../a", false },
                 { "d/l", "../../a", false },
                 { "d//l", "../../a", false },
                 { "l", "/etc", false },
                 { "l", "", false },
                 { "l", NULL, false },
                 { "l", "a/..", false },
                 { "l", "s/s/../../..", false },
                 { "d/l", "./../a", true },
                 { "d/l", "a/../../..", false } };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(tree_link_valid(rows[i].name, rows[i].target), rows[i].valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_operands_may_mix),
        cmocka_unit_test(a_command_keeps_its_own_options),
        cmocka_unit_test(a_bare_variable_is_taken_from_the_environment),
        cmocka_unit_test(sizes_are_read_as_people_write_them),
        cmocka_unit_test(cpus_are_read_in_thousandths),
        cmocka_unit_test(times_are_read_with_their_unit),
        cmocka_unit_test(sizes_are_written_short),
        cmocka_unit_test(names_stay_below_the_tree),
        cmocka_unit_test(links_stay_below_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
