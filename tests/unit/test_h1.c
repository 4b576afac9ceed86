#include "unit.h"

#include "base/buf.h"
#include "net/h1.h"

#include "h1_cases.h"

static const struct h1_limits limits = { .max_head = 32 << 10, .max_headers = H1_MAX_HEADERS };
static struct h1_head head;

/* Parses a copy that ends with the bytes, so that a sanitizer sees a byte read past the end. */
static ssize_t parse(struct str bytes)
{
    static char *copy;

    free(copy);
    copy = malloc(bytes.n + (bytes.n == 0));
    assert_non_null(copy);
    memcpy(copy, bytes.p, bytes.n);
    return h1_parse_request(copy, bytes.n, &limits, &head);
}

static ssize_t parse_response(const char *text, const char *method)
{
    return h1_parse_response(text, strlen(text), &limits, str_from(method), &head);
}

static void assert_cstr(struct str got, const char *want)
{
    assert_str(got, str_from(want));
}

/* --- refusals --- */

static void every_refused_request_gets_its_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refused_requests); i++) {
        ssize_t rc = parse(refused_requests[i].bytes);
        if (rc != -refused_requests[i].status)
            fail_msg("row %zu gave %zd instead of %d: %s", i, rc, -refused_requests[i].status,
                     refused_requests[i].bytes.p);
    }
}

static void a_refused_request_is_never_accepted_when_it_comes_in_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refused_requests); i++) {
        struct str bytes = refused_requests[i].bytes;
        for (size_t n = 1; n <= bytes.n; n++) {
            ssize_t rc = parse((struct str){ bytes.p, n });
            if (rc > 0)
                fail_msg("row %zu was accepted after %zu bytes", i, n);
            if (rc < 0)
                break;
        }
    }
}

static void every_refused_response_is_a_bad_gateway(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refused_responses); i++) {
        struct str bytes = refused_responses[i].bytes;
        ssize_t rc = h1_parse_response(bytes.p, bytes.n, &limits, STR("GET"), &head);
        if (rc != -502)
            fail_msg("row %zu gave %zd: %s", i, rc, bytes.p);
    }
}

static void a_head_is_refused_as_soon_as_it_is_too_long(void **state)
{
    const struct h1_limits small = { .max_head = 64, .max_headers = H1_MAX_HEADERS };
    char bytes[80];

    (void)state;
    memset(bytes, 'a', sizeof(bytes));
    memcpy(bytes, "GET /", 5);
    assert_int_equal(h1_parse_request(bytes, 64, &small, &head), 0);
    assert_int_equal(h1_parse_request(bytes, 65, &small, &head), -431);
    memcpy(bytes, "GET / HTTP/1.1\r\nHost: a\r\nA: ", 28);
    assert_int_equal(h1_parse_request(bytes, 64, &small, &head), 0);
    assert_int_equal(h1_parse_request(bytes, 65, &small, &head), -431);
    memcpy(bytes + 60, "\r\n\r\n", 4);
    assert_int_equal(h1_parse_request(bytes, 64, &small, &head), 64);
    memcpy(bytes + 60, "a\r\n\r\n", 5);
    assert_int_equal(h1_parse_request(bytes, 65, &small, &head), -431);
}

static void a_hundred_fields_are_taken_and_one_more_is_refused(void **state)
{
    char bytes[2048] = "GET / HTTP/1.1\r\nHost: a\r\n";
    size_t n = strlen(bytes);

    (void)state;
    for (int i = 1; i < H1_MAX_HEADERS; i++, n += 5)
        memcpy(bytes + n, "A:b\r\n", 5);
    memcpy(bytes + n, "\r\n", 2);
    assert_int_equal(parse((struct str){ bytes, n + 2 }), n + 2);
    assert_int_equal(head.header_count, H1_MAX_HEADERS);
    memcpy(bytes + n, "A:b\r\n\r\n", 7);
    assert_int_equal(parse((struct str){ bytes, n + 7 }), -431);
}

/* --- what is accepted --- */

static void every_prefix_of_a_valid_request_wants_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(accepted_requests); i++) {
        struct str bytes = accepted_requests[i];
        for (size_t n = 0; n < bytes.n; n++)
            if (parse((struct str){ bytes.p, n }) != 0)
                fail_msg("row %zu was settled after %zu of %zu bytes", i, n, bytes.n);
        assert_int_equal(parse(bytes), bytes.n);
    }
}

