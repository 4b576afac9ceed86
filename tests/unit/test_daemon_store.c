/* The store: what was committed is there after a reopening, and a start is one transaction. */
#include "unit.h"

#include "daemon/store.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>

struct fixture {
    char dir[32];
    char db[64];
    struct store *store;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct berm_error err;

    snprintf(f->dir, sizeof(f->dir), "/tmp/berm-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->db, sizeof(f->db), "%s/berm.db", f->dir);
    assert_int_equal(store_open(f->db, &f->store, &err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char path[80];

    store_close(f->store);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s%s", f->db, (const char *[]){ "", "-wal", "-shm", ".claim" }[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    struct berm_error err;

    store_close(f->store);
    assert_int_equal(store_open(f->db, &f->store, &err), 0);
}

static struct sandbox_row sample(const char *id)
{
    static char env[] = "{\"A\":\"b\"}", labels[] = "{}";
    struct sandbox_row row = { .key = 0xfedcba9876543210u,
                               .generation = 3,
                               .state = SANDBOX_RUNNING,
                               .limits = { .memory_bytes = 1ull << 40,
                                           .disk_bytes = 5,
                                           .cpu_millis = 4000000000u,
                                           .pids = 7,
                                           .nofile = 8 },
                               .env = env,
                               .labels = labels,
                               .sleep_after_ms = 90000,
                               .keep_alive = true,
                               .created_ms = 1,
                               .started_ms = 2,
                               .last_used_ms = 3,
                               .end_reason = END_OOM,
                               .exit_status = -1 };

    snprintf(row.id, sizeof(row.id), "%s", id);
    snprintf(row.name, sizeof(row.name), "Zoë's");
    snprintf(row.image, sizeof(row.image), "base");
    memset(row.digest, 0xab, sizeof(row.digest));
    return row;
}

struct found {
    struct sandbox_row rows[8];
    size_t count;
    uint64_t pool[8];
    size_t pool_count;
    char events[256];
    size_t event_count;
};

static int take_sandbox(struct sandbox_row *row, void *data)
{
    struct found *found = data;

    found->rows[found->count] = *row;
    found->rows[found->count].env = strdup(row->env);
    found->rows[found->count++].labels = strdup(row->labels);
    return 0;
}

static int take_pool(uint64_t key, const uint8_t digest[32], void *data)
{
    struct found *found = data;

    assert_int_equal(digest[31], 0xcd);
    found->pool[found->pool_count++] = key;
    return 0;
}

static int take_event(const struct store_event *event, void *data)
{
    struct found *found = data;
    size_t n = strlen(found->events);

    if (found->event_count++ < 3)
        snprintf(found->events + n, sizeof(found->events) - n, "%s(%s) ", event->event, event->detail);
    return 0;
}

static struct found read_all(struct fixture *f)
{
    struct found found = { 0 };
    struct berm_error err;

    assert_int_equal(store_each_sandbox(f->store, take_sandbox, &found, &err), 0);
    assert_int_equal(store_each_pool(f->store, take_pool, &found, &err), 0);
    return found;
}

static void forget(struct found *found)
{
    for (size_t i = 0; i < found->count; i++) {
        free(found->rows[i].env);
        free(found->rows[i].labels);
    }
}

static void a_sandbox_comes_back_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct sandbox_row row = sample("abc");
    struct found found;
    struct berm_error err;

    assert_int_equal(store_put_sandbox(f->store, &row, 0, NULL, &err), 0);
    assert_true(row.seq > 0);
    reopen(f);
    found = read_all(f);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.rows[0].seq, row.seq);
    assert_string_equal(found.rows[0].id, "abc");
    assert_string_equal(found.rows[0].name, "Zoë's");
    assert_true(found.rows[0].key == row.key);
    assert_int_equal(found.rows[0].generation, 3);
    assert_int_equal(found.rows[0].state, SANDBOX_RUNNING);
    assert_string_equal(found.rows[0].image, "base");
    assert_memory_equal(found.rows[0].digest, row.digest, 32);
    assert_memory_equal(&found.rows[0].limits, &row.limits, sizeof(row.limits));
    assert_string_equal(found.rows[0].env, row.env);
    assert_int_equal(found.rows[0].sleep_after_ms, 90000);
    assert_true(found.rows[0].keep_alive);
    assert_int_equal(found.rows[0].end_reason, END_OOM);
    assert_int_equal(found.rows[0].exit_status, -1);
    forget(&found);
}

static void rows_are_in_the_order_of_creation_and_can_be_changed_and_deleted(void **state)
{
    struct fixture *f = *state;
    struct sandbox_row first = sample("zzz"), second = sample("aaa");
    int64_t deleted;
    struct found found;
    struct berm_error err;

    second.key = 2;
    assert_int_equal(store_put_sandbox(f->store, &first, 0, NULL, &err), 0);
    assert_int_equal(store_put_sandbox(f->store, &second, 0, NULL, &err), 0);
    first.state = SANDBOX_SLEEPING;
    first.key = 0;
    assert_int_equal(store_put_sandbox(f->store, &first, 0, NULL, &err), 0);
    found = read_all(f);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.rows[0].id, "zzz");
    assert_int_equal(found.rows[0].state, SANDBOX_SLEEPING);
    forget(&found);
    assert_int_equal(store_delete_sandbox(f->store, &second, &err), 0);
    deleted = second.seq;
    second.seq = 0;
    assert_int_equal(store_put_sandbox(f->store, &second, 0, NULL, &err), 0);
    assert_true(second.seq > deleted); /* never given twice, so that cursors stay right */
    found = read_all(f);
    assert_int_equal(found.count, 2);
    forget(&found);
}

