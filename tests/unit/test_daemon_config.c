/* The daemon's settings: where they come from, which wins, and what is refused. */
#include "unit.h"

#include "daemon/config.h"

#include <fcntl.h>

static const char *const no_environment[] = { NULL };

static int load(struct config *config, const char *const *environment, struct berm_error *err, const char *a,
                const char *b)
{
    const char *argv[] = { "bermd", a, b, NULL };
    enum config_action action;
    int argc = 1 + (a != NULL) + (b != NULL);

    return config_load(argc, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)environment, config, &action,
                       err);
}

/* Writes `text` to a file and loads it with --config. */
static int load_file(struct config *config, const char *text, struct berm_error *err)
{
    char path[] = "/tmp/berm-config-XXXXXX";
    int fd = mkstemp(path), rc;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    rc = load(config, no_environment, err, "--config", path);
    unlink(path);
    return rc;
}

static void defaults_are_those_of_the_table(void **state)
{
    struct config config;
    struct berm_error err;

    (void)state;
    assert_int_equal(load(&config, no_environment, &err, NULL, NULL), 0);
    assert_int_equal(config.listen.count, 1);
    assert_string_equal(config.listen.items[0], "127.0.0.1:8787");
    assert_string_equal(config.data, "/var/lib/berm");
    assert_string_equal(config.images, "/var/lib/berm/images");
    assert_int_equal(config.memory, 1 << 30);
    assert_int_equal(config.cpu, 1000);
    assert_int_equal(config.pids, 512);
    assert_int_equal(config.disk, 1 << 30);
    assert_int_equal(config.sleep_after_ms, 600000);
    assert_true(config.spawn_fd == UINT64_MAX);
    config_free(&config);
}

static void a_flag_wins_over_the_environment_over_the_file(void **state)
{
    const char *const environment[] = { "BERM_POOL_SIZE=7", "BERM_LISTEN=127.0.0.1:1 [::1]:2", "BERM_URL=ignored",
                                        NULL };
    struct config config;
    struct berm_error err;

    (void)state;
    assert_int_equal(load(&config, environment, &err, NULL, NULL), 0);
    assert_int_equal(config.pool_size, 7);
    assert_int_equal(config.listen.count, 2);
    assert_string_equal(config.listen.items[1], "[::1]:2");
    assert_int_equal(config.origins[0], CONFIG_ENVIRONMENT);
    config_free(&config);
    assert_int_equal(load(&config, environment, &err, "--pool-size=9", "--listen=127.0.0.1:3"), 0);
    assert_int_equal(config.pool_size, 9);
    assert_int_equal(config.listen.count, 1);
    assert_string_equal(config.listen.items[0], "127.0.0.1:3");
    config_free(&config);
}

static void a_file_has_sections_comments_and_units(void **state)
{
    struct config config;
    struct berm_error err;

    (void)state;
    assert_int_equal(load_file(&config,
                               "# comment\nlisten = 127.0.0.1:1, 127.0.0.1:2\n\n[sandbox]\n  memory = 1.5GiB\n"
                               "sleep_after=90s\n[pool]\nimages = base:2 python\nsize = 0",
                               &err),
                     0);
    assert_int_equal(config.listen.count, 2);
    assert_int_equal(config.memory, 1536 << 20);
    assert_int_equal(config.sleep_after_ms, 90000);
    assert_int_equal(config.pool_images.count, 2);
    assert_int_equal(config.pool_size, 0);
    config_free(&config);
}

static void a_mistake_in_the_file_is_told_with_its_line(void **state)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        { "listen = 127.0.0.1:1\nfoo = 1\n", ":2: unknown key \"foo\" in [server]" },
        { "[nope]\n", ":1: unknown section [nope]" },
        { "[pool\n", ":1: a section ends with ]" },
        { "\n\njust words\n", ":3: expected \"key = value\"" },
        { "[pool]\nsize = 1\nsize = 2\n", ":3: \"size\" is given twice" },
        { "[pool]\nsize = many\n", ":2: pool.size: \"many\" is not a number" },
        { "[pool]\nsize = 10001\n", ":2: pool.size: 10001 is out of range" },
        { "[sandbox]\nmemory = 1XB\n", ":2: sandbox.memory: \"1XB\" is not a size" },
        { "log_format = xml\n", ":1: server.log_format: \"xml\" is not one of: text json" },
        { "data =\n", ":1: server.data: is empty" },
    };
    struct config config;
    struct berm_error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(load_file(&config, cases[i].text, &err), -1);
        if (!strstr(err.message, cases[i].said))
            fail_msg("case %zu: \"%s\" does not hold \"%s\"", i, err.message, cases[i].said);
    }
}

