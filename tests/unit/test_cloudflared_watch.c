/* When a cloudflared is ready, and when it is too late (net/cloudflared_watch.h), beside a metrics server of ours.
 */
#include "unit.h"

#include "net/cloudflared_watch.h"
#include "net/server.h"

#include <stdio.h>

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct cloudflared_watch watch;
    const char *answer;
    unsigned left_ms; /* since it was asked first */
    unsigned asked, ready, late;
};

static void on_request(struct http_exchange *exchange, const struct h1_head *head, void *data)
{
    struct fixture *f = data;

    assert_true(str_is(head->path, "/ready"));
    if (f->asked++ == 0)
        f->watch.deadline_ms = loop_now_ms(f->loop) + f->left_ms;
    http_respond(exchange, 200, "application/json", str_from(f->answer));
}

static void on_ready(struct cloudflared_watch *watch)
{
    struct fixture *f = container_of(watch, struct fixture, watch);

    f->ready++;
    loop_stop(f->loop);
}

static void on_late(struct cloudflared_watch *watch)
{
    struct fixture *f = container_of(watch, struct fixture, watch);

    f->late++;
    loop_stop(f->loop);
}

static void say(struct fixture *f, const char *text)
{
    size_t room, len = strlen(text);
    char *at = cloudflared_output_room(&f->watch.output, CLOUDFLARED_STDERR, &room);

    assert_true(len <= room);
    for (size_t i = 0; i < len; i++)
        at[i] = text[i]; /* the bytes alone, as read(2) puts them */
    cloudflared_output_take(&f->watch.output, CLOUDFLARED_STDERR, len);
}

/* Begins to watch one that has said where its metrics are. */
static void begin(struct fixture *f, const char *answer, unsigned left_ms)
{
    struct http_handler handler = { .on_request = on_request, .data = f };
    struct berm_error err;
    struct http_limits limits;
    char line[80];
    int fd;

    memset(f, 0, sizeof(*f));
    f->answer = answer;
    f->left_ms = left_ms;
    f->loop = loop_new();
    assert_non_null(f->loop);
    http_limits_default(&limits);
    f->server = http_server_new(f->loop, &limits, &handler);
    assert_non_null(f->server);
    fd = tcp_listen("127.0.0.1:0", &err);
    assert_true(fd >= 0);
    snprintf(line, sizeof(line), "Starting metrics server on 127.0.0.1:%d/metrics\n", socket_port(fd));
    assert_int_equal(http_server_listen_fd(f->server, fd), 0);
    f->watch.on_ready = on_ready;
    f->watch.on_late = on_late;
    cloudflared_watch_begin(&f->watch, f->loop, true);
    say(f, line);
}

static void end(struct fixture *f)
{
    cloudflared_watch_end(&f->watch);
    http_server_free(f->server);
    loop_flush_deferred(f->loop);
    loop_free(f->loop);
}

static void test_ready_is_a_connection_and_a_name(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "{\"status\":200,\"readyConnections\":1}", 60000);
    say(&f, "|  https://some-fine-words.trycloudflare.com  |\n");
    assert_int_equal(loop_run(f.loop), 0);
    assert_int_equal(f.ready, 1);
    assert_int_equal(f.late, 0);
    end(&f);
}

static void expect_late(const char *answer, const char *said)
{
    struct fixture f;

    begin(&f, answer, 300);
    say(&f, said);
    assert_int_equal(loop_run(f.loop), 0);
    assert_int_equal(f.ready, 0);
    assert_int_equal(f.late, 1);
    assert_true(f.asked > 0);
    end(&f);
}

static void test_without_either_it_is_late(void **state)
{
    static const char name[] = "https://some-fine-words.trycloudflare.com\n";

    (void)state;
    expect_late("{\"status\":200,\"readyConnections\":1}", "https://api.trycloudflare.com/tunnel\n");
    expect_late("{\"status\":503,\"readyConnections\":0}", name);
    expect_late("{\"readyConnections\":\"1\"}", name);
    expect_late("{\"readyConnections\":1,\"readyConnections\":1}", name);
    expect_late("[1]", name);
    expect_late("", name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_is_a_connection_and_a_name),
        cmocka_unit_test(test_without_either_it_is_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
