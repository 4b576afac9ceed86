#include "unit.h"

#include "base/json.h"

#include "fail_alloc.h"
#include "json_cases.h"

#define ARENA_MAX ((size_t)64 << 20)

struct document {
    struct arena arena;
    const struct json *root;
    struct berm_error err;
    int rc;
};

static struct document parse_limited(struct str text, unsigned max_depth, size_t arena_max)
{
    struct document d = { .root = NULL };
    char *exact = __real_malloc(text.n + (text.n == 0)); /* so that a sanitizer sees a byte read past the end */

    assert_non_null(exact);
    memcpy(exact, text.p, text.n);
    arena_init(&d.arena, arena_max);
    d.rc = json_parse(&d.arena, (struct str){ exact, text.n }, max_depth, &d.root, &d.err);
    memset(exact, '!', text.n); /* the result must not borrow it */
    free(exact);
    return d;
}

static struct document parse(struct str text)
{
    return parse_limited(text, JSON_MAX_DEPTH, ARENA_MAX);
}

static const struct json *parse_ok(struct document *d, struct str text)
{
    *d = parse(text);
    if (d->rc != 0)
        fail_msg("\"%.*s\" was refused: %s", (int)text.n, text.p, d->err.message);
    return d->root;
}

static void assert_writes(const struct json *value, struct str want)
{
    struct buf out;
    struct json_writer w;

    buf_init(&out, ARENA_MAX);
    json_writer_init(&w, &out);
    json_value(&w, value);
    assert_int_equal(json_writer_finish(&w), 0);
    assert_str(buf_str(&out), want);
    buf_free(&out);
}

static void every_valid_text_is_accepted_and_means_the_same_when_written_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
        struct document d;
        struct str canonical = valid[i].canonical ? str_from(valid[i].canonical) : valid[i].text;
        assert_writes(parse_ok(&d, valid[i].text), canonical);
        arena_free(&d.arena);
        assert_writes(parse_ok(&d, canonical), canonical);
        arena_free(&d.arena);
    }
}

static void every_invalid_text_is_refused_with_the_place_and_the_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
        struct document d = parse(invalid[i].text);
        char place[64];

        if (d.rc == 0)
            fail_msg("case %zu \"%.*s\" was accepted", i, (int)invalid[i].text.n, invalid[i].text.p);
        assert_null(d.root);
        assert_int_equal(d.err.code, BERM_E_INVALID_REQUEST);
        snprintf(place, sizeof(place), "at byte %zu: ", invalid[i].offset);
        if (!strstr(d.err.message, place) || !strstr(d.err.message, invalid[i].reason))
            fail_msg("case %zu \"%.*s\": wanted \"%s%s\", got \"%s\"", i, (int)invalid[i].text.n, invalid[i].text.p,
                     place, invalid[i].reason, d.err.message);
        arena_free(&d.arena);
    }
}

static void every_cut_of_a_document_is_refused(void **state)
{
    static const char text[] =
        "{\"a\":[1,-2.5e+10,true,false,null],\"b\":{\"c\":\"\\u00e9\\ud83d\\ude00\xf0\x9f\x98\x80\\n\"},\"d\":[]}";
    struct document d;

    (void)state;
    parse_ok(&d, STR(text));
    arena_free(&d.arena);
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        d = parse((struct str){ text, n });
        assert_int_equal(d.rc, -1);
        arena_free(&d.arena);
    }
}

