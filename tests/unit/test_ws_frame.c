/* The framing of WebSocket messages: every rule of RFC 6455 section 5, however the bytes are cut. */
#include "unit.h"

#include "base/sha1.h"
#include "net/ws_frame.h"

#include <stdio.h>

#define LIMIT 70000

/* What a byte stream came to: events as text, e.g. "text(hel-lo) ping(x) 1002". */
struct outcome {
    char text[2048];
    size_t n;
};

static void add(struct outcome *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct outcome *o, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    o->n += (size_t)vsnprintf(o->text + o->n, sizeof(o->text) - o->n, format, args);
    va_end(args);
    assert_true(o->n < sizeof(o->text));
}

static const char *opcode_name(enum ws_opcode opcode)
{
    switch (opcode) {
    case WS_OP_TEXT:
        return "text";
    case WS_OP_BINARY:
        return "binary";
    case WS_OP_CLOSE:
        return "close";
    case WS_OP_PING:
        return "ping";
    case WS_OP_PONG:
        return "pong";
    case WS_OP_CONTINUATION:
        break;
    }
    return "?";
}

static void add_event(struct outcome *o, const struct ws_event *event, bool *in_message)
{
    if (event->kind == WS_CONTROL) {
        add(o, "%s(%zu:%.*s) ", opcode_name(event->opcode), event->payload.n, (int)event->payload.n,
            event->payload.p);
        return;
    }
    if (!*in_message)
        add(o, "%s(", opcode_name(event->opcode));
    if (event->payload.n > 200)
        add(o, "%zu bytes", event->payload.n);
    else
        add(o, "%.*s", (int)event->payload.n, event->payload.p);
    *in_message = !event->end;
    if (event->end)
        add(o, ") ");
}

/* Feeds `n` bytes, at most `step` at a time. */
static void parse(struct outcome *o, const void *bytes, size_t n, size_t step, bool masked)
{
    struct ws_parser parser;
    char *copy = malloc(n + 1);
    bool in_message = false;

    assert_non_null(copy);
    memcpy(copy, bytes, n);
    *o = (struct outcome){ .n = 0 };
    ws_parser_init(&parser, masked, LIMIT);
    for (size_t at = 0; at < n;) {
        size_t end = MIN(n, at + step);
        struct ws_event event = { .kind = WS_PIECE };
        while (event.kind != WS_MORE) {
            ssize_t took = ws_parse(&parser, copy + at, end - at, &event);
            if (took < 0) {
                add(o, "%zd", -took);
                free(copy);
                return;
            }
            at += (size_t)took;
            if (event.kind != WS_MORE)
                add_event(o, &event, &in_message);
        }
        assert_int_equal(at, end);
    }
    free(copy);
}

static void expect(const void *bytes, size_t n, bool masked, const char *want)
{
    static const size_t steps[] = { 1, 2, 3, 5, 7, 64, SIZE_MAX / 2 };
    struct outcome o;

    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        parse(&o, bytes, n, steps[i], masked);
        if (strcmp(o.text, want) != 0)
            fail_msg("in steps of %zu: got \"%s\", want \"%s\"", steps[i], o.text, want);
    }
}

#define EXPECT(literal, want) expect((literal), sizeof(literal) - 1, false, (want))
/* The mask of these is all zeroes, which is as good as any. */
#define EXPECT_MASKED(literal, want) expect((literal), sizeof(literal) - 1, true, (want))

static void messages_come_out_whole_however_they_are_cut(void **state)
{
    (void)state;
    EXPECT("\x81\x05hello", "text(hello) ");
    EXPECT("\x82\x03"
           "abc"
           "\x81\x01x",
           "binary(abc) text(x) ");
    EXPECT("\x81\x00", "text() ");
    EXPECT("\x01\x03hel\x80\x02lo", "text(hello) ");
    EXPECT("\x01\x00\x00\x00\x80\x02lo", "text(lo) ");
    EXPECT("\x02\x02"
           "ab"
           "\x80\x00",
           "binary(ab) ");
    EXPECT("\x81\x7e\x00\x7e"
           "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
           "01234567890123456789012345",
           "text(0123456789012345678901234567890123456789012345678901234567890123456789"
           "01234567890123456789012345678901234567890123456789012345) ");
}

