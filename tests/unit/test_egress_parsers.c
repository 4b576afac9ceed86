/* What a sandbox says first: the ClientHello of TLS and questions of DNS. */
#include "unit.h"

#include "daemon/egress/dns_message.h"

/* --- ClientHello --- */

struct hello {
    uint8_t bytes[1024];
    size_t n;
};

static void put(struct hello *h, const void *p, size_t n)
{
    memcpy(h->bytes + h->n, p, n);
    h->n += n;
}

static void put_number(struct hello *h, size_t value, int bytes)
{
    while (bytes-- > 0)
        h->bytes[h->n++] = (uint8_t)(value >> 8 * bytes);
}

static void set16(struct hello *h, size_t at, size_t value)
{
    h->bytes[at] = (uint8_t)(value >> 8);
    h->bytes[at + 1] = (uint8_t)value;
}

/* A record with one ClientHello; `extension` is its one extension's body, of type `type`. */
static struct hello make_hello(int type, const void *extension, size_t n)
{
    struct hello h = { .n = 0 };
    uint8_t random[32] = { 7 };

    put(&h, "\x16\x03\x01\0\0", 5);
    put(&h, "\x01\0\0\0", 4);
    put(&h, "\x03\x03", 2);
    put(&h, random, sizeof(random));
    put_number(&h, 0, 1);
    put(&h, "\0\x02\x13\x01", 4);
    put(&h, "\x01\0", 2);
    put_number(&h, n + 4, 2);
    put_number(&h, (size_t)type, 2);
    put_number(&h, n, 2);
    put(&h, extension, n);
    set16(&h, 3, h.n - 5);
    set16(&h, 7, h.n - 9);
    return h;
}

static struct hello hello_for(const char *name)
{
    uint8_t body[300];
    size_t n = strlen(name);

    body[0] = (uint8_t)((n + 3) >> 8);
    body[1] = (uint8_t)(n + 3);
    body[2] = 0;
    body[3] = (uint8_t)(n >> 8);
    body[4] = (uint8_t)n;
    memcpy(body + 5, name, n);
    return make_hello(0, body, n + 5);
}

static ssize_t parse(const struct hello *h, size_t n, struct str *ret)
{
    static char storage[HOST_NAME_MAX_BYTES + 1];

    return client_hello_parse((const char *)h->bytes, n, storage, ret);
}

static void the_name_of_a_client_hello_is_found_however_it_is_cut(void **state)
{
    struct hello h = hello_for("Api.Example.COM");
    struct str name;

    (void)state;
    for (size_t n = 0; n < h.n; n++)
        assert_int_equal(parse(&h, n, &name), 0);
    assert_int_equal(parse(&h, h.n, &name), (ssize_t)h.n);
    assert_str(name, STR("api.example.com"));
    h.n += 100; /* what follows is not looked at */
    assert_int_equal(parse(&h, h.n, &name), (ssize_t)h.n - 100);
}

static void a_client_hello_may_be_spread_over_records(void **state)
{
    struct hello whole = hello_for("example.com"), h = { .n = 0 };
    struct str name;

    (void)state;
    for (size_t at = 5; at < whole.n;) {
        size_t part = MIN((size_t)7, whole.n - at);
        put(&h, "\x16\x03\x01", 3);
        put_number(&h, part, 2);
        put(&h, whole.bytes + at, part);
        at += part;
    }
    assert_int_equal(parse(&h, h.n, &name), (ssize_t)h.n);
    assert_str(name, STR("example.com"));
    h.bytes[12] = 0x17; /* another kind of record between them */
    assert_int_equal(parse(&h, h.n, &name), -1);
}

static void names_that_are_no_hosts_are_refused(void **state)
{
    static const char *const bad[] = { "",      "1.2.3.4",      "a..b",  ".a",         "a b", "a/b",  "a:80",
                                       "[::1]", "b\xc3\xbc.de", "a\n.b", "2130706433", "a@b", "*.a.b" };
    struct str name;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct hello h = hello_for(bad[i]);
        if (parse(&h, h.n, &name) != -1)
            fail_msg("\"%s\" was taken", bad[i]);
    }
}

static void a_client_hello_without_a_name_has_none(void **state)
{
    struct hello h = make_hello(16, "\0\3\2h2", 5);
    struct str name;

    (void)state;
    assert_int_equal(parse(&h, h.n, &name), (ssize_t)h.n);
    assert_int_equal(name.n, 0);
}

