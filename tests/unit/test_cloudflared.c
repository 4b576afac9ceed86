/* What a cloudflared prints (base/cloudflared.h). */
#include "unit.h"

#include "base/cloudflared.h"

#include <stdlib.h>

static struct cloudflared_output *new_output(void)
{
    struct cloudflared_output *output = calloc(1, sizeof(*output));

    assert_non_null(output);
    output->quick = true;
    return output;
}

/* In pieces of `piece` bytes. */
static void print(struct cloudflared_output *output, const char *text, size_t piece)
{
    size_t n = strlen(text), room;

    while (n > 0) {
        char *at = cloudflared_output_room(output, CLOUDFLARED_STDERR, &room);
        size_t now = MIN(MIN(n, piece), room);

        assert_true(room > 0);
        memcpy(at, text, now);
        cloudflared_output_take(output, CLOUDFLARED_STDERR, now);
        text += now;
        n -= now;
    }
}

static void test_lines_come_in_any_pieces(void **state)
{
    static const char text[] =
        "2026-01-01T00:00:00Z INF Requesting new quick Tunnel on trycloudflare.com...\n"
        "{\"level\":\"info\",\"message\":\"Starting metrics server on 127.0.0.1:4711/metrics\"}\n"
        "{\"level\":\"info\",\"message\":\"|  https://Some-Fine-Words.TryCloudflare.com   |\"}\n"
        "{\"level\":\"info\",\"message\":\"|  https://another.trycloudflare.com   |\"}\n";

    (void)state;
    for (size_t piece = 1; piece < 80; piece++) {
        struct cloudflared_output *output = new_output();

        print(output, text, piece);
        assert_int_equal(output->metrics_port, 4711);
        assert_string_equal(output->url, "https://some-fine-words.trycloudflare.com");
        assert_false(output->limited);
        free(output);
    }
}

static void test_only_whole_names_count(void **state)
{
    static const char *const lines[] = {
        "https://api.trycloudflare.com/tunnel\n",
        "https://a.trycloudflare.com.evil.example\n",
        "https://a.trycloudflare.com@evil.example\n",
        "https://a.trycloudflare.com:8443\n",
        "https://a.trycloudflare.community\n",
        "https://-a.trycloudflare.com\n",
        "https://a-.trycloudflare.com\n",
        "https://a.b.trycloudflare.com\n",
        "https://.trycloudflare.com\n",
        "http://a.trycloudflare.com\n",
        "https://a\xc3\xa4.trycloudflare.com\n",
        "https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.trycloudflare.com\n",
        "{\"message\":\"nothing\",\"other\":\"https://a.trycloudflare.com\"}\n",
        "https://a.trycloudflare.com", /* no line yet */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct cloudflared_output *output = new_output();

        print(output, lines[i], 4096);
        assert_string_equal(output->url, "");
        free(output);
    }
}

static void test_a_name_after_bad_ones_is_found(void **state)
{
    struct cloudflared_output *output = new_output();

    (void)state;
    print(output, "https://https://api.trycloudflare.com https://good.trycloudflare.com/x\n", 7);
    assert_string_equal(output->url, "https://good.trycloudflare.com");
    free(output);
}

static void test_bad_metrics_ports_are_none(void **state)
{
    struct cloudflared_output *output = new_output();

    (void)state;
    print(output,
          "metrics server on 127.0.0.1:0\nmetrics server on 127.0.0.1:65536\nmetrics server on 127.0.0.1:\n"
          "metrics server on 10.0.0.1:80\nmetrics server on 127.0.0.1:99999999999999999999999\n",
          5);
    assert_int_equal(output->metrics_port, 0);
    free(output);
}

static void test_ten_megabytes_without_a_newline_are_one_line_that_is_skipped(void **state)
{
    struct cloudflared_output *output = new_output();
    static char text[10001];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    for (int i = 0; i < 1000; i++)
        print(output, text, 1000);
    /* What comes at its end is of it. */
    print(output, " https://inside.trycloudflare.com metrics server on 127.0.0.1:1\n", 4096);
    assert_string_equal(output->url, "");
    assert_int_equal(output->metrics_port, 0);
    print(output, "https://after.trycloudflare.com\n", 4096);
    assert_string_equal(output->url, "https://after.trycloudflare.com");
    free(output);
}

static void test_the_limit_of_cloudflare_is_understood(void **state)
{
    struct cloudflared_output *output = new_output();

    (void)state;
    print(output,
          "ERR Error unmarshaling QuickTunnel response: error code: 1015 status_code=\"429 Too Many Requests\"\n",
          11);
    assert_true(output->limited);
    free(output);
}

static void test_a_named_one_has_no_url_and_its_token_is_no_argument_unless_given(void **state)
{
    struct cloudflared_output *output = new_output();
    const char *argv[CLOUDFLARED_ARGS];

    (void)state;
    output->quick = false;
    print(output, "https://a.trycloudflare.com\n", 100);
    assert_string_equal(output->url, "");
    free(output);
    cloudflared_arguments(true, NULL, "http://127.0.0.1:1", argv);
    for (size_t i = 0; argv[i]; i++)
        assert_string_not_equal(argv[i], "--token");
    cloudflared_arguments(true, "secret", "http://127.0.0.1:1", argv);
    assert_string_equal(argv[5], "run");
    assert_string_equal(argv[7], "secret");
    cloudflared_arguments(false, NULL, "http://127.0.0.1:1", argv);
    assert_string_equal(argv[8], "http://127.0.0.1:1");
    assert_string_equal(argv[7], "--url");
    assert_null(argv[9]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_come_in_any_pieces),
        cmocka_unit_test(test_only_whole_names_count),
        cmocka_unit_test(test_a_name_after_bad_ones_is_found),
        cmocka_unit_test(test_bad_metrics_ports_are_none),
        cmocka_unit_test(test_ten_megabytes_without_a_newline_are_one_line_that_is_skipped),
        cmocka_unit_test(test_the_limit_of_cloudflare_is_understood),
        cmocka_unit_test(test_a_named_one_has_no_url_and_its_token_is_no_argument_unless_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