static void bytes_after_the_head_are_left_alone(void **state)
{
    (void)state;
    assert_int_equal(parse(STR(GET("") "\x01\x02 not a head")), sizeof(GET("")) - 1);
}

static void the_parts_of_a_request_are_told_apart(void **state)
{
    (void)state;
    parse(STR("POST /a/b?c=d?e HTTP/1.1\r\nHost: a:80\r\nContent-Length:  12 \r\nX-A: b \t\r\n\r\n"));
    assert_cstr(head.method, "POST");
    assert_cstr(head.target, "/a/b?c=d?e");
    assert_cstr(head.path, "/a/b");
    assert_cstr(head.query, "c=d?e");
    assert_cstr(head.host, "a:80");
    assert_int_equal(head.minor_version, 1);
    assert_int_equal(head.header_count, 3);
    assert_int_equal(head.framing, H1_CONTENT_LENGTH);
    assert_int_equal(head.content_length, 12);
    assert_cstr(h1_header(&head, "x-a"), "b");
    assert_null(h1_header(&head, "x-b").p);
    assert_true(head.keep_alive);
    assert_false(head.expect_continue);
}

static void an_absolute_target_gives_host_path_and_query(void **state)
{
    (void)state;
    assert_true(parse(STR("GET HTTP://a.b:81/x?y HTTP/1.1\r\nHost: a.b:81\r\n\r\n")) > 0);
    assert_cstr(head.host, "a.b:81");
    assert_cstr(head.path, "/x");
    assert_cstr(head.query, "y");
    assert_true(parse(STR("GET http://a?y HTTP/1.1\r\nHost: a\r\n\r\n")) > 0);
    assert_cstr(head.path, "/");
    assert_cstr(head.query, "y");
    assert_true(parse(STR("GET http://a HTTP/1.0\r\n\r\n")) > 0);
    assert_cstr(head.host, "a");
}

static void a_request_without_length_has_no_body(void **state)
{
    (void)state;
    parse(STR(POST("")));
    assert_int_equal(head.framing, H1_NO_BODY);
    parse(STR(POST("Content-Length: 0\r\n")));
    assert_int_equal(head.framing, H1_CONTENT_LENGTH);
    assert_int_equal(head.content_length, 0);
    parse(STR(POST("Content-Length: 9223372036854775807\r\n")));
    assert_int_equal(head.content_length, INT64_MAX);
    parse(STR(POST("Content-Length: 007\r\n")));
    assert_int_equal(head.content_length, 7);
    parse(STR(POST("transfer-ENCODING:  CHUNKED \r\n")));
    assert_int_equal(head.framing, H1_CHUNKED);
}

