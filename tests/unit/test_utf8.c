#include "unit.h"

#include "base/utf8.h"

#include "fail_alloc.h"

#define OUT_MAX ((size_t)1 << 22)
#define BAD     "\xef\xbf\xbd"

/* What a WHATWG decoder makes of it. NULL: it is well-formed. */
static const struct {
    struct str text;
    const char *replaced;
} cases[] = {
    { STR(""), NULL },
    { STR("a"), NULL },
    { STR("\x7f"), NULL },
    { STR("\xc2\x80"), NULL },
    { STR("\xdf\xbf"), NULL },
    { STR("\xe0\xa0\x80"), NULL },
    { STR("\xe1\x80\x80"), NULL },
    { STR("\xec\xbf\xbf"), NULL },
    { STR("\xed\x80\x80"), NULL },
    { STR("\xed\x9f\xbf"), NULL },
    { STR("\xee\x80\x80"), NULL },
    { STR("\xef\xbf\xbf"), NULL },
    { STR("\xef\xbb\xbf"), NULL },
    { STR("\xf0\x90\x80\x80"), NULL },
    { STR("\xf1\x80\x80\x80"), NULL },
    { STR("\xf3\xbf\xbf\xbf"), NULL },
    { STR("\xf4\x8f\xbf\xbf"), NULL },
    { STR("0123456789abcdef\xe2\x82\xac"
          "0123456789abcdef"),
      NULL },

    { STR("\x80"), BAD },
    { STR("\xbf"), BAD },
    { STR("\x80\x80\x80"), BAD BAD BAD },
    { STR("\xc0"), BAD },
    { STR("\xc0\x80"), BAD BAD },
    { STR("\xc1\xbf"), BAD BAD },
    { STR("\xc2"), BAD },
    { STR("\xc2"
          "a"),
      BAD "a" },
    { STR("\xc2\xc2\x80"), BAD "\xc2\x80" },
    { STR("\xdf"), BAD },
    { STR("\xe0"), BAD },
    { STR("\xe0\x80\x80"), BAD BAD BAD },
    { STR("\xe0\x9f\xbf"), BAD BAD BAD },
    { STR("\xe0\xa0"), BAD },
    { STR("\xe0\xa0"
          "a"),
      BAD "a" },
    { STR("\xe0\xa0\xe0\xa0\x80"), BAD "\xe0\xa0\x80" },
    { STR("\xe2\x82"), BAD },
    { STR("\xe2\x28\xa1"), BAD "(" BAD },
    { STR("\xed\xa0\x80"), BAD BAD BAD },
    { STR("\xed\xbf\xbf"), BAD BAD BAD },
    { STR("\xed\xa0\xbd\xed\xb8\x80"), BAD BAD BAD BAD BAD BAD },
    { STR("\xf0"), BAD },
    { STR("\xf0\x80\x80\x80"), BAD BAD BAD BAD },
    { STR("\xf0\x8f\xbf\xbf"), BAD BAD BAD BAD },
    { STR("\xf0\x9f"), BAD },
    { STR("\xf0\x9f\x98"), BAD },
    { STR("\xf0\x9f\x98"
          "a"),
      BAD "a" },
    { STR("\xf0\x9f\x98\xf0\x9f\x98\x80"), BAD "\xf0\x9f\x98\x80" },
    { STR("\xf4\x90\x80\x80"), BAD BAD BAD BAD },
    { STR("\xf5\x80\x80\x80"), BAD BAD BAD BAD },
    { STR("\xf8\x88\x80\x80\x80"), BAD BAD BAD BAD BAD },
    { STR("\xfe\xff"), BAD BAD },
    { STR("a\xf1\x80\x80\xe1\x80\xc2"
          "b\x80"
          "c\x80\xbf"
          "d"),
      "a" BAD BAD BAD "b" BAD "c" BAD BAD "d" },
    { STR("0123456789abcdef\xff"
          "0123456789abcdef"),
      "0123456789abcdef" BAD "0123456789abcdef" },
};

static struct str sanitized(struct buf *out, struct str text, bool drop_nul)
{
    buf_init(out, OUT_MAX);
    assert_int_equal(utf8_sanitize(out, text, drop_nul), 0);
    return buf_str(out);
}