static void numbers_are_integers_only_without_fraction_and_exponent_and_within_64_bits(void **state)
{
    static const struct {
        const char *text;
        enum json_type type;
    } cases[] = {
        { "0", JSON_INT },
        { "-1", JSON_INT },
        { "9223372036854775807", JSON_INT },
        { "-9223372036854775808", JSON_INT },
        { "9223372036854775808", JSON_DOUBLE },
        { "-9223372036854775809", JSON_DOUBLE },
        { "-0", JSON_DOUBLE },
        { "1.0", JSON_DOUBLE },
        { "1e0", JSON_DOUBLE },
        { "100000000000000000000", JSON_DOUBLE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct document d;
        const struct json *v = parse_ok(&d, str_from(cases[i].text));
        assert_int_equal(v->type, cases[i].type);
        if (v->type == JSON_INT)
            assert_true(v->integer == strtoll(cases[i].text, NULL, 10));
        else
            assert_true(v->number == strtod(cases[i].text, NULL));
        arena_free(&d.arena);
    }
}

static void a_number_of_a_million_digits_is_read(void **state)
{
    enum { DIGITS = 1000000 };
    char *text = malloc(DIGITS + 2);
    struct document d;

    (void)state;
    memset(text, '0', DIGITS + 2);
    memcpy(text, "0.", 2);
    text[DIGITS + 1] = '1';
    assert_true(parse_ok(&d, (struct str){ text, DIGITS + 2 })->number == 0);
    arena_free(&d.arena);
    text[0] = '1';
    text[1] = '0';
    d = parse((struct str){ text, DIGITS + 2 });
    assert_int_equal(d.rc, -1);
    assert_non_null(strstr(d.err.message, "out of range"));
    arena_free(&d.arena);
    free(text);
}

static void strings_keep_nul_bytes_and_are_terminated_too(void **state)
{
    struct document d;
    const struct json *v = parse_ok(&d, STR("[\"a\\u0000b\",\"\",\"xyz\"]"));

    (void)state;
    assert_str(v->array.items[0].string, STR("a\0b"));
    assert_str(v->array.items[1].string, STR(""));
    assert_string_equal(v->array.items[2].string.p, "xyz");
    for (size_t i = 0; i < v->array.count; i++)
        assert_int_equal(v->array.items[i].string.p[v->array.items[i].string.n], '\0');
    arena_free(&d.arena);
}

/* The scanner works in blocks of 16 and 8 bytes and copies 32 KiB at a time: a special byte at each offset. */
static void a_special_byte_is_seen_at_every_offset_of_a_long_string(void **state)
{
    static const struct {
        struct str raw, decoded;
    } specials[] = {
        { STR("\\n"), STR("\n") },
        { STR("\\u00e9"), STR("\xc3\xa9") },
        { STR("\xe2\x82\xac"), STR("\xe2\x82\xac") },
        { STR("\xf0\x9f\x98\x80"), STR("\xf0\x9f\x98\x80") },
    };
    enum { LONG = 33000 };
    char *text = malloc(LONG + 64), *want = malloc(LONG + 64);

    (void)state;
    for (size_t s = 0; s < ARRAY_SIZE(specials); s++) {
        for (size_t offset = 0; offset<LONG; offset += offset> 70 && offset < 32 * 1024 - 40 ? 997 : 1) {
            struct document d;
            size_t n = offset + specials[s].decoded.n + 20;
            memset(text, 'x', LONG + 64);
            memset(want, 'x', LONG + 64);
            text[0] = '"';
            memcpy(text + 1 + offset, specials[s].raw.p, specials[s].raw.n);
            text[1 + offset + specials[s].raw.n + 20] = '"';
            memcpy(want + offset, specials[s].decoded.p, specials[s].decoded.n);
            parse_ok(&d, (struct str){ text, offset + specials[s].raw.n + 22 });
            assert_str(d.root->string, (struct str){ want, n });
            arena_free(&d.arena);
        }
    }
    free(text);
    free(want);
}

static void nesting_ends_at_the_limit(void **state)
{
    char text[4 * JSON_DEPTH_CEILING];

    (void)state;
    for (unsigned max = 0; max <= JSON_DEPTH_CEILING + 1; max++) {
        unsigned effective = MIN(max, (unsigned)JSON_DEPTH_CEILING);
        for (unsigned depth = effective; depth <= effective + 1; depth++) {
            struct document d;
            memset(text, '[', depth);
            text[depth] = '1';
            memset(text + depth + 1, ']', depth);
            d = parse_limited((struct str){ text, 2 * depth + 1 }, max, ARENA_MAX);
            assert_int_equal(d.rc, depth <= effective ? 0 : -1);
            if (d.rc < 0)
                assert_non_null(strstr(d.err.message, "nested too deeply"));
            arena_free(&d.arena);
        }
    }
}

static void a_million_open_brackets_are_refused_at_the_limit(void **state)
{
    char *text = malloc(1000000);
    struct document d;

    (void)state;
    memset(text, '[', 1000000);
    d = parse((struct str){ text, 1000000 });
    assert_int_equal(d.rc, -1);
    assert_non_null(strstr(d.err.message, "at byte 128: nested too deeply"));
    arena_free(&d.arena);
    free(text);
}

/* Objects of every size around the change from comparing to hashing, each key doubled once. */
static void a_key_given_twice_is_found_wherever_it_is(void **state)
{
    (void)state;
    for (int count = 2; count < 80; count++) {
        for (int twice = -1; twice < count - 1; twice++) {
            struct document d;
            struct buf text;
            buf_init(&text, 1 << 16);
            buf_append_str(&text, STR("{"));
            for (int i = 0; i < count; i++)
                buf_printf(&text, "%s\"key-%d\":%d", i ? "," : "", i == count - 1 && twice >= 0 ? twice : i, i);
            buf_append_str(&text, STR("}"));
            d = parse(buf_str(&text));
            assert_int_equal(d.rc, twice >= 0 ? -1 : 0);
            arena_free(&d.arena);
            buf_free(&text);
        }
    }
}

static void an_object_with_a_hundred_thousand_keys_is_no_trouble(void **state)
{
    enum { COUNT = 100000 };
    struct document d;
    struct buf text;

    (void)state;
    buf_init(&text, ARENA_MAX);
    buf_append_str(&text, STR("{"));
    for (int i = 0; i < COUNT; i++)
        buf_printf(&text, "%s\"%d\":%d", i ? "," : "", i, i);
    buf_append_str(&text, STR("}"));
    parse_ok(&d, buf_str(&text));
    assert_int_equal(d.root->object.count, COUNT);
    assert_int_equal(json_get(d.root, "99999")->integer, 99999);
    arena_free(&d.arena);
    text.len--;
    buf_append_str(&text, STR(",\"54321\":0}"));
    d = parse(buf_str(&text));
    assert_int_equal(d.rc, -1);
    assert_non_null(strstr(d.err.message, "key twice"));
    arena_free(&d.arena);
    buf_free(&text);
}

static const char rich[] =
    "{\"name\":\"caf\\u00e9\",\"list\":[1,2.5,[],{},\"x\",null,true],\"deep\":{\"a\":{\"b\":[{}]}},"
    "\"k1\":1,\"k2\":2,\"k3\":3,\"k4\":4,\"k5\":5,\"k6\":6,\"k7\":7,\"k8\":8,\"k9\":9,\"k10\":10}";

static void an_arena_that_is_too_small_is_an_error_whatever_its_size(void **state)
{
    size_t limit = 0;
    struct document d;

    (void)state;
    for (;; limit++) {
        d = parse_limited(STR(rich), JSON_MAX_DEPTH, limit);
        assert_true(d.arena.used <= limit);
        if (d.rc == 0)
            break;
        assert_int_equal(d.err.code, BERM_E_INVALID_REQUEST);
        assert_non_null(strstr(d.err.message, "more memory"));
        arena_free(&d.arena);
    }
    assert_true(limit > sizeof(rich));
    assert_true(limit < sizeof(rich) + 40 * sizeof(struct json_member));
    arena_free(&d.arena);
}

static void the_failure_of_any_allocation_is_an_error(void **state)
{
    (void)state;
    for (size_t nth = 1;; nth++) {
        struct document d;
        allocations_left = nth;
        d = parse(STR(rich));
        allocations_left = 0;
        if (d.rc == 0) {
            assert_true(nth > 3); /* the arena, the stack and the table of keys have failed */
            arena_free(&d.arena);
            return;
        }
        assert_non_null(strstr(d.err.message, "more memory"));
        arena_free(&d.arena);
    }
}

static void a_giant_string_takes_its_own_size_once(void **state)
{
    enum { N = 8 << 20 };
    char *text = malloc(N);
    struct document d;

    (void)state;
    memset(text, 'x', N);
    memcpy(text, "{\"c\":\"", 6);
    memcpy(text + N - 2, "\"}", 2);
    d = parse_limited((struct str){ text, N }, 2, N + 256);
    assert_int_equal(d.rc, 0);
    assert_int_equal(json_get(d.root, "c")->string.n, N - 8);
    arena_free(&d.arena);
    free(text);
}

static void a_wide_array_of_little_values_stops_at_the_limit_of_the_arena(void **state)
{
    enum { N = 1 << 20 };
    char *text = malloc(2 * N + 1);
    struct document d;

    (void)state;
    for (int i = 0; i < N; i++)
        memcpy(text + 2 * i, ",0", 2);
    text[0] = '[';
    text[2 * N] = ']';
    d = parse_limited((struct str){ text, 2 * N + 1 }, 2, N);
    assert_int_equal(d.rc, -1);
    assert_non_null(strstr(d.err.message, "more memory"));
    arena_free(&d.arena);
    parse_ok(&d, (struct str){ text, 2 * N + 1 });
    assert_int_equal(d.root->array.count, N);
    arena_free(&d.arena);
    free(text);
}

static void json_get_finds_members_and_nothing_else(void **state)
{
    struct document d;
    const struct json *v = parse_ok(&d, STR("{\"a\":1,\"b\":null,\"a\\u0000\":3}"));

    (void)state;
    assert_int_equal(json_get(v, "a")->integer, 1);
    assert_int_equal(json_get(v, "b")->type, JSON_NULL);
    assert_null(json_get(v, "c"));
    assert_null(json_get(v, ""));
    assert_null(json_get(NULL, "a"));
    assert_null(json_get(json_get(v, "a"), "a"));
    arena_free(&d.arena);
}

static void fields_are_read_by_their_type(void **state)
{
    struct document d;
    const struct json *v =
        parse_ok(&d, STR("{\"s\":\"text\",\"z\":\"a\\u0000b\",\"i\":-5,\"t\":true,\"o\":{},\"l\":[1],\"n\":null}"));
    struct berm_error err = { .code = BERM_OK };
    const char *c = NULL;
    struct str s = { NULL, 0 };
    const struct json *o = NULL, *l = NULL;
    int64_t i = 0;
    bool b = false;

    (void)state;
    assert_int_equal(json_field_cstring(v, "s", &c, &err), 0);
    assert_string_equal(c, "text");
    assert_int_equal(json_field_string(v, "z", &s, &err), 0);
    assert_str(s, STR("a\0b"));
    assert_int_equal(json_field_int(v, "i", -5, 5, &i, &err), 0);
    assert_int_equal(i, -5);
    assert_int_equal(json_field_bool(v, "t", &b, &err), 0);
    assert_true(b);
    assert_int_equal(json_field_object(v, "o", &o, &err), 0);
    assert_int_equal(o->type, JSON_OBJECT);
    assert_int_equal(json_field_array(v, "l", &l, &err), 0);
    assert_int_equal(l->array.count, 1);
    assert_int_equal(err.code, BERM_OK);
    arena_free(&d.arena);
}

static void absent_and_null_fields_leave_the_result_alone(void **state)
{
    static const char *const names[] = { "n", "absent" };
    struct document d;
    const struct json *v = parse_ok(&d, STR("{\"n\":null}"));
    const char *c = "before";
    struct str s = STR("before");
    const struct json *o = v;
    int64_t i = 7;
    bool b = true;

    (void)state;
    for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
        assert_int_equal(json_field_cstring(v, names[k], &c, NULL), 0);
        assert_int_equal(json_field_string(v, names[k], &s, NULL), 0);
        assert_int_equal(json_field_int(v, names[k], 0, 0, &i, NULL), 0);
        assert_int_equal(json_field_bool(v, names[k], &b, NULL), 0);
        assert_int_equal(json_field_object(v, names[k], &o, NULL), 0);
        assert_int_equal(json_field_array(v, names[k], &o, NULL), 0);
    }
    assert_string_equal(c, "before");
    assert_str(s, STR("before"));
    assert_int_equal(i, 7);
    assert_true(b);
    assert_ptr_equal(o, v);
    arena_free(&d.arena);
}