static void the_same_id_twice_is_an_error_that_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct sandbox_row row = sample("abc"), other = sample("abc");
    struct store_event event = { 1, "created", "" };
    struct found found;
    struct berm_error err;
    uint8_t digest[32];

    memset(digest, 0xcd, sizeof(digest));
    assert_int_equal(store_put_pool(f->store, 77, digest, &err), 0);
    assert_int_equal(store_put_sandbox(f->store, &row, 0, &event, &err), 0);
    assert_int_equal(store_put_sandbox(f->store, &other, 77, &event, &err), -1);
    assert_int_equal(err.code, BERM_E_STORE_ERROR);
    assert_int_equal(other.seq, 0);
    assert_int_equal(other.event_count, 0);
    found = read_all(f);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.pool_count, 1);
    forget(&found);
}

static void claiming_a_warm_one_takes_its_row_away(void **state)
{
    struct fixture *f = *state;
    struct sandbox_row row = sample("abc");
    struct found found;
    struct berm_error err;
    uint8_t digest[32];

    memset(digest, 0xcd, sizeof(digest));
    assert_int_equal(store_put_pool(f->store, UINT64_MAX, digest, &err), 0);
    assert_int_equal(store_put_pool(f->store, 5, digest, &err), 0);
    row.key = UINT64_MAX;
    assert_int_equal(store_put_sandbox(f->store, &row, UINT64_MAX, NULL, &err), 0);
    found = read_all(f);
    assert_int_equal(found.pool_count, 1);
    assert_int_equal(found.pool[0], 5);
    forget(&found);
}

/* Its user may have been there: whoever opens the store next must not take it for warm. */
static void one_that_is_claimed_ahead_of_its_commit_is_warm_no_more(void **state)
{
    struct fixture *f = *state;
    struct sandbox_row row = sample("abc");
    struct found found;
    struct berm_error err;
    uint8_t digest[32];

    memset(digest, 0xcd, sizeof(digest));
    for (uint64_t key = 5; key < 8; key++)
        assert_int_equal(store_put_pool(f->store, key, digest, &err), 0);
    row.key = 5;
    assert_int_equal(store_claim(f->store, 5), 0);
    assert_int_equal(store_put_sandbox(f->store, &row, 5, NULL, &err), 0);
    assert_int_equal(store_claim(f->store, 7), 0);
    reopen(f);
    found = read_all(f);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.pool_count, 1);
    assert_int_equal(found.pool[0], 6);
    forget(&found);
}

static void only_the_last_events_of_a_sandbox_are_kept(void **state)
{
    struct fixture *f = *state;
    struct sandbox_row row = sample("abc");
    struct found found = { 0 };
    struct berm_error err;
    char detail[16];

    for (int i = 0; i < STORE_EVENTS_KEPT + 10; i++) {
        snprintf(detail, sizeof(detail), "%d", i);
        assert_int_equal(store_put_sandbox(f->store, &row, 0, &(struct store_event){ i, "started", detail }, &err),
                         0);
    }
    assert_int_equal(store_each_event(f->store, row.seq, take_event, &found, &err), 0);
    assert_int_equal(found.event_count, STORE_EVENTS_KEPT);
    assert_string_equal(found.events, "started(10) started(11) started(12) ");
    assert_int_equal(store_delete_sandbox(f->store, &row, &err), 0);
    memset(&found, 0, sizeof(found));
    assert_int_equal(store_each_event(f->store, row.seq, take_event, &found, &err), 0);
    assert_int_equal(found.event_count, 0);
}

static void touches_are_one_transaction(void **state)
{
    struct fixture *f = *state;
    struct sandbox_row row = sample("abc");
    struct found found;
    struct berm_error err;

    assert_int_equal(store_put_sandbox(f->store, &row, 0, NULL, &err), 0);
    assert_int_equal(store_touch(f->store, row.id, 12345, &err), 0);
    assert_int_equal(store_touch(f->store, "nobody", 1, &err), 0);
    assert_int_equal(store_touch_flush(f->store, &err), 0);
    assert_int_equal(store_touch_flush(f->store, &err), 0);
    reopen(f);
    found = read_all(f);
    assert_int_equal(found.rows[0].last_used_ms, 12345);
    forget(&found);
}

