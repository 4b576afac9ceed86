#include "agent/session/shell_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/wait.h>

static void expect(struct buf *buf, const char *text)
{
    assert_int_equal(buf->len, strlen(text));
    assert_memory_equal(buf_head(buf), text, buf->len);
    buf_free(buf);
}

static void single_quotes_are_the_only_thing_that_quoting_changes(void **state)
{
    static const char *const cases[][2] = {
        { "", "''" },
        { "a b", "'a b'" },
        { "'", "''\\'''" },
        { "it's $x `y` \"z\" \\\n", "'it'\\''s $x `y` \"z\" \\\n'" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf out;
        buf_init(&out, 1024);
        assert_int_equal(shell_quote(&out, str_from(cases[i][0])), 0);
        expect(&out, cases[i][1]);
    }
}

static void arguments_are_quoted_as_the_bridge_api_says(void **state)
{
    static const char *const cases[][2] = {
        { "", "$''" },
        { "abcXYZ019@%+=:,./-", "abcXYZ019@%+=:,./-" },
        { "hello world", "$'hello world'" },
        { "it's", "$'it\\'s'" },
        { "$(id)", "$'$(id)'" },
        { "a_b", "$'a_b'" },
        { "~", "$'~'" },
        { "\\\n\r\t\v", "$'\\\\\\n\\r\\t\v'" },
        { "\xc3\xa9", "$'\xc3\xa9'" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf out;
        buf_init(&out, 1024);
        assert_int_equal(shell_quote_argument(&out, str_from(cases[i][0])), 0);
        expect(&out, cases[i][1]);
    }
}

static struct shell_script plain_script(const char *command)
{
    return (struct shell_script){
        .command = str_from(command), .out_path = "/t/1", .err_path = "/t/2", .marker = "mark"
    };
}

static void a_plain_command_is_one_short_line(void **state)
{
    struct shell_script script = plain_script("echo 'hi'");
    struct buf out;

    (void)state;
    buf_init(&out, 1024);
    assert_false(shell_script_restores(&script));
    assert_int_equal(shell_script_write(&out, &script), 0);
    expect(&out, "\\builtin eval 'echo '\\''hi'\\''' >/t/1 2>/t/2;\\builtin echo \"mark$?\"\n");
}

static void a_background_command_is_a_subshell_of_a_subshell(void **state)
{
    struct shell_script script = plain_script("echo 'hi'");
    struct buf out;

    (void)state;
    buf_init(&out, 1024);
    script.background = true;
    assert_false(shell_script_restores(&script));
    assert_int_equal(shell_script_write(&out, &script), 0);
    expect(&out, "({ \\builtin eval 'echo '\\''hi'\\''' >/t/1 2>/t/2;} &\\builtin echo \"mark&$!\")"
                 "\n\\builtin echo \"mark$?\"\n");
    script.in_path = "/t/0";
    script.command = STR("cat");
    assert_int_equal(shell_script_write(&out, &script), 0);
    expect(&out, "({ \\builtin eval 'cat' >/t/1 2>/t/2;} <&0 &\\builtin echo \"mark&$!\") </t/0"
                 "\n\\builtin echo \"mark$?\"\n");
    script.in_path = NULL;
    script.mark = UINT64_C(1099511627777);
    script.cwd = "/d";
    assert_int_equal(shell_script_write(&out, &script), 0);
    expect(&out, "({ \\builtin ulimit -Sx 1099511627777||((1));if \\builtin cd -- '/d';then\n"
                 "\\builtin eval 'cat' >/t/1 2>/t/2\nelse \\builtin printf '%s\\n' 'Failed to change directory to "
                 "'\\''/d'\\'''"
                 " 2>/t/2 >&2;\\builtin exit 1;fi;} &\\builtin echo \"mark&$!\")\n\\builtin echo \"mark$?\"\n");
}

static void a_buffer_that_is_too_small_is_an_error(void **state)
{
    char *items[] = { (char *)"A=1" };
    struct env env = { .items = items, .count = 1 };
    struct shell_script script = plain_script("echo hi");

    (void)state;
    script.cwd = "dir";
    script.env = &env;
    for (size_t max = 1; max < 300; max++) {
        struct buf out;
        buf_init(&out, max);
        script.background = max % 2 == 0;
        assert_int_equal(shell_script_write(&out, &script), -1);
        buf_free(&out);
    }
}

/* Runs the text in a real bash and gives what it wrote to its standard output. */
static void run_in_bash(const char *before, struct buf *script, const char *after, char *out, size_t out_size)
{
    _cleanup_free_ char *text = NULL;
    int fds[2];
    size_t have = 0;
    ssize_t n;
    pid_t pid;

    assert_true(asprintf(&text, "%s\n%.*s\n%s\n", before, (int)script->len, buf_head(script), after) > 0);
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execlp("bash", "bash", "--norc", "-c", text, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    while ((n = read(fds[0], out + have, out_size - 1 - have)) > 0)
        have += (size_t)n;
    out[have] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void directory_and_variables_are_put_back_by_a_real_bash(void **state)
{
    char *items[] = { (char *)"A=it's", (char *)"B=$x\n\"", (char *)"L=plain" };
    struct env env = { .items = items, .count = ARRAY_SIZE(items) };
    struct shell_script script = plain_script("echo \"$A|$B|$L|$PWD\" >&3; A=changed; cd /; (exit 3)");
    struct buf text;
    char out[1024];

    (void)state;
    script.out_path = script.err_path = "/dev/null";
    script.cwd = "/usr";
    script.env = &env;
    buf_init(&text, 65536);
    assert_true(shell_script_restores(&script));
    assert_int_equal(shell_script_write(&text, &script), 0);
    run_in_bash("cd /etc; export A=old; L=(1 2); exec 3>&1", &text, "declare -p A L; echo ${B-unset} $PWD", out,
                sizeof(out));
    assert_string_equal(out, "it's|$x\n\"|plain|/usr\nmark3\nmark.\ndeclare -x A=\"old\"\n"
                             "declare -a L=([0]=\"1\" [1]=\"2\")\nunset /etc\n");
    buf_free(&text);
}

static void a_directory_that_is_not_there_runs_nothing(void **state)
{
    struct shell_script script = plain_script("echo ran >&3");
    struct buf text;
    char out[1024];

    (void)state;
    script.out_path = script.err_path = "/dev/null";
    script.cwd = "/no/such/directory";
    buf_init(&text, 65536);
    assert_int_equal(shell_script_write(&text, &script), 0);
    run_in_bash("cd /etc; exec 3>&1 2>/dev/null", &text, "echo $PWD", out, sizeof(out));
    assert_string_equal(out, "mark!\n/etc\n");
    buf_free(&text);
}

static void reports_are_found_behind_other_text(void **state)
{
    static const struct {
        const char *line;
        enum shell_report report;
        int status;
    } cases[] = {
        { "mark0", SHELL_REPORT_STATUS, 0 },
        { "mark255", SHELL_REPORT_STATUS, 255 },
        { "mark.", SHELL_REPORT_RESTORED, -1 },
        { "mark!", SHELL_REPORT_NO_DIRECTORY, -1 },
        { "traced mark7", SHELL_REPORT_STATUS, 7 },
        { "mark1mark2", SHELL_REPORT_STATUS, 2 },
        { "mark\"$?\"", SHELL_REPORT_NONE, -1 },
        { "mark", SHELL_REPORT_NONE, -1 },
        { "mark&1234", SHELL_REPORT_STARTED, 1234 },
        { "mark&", SHELL_REPORT_NONE, -1 },
        { "mark&99999999999", SHELL_REPORT_NONE, -1 },
        { "mark256", SHELL_REPORT_NONE, -1 },
        { "mark-1", SHELL_REPORT_NONE, -1 },
        { "", SHELL_REPORT_NONE, -1 },
        { "mar", SHELL_REPORT_NONE, -1 },
        { "0", SHELL_REPORT_NONE, -1 },
        { "mark0 ", SHELL_REPORT_NONE, -1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int status = -1;
        assert_int_equal(shell_report_parse(str_from(cases[i].line), "mark", &status), cases[i].report);
        assert_int_equal(status, cases[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_quotes_are_the_only_thing_that_quoting_changes),
        cmocka_unit_test(arguments_are_quoted_as_the_bridge_api_says),
        cmocka_unit_test(a_plain_command_is_one_short_line),
        cmocka_unit_test(a_background_command_is_a_subshell_of_a_subshell),
        cmocka_unit_test(a_buffer_that_is_too_small_is_an_error),
        cmocka_unit_test(directory_and_variables_are_put_back_by_a_real_bash),
        cmocka_unit_test(a_directory_that_is_not_there_runs_nothing),
        cmocka_unit_test(reports_are_found_behind_other_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
