/* store_read.c - every row, at start-up. */
#include "daemon/store_internal.h"

#include <stdio.h>

int store_walk(struct store *store, const char *sql, int64_t parameter, const struct store_walk *walk,
               struct berm_error *err)
{
    sqlite3_stmt *statement;
    int rc;

    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return store_fail(store->db, err, sql);
    if (sqlite3_bind_parameter_count(statement))
        sqlite3_bind_int64(statement, 1, parameter);
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW)
        if (walk->row(statement, walk) < 0)
            break;
    if (rc == SQLITE_ROW)
        berm_fail(err, BERM_E_STORE_ERROR, 0, "a row of the database could not be used");
    else if (rc != SQLITE_DONE)
        store_fail(store->db, err, sql);
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? 0 : -1;
}

void store_column_text(sqlite3_stmt *s, int column, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(s, column);

    snprintf(out, size, "%s", text ? (const char *)text : "");
}

int store_column_blob(sqlite3_stmt *s, int column, void *out, int n)
{
    if (sqlite3_column_bytes(s, column) != n)
        return -1;
    memcpy(out, sqlite3_column_blob(s, column), (size_t)n);
    return 0;
}

static void read_sandbox(sqlite3_stmt *s, struct sandbox_row *row)
{
    row->seq = sqlite3_column_int64(s, 0);
    store_column_text(s, 1, row->id, sizeof(row->id));
    row->key = (uint64_t)sqlite3_column_int64(s, 2);
    row->generation = sqlite3_column_int64(s, 3);
    row->state = (enum sandbox_state)sqlite3_column_int(s, 4);
    store_column_text(s, 5, row->image, sizeof(row->image));
    row->limits.memory_bytes = (uint64_t)sqlite3_column_int64(s, 7);
    row->limits.disk_bytes = (uint64_t)sqlite3_column_int64(s, 8);
    row->limits.cpu_millis = (uint32_t)sqlite3_column_int64(s, 9);
    row->limits.pids = (uint32_t)sqlite3_column_int64(s, 10);
    row->limits.nofile = (uint32_t)sqlite3_column_int64(s, 11);
    row->sleep_after_ms = (uint64_t)sqlite3_column_int64(s, 14);
    row->keep_alive = sqlite3_column_int(s, 15) != 0;
    row->created_ms = sqlite3_column_int64(s, 16);
    row->started_ms = sqlite3_column_int64(s, 17);
    row->last_used_ms = sqlite3_column_int64(s, 18);
    row->end_reason = (enum end_reason)sqlite3_column_int(s, 19);
    row->exit_status = sqlite3_column_int(s, 20);
    row->event_count = sqlite3_column_int64(s, 21);
    row->network = (uint32_t)sqlite3_column_int64(s, 22);
    store_column_text(s, 24, row->name, sizeof(row->name));
}

static int sandbox_from_row(sqlite3_stmt *s, const struct store_walk *walk)
{
    int (*each)(struct sandbox_row *, void *) = (int (*)(struct sandbox_row *, void *))walk->each;
    struct sandbox_row row = { 0 };
    const unsigned char *env = sqlite3_column_text(s, 12), *labels = sqlite3_column_text(s, 13);
    const unsigned char *egress = sqlite3_column_text(s, 23);

    read_sandbox(s, &row);
    if (store_column_blob(s, 6, row.digest, sizeof(row.digest)) < 0 || !env || !labels || !egress)
        return -1;
    row.env = (char *)(uintptr_t)env;
    row.labels = (char *)(uintptr_t)labels;
    row.egress = (char *)(uintptr_t)egress;
    return each(&row, walk->data);
}

int store_each_sandbox(struct store *store, int (*each)(struct sandbox_row *row, void *data), void *data,
                       struct berm_error *err)
{
    struct store_walk walk = { sandbox_from_row, (void (*)(void))each, data };

    return store_walk(store,
                      "SELECT seq,id,key,generation,state,image,digest,memory,disk,cpu,pids,nofile,env,labels,"
                      "sleep_after,keep_alive,created,started,last_used,end_reason,exit_status,event_count,"
                      "network,egress,name "
                      "FROM sandboxes ORDER BY seq",
                      0, &walk, err);
}

static int pool_from_row(sqlite3_stmt *s, const struct store_walk *walk)
{
    int (*each)(uint64_t, const uint8_t *, void *) = (int (*)(uint64_t, const uint8_t *, void *))walk->each;
    uint8_t digest[32];

    if (store_column_blob(s, 1, digest, sizeof(digest)) < 0)
        return -1;
    return each((uint64_t)sqlite3_column_int64(s, 0), digest, walk->data);
}

int store_each_pool(struct store *store, int (*each)(uint64_t key, const uint8_t digest[32], void *data),
                    void *data, struct berm_error *err)
{
    struct store_walk walk = { pool_from_row, (void (*)(void))each, data };

    return store_walk(store, "SELECT key,digest FROM pool", 0, &walk, err);
}

static int key_from_row(sqlite3_stmt *s, const struct store_walk *walk)
{
    int (*each)(const struct api_key_row *, void *) = (int (*)(const struct api_key_row *, void *))walk->each;
    struct api_key_row row = { 0 };

    store_column_text(s, 0, row.id, sizeof(row.id));
    store_column_text(s, 2, row.label, sizeof(row.label));
    row.created_ms = sqlite3_column_int64(s, 3);
    if (store_column_blob(s, 1, row.hash, sizeof(row.hash)) < 0)
        return -1;
    return each(&row, walk->data);
}

int store_each_key(struct store *store, int (*each)(const struct api_key_row *row, void *data), void *data,
                   struct berm_error *err)
{
    struct store_walk walk = { key_from_row, (void (*)(void))each, data };

    return store_walk(store, "SELECT id,hash,label,created FROM api_keys ORDER BY created,id", 0, &walk, err);
}

static int event_from_row(sqlite3_stmt *s, const struct store_walk *walk)
{
    int (*each)(const struct store_event *, void *) = (int (*)(const struct store_event *, void *))walk->each;
    const char *event = (const char *)sqlite3_column_text(s, 1);
    const char *detail = (const char *)sqlite3_column_text(s, 2);
    const char *reason = (const char *)sqlite3_column_text(s, 3);
    const struct store_event row = { .time_ms = sqlite3_column_int64(s, 0),
                                     .event = event ? event : "",
                                     .detail = detail ? detail : "",
                                     .reason = reason ? reason : "",
                                     .generation = sqlite3_column_int64(s, 4),
                                     .number = sqlite3_column_int64(s, 5) };

    return each(&row, walk->data);
}

int store_each_event(struct store *store, int64_t seq, int (*each)(const struct store_event *event, void *data),
                     void *data, struct berm_error *err)
{
    struct store_walk walk = { event_from_row, (void (*)(void))each, data };

    return store_walk(
        store, "SELECT time,event,detail,reason,generation,number FROM events WHERE sandbox=?1 ORDER BY number",
        seq, &walk, err);
}
