/* API keys: who is let in. */
#include "unit.h"

#include "daemon/auth.h"

#include <fcntl.h>
#include <sys/stat.h>

struct fixture {
    char dir[32];
    char db[64], keys[64];
    struct store *store;
    struct auth auth;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct berm_error err;

    snprintf(f->dir, sizeof(f->dir), "/tmp/berm-auth-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->db, sizeof(f->db), "%s/berm.db", f->dir);
    snprintf(f->keys, sizeof(f->keys), "%s/keys", f->dir);
    assert_int_equal(store_open(f->db, &f->store, &err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char path[80];

    auth_free(&f->auth);
    store_close(f->store);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s%s", f->db, (const char *[]){ "", "-wal", "-shm", ".claim" }[i]);
        unlink(path);
    }
    unlink(f->keys);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void write_keys(struct fixture *f, const char *text)
{
    int fd = open(f->keys, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void without_keys_only_local_peers_are_served(void **state)
{
    struct fixture *f = *state;

    assert_true(auth_allows(&f->auth, STR(""), true));
    assert_false(auth_allows(&f->auth, STR(""), false));
    assert_false(auth_allows(&f->auth, STR("Bearer anything-at-all"), false));
}

static void a_created_key_is_needed_from_then_on_and_survives_a_restart(void **state)
{
    struct fixture *f = *state;
    const struct api_key_row *row;
    char secret[API_KEY_TEXT_BYTES], field[128];
    struct auth again = { 0 };
    struct berm_error err;
    bool found;

    assert_int_equal(auth_create_key(&f->auth, f->store, STR("laptop"), secret, &row, &err), 0);
    assert_int_equal(strlen(secret), 57);
    assert_memory_equal(secret, "berm_", 5);
    assert_string_equal(row->label, "laptop");
    assert_false(auth_allows(&f->auth, STR(""), true));
    snprintf(field, sizeof(field), "Bearer %s", secret);
    assert_true(auth_allows(&f->auth, str_from(field), false));
    memcpy(field, "bEaReR", 6);
    assert_true(auth_allows(&f->auth, str_from(field), false));
    assert_int_equal(auth_load_store(&again, f->store, &err), 0);
    assert_true(auth_allows(&again, str_from(field), false));
    field[strlen(field) - 1] ^= 1;
    assert_false(auth_allows(&again, str_from(field), true));
    assert_int_equal(auth_delete_key(&f->auth, f->store, row->id, &found, &err), 0);
    assert_true(found);
    assert_true(auth_allows(&f->auth, STR(""), true));
    assert_int_equal(auth_delete_key(&f->auth, f->store, "nosuch", &found, &err), 0);
    assert_false(found);
    auth_free(&again);
}

static void other_schemes_and_malformed_fields_are_refused(void **state)
{
    struct fixture *f = *state;
    struct berm_error err;

    write_keys(f, "correct-horse-battery\n");
    assert_int_equal(auth_load_file(&f->auth, f->keys, &err), 0);
    assert_true(auth_allows(&f->auth, STR("Bearer correct-horse-battery"), false));
    assert_true(auth_allows(&f->auth, STR("Bearer   correct-horse-battery "), false));
    assert_false(auth_allows(&f->auth, STR("Basic correct-horse-battery"), true));
    assert_false(auth_allows(&f->auth, STR("Bearer"), true));
    assert_false(auth_allows(&f->auth, STR("Bearer "), true));
    assert_false(auth_allows(&f->auth, STR("Bearercorrect-horse-battery"), true));
    assert_false(auth_allows(&f->auth, STR("Bearer correct-horse-batter"), true));
    assert_false(auth_allows(&f->auth, STR("Bearer correct-horse-battery2"), true));
}

static void a_file_may_hold_hashes_comments_and_windows_line_ends(void **state)
{
    struct fixture *f = *state;
    struct berm_error err;

    /* printf %s 'correct-horse-battery' | sha256sum */
    write_keys(f,
               "# keys\r\n\r\nsha256:"
               "62249369389075490555a758353aec61500c6218fa597252d52dc4bd0148f12d\r\nanother-long-enough-key\r\n");
    assert_int_equal(auth_load_file(&f->auth, f->keys, &err), 0);
    assert_int_equal(f->auth.filed_count, 2);
    assert_true(auth_allows(&f->auth, STR("Bearer another-long-enough-key"), false));
    assert_true(auth_allows(&f->auth, STR("Bearer correct-horse-battery"), false));
}

static void a_bad_file_leaves_the_keys_as_they_were(void **state)
{
    static const char *const bad[] = { "short\n", "fine-fine-fine-fine\nsha256:12\n", "sha256:XYZ\n" };
    struct fixture *f = *state;
    struct berm_error err;

    write_keys(f, "correct-horse-battery\n");
    assert_int_equal(auth_load_file(&f->auth, f->keys, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        write_keys(f, bad[i]);
        assert_int_equal(auth_load_file(&f->auth, f->keys, &err), -1);
        assert_non_null(strstr(err.message, f->keys));
        assert_null(strstr(err.message, "fine-fine"));
    }
    unlink(f->keys);
    assert_int_equal(auth_load_file(&f->auth, f->keys, &err), -1);
    assert_true(auth_allows(&f->auth, STR("Bearer correct-horse-battery"), false));
}

static void labels_are_bounded(void **state)
{
    struct fixture *f = *state;
    char label[200], secret[API_KEY_TEXT_BYTES];
    const struct api_key_row *row;
    struct berm_error err;

    memset(label, 'x', sizeof(label));
    assert_int_equal(auth_create_key(&f->auth, f->store, (struct str){ label, 127 }, secret, &row, &err), 0);
    assert_int_equal(auth_create_key(&f->auth, f->store, (struct str){ label, 128 }, secret, &row, &err), -1);
    assert_string_equal(err.field, "label");
    assert_int_equal(auth_create_key(&f->auth, f->store, STR("a\0b"), secret, &row, &err), -1);
}

static void base32_is_that_of_rfc_4648(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = { { "", "" },
                  { "f", "my" },
                  { "fo", "mzxq" },
                  { "foo", "mzxw6" },
                  { "foob", "mzxw6yq" },
                  { "fooba", "mzxw6ytb" },
                  { "foobar", "mzxw6ytboi" } };
    char out[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        base32_encode((const uint8_t *)cases[i].in, strlen(cases[i].in), out);
        assert_string_equal(out, cases[i].out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_keys_only_local_peers_are_served, setup, teardown),
        cmocka_unit_test_setup_teardown(a_created_key_is_needed_from_then_on_and_survives_a_restart, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(other_schemes_and_malformed_fields_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_may_hold_hashes_comments_and_windows_line_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_file_leaves_the_keys_as_they_were, setup, teardown),
        cmocka_unit_test_setup_teardown(labels_are_bounded, setup, teardown),
        cmocka_unit_test(base32_is_that_of_rfc_4648),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