static void well_formed_text_is_told_from_the_rest(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(utf8_valid(cases[i].text), cases[i].replaced == NULL);
    assert_true(utf8_valid((struct str){ NULL, 0 }));
}

static void each_maximal_ill_formed_part_becomes_one_replacement_character(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf out;
        assert_str(sanitized(&out, cases[i].text, false),
                   cases[i].replaced ? str_from(cases[i].replaced) : cases[i].text);
        buf_free(&out);
    }
}

/* Every code point and, for each number of bytes, that none is valid but those. */
static void exactly_the_unicode_scalar_values_are_well_formed(void **state)
{
    unsigned valid = 0;

    (void)state;
    for (unsigned a = 0x80; a < 0x100; a++) {
        for (unsigned b = 0; b < 0x100; b++) {
            const unsigned char two[] = { (unsigned char)a, (unsigned char)b };
            valid += utf8_sequence(two, 2) == 2;
            for (unsigned c = 0x70; c < 0xd0; c++) {
                const unsigned char three[] = { two[0], two[1], (unsigned char)c };
                int length = utf8_sequence(three, 3);
                valid += length == 3;
                /* Three bytes that begin a longer one: all 64 continuations complete it. */
                if (length == 0)
                    valid += 64;
            }
        }
    }
    assert_int_equal(valid, 0x110000 - 0x800 - 0x80);
}

static void nul_bytes_are_dropped_on_demand_only(void **state)
{
    struct buf out;

    (void)state;
    assert_str(sanitized(&out, STR("\0a\0\0b\xff\0\xc3\0\xa9\0"), false),
               STR("\0a\0\0b" BAD "\0" BAD "\0" BAD "\0"));
    buf_free(&out);
    assert_str(sanitized(&out, STR("\0a\0\0b\xff\0\xc3\0\xa9\0"), true), STR("ab" BAD BAD BAD));
    buf_free(&out);
    assert_str(sanitized(&out,
                         STR("0123456789abcde\0"
                             "0123456789abcdef\0"),
                         true),
               STR("0123456789abcde"
                   "0123456789abcdef"));
    buf_free(&out);
}

static void pieces_give_the_same_as_the_whole_wherever_it_is_split(void **state)
{
    (void)state;
    for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
        struct str text = cases[c].text;
        for (size_t i = 0; i <= text.n; i++) {
            for (size_t j = i; j <= text.n; j++) {
                struct utf8_stream s = { .count = 0 };
                struct buf out;
                buf_init(&out, OUT_MAX);
                assert_int_equal(utf8_stream_part(&s, &out, (struct str){ text.p, i }, true), 0);
                assert_int_equal(utf8_stream_part(&s, &out, (struct str){ text.p + i, j - i }, true), 0);
                assert_int_equal(utf8_stream_part(&s, &out, (struct str){ text.p + j, text.n - j }, true), 0);
                assert_int_equal(utf8_stream_end(&s, &out), 0);
                assert_str(buf_str(&out), cases[c].replaced ? str_from(cases[c].replaced) : text);
                buf_free(&out);
            }
        }
    }
}

static void a_character_split_between_pieces_comes_with_the_later_one(void **state)
{
    struct utf8_stream s = { .count = 0 };
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    assert_int_equal(utf8_stream_part(&s, &out, STR("a\xf0\x9f"), false), 0);
    assert_str(buf_str(&out), STR("a"));
    assert_int_equal(utf8_stream_part(&s, &out, STR("\x98"), false), 0);
    assert_str(buf_str(&out), STR("a"));
    assert_int_equal(utf8_stream_part(&s, &out,
                                      STR("\x80"
                                          "b"),
                                      false),
                     0);
    assert_str(buf_str(&out), STR("a\xf0\x9f\x98\x80"
                                  "b"));
    assert_int_equal(utf8_stream_end(&s, &out), 0);
    assert_str(buf_str(&out), STR("a\xf0\x9f\x98\x80"
                                  "b"));
    buf_free(&out);
}