static void keep_alive_follows_version_and_connection(void **state)
{
    static const struct {
        struct str bytes;
        bool keep_alive;
    } rows[] = {
        { STR(GET("")), true },
        { STR(GET("Connection: close\r\n")), false },
        { STR(GET("Connection: CLOSE\r\n")), false },
        { STR(GET("Connection: a , close\r\n")), false },
        { STR(GET("Connection: a\r\nConnection: close\r\n")), false },
        { STR(GET("Connection: keep-alive, close\r\n")), false },
        { STR(GET("Connection: closed\r\n")), true },
        { STR("GET / HTTP/1.0\r\n\r\n"), false },
        { STR("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), true },
        { STR("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"), false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_true(parse(rows[i].bytes) > 0);
        assert_int_equal(head.keep_alive, rows[i].keep_alive);
    }
}

static void upgrade_and_expect_need_version_and_connection(void **state)
{
    (void)state;
    parse(STR(GET("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n")));
    assert_cstr(head.upgrade, "websocket");
    parse(STR(GET("Upgrade: websocket\r\n")));
    assert_int_equal(head.upgrade.n, 0);
    parse(STR("GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"));
    assert_int_equal(head.upgrade.n, 0);
    parse(STR(POST("Expect: 100-Continue\r\nContent-Length: 1\r\n")));
    assert_true(head.expect_continue);
    parse(STR("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"));
    assert_false(head.expect_continue);
}

static void a_moved_head_points_into_the_copy(void **state)
{
    static const char text[] = "GET http://a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    char from[sizeof(text)], to[sizeof(text)];
    size_t n = sizeof(text) - 1;

    (void)state;
    memcpy(from, text, sizeof(text));
    memcpy(to, text, sizeof(text));
    assert_int_equal(h1_parse_request(from, n, &limits, &head), n);
    h1_head_move(&head, from, n, to);
    memset(from, '!', n);
    assert_cstr(head.method, "GET");
    assert_cstr(head.host, "a");
    assert_cstr(head.path, "/");
    assert_cstr(h1_header(&head, "X"), "y");
    assert_true(head.headers[1].value.p > to && head.headers[1].value.p < to + n);
}

/* --- responses --- */

static void a_response_body_is_framed_by_status_method_and_fields(void **state)
{
    static const struct {
        const char *text;
        const char *method;
        enum h1_framing framing;
        bool keep_alive;
    } rows[] = {
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", H1_CONTENT_LENGTH, true },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", H1_CHUNKED, true },
        { "HTTP/1.1 200 OK\r\n\r\n", "GET", H1_UNTIL_CLOSE, false },
        { "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", "GET", H1_UNTIL_CLOSE, false },
        { "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n", "GET", H1_CONTENT_LENGTH,
          true },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", H1_NO_BODY, true },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", H1_NO_BODY, true },
        { "HTTP/1.1 200 OK\r\n\r\n", "HEAD", H1_NO_BODY, true },
        { "HTTP/1.1 204 No Content\r\n\r\n", "GET", H1_NO_BODY, true },
        { "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "GET", H1_NO_BODY, true },
        { "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", H1_NO_BODY, true },
        { "HTTP/1.1 100 Continue\r\n\r\n", "POST", H1_NO_BODY, true },
        { "HTTP/1.1 101 Switching Protocols\r\n\r\n", "GET", H1_NO_BODY, true },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "CONNECT", H1_NO_BODY, false },
        { "HTTP/1.1 404 Nope\r\nContent-Length: 5\r\n\r\n", "CONNECT", H1_CONTENT_LENGTH, true },
        { "HTTP/1.1 200 \r\nContent-Length: 5\r\nConnection: close\r\n\r\n", "GET", H1_CONTENT_LENGTH, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(parse_response(rows[i].text, rows[i].method), strlen(rows[i].text));
        if (head.framing != rows[i].framing || head.keep_alive != rows[i].keep_alive)
            fail_msg("row %zu: framing %d, keep-alive %d", i, (int)head.framing, head.keep_alive);
    }
    assert_int_equal(head.status, 200);
    assert_cstr(head.reason, "");
}

/* --- bodies --- */

/* Feeds `wire` in pieces of `step` bytes. Returns the bytes taken, or -1; the content goes to `out`. */
static ssize_t decode(enum h1_framing framing, uint64_t length, struct str wire, size_t step, struct buf *out,
                      bool *done)
{
    struct h1_head with = { .framing = framing, .content_length = length };
    struct h1_body body;
    size_t at = 0;

    h1_body_init(&body, &with);
    *done = false;
    while (!*done) {
        size_t n = MIN(step, wire.n - at);
        struct str content;
        ssize_t took = h1_body_feed(&body, wire.p + at, n, &content, done);
        if (took < 0)
            return -1;
        assert_true((size_t)took <= n && content.n <= (size_t)took);
        assert_int_equal(buf_append_str(out, content), 0);
        at += (size_t)took;
        if (took == 0)
            break;
    }
    return (ssize_t)at;
}

static void a_chunked_body_is_the_same_in_every_cut(void **state)
{
    static const char wire[] = "5\r\nhello\r\n1;a;b=c;d=\"e \\\" f\"\r\n \r\nC\r\nwide world!!\r\n0\r\nX-T: "
                               "y\r\nHos: a\r\nHosts: a\r\nZ:\r\n\r\n";
    struct str bytes = STR(wire);

    (void)state;
    for (size_t step = 1; step <= bytes.n + 5; step++) {
        char tail[sizeof(wire) + 8];
        struct buf out;
        bool done;
        memcpy(tail, wire, bytes.n);
        memcpy(tail + bytes.n, "GET / HT", 8);
        buf_init(&out, 1000);
        assert_int_equal(decode(H1_CHUNKED, 0, (struct str){ tail, bytes.n + 8 }, step, &out, &done), bytes.n);
        assert_true(done);
        assert_cstr(buf_str(&out), "hello wide world!!");
        buf_free(&out);
    }
}

static void the_line_of_a_chunk_is_its_size(void **state)
{
    static const struct {
        uint64_t size;
        const char *line;
    } cases[] = { { 1, "1\r\n" }, { 0x1a2b, "1a2b\r\n" }, { UINT64_MAX, "ffffffffffffffff\r\n" } };
    char room[H1_CHUNK_LINE];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_true(str_is(h1_chunk_line(cases[i].size, room), cases[i].line));
}

static void every_prefix_of_a_chunked_body_wants_more(void **state)
{
    struct str wire = STR("a;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\n\r\n");

    (void)state;
    for (size_t n = 0; n < wire.n; n++) {
        struct buf out;
        bool done;
        buf_init(&out, 1000);
        assert_int_equal(decode(H1_CHUNKED, 0, (struct str){ wire.p, n }, wire.n, &out, &done), n);
        assert_false(done);
        buf_free(&out);
    }
}

static void every_broken_chunk_is_refused_in_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(refused_chunks); i++) {
        for (size_t step = 1; step <= refused_chunks[i].n; step++) {
            struct buf out;
            bool done;
            buf_init(&out, 1000);
            if (decode(H1_CHUNKED, 0, refused_chunks[i], step, &out, &done) != -1)
                fail_msg("row %zu was taken in steps of %zu: %s", i, step, refused_chunks[i].p);
            buf_free(&out);
        }
    }
}