static void what_was_committed_survives_sigkill(void **state)
{
    struct fixture *f = *state;
    struct found found;
    int status;
    pid_t pid;

    store_close(f->store);
    pid = fork();
    if (pid == 0) {
        struct sandbox_row row = sample("abc");
        struct store *store;

        if (store_open(f->db, &store, NULL) < 0 || store_put_sandbox(store, &row, 0, NULL, NULL) < 0)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(store_open(f->db, &f->store, NULL), 0);
    found = read_all(f);
    assert_int_equal(found.count, 1);
    forget(&found);
}

static void checkpoints_keep_the_log_small(void **state)
{
    struct fixture *f = *state;
    struct sandbox_row row = sample("abc");
    char path[80];
    struct berm_error err;

    for (int i = 0; i < 5000; i++)
        assert_int_equal(store_put_sandbox(f->store, &row, 0, NULL, &err), 0);
    snprintf(path, sizeof(path), "%s-wal", f->db);
    FILE *wal = fopen(path, "r");
    assert_non_null(wal);
    fseek(wal, 0, SEEK_END);
    assert_true(ftell(wal) < 16 << 20);
    fclose(wal);
}

static void a_database_of_a_newer_version_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store *store;
    struct berm_error err;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(f->db, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(store_open(f->db, &store, &err), -1);
    assert_int_equal(err.code, BERM_E_STORE_ERROR);
    assert_non_null(strstr(err.message, "version 99"));
}

static void a_path_that_cannot_be_opened_is_an_error(void **state)
{
    struct store *store;
    struct berm_error err;

    (void)state;
    assert_int_equal(store_open("/dev/null/berm.db", &store, &err), -1);
    assert_int_equal(err.code, BERM_E_STORE_ERROR);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void take_once(const struct once_row *row, void *data)
{
    *(int *)data = row->status ? row->status : 1;
    if (row->status)
        assert_true(row->kept && str_is(row->body, "done") && !strcmp(row->type, "text/plain"));
}

/* The status of a key's outcome, 1 while it has none, 0 without a row. */
static int once_status(struct fixture *f, const char *key, int64_t now)
{
    int status = 0;

    assert_int_equal(store_find_once(f->store, "abc", key, now, take_once, &status, NULL), 0);
    return status;
}

static void idempotency_keys_have_an_outcome_a_life_and_a_bound(void **state)
{
    const int64_t day = (int64_t)24 * 3600 * 1000, now = 100 * day;
    struct fixture *f = *state;
    struct once_row row = { .sandbox = "abc", .key = "first", .created_ms = now };
    char key[16];

    assert_int_equal(once_status(f, "first", now), 0);
    assert_int_equal(store_begin_once(f->store, &row, NULL), 0);
    assert_int_equal(once_status(f, "first", now), 1);
    row.status = 207;
    row.type = "text/plain";
    row.kept = true;
    row.body = STR("done");
    assert_int_equal(store_finish_once(f->store, &row, NULL), 0);
    assert_int_equal(once_status(f, "first", now + day), 207);
    assert_int_equal(once_status(f, "first", now + day + 1), 0);
    assert_int_equal(store_forget_once(f->store, "abc", "first", NULL), 0);
    assert_int_equal(once_status(f, "first", now), 0);

    row.key = key;
    for (int i = 0; i < 4300; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        row.created_ms = now + i;
        assert_int_equal(store_begin_once(f->store, &row, NULL), 0);
    }
    assert_int_equal(once_status(f, "key0", now), 0); /* the oldest went */
    assert_int_equal(once_status(f, "key4299", now), 1);
    assert_int_equal(once_status(f, "key300", now), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sandbox_comes_back_as_it_was),
        TEST(rows_are_in_the_order_of_creation_and_can_be_changed_and_deleted),
        TEST(the_same_id_twice_is_an_error_that_changes_nothing),
        TEST(claiming_a_warm_one_takes_its_row_away),
        TEST(one_that_is_claimed_ahead_of_its_commit_is_warm_no_more),
        TEST(only_the_last_events_of_a_sandbox_are_kept),
        TEST(touches_are_one_transaction),
        TEST(what_was_committed_survives_sigkill),
        TEST(checkpoints_keep_the_log_small),
        TEST(a_database_of_a_newer_version_is_refused),
        cmocka_unit_test(a_path_that_cannot_be_opened_is_an_error),
        TEST(idempotency_keys_have_an_outcome_a_life_and_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
