/* What a probe of port-watch understands of HTTP. */
#include "agent/ports/port_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void heads_are_read_leniently_but_whole(void **state)
{
    static const struct {
        const char *text;
        int status;
        const char *location;
    } rows[] = {
        { "HTTP/1.1 200 OK\r\n\r\n", 200, "" },
        { "HTTP/1.0 204\n\n", 204, "" },
        { "HTTP/1.1 302 Found\r\nX: y\r\nlocation:  /a b \r\nLocation: /second\r\n\r\nbody", 302, "/a b" },
        { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLocation: /x\r\n\r\nHTTP/1.1 500 \r\nodd\r\n\r\n",
          500, "" },
        { "HTTP/1.1 101 Switching\r\n\r\n", 101, "" },
        { "HTTP/1.1 999 X\r\n\r\n", 999, "" },
        { "", 0, NULL },
        { "H", 0, NULL },
        { "HTTP/1.1 200 OK\r\nX: y\r\n", 0, NULL },
        { "HTTP/1.1 200 OK\r\nX: y\r\n\r", 0, NULL },
        { "HTTP/1.1 100 Continue\r\n\r\n", 0, NULL },
        { "HTTP/1.1 100 Continue\r\n\r\nSSH", -1, NULL },
        { "SSH-2.0", -1, NULL },
        { "HTTP/2 200\r\n\r\n", -1, NULL },
        { "HTTP/1.1 099 X\r\n\r\n", -1, NULL },
        { "HTTP/1.1 2000\r\n\r\n", -1, NULL },
        { "HTTP/1.1 20\r\n\r\n", -1, NULL },
        { "\r\n\r\n", -1, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct str location = { "", 0 };
        int status = port_head_parse(str_from(rows[i].text), &location);
        if (status != rows[i].status || (status > 0 && !str_is(location, rows[i].location)))
            fail_msg("%s -> %d '%.*s'", rows[i].text, status, (int)location.n, location.p);
    }
}

static void redirects_are_followed_on_loopback_only(void **state)
{
    static const struct {
        const char *location, *from;
        unsigned port;
        const char *to; /* NULL: not followed */
    } rows[] = {
        { "/login", "/a/b", 8000, "/login" },
        { "login", "/a/b?x=/y", 8000, "/a/login" },
        { "login", "/", 8000, "/login" },
        { "?q=1", "/a/b?x", 8000, "/a/b?q=1" },
        { "#top", "/a/b?x", 8000, "/a/b" },
        { "/a b\xc3\xbc#x", "/", 8000, "/a%20b%C3%BC" },
        { "http://localhost:3001/x?y", "/", 3001, "/x?y" },
        { "HTTP://127.0.0.1", "/", 80, "/" },
        { "http://[::1]:99?q", "/", 99, "/?q" },
        { "//LOCALHOST:8001/z", "/", 8001, "/z" },
        { "http://localhost:/x", "/", 80, "/x" },
        { "https://localhost:8000/", "/", 8000, NULL },
        { "http://example.com/", "/", 8000, NULL },
        { "http://localhost.example.com/", "/", 8000, NULL },
        { "http://user@localhost/", "/", 8000, NULL },
        { "http://127.0.0.1:0/", "/", 8000, NULL },
        { "http://127.0.0.1:70000/", "/", 8000, NULL },
        { "http://127.0.0.1:99999999999999999999/", "/", 8000, NULL },
        { "http:/x", "/", 8000, NULL },
        { "mailto:x", "/", 8000, NULL },
        { "", "/", 8000, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned port = 8000;
        struct buf target;
        int rc;
        buf_init(&target, PORT_TARGET_MAX);
        rc = port_head_follow(str_from(rows[i].location), str_from(rows[i].from), &port, &target);
        if ((rc == 0) != (rows[i].to != NULL) ||
            (rc == 0 && (port != rows[i].port || !str_is(buf_str(&target), rows[i].to))))
            fail_msg("%s from %s -> %d %u %.*s", rows[i].location, rows[i].from, rc, port, (int)target.len,
                     buf_str(&target).p);
        buf_free(&target);
    }
}

static void a_target_cannot_break_out_of_its_line(void **state)
{
    struct buf target;

    (void)state;
    buf_init(&target, PORT_TARGET_MAX);
    assert_int_equal(port_head_target(STR("x y\r\nHost: z\x7f"), &target), 0);
    assert_true(str_is(buf_str(&target), "/x%20y%0D%0AHost:%20z%7F"));
    buf_free(&target);
    buf_init(&target, 4);
    assert_int_equal(port_head_target(STR("/too/long"), &target), -1);
    buf_free(&target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_read_leniently_but_whole),
        cmocka_unit_test(redirects_are_followed_on_loopback_only),
        cmocka_unit_test(a_target_cannot_break_out_of_its_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