static void two_names_or_odd_lengths_are_refused(void **state)
{
    static const char two_in_one[] = "\0\x0a\0\0\2aa\0\0\2bb";
    static const char other_type[] = "\0\5\1\0\2aa";
    static const char trailing[] = "\0\5\0\0\2aaX";
    struct hello h = make_hello(0, two_in_one, sizeof(two_in_one) - 1);
    struct str name;

    (void)state;
    assert_int_equal(parse(&h, h.n, &name), -1);
    h = make_hello(0, other_type, sizeof(other_type) - 1);
    assert_int_equal(parse(&h, h.n, &name), -1);
    h = make_hello(0, trailing, sizeof(trailing) - 1);
    assert_int_equal(parse(&h, h.n, &name), -1);
    h = hello_for("example.com");
    for (size_t at = 43; at < h.n - 12; at++) { /* every length field, one more: never another name */
        struct hello bent = h;
        bent.bytes[at]++;
        if (parse(&bent, bent.n, &name) > 0 && name.n > 0)
            assert_str(name, STR("example.com"));
    }
}

static void what_is_no_client_hello_is_told_at_once(void **state)
{
    struct hello h = hello_for("example.com");
    struct str name;

    (void)state;
    h.bytes[5] = 2; /* a ServerHello */
    assert_int_equal(parse(&h, h.n, &name), -1);
    h = hello_for("example.com");
    h.bytes[0] = 'G';
    assert_int_equal(parse(&h, 1, &name), -1);
    h = hello_for("example.com");
    h.bytes[6] = 1; /* 64 KiB long */
    assert_int_equal(parse(&h, h.n, &name), -1);
}

/* --- DNS --- */

static size_t make_question(uint8_t *out, const char *name, uint16_t type)
{
    size_t n = 12;

    memset(out, 0, 12);
    out[0] = 0x12;
    out[1] = 0x34;
    out[2] = 1;
    out[5] = 1;
    while (*name) {
        size_t label = strcspn(name, ".");
        out[n++] = (uint8_t)label;
        memcpy(out + n, name, label);
        n += label;
        name += label + (name[label] == '.');
    }
    out[n++] = 0;
    out[n++] = (uint8_t)(type >> 8);
    out[n++] = (uint8_t)type;
    out[n++] = 0;
    out[n++] = 1;
    return n;
}

static void questions_are_read_whole_or_not_at_all(void **state)
{
    uint8_t p[512];
    size_t n = make_question(p, "Www.Example.COM", DNS_TYPE_A);
    struct dns_question q;

    (void)state;
    assert_int_equal(dns_parse_question(p, n, &q), 0);
    assert_str(q.name, STR("www.example.com"));
    assert_int_equal(q.id, 0x1234);
    assert_int_equal(q.type, DNS_TYPE_A);
    assert_false(q.edns);
    for (size_t cut = 0; cut < 12; cut++)
        assert_int_equal(dns_parse_question(p, cut, &q), -1);
    for (size_t cut = 12; cut < n; cut++)
        assert_int_equal(dns_parse_question(p, cut, &q), DNS_FORMAT_ERROR);
    p[n] = 0;
    assert_int_equal(dns_parse_question(p, n + 1, &q), DNS_FORMAT_ERROR);
}

static void odd_questions_get_the_right_code(void **state)
{
    uint8_t p[512];
    size_t n = make_question(p, "a.b", DNS_TYPE_A);
    struct dns_question q;

    (void)state;
    p[2] |= 0x80; /* a response: two of us must not talk to each other for ever */
    assert_int_equal(dns_parse_question(p, n, &q), -1);
    p[2] = 0x29; /* an update */
    assert_int_equal(dns_parse_question(p, n, &q), DNS_NOT_IMPLEMENTED);
    p[2] = 1;
    p[5] = 2; /* two questions */
    assert_int_equal(dns_parse_question(p, n, &q), DNS_FORMAT_ERROR);
    p[5] = 1;
    p[n - 1] = 3; /* class CHAOS */
    assert_int_equal(dns_parse_question(p, n, &q), DNS_NOT_IMPLEMENTED);
    p[n - 1] = 1;
    p[12] = 0xc0; /* a pointer, which a question has no use for */
    assert_int_equal(dns_parse_question(p, n, &q), DNS_FORMAT_ERROR);
}

