#include "unit.h"

#include "base/json.h"

#include <math.h>

#include "fail_alloc.h"

#define OUT_MAX ((size_t)1 << 24)

struct output {
    struct buf buf;
    struct json_writer w;
};

static struct json_writer *begin(struct output *o)
{
    buf_init(&o->buf, OUT_MAX);
    json_writer_init(&o->w, &o->buf);
    return &o->w;
}

static void assert_wrote(struct output *o, struct str want)
{
    assert_int_equal(json_writer_finish(&o->w), 0);
    assert_str(buf_str(&o->buf), want);
    buf_free(&o->buf);
}

static void assert_failed(struct output *o)
{
    assert_int_equal(json_writer_finish(&o->w), -1);
    buf_free(&o->buf);
}

static void commas_and_colons_are_placed_where_they_belong(void **state)
{
    struct output o;
    struct json_writer *w = begin(&o);

    (void)state;
    json_object_begin(w);
    json_pair_int(w, "a", 1);
    json_key(w, "b");
    json_array_begin(w);
    json_array_begin(w);
    json_array_end(w);
    json_object_begin(w);
    json_object_end(w);
    json_null(w);
    json_bool(w, true);
    json_bool(w, false);
    json_array_end(w);
    json_pair_cstring(w, "c", "x");
    json_pair_cstring(w, "n", NULL);
    json_pair_string(w, "d", STR("\0"));
    json_pair_bool(w, "e", false);
    json_key_str(w, STR("\"\n"));
    json_uint(w, UINT64_MAX);
    json_object_end(w);
    assert_wrote(&o,
                 STR("{\"a\":1,\"b\":[[],{},null,true,false],\"c\":\"x\",\"n\":null,\"d\":\"\\u0000\",\"e\":false,"
                     "\"\\\"\\n\":18446744073709551615}"));
}

static void any_value_may_be_the_whole_document(void **state)
{
    struct output o;

    (void)state;
    json_int(begin(&o), INT64_MIN);
    assert_wrote(&o, STR("-9223372036854775808"));
    json_string(begin(&o), STR(""));
    assert_wrote(&o, STR("\"\""));
    json_string(begin(&o), (struct str){ NULL, 0 });
    assert_wrote(&o, STR("\"\""));
    json_cstring(begin(&o), NULL);
    assert_wrote(&o, STR("null"));
    json_array_begin(begin(&o));
    json_array_end(&o.w);
    assert_wrote(&o, STR("[]"));
}

static void doubles_are_told_by_the_shortest_text_that_reads_back_equal(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        { 0, "0" },
        { -0.0, "-0" },
        { 1, "1" },
        { -1.5, "-1.5" },
        { 0.1, "0.1" },
        { 0.1 + 0.2, "0.30000000000000004" },
        { 1e21, "1e+21" },
        { 1e-7, "1e-07" },
        { 123456789.125, "123456789.125" },
        { 9007199254740993.0, "9007199254740992" },
        { 1.0 / 3, "0.3333333333333333" },
        { 1.7976931348623157e308, "1.7976931348623157e+308" },
        { 2.2250738585072014e-308, "2.2250738585072014e-308" },
        { 5e-324, "5e-324" },
        { 1.5e-323, "1.5e-323" },
        { (double)NAN, "null" },
        { (double)INFINITY, "null" },
        { -(double)INFINITY, "null" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct output o;
        json_double(begin(&o), cases[i].value);
        assert_wrote(&o, str_from(cases[i].text));
    }
}

static void random_doubles_survive(void **state)
{
    uint64_t bits = 88172645463325252u; /* xorshift: the same numbers in each run */

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct output o;
        double value;
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        json_double(begin(&o), value);
        buf_append(&o.buf, "", 1);
        assert_true(strtod(buf_head(&o.buf), NULL) == value);
        buf_free(&o.buf);
    }
}

static void every_byte_below_128_is_escaped_as_rfc_8259_asks(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 0x80; c++) {
        char byte = (char)c, want[16];
        static const char shorts[] = "\bb\tt\nn\ff\rr\"\"\\\\";
        const char *found = NULL;
        struct output o;

        for (size_t i = 0; i < sizeof(shorts) - 1; i += 2)
            if (shorts[i] == byte)
                found = &shorts[i + 1];
        if (found)
            snprintf(want, sizeof(want), "\"\\%c\"", *found);
        else if (c < 0x20)
            snprintf(want, sizeof(want), "\"\\u%04x\"", c);
        else
            snprintf(want, sizeof(want), "\"%c\"", byte);
        json_string(begin(&o), (struct str){ &byte, 1 });
        assert_wrote(&o, str_from(want));
    }
}