/* The scanner takes 16 and 8 bytes at a time; each byte value at each offset must be judged the same. */
static void a_clean_run_ends_at_the_same_byte_wherever_it_lies(void **state)
{
    static const enum utf8_stop stops[] = { UTF8_STOP_NEVER, UTF8_STOP_NUL, UTF8_STOP_JSON };

    (void)state;
    for (size_t k = 0; k < ARRAY_SIZE(stops); k++) {
        for (unsigned byte = 0; byte < 0x100; byte++) {
            bool stop = byte >= 0x80 || (stops[k] == UTF8_STOP_NUL && byte == 0) ||
                        (stops[k] == UTF8_STOP_JSON && (byte < 0x20 || byte == '"' || byte == '\\'));
            for (size_t at = 0; at < 40; at++) {
                char text[40];
                memset(text, ' ', sizeof(text));
                text[at] = (char)byte;
                assert_int_equal(utf8_clean_run(text, sizeof(text), stops[k]), stop ? at : sizeof(text));
            }
        }
    }
}

static void a_long_text_keeps_every_character(void **state)
{
    static const char unit[] = "\xe2\x82\xac";
    enum { N = 50000 };
    char *text = malloc(3 * N + 1);
    struct buf out;

    (void)state;
    for (size_t shift = 0; shift < 2; shift++) {
        memset(text, 'x', shift);
        for (size_t i = 0; i < N; i++)
            memcpy(text + shift + 3 * i, unit, 3);
        assert_str(sanitized(&out, (struct str){ text, 3 * N + shift }, true), (struct str){ text, 3 * N + shift });
        buf_free(&out);
    }
    free(text);
}

static void only_a_beginning_of_a_character_counts_as_incomplete(void **state)
{
    static const struct {
        const char *text;
        size_t tail;
    } tails[] = {
        { "", 0 },
        { "a", 0 },
        { "a\xc3", 1 },
        { "\xc3\xa9", 0 },
        { "\xe2\x82", 2 },
        { "\xe2\x82\xac", 0 },
        { "\xf0\x9f\x98", 3 },
        { "\xf0\x9f\x98\x80", 0 },
        { "\xff", 0 },
        { "\x80\x80\x80\x80", 0 },
        { "\xe0\x80", 0 },
        { "\xc3\xc3", 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(tails); i++)
        assert_int_equal(utf8_incomplete_tail(str_from(tails[i].text)), tails[i].tail);
}

static void a_buffer_that_is_full_is_an_error(void **state)
{
    struct buf out;
    struct str text = STR("ab\xff"
                          "cd");

    (void)state;
    for (size_t max = 0; max <= 7; max++) {
        buf_init(&out, max);
        assert_int_equal(utf8_sanitize(&out, text, false), max < 7 ? -1 : 0);
        if (max < 7)
            assert_int_equal(errno, ENOBUFS);
        assert_true(out.len <= max);
        buf_free(&out);
    }
}

static void the_failure_of_any_allocation_is_an_error(void **state)
{
    char text[4000];
    size_t nth = 0;
    int rc;

    (void)state;
    memset(text, 0xff, sizeof(text));
    do {
        struct buf out;
        buf_init(&out, OUT_MAX);
        allocations_left = ++nth;
        rc = utf8_sanitize(&out, (struct str){ text, sizeof(text) }, false);
        allocations_left = 0;
        if (rc < 0)
            assert_int_equal(errno, ENOMEM);
        buf_free(&out);
    } while (rc < 0);
    assert_true(nth > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed_text_is_told_from_the_rest),
        cmocka_unit_test(each_maximal_ill_formed_part_becomes_one_replacement_character),
        cmocka_unit_test(exactly_the_unicode_scalar_values_are_well_formed),
        cmocka_unit_test(nul_bytes_are_dropped_on_demand_only),
        cmocka_unit_test(pieces_give_the_same_as_the_whole_wherever_it_is_split),
        cmocka_unit_test(a_character_split_between_pieces_comes_with_the_later_one),
        cmocka_unit_test(a_clean_run_ends_at_the_same_byte_wherever_it_lies),
        cmocka_unit_test(a_long_text_keeps_every_character),
        cmocka_unit_test(only_a_beginning_of_a_character_counts_as_incomplete),
        cmocka_unit_test(a_buffer_that_is_full_is_an_error),
        cmocka_unit_test(the_failure_of_any_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
