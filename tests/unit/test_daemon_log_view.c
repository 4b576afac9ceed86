/* Which lines of a container's log a reader gets: tail, since and until, the time before each, lines in pieces. */
#include "unit.h"

#include "base/buf.h"
#include "daemon/docker/log_view.h"

#define SECOND ((uint64_t)1000000000)

struct piece {
    int stream;
    uint64_t time_ns;
    const char *text;
};

static void append(struct buf *out, const struct piece *piece)
{
    size_t n = strlen(piece->text);
    char head[LOG_RECORD_HEAD] = { (char)piece->stream, 0,      0, 0, (char)(n >> 24), (char)(n >> 16),
                                   (char)(n >> 8),      (char)n };

    for (size_t i = 0; i < 8; i++)
        head[8 + i] = (char)(piece->time_ns >> (56 - 8 * i));
    assert_int_equal(buf_append(out, head, sizeof(head)), 0);
    assert_int_equal(buf_append(out, piece->text, n), 0);
}

static void collect(void *data, int stream, struct str time, struct str text)
{
    (void)stream;
    assert_int_equal(buf_append_str(data, time), 0);
    assert_int_equal(buf_append_str(data, text), 0);
}

/* What `view` shows of the last `tail` lines of `pieces`, up to one without a text. */
static void shows(struct log_view view, uint64_t tail, const struct piece *pieces, const char *want)
{
    struct log_view counting;
    struct log_record record;
    struct buf log, out;
    struct str rest;
    uint64_t lines = 0;

    if (!view.until_ns)
        view.until_ns = UINT64_MAX;
    buf_init(&log, 1 << 16);
    buf_init(&out, 1 << 16);
    for (; pieces->text; pieces++)
        append(&log, pieces);
    counting = view;
    for (rest = buf_str(&log); log_record_parse(rest, &record) == 0; rest.p += record.size, rest.n -= record.size)
        lines += log_view_count(&counting, &record);
    assert_int_equal(rest.n, 0);
    view.skip = lines > tail ? lines - tail : 0;
    for (rest = buf_str(&log); log_record_parse(rest, &record) == 0; rest.p += record.size, rest.n -= record.size)
        log_view_take(&view, &record, collect, &out);
    assert_str(buf_str(&out), str_from(want));
    buf_free(&log);
    buf_free(&out);
}

#define BOTH                                                                                                       \
    {                                                                                                              \
        .streams = 6                                                                                               \
    }
#define ALL UINT64_MAX

static const struct piece three[] = {
    { 1, 10 * SECOND, "a\nb\n" }, { 2, 20 * SECOND, "c\n" }, { 1, 30 * SECOND, "d" }, { 0 }
};

static void the_streams_that_are_asked_for(void **state)
{
    (void)state;
    shows((struct log_view)BOTH, ALL, three, "a\nb\nc\nd");
    shows((struct log_view){ .streams = 2 }, ALL, three, "a\nb\nd");
    shows((struct log_view){ .streams = 4 }, ALL, three, "c\n");
}

static void the_last_lines_and_one_without_an_end_is_one(void **state)
{
    static const struct piece split[] = {
        { 1, SECOND, "one\ntw" }, { 1, SECOND, "o\nth" }, { 2, SECOND, "x\n" }, { 1, SECOND, "ree\n" }, { 0 }
    };

    (void)state;
    shows((struct log_view)BOTH, 1, three, "d");
    shows((struct log_view)BOTH, 2, three, "c\nd");
    shows((struct log_view)BOTH, 3, three, "b\nc\nd");
    shows((struct log_view)BOTH, 0, three, "");
    shows((struct log_view){ .streams = 2 }, 1, three, "d");
    shows((struct log_view)BOTH, 1, split, "x\n");
    shows((struct log_view)BOTH, 2, split, "thx\nree\n");
    shows((struct log_view)BOTH, 3, split, "two\nthx\nree\n");
}