static void bytes_that_are_not_utf8_become_one_replacement_per_maximal_part(void **state)
{
    struct output o;

    (void)state;
    json_string(begin(&o), STR("a\xff"
                               "b\xe2\x82"
                               "c\xf0\x9f\x98\xed\xa0\x80\xc3\xa9\xe2"));
    assert_wrote(&o, STR("\"a\xef\xbf\xbd"
                         "b\xef\xbf\xbd"
                         "c\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9"
                         "\xef\xbf\xbd\""));
    json_object_begin(begin(&o));
    json_key_str(&o.w, STR("\x80"));
    json_null(&o.w);
    json_object_end(&o.w);
    assert_wrote(&o, STR("{\"\xef\xbf\xbd\":null}"));
}

static const struct str mixed =
    STR("plain \"quoted\" \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n\xf0\x9f\x98 bad \xed\xa0\x80"
        "\xf4\x90\x80\x80\xe2\x28\xa1\xc0\xaf\x00 \xfe\xc3");

static void a_string_in_pieces_equals_the_whole_wherever_it_is_split(void **state)
{
    struct output whole;

    (void)state;
    json_string(begin(&whole), mixed);
    for (size_t i = 0; i <= mixed.n; i++) {
        for (size_t j = i; j <= mixed.n; j++) {
            struct output o;
            json_string_begin(begin(&o));
            json_string_part(&o.w, (struct str){ mixed.p, i });
            json_string_part(&o.w, (struct str){ mixed.p + i, j - i });
            json_string_part(&o.w, (struct str){ mixed.p + j, mixed.n - j });
            json_string_end(&o.w);
            assert_wrote(&o, buf_str(&whole.buf));
        }
    }
    buf_free(&whole.buf);
}

static void a_string_byte_by_byte_equals_the_whole(void **state)
{
    struct output whole, o;

    (void)state;
    json_string(begin(&whole), mixed);
    json_string_begin(begin(&o));
    for (size_t i = 0; i < mixed.n; i++) {
        json_string_part(&o.w, (struct str){ mixed.p + i, 1 });
        json_string_part(&o.w, STR(""));
    }
    json_string_end(&o.w);
    assert_wrote(&o, buf_str(&whole.buf));
    buf_free(&whole.buf);
}

static void a_string_in_pieces_may_stand_where_a_value_may(void **state)
{
    struct output o;
    struct json_writer *w = begin(&o);

    (void)state;
    json_object_begin(w);
    json_key(w, "a");
    json_string_begin(w);
    json_string_end(w);
    json_key(w, "b");
    json_array_begin(w);
    json_string_begin(w);
    json_string_part(w, STR("\xe2\x82"));
    json_string_end(w);
    json_string_begin(w);
    json_string_part(w, STR("\xac"));
    json_string_end(w);
    json_array_end(w);
    json_object_end(w);
    assert_wrote(&o, STR("{\"a\":\"\",\"b\":[\"\xef\xbf\xbd\",\"\xef\xbf\xbd\"]}"));
}

static void long_strings_are_written_in_runs_that_split_no_character(void **state)
{
    enum { N = 100000 };
    char *text = malloc(N + 4), *want = malloc(N + 8);

    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        struct output o;
        memset(text, 'x', shift);
        for (size_t i = shift; i < N; i += 3)
            memcpy(text + i, "\xe2\x82\xac", 3);
        json_string(begin(&o), (struct str){ text, shift + (N - shift) / 3 * 3 });
        want[0] = '"';
        memcpy(want + 1, text, shift + (N - shift) / 3 * 3);
        want[1 + shift + (N - shift) / 3 * 3] = '"';
        assert_wrote(&o, (struct str){ want, 2 + shift + (N - shift) / 3 * 3 });
    }
    free(text);
    free(want);
}

static void the_limit_of_the_buffer_sticks_and_is_told_at_the_end(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < 40; limit++) {
        struct output o;
        buf_init(&o.buf, limit);
        json_writer_init(&o.w, &o.buf);
        json_object_begin(&o.w);
        json_pair_string(&o.w, "key", STR("va\nue"));
        json_pair_int(&o.w, "n", 123456);
        json_object_end(&o.w);
        assert_int_equal(json_writer_finish(&o.w), limit < sizeof("{'key':'va\\nue','n':123456}") - 1 ? -1 : 0);
        assert_true(o.buf.len <= limit);
        buf_free(&o.buf);
    }
}

static void the_failure_of_any_allocation_is_told_at_the_end(void **state)
{
    size_t nth = 0;
    int rc;

    (void)state;
    do {
        struct output o;
        begin(&o);
        allocations_left = ++nth;
        json_array_begin(&o.w);
        for (int i = 0; i < 1000; i++)
            json_string(&o.w, STR("some text\n\xff"));
        json_array_end(&o.w);
        allocations_left = 0;
        rc = json_writer_finish(&o.w);
        buf_free(&o.buf);
    } while (rc < 0);
    assert_true(nth > 5);
}

