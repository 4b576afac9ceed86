/* The file of buckets that have a name. */
#include "unit.h"

#include "daemon/bindings.h"

#include <fcntl.h>

struct fixture {
    char path[32];
    struct bindings bindings;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;

    snprintf(f->path, sizeof(f->path), "/tmp/berm-bindings-XXXXXX");
    fd = mkstemp(f->path);
    assert_true(fd >= 0);
    close(fd);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    bindings_free(&f->bindings);
    unlink(f->path);
    free(f);
    return 0;
}

static int load(struct fixture *f, struct str text, struct berm_error *err)
{
    int fd = open(f->path, O_WRONLY | O_TRUNC | O_CLOEXEC);

    assert_int_equal(write(fd, text.p, text.n), text.n);
    close(fd);
    return bindings_load_file(&f->bindings, f->path, err);
}

static void names_are_found_as_they_are_written(void **state)
{
    struct fixture *f = *state;
    const struct binding *one;

    assert_int_equal(
        load(f, STR("# none\n\n  one data https://h:9000\tid  se/cret+=\nTwo\tother http://[::1]:1\r\n"), NULL), 0);
    assert_int_equal(f->bindings.count, 2);
    one = bindings_find(&f->bindings, STR("one"));
    assert_non_null(one);
    assert_string_equal(one->bucket, "data");
    assert_string_equal(one->endpoint, "https://h:9000");
    assert_string_equal(one->key_id, "id");
    assert_string_equal(one->secret, "se/cret+=");
    assert_null(bindings_find(&f->bindings, STR("Two"))->key_id);
    assert_null(bindings_find(&f->bindings, STR("two")));
    assert_null(bindings_find(&f->bindings, STR("on")));
    assert_null(bindings_find(&f->bindings, STR("")));
    assert_null(bindings_find(&f->bindings, (struct str){ NULL, 0 }));
}

static void a_file_that_is_wrong_changes_nothing(void **state)
{
    static const struct str wrong[] = {
        STR_INIT("x"),
        STR_INIT("x data"),
        STR_INIT("x data http://h id"),
        STR_INIT("x data http://h id secret more"),
        STR_INIT("x data ftp://h"),
        STR_INIT("x data h:9000 id secret"),
        STR_INIT("x data http://h\nx data http://h"),
        STR_INIT("x da\0ta http://h"),
    };
    struct fixture *f = *state;
    struct berm_error err;

    assert_int_equal(load(f, STR("kept data http://h"), &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_int_equal(load(f, wrong[i], &err), -1);
        assert_non_null(strstr(err.message, f->path));
        assert_non_null(bindings_find(&f->bindings, STR("kept")));
    }
    assert_int_equal(bindings_load_file(&f->bindings, "/nonexistent/bindings", &err), -1);
    assert_int_equal(f->bindings.count, 1);
    assert_int_equal(bindings_load_file(&f->bindings, NULL, &err), 0);
    assert_int_equal(f->bindings.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_are_found_as_they_are_written, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_wrong_changes_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
