/*
 * capnweb_fixture.h - a session and what it has sent; and transcripts: lines of what comes (">") and of what must
 * be sent next ("<").
 */
#pragma once

#include "unit.h"

#include "capnweb/capnweb.h"
#include "tests/tools/capnweb_service.h"

struct side {
    struct capnweb_session *session;
    struct buf sent; /* lines not yet looked at */
    char failed[256];
    bool has_failed, woken;
};

static void side_send(struct str message, void *data)
{
    struct side *side = data;

    assert_int_equal(buf_append_str(&side->sent, message), 0);
    assert_int_equal(buf_append_str(&side->sent, STR("\n")), 0);
}

static void side_fail(struct str reason, void *data)
{
    struct side *side = data;

    assert_false(side->has_failed);
    side->has_failed = true;
    snprintf(side->failed, sizeof(side->failed), "%.*s", (int)MIN(reason.n, sizeof(side->failed) - 1), reason.p);
}

static void side_wake(void *data)
{
    struct side *side = data;

    side->woken = true;
}

static inline void side_open(struct side *side, const struct capnweb_limits *limits, struct capnweb_target *main)
{
    struct capnweb_transport transport = { side_send, side_fail, side_wake, side };
    struct capnweb_limits standard;

    capnweb_limits_default(&standard);
    *side = (struct side){ .session = NULL };
    buf_init(&side->sent, (size_t)256 << 20);
    side->session = capnweb_session_new(&transport, limits ? limits : &standard, main);
    assert_non_null(side->session);
}

static inline void side_close(struct side *side)
{
    capnweb_session_free(side->session);
    buf_free(&side->sent);
}

static inline void side_receive(struct side *side, struct str message)
{
    char *exact = malloc(message.n + 1); /* so that a sanitizer sees what is read behind the end */

    assert_non_null(exact);
    memcpy(exact, message.p, message.n);
    capnweb_receive(side->session, (struct str){ exact, message.n });
    free(exact);
}

static inline void side_run(struct side *side)
{
    assert_true(side->woken);
    side->woken = false;
    capnweb_run(side->session);
}

static inline void side_expect(struct side *side, struct str line)
{
    struct str all = buf_str(&side->sent);
    const char *end = all.n > 0 ? memchr(all.p, '\n', all.n) : NULL;

    if (!end)
        fail_msg("nothing was sent, want %.*s", (int)line.n, line.p);
    assert_str((struct str){ all.p, (size_t)(end - all.p) }, line);
    buf_consume(&side->sent, (size_t)(end - all.p) + 1);
}

static inline void side_expect_nothing(struct side *side)
{
    assert_str(buf_str(&side->sent), STR(""));
}

static inline void side_play(struct side *side, const char *transcript)
{
    for (const char *line = transcript; *line;) {
        size_t n = strcspn(line, "\n");
        struct str text = { line + 2, n - 2 };
        if (line[0] == '>')
            side_receive(side, text);
        else
            side_expect(side, text);
        line += n + (line[n] == '\n');
    }
    side_expect_nothing(side);
}

/* Nothing is left but the main objects. */
static inline void side_expect_idle(struct side *side)
{
    struct capnweb_stats stats;

    capnweb_session_stats(side->session, &stats);
    assert_int_equal(stats.exports, 1);
    assert_int_equal(stats.imports, 1);
    assert_int_equal(stats.held, 0);
}