static void nesting_as_deep_as_the_parser_reads_is_written_and_no_deeper(void **state)
{
    struct output o;
    struct json_writer *w = begin(&o);

    (void)state;
    for (int i = 0; i < JSON_DEPTH_CEILING; i++)
        i % 2 ? (json_object_begin(w), json_key(w, "k")) : json_array_begin(w);
    json_int(w, 1);
    for (int i = JSON_DEPTH_CEILING - 1; i >= 0; i--)
        i % 2 ? json_object_end(w) : json_array_end(w);
    assert_int_equal(json_writer_finish(w), 0);
    buf_free(&o.buf);

    w = begin(&o);
    for (int i = 0; i <= JSON_DEPTH_CEILING; i++)
        json_array_begin(w);
    for (int i = 0; i <= JSON_DEPTH_CEILING; i++)
        json_array_end(w);
    assert_failed(&o);
}

/* A value deeper than the parser makes them ends in a failure, not in a deep recursion. */
static void a_value_that_is_too_deep_fails(void **state)
{
    struct json nest[2 * JSON_DEPTH_CEILING];
    struct output o;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(nest); i++)
        nest[i] = (struct json){ .type = JSON_ARRAY, .array = { &nest[(i + 1) % ARRAY_SIZE(nest)], 1 } };
    json_value(begin(&o), &nest[0]);
    assert_failed(&o);
}

static void an_empty_document_fails(void **state)
{
    struct output o;

    (void)state;
    begin(&o);
    assert_failed(&o);
}

static void an_open_container_fails(void **state)
{
    struct output o;

    (void)state;
    json_array_begin(begin(&o));
    assert_failed(&o);
    json_string_begin(begin(&o));
    assert_failed(&o);
}

static void an_end_that_does_not_fit_fails(void **state)
{
    struct output o;

    (void)state;
    json_array_end(begin(&o));
    assert_failed(&o);
    json_array_begin(begin(&o));
    json_object_end(&o.w);
    assert_failed(&o);
    json_object_begin(begin(&o));
    json_key(&o.w, "a");
    json_object_end(&o.w);
    assert_failed(&o);
    json_string_end(begin(&o));
    assert_failed(&o);
}

static void a_value_where_none_may_stand_fails(void **state)
{
    struct output o;

    (void)state;
    json_null(begin(&o));
    json_null(&o.w);
    assert_failed(&o);
    json_object_begin(begin(&o));
    json_null(&o.w);
    json_object_end(&o.w);
    assert_failed(&o);
    json_string_begin(begin(&o));
    json_null(&o.w);
    json_string_end(&o.w);
    assert_failed(&o);
}

static void a_key_where_none_may_stand_fails(void **state)
{
    struct output o;

    (void)state;
    json_key(begin(&o), "a");
    assert_failed(&o);
    json_array_begin(begin(&o));
    json_key(&o.w, "a");
    json_null(&o.w);
    json_array_end(&o.w);
    assert_failed(&o);
    json_object_begin(begin(&o));
    json_key(&o.w, "a");
    json_key(&o.w, "b");
    json_null(&o.w);
    json_object_end(&o.w);
    assert_failed(&o);
    json_string_part(begin(&o), STR("a"));
    assert_failed(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_colons_are_placed_where_they_belong),
        cmocka_unit_test(any_value_may_be_the_whole_document),
        cmocka_unit_test(doubles_are_told_by_the_shortest_text_that_reads_back_equal),
        cmocka_unit_test(random_doubles_survive),
        cmocka_unit_test(every_byte_below_128_is_escaped_as_rfc_8259_asks),
        cmocka_unit_test(bytes_that_are_not_utf8_become_one_replacement_per_maximal_part),
        cmocka_unit_test(a_string_in_pieces_equals_the_whole_wherever_it_is_split),
        cmocka_unit_test(a_string_byte_by_byte_equals_the_whole),
        cmocka_unit_test(a_string_in_pieces_may_stand_where_a_value_may),
        cmocka_unit_test(long_strings_are_written_in_runs_that_split_no_character),
        cmocka_unit_test(the_limit_of_the_buffer_sticks_and_is_told_at_the_end),
        cmocka_unit_test(the_failure_of_any_allocation_is_told_at_the_end),
        cmocka_unit_test(nesting_as_deep_as_the_parser_reads_is_written_and_no_deeper),
        cmocka_unit_test(a_value_that_is_too_deep_fails),
        cmocka_unit_test(an_empty_document_fails),
        cmocka_unit_test(an_open_container_fails),
        cmocka_unit_test(an_end_that_does_not_fit_fails),
        cmocka_unit_test(a_value_where_none_may_stand_fails),
        cmocka_unit_test(a_key_where_none_may_stand_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