static void assert_field_error(int rc, struct berm_error *err, const char *field, const char *message)
{
    assert_int_equal(rc, -1);
    assert_int_equal(err->code, BERM_E_INVALID_REQUEST);
    assert_string_equal(err->field, field);
    assert_string_equal(err->message, message);
    *err = (struct berm_error){ .code = BERM_OK };
}

static void a_field_of_another_type_is_an_error_that_names_it(void **state)
{
    struct document d;
    const struct json *v =
        parse_ok(&d, STR("{\"s\":\"text\",\"z\":\"a\\u0000b\",\"i\":-5,\"f\":1.5,\"big\":9223372036854775808}"));
    struct berm_error err = { .code = BERM_OK };
    const char *c;
    struct str s;
    const struct json *o;
    int64_t i = 1;
    bool b;

    (void)state;
    assert_field_error(json_field_cstring(v, "i", &c, &err), &err, "i", "i must be a string");
    assert_field_error(json_field_cstring(v, "z", &c, &err), &err, "z", "z must not contain a NUL character");
    assert_field_error(json_field_string(v, "i", &s, &err), &err, "i", "i must be a string");
    assert_field_error(json_field_int(v, "s", 0, 9, &i, &err), &err, "s", "s must be a whole number");
    assert_field_error(json_field_int(v, "f", 0, 9, &i, &err), &err, "f", "f must be a whole number");
    assert_field_error(json_field_int(v, "big", 0, INT64_MAX, &i, &err), &err, "big", "big must be a whole number");
    assert_field_error(json_field_int(v, "i", -4, 9, &i, &err), &err, "i", "i must be between -4 and 9");
    assert_field_error(json_field_int(v, "i", -9, -6, &i, &err), &err, "i", "i must be between -9 and -6");
    assert_field_error(json_field_bool(v, "i", &b, &err), &err, "i", "i must be true or false");
    assert_field_error(json_field_object(v, "s", &o, &err), &err, "s", "s must be an object");
    assert_field_error(json_field_array(v, "s", &o, &err), &err, "s", "s must be an array");
    assert_int_equal(i, 1);
    arena_free(&d.arena);
}

