/* store_once.c - requests with an Idempotency-Key, and what became of them. */
#include "daemon/store_internal.h"

#define LIFE_MS     ((int64_t)24 * 3600 * 1000)
#define ROWS_MAX    4096
#define BYTES_MAX   ((int64_t)256 << 20)
#define TRIM_AT     64 /* that many at once, of the oldest */
#define TRIM_PERIOD 32 /* new rows between two looks at the bounds */

static int64_t query_number(struct store *store, enum statement which)
{
    sqlite3_stmt *s = store->statements[which];
    int64_t value = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;

    sqlite3_reset(s);
    return value;
}

/* What is old goes, and of what is too much the oldest. Those under way are young. */
static int trim(struct store *store, int64_t now_ms, struct berm_error *err)
{
    store_bind_int(store, EXPIRE_ONCE, 1, now_ms - LIFE_MS);
    if (store_run(store, EXPIRE_ONCE, err) < 0)
        return -1;
    while (query_number(store, COUNT_ONCE) > ROWS_MAX || query_number(store, SIZE_ONCE) > BYTES_MAX) {
        store_bind_int(store, TRIM_ONCE, 1, TRIM_AT);
        if (store_run(store, TRIM_ONCE, err) < 0)
            return -1;
    }
    return 0;
}

int store_begin_once(struct store *store, const struct once_row *row, struct berm_error *err)
{
    int rc;

    if (store_run(store, BEGIN, err) < 0)
        return -1;
    store_bind_text(store, PUT_ONCE, 1, row->sandbox);
    store_bind_text(store, PUT_ONCE, 2, row->key);
    store_bind_blob(store, PUT_ONCE, 3, row->hash, sizeof(row->hash));
    store_bind_int(store, PUT_ONCE, 4, row->created_ms);
    rc = store_run(store, PUT_ONCE, err);
    if (rc == 0 && store->onces++ % TRIM_PERIOD == 0)
        rc = trim(store, row->created_ms, err);
    return store_finish(store, rc, err);
}

int store_finish_once(struct store *store, const struct once_row *row, struct berm_error *err)
{
    store_bind_text(store, FINISH_ONCE, 1, row->sandbox);
    store_bind_text(store, FINISH_ONCE, 2, row->key);
    store_bind_int(store, FINISH_ONCE, 3, row->status);
    store_bind_text(store, FINISH_ONCE, 4, row->type);
    store_bind_int(store, FINISH_ONCE, 5, row->generation);
    store_bind_int(store, FINISH_ONCE, 6, row->kept);
    store_bind_blob(store, FINISH_ONCE, 7, row->body.p, (int)row->body.n);
    return store_run_alone(store, FINISH_ONCE, err);
}

int store_forget_once(struct store *store, const char *sandbox, const char *key, struct berm_error *err)
{
    store_bind_text(store, DELETE_ONCE, 1, sandbox);
    store_bind_text(store, DELETE_ONCE, 2, key);
    return store_run_alone(store, DELETE_ONCE, err);
}

int store_find_once(struct store *store, const char *sandbox, const char *key, int64_t now_ms,
                    void (*found)(const struct once_row *row, void *data), void *data, struct berm_error *err)
{
    sqlite3_stmt *s = store->statements[GET_ONCE];
    struct once_row row = { .sandbox = sandbox, .key = key };
    int rc;

    store_bind_text(store, GET_ONCE, 1, sandbox);
    store_bind_text(store, GET_ONCE, 2, key);
    store_bind_int(store, GET_ONCE, 3, now_ms - LIFE_MS);
    rc = sqlite3_step(s);
    if (rc == SQLITE_ROW && store_column_blob(s, 0, row.hash, sizeof(row.hash)) == 0) {
        row.status = sqlite3_column_int(s, 1);
        row.type = (const char *)sqlite3_column_text(s, 2);
        row.generation = sqlite3_column_int64(s, 3);
        row.kept = sqlite3_column_int(s, 4);
        row.body = (struct str){ sqlite3_column_blob(s, 5), (size_t)sqlite3_column_bytes(s, 5) };
        row.created_ms = sqlite3_column_int64(s, 6);
        found(&row, data);
    } else if (rc != SQLITE_DONE) {
        store_fail(store->db, err, "database");
    }
    sqlite3_reset(s);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -1;
}