static void a_dot_inside_a_label_makes_no_name(void **state)
{
    uint8_t p[64] = { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'a', '.', 'b', 0, 0, 1, 0, 1 };
    struct dns_question q;

    (void)state;
    assert_int_equal(dns_parse_question(p, 21, &q), 0);
    assert_int_equal(q.name.n, 0);
}

static void answers_hold_the_addresses_of_the_type_that_was_asked_for(void **state)
{
    uint8_t p[512], out[DNS_MESSAGE_MAX];
    size_t n = make_question(p, "a.b", DNS_TYPE_A), size;
    struct dns_address addresses[2] = { { .ttl = 60 }, { .ttl = 70 } };
    struct dns_question q;

    (void)state;
    assert_int_equal(ip_parse(STR("1.2.3.4"), &addresses[0].ip), 0);
    assert_int_equal(ip_parse(STR("2001:db8::1"), &addresses[1].ip), 0);
    assert_int_equal(dns_parse_question(p, n, &q), 0);
    size = dns_write_answer(&q, DNS_OK, addresses, 2, out, DNS_UDP_MAX);
    assert_int_equal(size, n + 16);
    assert_memory_equal(out, "\x12\x34\x81\x80\0\1\0\1\0\0\0\0", 12);
    assert_memory_equal(out + n, "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\1\2\3\4", 16);
    size = dns_write_answer(&q, DNS_REFUSED, NULL, 0, out, DNS_UDP_MAX);
    assert_int_equal(size, n);
    assert_int_equal(out[3] & 15, DNS_REFUSED);
}

static void answers_that_do_not_fit_say_so(void **state)
{
    uint8_t p[512], out[DNS_MESSAGE_MAX];
    size_t n = make_question(p, "a.b", DNS_TYPE_AAAA), size;
    struct dns_address addresses[DNS_ADDRESSES_MAX];
    struct dns_question q;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        assert_int_equal(ip_parse(STR("2001:db8::1"), &addresses[i].ip), 0);
        addresses[i].ttl = 1;
    }
    assert_int_equal(dns_parse_question(p, n, &q), 0);
    size = dns_write_answer(&q, DNS_OK, addresses, ARRAY_SIZE(addresses), out, DNS_UDP_MAX);
    assert_true(size <= DNS_UDP_MAX);
    assert_true(out[2] & 2);
    size = dns_write_answer(&q, DNS_OK, addresses, ARRAY_SIZE(addresses), out, DNS_MESSAGE_MAX);
    assert_int_equal(size, n + 28 * ARRAY_SIZE(addresses));
    assert_false(out[2] & 2);
}

static void edns_is_understood_and_answered(void **state)
{
    static const uint8_t opt[] = { 0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0 };
    uint8_t p[512], out[DNS_MESSAGE_MAX];
    size_t n = make_question(p, "a.b", DNS_TYPE_A);
    struct dns_question q;

    (void)state;
    memcpy(p + n, opt, sizeof(opt));
    p[11] = 1;
    assert_int_equal(dns_parse_question(p, n + sizeof(opt), &q), 0);
    assert_true(q.edns);
    assert_int_equal(q.udp_size, DNS_EDNS_MAX);
    assert_int_equal(dns_write_answer(&q, DNS_OK, NULL, 0, out, q.udp_size), n + sizeof(opt));
    assert_int_equal(out[11], 1);
    p[n + 2] = 1; /* some other record */
    assert_int_equal(dns_parse_question(p, n + sizeof(opt), &q), DNS_FORMAT_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_name_of_a_client_hello_is_found_however_it_is_cut),
        cmocka_unit_test(a_client_hello_may_be_spread_over_records),
        cmocka_unit_test(names_that_are_no_hosts_are_refused),
        cmocka_unit_test(a_client_hello_without_a_name_has_none),
        cmocka_unit_test(two_names_or_odd_lengths_are_refused),
        cmocka_unit_test(what_is_no_client_hello_is_told_at_once),
        cmocka_unit_test(questions_are_read_whole_or_not_at_all),
        cmocka_unit_test(odd_questions_get_the_right_code),
        cmocka_unit_test(a_dot_inside_a_label_makes_no_name),
        cmocka_unit_test(answers_hold_the_addresses_of_the_type_that_was_asked_for),
        cmocka_unit_test(answers_that_do_not_fit_say_so),
        cmocka_unit_test(edns_is_understood_and_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