static void lone_surrogates_are_replaced_where_that_is_asked_for(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "\"\\ud800\"", "\xef\xbf\xbd" },
        { "\"a\\udc00b\"", "a\xef\xbf\xbd\x62" },
        { "\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80" },
        { "\"\\ud800x\"", "\xef\xbf\xbdx" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct json *value;
        struct arena arena;
        arena_init(&arena, 4096);
        assert_int_equal(json_parse(&arena, str_from(cases[i].text), 0, &value, NULL), -1);
        assert_int_equal(json_parse_utf16(&arena, str_from(cases[i].text), 0, &value, NULL), 0);
        assert_str(value->string, str_from(cases[i].want));
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lone_surrogates_are_replaced_where_that_is_asked_for),
        cmocka_unit_test(every_valid_text_is_accepted_and_means_the_same_when_written_again),
        cmocka_unit_test(every_invalid_text_is_refused_with_the_place_and_the_reason),
        cmocka_unit_test(every_cut_of_a_document_is_refused),
        cmocka_unit_test(numbers_are_integers_only_without_fraction_and_exponent_and_within_64_bits),
        cmocka_unit_test(a_number_of_a_million_digits_is_read),
        cmocka_unit_test(strings_keep_nul_bytes_and_are_terminated_too),
        cmocka_unit_test(a_special_byte_is_seen_at_every_offset_of_a_long_string),
        cmocka_unit_test(nesting_ends_at_the_limit),
        cmocka_unit_test(a_million_open_brackets_are_refused_at_the_limit),
        cmocka_unit_test(a_key_given_twice_is_found_wherever_it_is),
        cmocka_unit_test(an_object_with_a_hundred_thousand_keys_is_no_trouble),
        cmocka_unit_test(an_arena_that_is_too_small_is_an_error_whatever_its_size),
        cmocka_unit_test(the_failure_of_any_allocation_is_an_error),
        cmocka_unit_test(a_giant_string_takes_its_own_size_once),
        cmocka_unit_test(a_wide_array_of_little_values_stops_at_the_limit_of_the_arena),
        cmocka_unit_test(json_get_finds_members_and_nothing_else),
        cmocka_unit_test(fields_are_read_by_their_type),
        cmocka_unit_test(absent_and_null_fields_leave_the_result_alone),
        cmocka_unit_test(a_field_of_another_type_is_an_error_that_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
