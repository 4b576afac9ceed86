/* What a sandbox's agent can do to the metrics by what it says of its contexts. */
#include "unit.h"

#include "daemon/metrics.h"

static uint64_t sum(const struct metrics *metrics, size_t image)
{
    uint64_t total = 0;

    for (size_t kind = 0; kind < METRIC_CONTEXT_KINDS; kind++)
        total += metrics->contexts[image].counts[kind];
    return total;
}

static void test_one_answer_counts_once(void **state)
{
    struct metrics metrics = { 0 };

    (void)state;
    metrics_context_answered(&metrics, "base", 200, STR("snapshot"));
    metrics_context_answered(&metrics, "base", 200, STR("cold"));
    metrics_context_answered(&metrics, "base", 501, STR("snapshot"));
    assert_string_equal(metrics.contexts[0].image, "base");
    assert_int_equal(metrics.contexts[0].counts[METRIC_CONTEXT_SNAPSHOT], 1);
    assert_int_equal(metrics.contexts[0].counts[METRIC_CONTEXT_COLD], 1);
    assert_int_equal(metrics.contexts[0].counts[METRIC_CONTEXT_FAILED], 1);
    assert_int_equal(sum(&metrics, 0), 3);
}

static void test_what_is_no_kind_is_not_counted(void **state)
{
    static const char *const lies[] = { "", "Snapshot", "snapshot,cold", "failed", "cold\"} 9\nx 1" };
    struct metrics metrics = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++)
        metrics_context_answered(&metrics, "base", 200, str_from(lies[i]));
    metrics_context_answered(&metrics, "base", 200, (struct str){ NULL, 0 });
    metrics_context_answered(&metrics, "base", 404, STR("cold"));
    assert_int_equal(sum(&metrics, 0), 0);
}

static void told(struct metrics *metrics, const char *text)
{
    const struct json *counts;
    struct arena arena;

    arena_init(&arena, 65536);
    assert_int_equal(json_parse(&arena, str_from(text), 4, &counts, NULL), 0);
    metrics_contexts_told(metrics, "base", counts);
    arena_free(&arena);
}

static void test_what_is_told_at_once_has_a_bound(void **state)
{
    struct metrics metrics = { 0 };

    (void)state;
    told(&metrics, "{\"snapshot\":2,\"cold\":1000,\"failed\":1,\"other\":5}");
    assert_int_equal(metrics.contexts[0].counts[METRIC_CONTEXT_SNAPSHOT], 2);
    assert_int_equal(metrics.contexts[0].counts[METRIC_CONTEXT_COLD], 1000);
    assert_int_equal(metrics.contexts[0].counts[METRIC_CONTEXT_FAILED], 1);
    told(&metrics, "{\"snapshot\":-1,\"spare\":\"5\",\"cold\":1001,\"failed\":1.5}");
    assert_int_equal(sum(&metrics, 0), 1003);
}

static void test_images_beyond_the_table_share_the_last_row(void **state)
{
    struct metrics metrics = { 0 };
    char image[16];

    (void)state;
    for (int i = 0; i < METRICS_IMAGES_MAX + 5; i++) {
        snprintf(image, sizeof(image), "image%d", i);
        metrics_context_answered(&metrics, image, 200, STR("cold"));
    }
    assert_string_equal(metrics.contexts[METRICS_IMAGES_MAX - 2].image, "image30");
    assert_string_equal(metrics.contexts[METRICS_IMAGES_MAX - 1].image, "(others)");
    assert_int_equal(sum(&metrics, METRICS_IMAGES_MAX - 1), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_answer_counts_once),
        cmocka_unit_test(test_what_is_no_kind_is_not_counted),
        cmocka_unit_test(test_what_is_told_at_once_has_a_bound),
        cmocka_unit_test(test_images_beyond_the_table_share_the_last_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