static void extensions_and_trailers_have_a_budget(void **state)
{
    static char wire[40000];
    struct h1_head with = { .framing = H1_CHUNKED };
    struct h1_body body;
    struct str content;
    size_t at = 0;
    bool done;

    (void)state;
    /* Tiny chunks, each with a moderate extension: refused in the sum. */
    for (int i = 0; i < 20; i++, at += 300) {
        memset(wire + at, 'x', 300);
        memcpy(wire + at, "1;", 2);
        memcpy(wire + at + 295, "\r\na\r\n", 5);
    }
    h1_body_init(&body, &with);
    at = 0;
    for (ssize_t took = 1; took > 0; at += (size_t)MAX(took, 0))
        took = h1_body_feed(&body, wire + at, 6000 - at, &content, &done);
    assert_in_range(at, 3800, 4200);

    memset(wire, 'x', sizeof(wire));
    memcpy(wire, "0\r\nA:", 5);
    h1_body_init(&body, &with);
    assert_int_equal(h1_body_feed(&body, wire, 8000, &content, &done), 8000);
    assert_int_equal(h1_body_feed(&body, wire + 8000, 1000, &content, &done), -1);
}

static void a_body_of_known_length_ends_exactly_there(void **state)
{
    struct buf out;
    bool done;

    (void)state;
    buf_init(&out, 100);
    assert_int_equal(decode(H1_CONTENT_LENGTH, 5, STR("helloGET"), 2, &out, &done), 5);
    assert_true(done);
    assert_cstr(buf_str(&out), "hello");
    assert_int_equal(decode(H1_CONTENT_LENGTH, 0, STR("GET"), 3, &out, &done), 0);
    assert_true(done);
    assert_int_equal(decode(H1_NO_BODY, 0, STR("GET"), 3, &out, &done), 0);
    assert_true(done);
    assert_int_equal(decode(H1_UNTIL_CLOSE, 0, STR(" you"), 3, &out, &done), 4);
    assert_false(done);
    assert_cstr(buf_str(&out), "hello you");
    buf_free(&out);
}

/* --- targets --- */

static void percent_escapes_are_decoded_strictly(void **state)
{
    char out[8];

    (void)state;
    assert_int_equal(percent_decode(STR("a%2Fb%2fc"), out, sizeof(out)), 0);
    assert_string_equal(out, "a/b/c");
    assert_int_equal(percent_decode(STR("a+b"), out, sizeof(out)), 0);
    assert_string_equal(out, "a+b");
    assert_int_equal(percent_decode(STR(""), out, sizeof(out)), 0);
    assert_string_equal(out, "");
    assert_int_equal(percent_decode(STR("1234567"), out, sizeof(out)), 0);
    assert_int_equal(percent_decode(STR("12345678"), out, sizeof(out)), -1);
    assert_int_equal(percent_decode(STR("%"), out, sizeof(out)), -1);
    assert_int_equal(percent_decode(STR("%2"), out, sizeof(out)), -1);
    assert_int_equal(percent_decode(STR("%2x"), out, sizeof(out)), -1);
    assert_int_equal(percent_decode(STR("%+2"), out, sizeof(out)), -1);
    assert_int_equal(percent_decode(STR("a%00"), out, sizeof(out)), -1);
    assert_int_equal(percent_decode(STR("a\0b"), out, sizeof(out)), -1);
    assert_int_equal(percent_decode(STR(""), out, 0), -1);
    memcpy(out, "%41%42", 7);
    assert_int_equal(percent_decode((struct str){ out, 6 }, out, sizeof(out)), 0);
    assert_string_equal(out, "AB");
}