static void the_examples_of_the_rfc_are_read(void **state)
{
    (void)state;
    expect("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11, true, "text(Hello) ");
    EXPECT("\x89\x05Hello", "ping(5:Hello) ");
    expect("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11, true, "pong(5:Hello) ");
}

static void control_frames_may_come_within_a_message(void **state)
{
    (void)state;
    EXPECT("\x01\x03hel\x89\x01x\x80\x02lo", "text(helping(1:x) lo) ");
    EXPECT("\x88\x02\x03\xe8", "close(2:\x03\xe8) ");
    EXPECT("\x88\x00", "close(0:) ");
    EXPECT("\x88\x05\x0f\xa0"
           "bye",
           "close(5:\x0f\xa0"
           "bye) ");
}

static void what_the_rfc_forbids_is_refused(void **state)
{
    (void)state;
    EXPECT("\xc1\x00", "1002"); /* RSV1: no extension was agreed upon */
    EXPECT("\xa1\x00", "1002"); /* RSV2 */
    EXPECT("\x91\x00", "1002"); /* RSV3 */
    EXPECT("\x83\x00", "1002"); /* reserved opcodes */
    EXPECT("\x87\x00", "1002");
    EXPECT("\x8b\x00", "1002");
    EXPECT("\x8f\x00", "1002");
    EXPECT("\x80\x00", "1002"); /* continues nothing */
    EXPECT("\x01\x01"
           "a"
           "\x81\x01"
           "b",
           "text(a1002"); /* a message within a message */
    EXPECT("\x81\x01"
           "a"
           "\x80\x01"
           "b",
           "text(a) 1002");
    EXPECT("\x09\x00", "1002");              /* a fragmented ping */
    EXPECT("\x89\x7e\x00\x7e", "1002");      /* a long one */
    EXPECT("\x81\x7e\x00\x05hello", "1002"); /* not the shortest form */
    EXPECT("\x81\x7f\0\0\0\0\0\0\xff\xff", "1002");
    EXPECT("\x81\x7f\x80\0\0\0\0\0\0\x01", "1002"); /* above 2^63 */
    EXPECT("\x88\x01\x03", "1002");                 /* half a code */
    EXPECT("\x88\x02\x03\xed", "1002");             /* 1005 */
    EXPECT("\x88\x02\x03\xee", "1002");             /* 1006 */
    EXPECT("\x88\x02\x03\xf7", "1002");             /* 1015 */
    EXPECT("\x88\x02\x03\xe7", "1002");             /* 999 */
    EXPECT("\x88\x02\x07\xd0", "1002");             /* 2000 */
    EXPECT("\x88\x02\x13\x88", "1002");             /* 5000 */
    EXPECT("\x88\x04\x03\xe8\xc3\x28", "1007");
}

static void masking_must_fit_the_role(void **state)
{
    (void)state;
    EXPECT("\x81\x85\0\0\0\0hello", "1002");
    EXPECT_MASKED("\x81\x05hello", "1002");
    EXPECT_MASKED("\x81\x85\0\0\0\0hello", "text(hello) ");
    EXPECT_MASKED("\x89\x80\0\0\0\0", "ping(0:) ");
}

static void a_message_over_the_limit_is_refused_before_it_has_come(void **state)
{
    (void)state;
    EXPECT("\x82\x7f\0\0\0\0\0\x01\x11\x71", "1009"); /* 70001 */
    EXPECT("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "1009");
    EXPECT("\x02\x01"
           "a"
           "\x80\x7f\0\0\0\0\0\x01\x11\x70",
           "binary(a1009");
}

static void fragments_count_together_and_the_limit_itself_is_allowed(void **state)
{
    static char bytes[4 + 60000 + 4 + 10000 + 2];
    struct outcome o;

    (void)state;
    memcpy(bytes, "\x02\x7e\xea\x60", 4);
    memcpy(bytes + 60004, "\x80\x7e\x27\x10", 4);
    memcpy(bytes + 70008, "\x89\x00", 2);
    parse(&o, bytes, sizeof(bytes), sizeof(bytes), false);
    assert_string_equal(o.text, "binary(60000 bytes10000 bytes) ping(0:) ");
}

static void masking_twice_is_nothing_from_any_offset(void **state)
{
    static const uint8_t key[4] = { 0x11, 0x22, 0x83, 0xf4 };
    char bytes[67], masked[67];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7);
    for (size_t at = 0; at < 5; at++) {
        memcpy(masked, bytes, sizeof(bytes));
        ws_mask(masked, sizeof(masked), key, at);
        for (size_t i = 0; i < sizeof(bytes); i++)
            assert_int_equal((uint8_t)masked[i], (uint8_t)bytes[i] ^ key[(at + i) & 3]);
        ws_mask(masked, 33, key, at);
        ws_mask(masked + 33, sizeof(masked) - 33, key, at + 33);
        assert_memory_equal(masked, bytes, sizeof(bytes));
    }
}

static void heads_have_the_shortest_form(void **state)
{
    static const uint8_t key[4] = { 1, 2, 3, 4 };
    uint8_t head[WS_HEAD_MAX];

    (void)state;
    assert_int_equal(ws_frame_head(head, WS_OP_TEXT, 125, NULL), 2);
    assert_memory_equal(head, "\x81\x7d", 2);
    assert_int_equal(ws_frame_head(head, WS_OP_BINARY, 126, NULL), 4);
    assert_memory_equal(head, "\x82\x7e\x00\x7e", 4);
    assert_int_equal(ws_frame_head(head, WS_OP_BINARY, 65535, key), 8);
    assert_memory_equal(head, "\x82\xfe\xff\xff\x01\x02\x03\x04", 8);
    assert_int_equal(ws_frame_head(head, WS_OP_BINARY, 65536, NULL), 10);
    assert_memory_equal(head, "\x82\x7f\0\0\0\0\0\x01\0\0", 10);
}

static void sha1_agrees_with_its_standard(void **state)
{
    static const struct {
        const char *message, *digest;
    } cases[] = {
        { "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
        { "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
        { "0123456701234567012345670123456701234567012345670123456701234567",
          "e0c094e867ef46c350ef54a7f59dd60bed92ae83" },
    };
    uint8_t digest[SHA1_SIZE];
    char hex[2 * SHA1_SIZE + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        sha1(str_from(cases[i].message), digest);
        hex_encode(digest, sizeof(digest), hex);
        assert_string_equal(hex, cases[i].digest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_whole_however_they_are_cut),
        cmocka_unit_test(the_examples_of_the_rfc_are_read),
        cmocka_unit_test(control_frames_may_come_within_a_message),
        cmocka_unit_test(what_the_rfc_forbids_is_refused),
        cmocka_unit_test(masking_must_fit_the_role),
        cmocka_unit_test(a_message_over_the_limit_is_refused_before_it_has_come),
        cmocka_unit_test(fragments_count_together_and_the_limit_itself_is_allowed),
        cmocka_unit_test(masking_twice_is_nothing_from_any_offset),
        cmocka_unit_test(heads_have_the_shortest_form),
        cmocka_unit_test(sha1_agrees_with_its_standard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
