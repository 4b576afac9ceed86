/* The guard of an exec's event stream: whole events only, nothing after the last one, at any split of the bytes. */
#include "unit.h"

#include "daemon/api/sse_guard.h"

static void collect(void *data, struct str bytes)
{
    assert_int_equal(buf_append_str(data, bytes), 0);
}

/* Feeds `text` in pieces of `size` and checks what came out and whether it was the end. */
static void feed(const char *text, size_t size, const char *want, bool terminal)
{
    struct sse_guard guard;
    struct buf out;
    size_t n = strlen(text);

    sse_guard_init(&guard, 4096);
    buf_init(&out, 1 << 16);
    for (size_t at = 0; at < n; at += size)
        assert_int_equal(sse_guard_feed(&guard, (struct str){ text + at, MIN(size, n - at) }, collect, &out), 0);
    assert_str(buf_str(&out), str_from(want));
    assert_int_equal(guard.terminal, terminal);
    buf_free(&out);
    sse_guard_free(&guard);
}

static void at_every_split(const char *text, const char *want, bool terminal)
{
    for (size_t size = 1; size <= strlen(text) + 1; size++)
        feed(text, size, want, terminal);
}

#define OUT  "event: stdout\ndata: aGk=\n\n"
#define EXIT "event: exit\ndata: {\"exit_code\":0}\n\n"
#define ERR  "event: error\ndata: {\"error\":\"x\"}\n\n"

static void whole_events_pass_unchanged(void **state)
{
    (void)state;
    at_every_split(OUT OUT EXIT, OUT OUT EXIT, true);
    at_every_split(OUT ERR, OUT ERR, true);
    at_every_split(OUT, OUT, false);
    at_every_split("", "", false);
    at_every_split(": comment\n\n" OUT, ": comment\n\n" OUT, false);
}

static void a_broken_off_event_is_held_back(void **state)
{
    (void)state;
    at_every_split(OUT "event: stdout\ndata: aGk", OUT, false);
    at_every_split(OUT "event: stdout\ndata: aGk=\n", OUT, false);
    at_every_split("event: exit\ndata: {}\n", "", false);
}

static void nothing_passes_after_the_terminal_event(void **state)
{
    (void)state;
    at_every_split(EXIT OUT, EXIT, true);
    at_every_split(OUT ERR EXIT, OUT ERR, true);
}

static void only_the_names_exit_and_error_end_a_stream(void **state)
{
    (void)state;
    at_every_split("event: exits\ndata: x\n\n" OUT, "event: exits\ndata: x\n\n" OUT, false);
    at_every_split("data: event: exit\n\n" OUT, "data: event: exit\n\n" OUT, false);
    at_every_split("event: exi\nt\n\n" OUT, "event: exi\nt\n\n" OUT, false);
    at_every_split("event: errorxxxxxxxxxxxxxxxx\n\n" OUT, "event: errorxxxxxxxxxxxxxxxx\n\n" OUT, false);
}

static void an_event_without_end_is_refused_at_its_limit(void **state)
{
    struct sse_guard guard;
    struct buf out;
    int rc = 0;
    size_t fed = 0;

    (void)state;
    sse_guard_init(&guard, 4096);
    buf_init(&out, 1 << 16);
    while (rc == 0 && fed < 10000) {
        rc = sse_guard_feed(&guard, STR("xxxxxxxxxxxxxxxx"), collect, &out);
        fed += 16;
    }
    assert_int_equal(rc, -1);
    assert_int_equal(fed, 4096 + 16);
    assert_int_equal(out.len, 0);
    sse_guard_free(&guard);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_events_pass_unchanged),
        cmocka_unit_test(a_broken_off_event_is_held_back),
        cmocka_unit_test(nothing_passes_after_the_terminal_event),
        cmocka_unit_test(only_the_names_exit_and_error_end_a_stream),
        cmocka_unit_test(an_event_without_end_is_refused_at_its_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
