#include "unit.h"

#include "base/base64.h"

static const struct {
    struct str bytes, text;
} vectors[] = {
    /* RFC 4648 section 10 */
    { STR(""), STR("") },
    { STR("f"), STR("Zg==") },
    { STR("fo"), STR("Zm8=") },
    { STR("foo"), STR("Zm9v") },
    { STR("foob"), STR("Zm9vYg==") },
    { STR("fooba"), STR("Zm9vYmE=") },
    { STR("foobar"), STR("Zm9vYmFy") },
    { STR("\0"), STR("AA==") },
    { STR("\0\0\0"), STR("AAAA") },
    { STR("\xff"), STR("/w==") },
    { STR("\xff\xff\xff"), STR("////") },
    { STR("\xfb\xef\xbe"), STR("++++") },
    { STR("\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14\x93\x51\x55\x97\x61\x96\x9b\x71\xd7\x9f\x82\x18"
          "\xa3"
          "\x92\x59\xa7\xa2\x9a\xab\xb2\xdb\xaf\xc3\x1c\xb3\xd3\x5d\xb7\xe3\x9e\xbb\xf3\xdf\xbf"),
      STR("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") },
};

/* The output buffer has exactly the size that the header asks for, so that a sanitizer sees a byte too many. */
static int decode(struct str text, char **ret, size_t *ret_n)
{
    char *exact = malloc(text.n + (text.n == 0));

    if (text.n > 0)
        memcpy(exact, text.p, text.n);
    *ret = malloc(text.n / 4 * 3 + 3);
    *ret_n = 0;
    int rc = base64_decode((struct str){ exact, text.n }, *ret, ret_n);
    free(exact);
    return rc;
}

static void assert_decodes(struct str text, struct str want)
{
    char *got;
    size_t n;

    assert_int_equal(decode(text, &got, &n), 0);
    assert_str((struct str){ got, n }, want);
    free(got);
}

static void assert_refused(struct str text)
{
    char *got;
    size_t n;

    assert_int_equal(decode(text, &got, &n), -1);
    free(got);
}

static void the_vectors_encode_and_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        char out[128];
        size_t n = base64_encode(vectors[i].bytes.p, vectors[i].bytes.n, out);
        assert_int_equal(n, BASE64_ENCODED_SIZE(vectors[i].bytes.n));
        assert_str((struct str){ out, n }, vectors[i].text);
        assert_decodes(vectors[i].text, vectors[i].bytes);
    }
}

/* One sextet at a time, to hold the fast way against. */
static size_t encode_plainly(const unsigned char *in, size_t n, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;

    for (size_t bit = 0; bit < 8 * n; bit += 6) {
        unsigned pair = (unsigned)in[bit / 8] << 8 | (bit / 8 + 1 < n ? in[bit / 8 + 1] : 0);
        out[at++] = alphabet[pair >> (10 - bit % 8) & 63];
    }
    while (at % 4)
        out[at++] = '=';
    return at;
}

static void every_length_makes_the_round_trip(void **state)
{
    unsigned char bytes[300];
    char want[404], got[404];

    (void)state;
    random_bytes(bytes, sizeof(bytes));
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        unsigned char *exact = malloc(n + (n == 0));
        memcpy(exact, bytes, n);
        size_t length = encode_plainly(bytes, n, want);
        assert_int_equal(base64_encode(exact, n, got), length);
        free(exact);
        assert_memory_equal(got, want, length);
        assert_decodes((struct str){ got, length }, (struct str){ (char *)bytes, n });
        while (length > 0 && got[length - 1] == '=')
            length--;
        assert_decodes((struct str){ got, length }, (struct str){ (char *)bytes, n });
    }
}

static void only_the_alphabet_is_accepted_at_every_offset(void **state)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";

    (void)state;
    for (unsigned byte = 0; byte < 0x100; byte++) {
        bool good = byte && strchr(alphabet, (int)byte);
        for (size_t at = 0; at < 64; at++) {
            char text[64], *got;
            size_t n;
            memset(text, 'A', sizeof(text));
            text[at] = (char)byte;
            assert_int_equal(decode((struct str){ text, sizeof(text) }, &got, &n), good ? 0 : -1);
            if (good)
                assert_int_equal(n, byte == '=' ? at * 6 / 8 : 48);
            free(got);
        }
    }
}

static void padding_may_be_missing_and_ends_the_data(void **state)
{
    (void)state;
    assert_decodes(STR("Zg"), STR("f"));
    assert_decodes(STR("Zg="), STR("f"));
    assert_decodes(STR("Zg==="), STR("f"));
    assert_decodes(STR("Zm8"), STR("fo"));
    assert_decodes(STR("Zm8=="), STR("fo"));
    assert_decodes(STR("Zm9v="), STR("foo"));
    assert_decodes(STR("Zg==Zm9v"), STR("f"));
    assert_decodes(STR("Zm9v=Zm9v"), STR("foo"));
    assert_decodes(STR("="), STR(""));
    assert_decodes(STR("===="), STR(""));
    assert_decodes(STR("=Zm9v"), STR(""));
}

static void bits_that_make_no_whole_byte_are_dropped(void **state)
{
    (void)state;
    assert_decodes(STR("Z"), STR(""));
    assert_decodes(STR("Zm9vZ"), STR("foo"));
    assert_decodes(STR("Zh=="), STR("f"));
    assert_decodes(STR("Zm9="), STR("fo"));
}

static void other_characters_are_refused_also_behind_the_padding(void **state)
{
    (void)state;
    assert_refused(STR("Zm9v\n"));
    assert_refused(STR("Zm 9v"));
    assert_refused(STR(" Zm9v"));
    assert_refused(STR("Zm9v-_"));
    assert_refused(STR("Zm9\0"));
    assert_refused(STR("Zg==\n"));
    assert_refused(STR("Zg==!"));
    assert_refused(STR("Zm9vZm9vZm9vZm9vZm9vZm9vZm9vZm9v\xff"));
}

static void append_respects_the_limit_of_the_buffer(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 12);
    assert_int_equal(base64_append(&out, "foobar", 6), 0);
    assert_int_equal(base64_append(&out, "", 0), 0);
    assert_int_equal(base64_append(&out, "foob", 4), -1);
    assert_int_equal(errno, ENOBUFS);
    assert_int_equal(base64_append(&out, "f", 1), 0);
    assert_str(buf_str(&out), STR("Zm9vYmFyZg=="));
    assert_int_equal(base64_append(&out, "f", SIZE_MAX), -1);
    assert_int_equal(errno, ENOBUFS);
    buf_free(&out);
}

static void text_can_be_decoded_where_it_is(void **state)
{
    (void)state;
    for (size_t n = 0; n < 200; n++) {
        unsigned char bytes[200];
        char text[BASE64_ENCODED_SIZE(200) + 1];
        size_t length, decoded;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)(i * 151 + n);
        length = base64_encode(bytes, n, text);
        assert_int_equal(base64_decode((struct str){ text, length }, text, &decoded), 0);
        assert_int_equal(decoded, n);
        assert_memory_equal(text, bytes, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_can_be_decoded_where_it_is),
        cmocka_unit_test(the_vectors_encode_and_decode),
        cmocka_unit_test(every_length_makes_the_round_trip),
        cmocka_unit_test(only_the_alphabet_is_accepted_at_every_offset),
        cmocka_unit_test(padding_may_be_missing_and_ends_the_data),
        cmocka_unit_test(bits_that_make_no_whole_byte_are_dropped),
        cmocka_unit_test(other_characters_are_refused_also_behind_the_padding),
        cmocka_unit_test(append_respects_the_limit_of_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