static void a_time_before_each_line_and_only_there(void **state)
{
    static const struct piece split[] = {
        { 1, 3 * SECOND + 5, "one\ntw" }, { 1, 4 * SECOND, "o\n" }, { 1, 5 * SECOND, "end" }, { 0 }
    };

    (void)state;
    shows((struct log_view){ .streams = 2, .timestamps = true }, ALL, split,
          "1970-01-01T00:00:03.000000005Z one\n1970-01-01T00:00:03.000000005Z two\n1970-01-01T00:00:05.000000000Z "
          "end");
    shows((struct log_view){ .streams = 2, .timestamps = true }, 1, split, "1970-01-01T00:00:05.000000000Z end");
}

static void a_line_counts_where_it_begins(void **state)
{
    static const struct piece split[] = { { 1, 10 * SECOND, "old\nha" }, { 1, 20 * SECOND, "lf\nnew\n" }, { 0 } };

    (void)state;
    shows((struct log_view){ .streams = 6, .since_ns = 20 * SECOND }, ALL, three, "c\nd");
    shows((struct log_view){ .streams = 6, .until_ns = 20 * SECOND }, ALL, three, "a\nb\nc\n");
    shows((struct log_view){ .streams = 6, .since_ns = 11 * SECOND, .until_ns = 29 * SECOND }, ALL, three, "c\n");
    shows((struct log_view){ .streams = 6, .until_ns = 29 * SECOND }, 1, three, "c\n");
    shows((struct log_view){ .streams = 2, .since_ns = 20 * SECOND }, ALL, split, "new\n");
    shows((struct log_view){ .streams = 2, .until_ns = 10 * SECOND }, ALL, split, "old\nhalf\n");
}

static void what_is_no_record_is_told(void **state)
{
    struct log_record record;
    char head[LOG_RECORD_HEAD] = { 1 };

    (void)state;
    assert_int_equal(log_record_parse((struct str){ head, LOG_RECORD_HEAD - 1 }, &record), 1);
    assert_int_equal(log_record_parse((struct str){ head, LOG_RECORD_HEAD }, &record), 0);
    head[7] = 1;
    assert_int_equal(log_record_parse((struct str){ head, LOG_RECORD_HEAD }, &record), 1);
    head[0] = 3;
    assert_int_equal(log_record_parse((struct str){ head, LOG_RECORD_HEAD }, &record), -1);
    head[0] = 2;
    head[4] = 1; /* 16 MiB */
    assert_int_equal(log_record_parse((struct str){ head, LOG_RECORD_HEAD }, &record), -1);
}

static void times_of_queries(void **state)
{
    static const char *const wrong[] = { "",
                                         "-1",
                                         "x",
                                         "1.",
                                         "1.0123456789",
                                         ".5",
                                         "1e3",
                                         "10000000000",
                                         "2026-01-02",
                                         "2026-01-02T03:04:05",
                                         "2026-01-02T03:04:05+01:00",
                                         "2026-13-02T03:04:05Z" };
    uint64_t ns;

    (void)state;
    assert_int_equal(log_time_parse("1700000000", &ns), 0);
    assert_int_equal(ns, 1700000000 * SECOND);
    assert_int_equal(log_time_parse("1700000000.25", &ns), 0);
    assert_int_equal(ns, 1700000000 * SECOND + 250000000);
    assert_int_equal(log_time_parse("1.000000001", &ns), 0);
    assert_int_equal(ns, SECOND + 1);
    assert_int_equal(log_time_parse("1970-01-02T00:00:01.5Z", &ns), 0);
    assert_int_equal(ns, 86401 * SECOND + 500000000);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_int_equal(log_time_parse(wrong[i], &ns), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_streams_that_are_asked_for),
        cmocka_unit_test(the_last_lines_and_one_without_an_end_is_one),
        cmocka_unit_test(a_time_before_each_line_and_only_there),
        cmocka_unit_test(a_line_counts_where_it_begins),
        cmocka_unit_test(what_is_no_record_is_told),
        cmocka_unit_test(times_of_queries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