static void a_query_gives_the_first_value_of_a_name(void **state)
{
    struct str query = STR("path=%2Fa&flag&empty=&path=second&x=a=b");
    struct str value;

    (void)state;
    assert_true(query_get(query, "path", &value));
    assert_cstr(value, "%2Fa");
    assert_true(query_get(query, "flag", &value));
    assert_int_equal(value.n, 0);
    assert_true(query_get(query, "empty", &value));
    assert_int_equal(value.n, 0);
    assert_true(query_get(query, "x", &value));
    assert_cstr(value, "a=b");
    assert_false(query_get(query, "pat", &value));
    assert_false(query_get((struct str){ NULL, 0 }, "path", &value));
}

static void connect_is_only_for_who_asks_for_it(void **state)
{
    static const struct h1_limits small = { .max_head = 8192, .max_headers = 32 };
    static const char good[] = "CONNECT 127.0.0.1:80 HTTP/1.1\r\nX-Dst-Addr: 127.0.0.1:80\r\n\r\nearly";
    static const char *const bad[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT / HTTP/1.1\r\n\r\n",
        "CONNECT a HTTP/1.1\r\n\r\n",
        "CONNECT a: HTTP/1.1\r\n\r\n",
        "CONNECT u@a:80 HTTP/1.1\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "\r\nCONNECT a:80 HTTP/1.1\r\n\r\n",
    };
    struct h1_head got;

    (void)state;
    assert_int_equal(h1_parse_connect(good, sizeof(good) - 1, &small, &got), sizeof(good) - 1 - 5);
    assert_str(got.target, STR("127.0.0.1:80"));
    assert_str(h1_header(&got, "x-dst-addr"), STR("127.0.0.1:80"));
    assert_int_equal(h1_parse_connect(good, 20, &small, &got), 0);
    assert_int_equal(h1_parse_request(good, sizeof(good) - 1, &small, &got), -501);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (h1_parse_connect(bad[i], strlen(bad[i]), &small, &got) >= 0)
            fail_msg("taken: %s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_is_only_for_who_asks_for_it),
        cmocka_unit_test(every_refused_request_gets_its_status),
        cmocka_unit_test(a_refused_request_is_never_accepted_when_it_comes_in_pieces),
        cmocka_unit_test(every_refused_response_is_a_bad_gateway),
        cmocka_unit_test(a_head_is_refused_as_soon_as_it_is_too_long),
        cmocka_unit_test(a_hundred_fields_are_taken_and_one_more_is_refused),
        cmocka_unit_test(every_prefix_of_a_valid_request_wants_more),
        cmocka_unit_test(bytes_after_the_head_are_left_alone),
        cmocka_unit_test(the_parts_of_a_request_are_told_apart),
        cmocka_unit_test(an_absolute_target_gives_host_path_and_query),
        cmocka_unit_test(a_request_without_length_has_no_body),
        cmocka_unit_test(keep_alive_follows_version_and_connection),
        cmocka_unit_test(upgrade_and_expect_need_version_and_connection),
        cmocka_unit_test(a_moved_head_points_into_the_copy),
        cmocka_unit_test(a_response_body_is_framed_by_status_method_and_fields),
        cmocka_unit_test(a_chunked_body_is_the_same_in_every_cut),
        cmocka_unit_test(the_line_of_a_chunk_is_its_size),
        cmocka_unit_test(every_prefix_of_a_chunked_body_wants_more),
        cmocka_unit_test(every_broken_chunk_is_refused_in_every_cut),
        cmocka_unit_test(extensions_and_trailers_have_a_budget),
        cmocka_unit_test(a_body_of_known_length_ends_exactly_there),
        cmocka_unit_test(percent_escapes_are_decoded_strictly),
        cmocka_unit_test(a_query_gives_the_first_value_of_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
