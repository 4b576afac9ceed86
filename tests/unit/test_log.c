#include "unit.h"

#include "base/json.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static char line[8192];

/* Runs the statement with stderr going to `line`. A line is shorter than a pipe is wide. */
#define CAPTURE(statement)                                                                                         \
    do {                                                                                                           \
        int saved_ = dup(STDERR_FILENO), fds_[2];                                                                  \
        ssize_t n_;                                                                                                \
        assert_int_equal(pipe2(fds_, O_CLOEXEC | O_NONBLOCK), 0);                                                  \
        dup2(fds_[1], STDERR_FILENO);                                                                              \
        statement;                                                                                                 \
        dup2(saved_, STDERR_FILENO);                                                                               \
        n_ = read(fds_[0], line, sizeof(line) - 1);                                                                \
        line[MAX(n_, 0)] = '\0';                                                                                   \
        close(saved_);                                                                                             \
        close(fds_[0]);                                                                                            \
        close(fds_[1]);                                                                                            \
    } while (0)

/* The captured line as JSON: it must be exactly one document and a newline. */
static const struct json *parse_line(struct arena *arena)
{
    const struct json *value;
    size_t n = strlen(line);

    assert_true(n > 0 && line[n - 1] == '\n');
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
    arena_init(arena, 1 << 20);
    assert_int_equal(json_parse(arena, (struct str){ line, n - 1 }, 1, &value, NULL), 0);
    return value;
}

static void a_line_has_time_level_program_event_and_pairs(void **state)
{
    (void)state;
    log_setup("prog", LOG_LEVEL_INFO, false);
    CAPTURE(log_info("started", "port", log_num(8787), "absent", NULL, "name", "a b"));
    assert_non_null(strstr(line, "Z level=info program=prog event=started port=8787 name=\"a b\"\n"));
    assert_null(strstr(line, "absent"));
}

static void a_json_line_is_one_document(void **state)
{
    struct arena arena;
    const struct json *v;

    (void)state;
    log_setup("prog", LOG_LEVEL_INFO, true);
    CAPTURE(log_error("broke", "why", "quote \" backslash \\ newline \n escape \x1b"));
    v = parse_line(&arena);
    assert_str(json_get(v, "level")->string, STR("error"));
    assert_str(json_get(v, "event")->string, STR("broke"));
    assert_str(json_get(v, "why")->string, STR("quote \" backslash \\ newline \n escape \x1b"));
    arena_free(&arena);
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    log_setup("prog", LOG_LEVEL_WARN, false);
    CAPTURE(log_info("quiet"));
    assert_string_equal(line, "");
    assert_false(log_enabled(LOG_LEVEL_INFO));
    CAPTURE(log_warn("loud"));
    assert_non_null(strstr(line, "event=loud"));
}

static void a_value_can_neither_end_the_line_nor_reach_a_terminal(void **state)
{
    (void)state;
    log_setup("prog", LOG_LEVEL_INFO, false);
    CAPTURE(log_info("x", "v", "a\nlevel=error event=forged\r\x1b[31m\x7f\xc2\x9b\xff"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    for (const char *c = line; c[1]; c++)
        assert_true(*c >= 0x20 && *c < 0x7f);
    assert_non_null(strstr(line, "v=\"a\\u000alevel=error event=forged\\u000d\\u001b[31m\\u007f"));
}

static void a_value_that_is_too_long_is_cut_and_the_line_stays_whole(void **state)
{
    static char value[6000];
    struct arena arena;
    const struct json *v;

    (void)state;
    log_setup("prog", LOG_LEVEL_INFO, true);
    for (size_t n = 3000; n<sizeof(value); n += n> 3800 && n < 4100 ? 1 : 50) {
        memset(value, n % 2 ? 'x' : '\n', n);
        value[n] = '\0';
        CAPTURE(log_info("long", "a", value, "b", value, "c", "end"));
        assert_true(strlen(line) <= 4096);
        v = parse_line(&arena);
        assert_true(json_get(v, "a")->string.n > 600);
        arena_free(&arena);
    }
}

static void log_to_journal(bool is_it, bool json)
{
    char stream[48];
    struct stat st;

    fstat(STDERR_FILENO, &st);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino + !is_it);
    setenv("JOURNAL_STREAM", stream, 1);
    log_setup("prog", LOG_LEVEL_DEBUG, json);
    unsetenv("JOURNAL_STREAM");
    log_warn("told");
}

static void the_journal_gets_a_priority_and_nobody_else(void **state)
{
    (void)state;
    CAPTURE(log_to_journal(true, false));
    assert_memory_equal(line, "<4>2", 4);
    CAPTURE(log_to_journal(true, true));
    assert_memory_equal(line, "<4>{\"ts\"", 8);
    CAPTURE(log_to_journal(false, false));
    assert_int_equal(line[0], '2');
    CAPTURE(log_to_journal(false, true));
    assert_int_equal(line[0], '{');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_program_event_and_pairs),
        cmocka_unit_test(a_json_line_is_one_document),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(a_value_can_neither_end_the_line_nor_reach_a_terminal),
        cmocka_unit_test(a_value_that_is_too_long_is_cut_and_the_line_stays_whole),
        cmocka_unit_test(the_journal_gets_a_priority_and_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