static void wrong_flags_and_combinations_are_refused(void **state)
{
    static const struct {
        const char *a, *b, *said;
    } cases[] = {
        { "--nonsense", NULL, "unknown flag --nonsense" },
        { "--pool-size", NULL, "--pool-size needs a value" },
        { "--sandbox-memory", "32GiB", "sandbox.memory is above sandbox.max_memory" },
        { "--docker-socket-mode", "0777", "is not one of" },
        { "--sandbox-runtime", "podman", "sandbox.runtime is native or oci:" },
        { "--listen", ",", "server.listen is empty" },
        { "--config", "/no/such/file", "/no/such/file" },
    };
    struct config config;
    struct berm_error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(load(&config, no_environment, &err, cases[i].a, cases[i].b), -1);
        if (!strstr(err.message, cases[i].said))
            fail_msg("case %zu: \"%s\" does not hold \"%s\"", i, err.message, cases[i].said);
    }
}

static void sizes_and_durations_are_exact_and_do_not_overflow(void **state)
{
    static const struct {
        const char *text;
        int rc;
        uint64_t value;
    } sizes[] = {
        { "0", 0, 0 },
        { "512", 0, 512 },
        { "1K", 0, 1024 },
        { "64MiB", 0, 64u << 20 },
        { "1.5GiB", 0, 3ull << 29 },
        { "0.001K", 0, 1 },
        { "10B", 0, 10 },
        { "1.5", -1, 0 },
        { "", -1, 0 },
        { "K", -1, 0 },
        { "1.", -1, 0 },
        { "1.0001K", -1, 0 },
        { "-1", -1, 0 },
        { "1 K", -1, 0 },
        { "1KB", -1, 0 },
        { "99999999999999999999", -1, 0 },
        { "99999999TiB", -1, 0 },
    };
    uint64_t value;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_int_equal(config_parse_size(str_from(sizes[i].text), &value), sizes[i].rc);
        if (sizes[i].rc == 0)
            assert_int_equal(value, sizes[i].value);
    }
    assert_int_equal(config_parse_duration(STR("90s"), &value), 0);
    assert_int_equal(value, 90000);
    assert_int_equal(config_parse_duration(STR("250ms"), &value), 0);
    assert_int_equal(value, 250);
    assert_int_equal(config_parse_duration(STR("1.5h"), &value), 0);
    assert_int_equal(value, 5400000);
    assert_int_equal(config_parse_duration(STR("10"), &value), -1);
}

static void what_is_printed_can_be_read_again(void **state)
{
    struct config config, again;
    struct berm_error err;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    assert_int_equal(load(&config, no_environment, &err, "--sandbox-memory=1.5GiB", "--pool-images=a:1,b"), 0);
    config_print(&config, out);
    fclose(out);
    if (load_file(&again, text, &err) < 0)
        fail_msg("%s in:\n%s", err.message, text);
    assert_int_equal(again.memory, config.memory);
    assert_int_equal(again.pool_images.count, 2);
    assert_string_equal(again.pool_images.items[0], "a:1");
    assert_int_equal(again.drain_timeout_ms, config.drain_timeout_ms);
    free(text);
    config_free(&config);
    config_free(&again);
}

static void actions_are_flags_too(void **state)
{
    const char *argv[] = { "bermd", "--data", "/somewhere", "--stop-all", NULL };
    enum config_action action;
    struct config config;
    struct berm_error err;

    (void)state;
    assert_int_equal(config_load(4, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)no_environment,
                                 &config, &action, &err),
                     0);
    assert_int_equal(action, CONFIG_STOP_ALL);
    assert_string_equal(config.images, "/somewhere/images");
    config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(a_flag_wins_over_the_environment_over_the_file),
        cmocka_unit_test(a_file_has_sections_comments_and_units),
        cmocka_unit_test(a_mistake_in_the_file_is_told_with_its_line),
        cmocka_unit_test(wrong_flags_and_combinations_are_refused),
        cmocka_unit_test(sizes_and_durations_are_exact_and_do_not_overflow),
        cmocka_unit_test(what_is_printed_can_be_read_again),
        cmocka_unit_test(actions_are_flags_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
