/*
 * store.c - the SQLite database.
 *
 * Two connections: ours, used by the loop's thread only, and the checkpoint thread's. Automatic checkpoints are
 * off, since they would run fsync inside a commit of ours; after every CHECKPOINT_EVERY commits the thread moves
 * the log's pages into the database. While commits never stop, a passive checkpoint never catches up with the log's
 * end, and the log would grow for ever: above LOG_LARGE_PAGES the thread asks for the log's restart, for which a
 * commit of ours may wait a few milliseconds.
 */
#include "base/loop.h"
#include "daemon/store_internal.h"
#include "daemon/store_schema.h"

#include <sys/stat.h>

#define CHECKPOINT_EVERY 1000
#define LOG_LARGE_PAGES  16384

/* clang-format off */
static const char *const statement_sql[STATEMENT_COUNT] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [INSERT_SANDBOX] = "INSERT INTO sandboxes(key,generation,state,image,digest,memory,disk,cpu,pids,nofile,env,labels,"
                       "sleep_after,keep_alive,created,started,last_used,end_reason,exit_status,event_count,"
                       "network,egress,name,id,seq) "
                       "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25)",
    [UPDATE_SANDBOX] = "UPDATE sandboxes SET key=?1,generation=?2,state=?3,image=?4,digest=?5,memory=?6,disk=?7,cpu=?8,"
                       "pids=?9,nofile=?10,env=?11,labels=?12,sleep_after=?13,keep_alive=?14,created=?15,started=?16,"
                       "last_used=?17,end_reason=?18,exit_status=?19,event_count=?20,network=?21,egress=?22,name=?23 WHERE id=?24",
    [DELETE_SANDBOX] = "DELETE FROM sandboxes WHERE id=?1",
    [TOUCH_SANDBOX] = "UPDATE sandboxes SET last_used=?2 WHERE id=?1",
    [PUT_EVENT] = "INSERT OR REPLACE INTO events(sandbox,slot,number,time,event,detail,reason,generation) "
                  "VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
    [DELETE_EVENTS] = "DELETE FROM events WHERE sandbox=?1",
    [PUT_POOL] = "INSERT INTO pool(key,digest) VALUES(?1,?2)",
    [DELETE_POOL] = "DELETE FROM pool WHERE key=?1",
    [PUT_KEY] = "INSERT INTO api_keys(id,hash,label,created) VALUES(?1,?2,?3,?4)",
    [DELETE_KEY] = "DELETE FROM api_keys WHERE id=?1",
    [PUT_DOCUMENT] = "INSERT OR REPLACE INTO documents(kind,name,json) VALUES(?1,?2,?3)",
    [GET_DOCUMENT] = "SELECT json FROM documents WHERE kind=?1 AND name=?2",
    [DELETE_DOCUMENT] = "DELETE FROM documents WHERE kind=?1 AND name=?2",
    [PUT_EDGE_ROUTE] = "INSERT OR REPLACE INTO edge_routes(sandbox,tunnel,port,kind,secret,id,name,generation,created,"
                       "expires) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    [DELETE_EDGE_ROUTE] = "DELETE FROM edge_routes WHERE sandbox=?1 AND tunnel=?2 AND port=?3",
    [PUT_ONCE] = "INSERT INTO onces(sandbox,key,hash,created) VALUES(?1,?2,?3,?4) ON CONFLICT DO UPDATE SET hash=?3,"
                 "created=?4,status=0,body=x''",
    [FINISH_ONCE] = "UPDATE onces SET status=?3,type=?4,generation=?5,kept=?6,body=?7 WHERE sandbox=?1 AND key=?2",
    [GET_ONCE] = "SELECT hash,status,type,generation,kept,body,created FROM onces WHERE sandbox=?1 AND key=?2 AND created>=?3",
    [DELETE_ONCE] = "DELETE FROM onces WHERE sandbox=?1 AND key=?2",
    [EXPIRE_ONCE] = "DELETE FROM onces WHERE created<?1",
    [COUNT_ONCE] = "SELECT count(*) FROM onces",
    [SIZE_ONCE] = "SELECT ifnull(sum(length(body)),0) FROM onces",
    [TRIM_ONCE] = "DELETE FROM onces WHERE rowid IN (SELECT rowid FROM onces ORDER BY created LIMIT ?1)",
    [DELETE_EDGE_ROUTES] = "DELETE FROM edge_routes WHERE sandbox=?1",
};
/* clang-format on */

int store_fail(sqlite3 *db, struct berm_error *err, const char *what)
{
    return berm_fail(err, BERM_E_STORE_ERROR, 0, "%s: %s", what, db ? sqlite3_errmsg(db) : "out of memory");
}

/* --- checkpoints --- */

static void checkpoint(sqlite3 *db)
{
    int log_pages = 0, done_pages = 0;

    sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, &log_pages, &done_pages);
    if (log_pages > LOG_LARGE_PAGES)
        sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_RESTART, &log_pages, &done_pages);
}

static void *checkpoint_thread(void *data)
{
    struct store *store = data;

    pthread_mutex_lock(&store->lock);
    while (!store->stopping) {
        if (!store->wanted) {
            pthread_cond_wait(&store->wake, &store->lock);
            continue;
        }
        store->wanted = false;
        pthread_mutex_unlock(&store->lock);
        checkpoint(store->checkpoint_db);
        pthread_mutex_lock(&store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

static void count_commit(struct store *store)
{
    if (++store->commits < CHECKPOINT_EVERY)
        return;
    store->commits = 0;
    pthread_mutex_lock(&store->lock);
    store->wanted = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
}

/* --- opening --- */

/*
 * SQLite resolves every link of a path before it opens it, and the result may lie below directories that only root
 * may walk. A path that begins at a descriptor of ours is to be taken as it is: its links pass for what they lead
 * to.
 */
static int lstat_through_descriptors(const char *path, struct stat *st)
{
    static const char fds[] = "/proc/self/fd/";
    bool is_descriptor = !strncmp(path, fds, strlen(fds)) && !strchr(path + strlen(fds), '/');

    return is_descriptor || !strcmp(path, "/proc/self") ? stat(path, st) : lstat(path, st);
}

static void trust_descriptors(void)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");

    if (vfs)
        vfs->xSetSystemCall(vfs, "lstat", (sqlite3_syscall_ptr)lstat_through_descriptors);
}

static int open_connection(const char *path, sqlite3 **ret, struct berm_error *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;

    if (sqlite3_open_v2(path, ret, flags, NULL) != SQLITE_OK)
        return store_fail(*ret, err, path);
    sqlite3_extended_result_codes(*ret, 1);
    sqlite3_busy_timeout(*ret, 5000);
    if (sqlite3_exec(*ret, store_pragmas, NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(*ret, err, path);
    return 0;
}

static int query_number(sqlite3 *db, const char *sql, int64_t *ret, struct berm_error *err)
{
    sqlite3_stmt *statement;
    int rc;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return store_fail(db, err, sql);
    rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(statement, 0);
    else
        store_fail(db, err, sql);
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW ? 0 : -1;
}

static int migrate(sqlite3 *db, struct berm_error *err)
{
    int64_t version;

    if (query_number(db, "PRAGMA user_version", &version, err) < 0)
        return -1;
    if (version > STORE_SCHEMA_VERSION)
        return berm_fail(err, BERM_E_STORE_ERROR, 0, "the database has version %lld, this bermd knows %d",
                         (long long)version, STORE_SCHEMA_VERSION);
    for (; version < STORE_SCHEMA_VERSION; version++) {
        char number[64];

        snprintf(number, sizeof(number), "PRAGMA user_version=%d;COMMIT", (int)version + 1);
        if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
            sqlite3_exec(db, store_steps[version], NULL, NULL, NULL) == SQLITE_OK &&
            sqlite3_exec(db, number, NULL, NULL, NULL) == SQLITE_OK)
            continue;
        store_fail(db, err, "bring the schema up to date");
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    return 0;
}

static int prepare_all(struct store *store, struct berm_error *err)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(store->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[i],
                               NULL) != SQLITE_OK)
            return store_fail(store->db, err, statement_sql[i]);
    return 0;
}

int store_open_at(int dirfd, const char *name, struct store **ret, struct berm_error *err)
{
    char path[64];

    if (snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name) >= (int)sizeof(path))
        return berm_fail(err, BERM_E_SYSTEM, ENAMETOOLONG, "%s", name);
    trust_descriptors();
    return store_open(path, ret, err);
}

int store_open(const char *path, struct store **ret, struct berm_error *err)
{
    struct store *store = calloc(1, sizeof(*store));

    if (!store)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "store");
    store->claim_fd = -EBADF;
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->wake, NULL);
    if (open_connection(path, &store->db, err) < 0 || migrate(store->db, err) < 0 || prepare_all(store, err) < 0 ||
        query_number(store->db, "SELECT ifnull(max(seq),0) FROM sandboxes", &store->last_seq, err) < 0 ||
        store_open_claim(store, path, err) < 0 || open_connection(path, &store->checkpoint_db, err) < 0) {
        store_close(store);
        return -1;
    }
    if (pthread_create(&store->thread, NULL, checkpoint_thread, store) != 0) {
        store_close(store);
        return berm_fail(err, BERM_E_SYSTEM, EAGAIN, "start the checkpoint thread");
    }
    store->thread_started = true;
    *ret = store;
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store->thread_started) {
        pthread_mutex_lock(&store->lock);
        store->stopping = true;
        pthread_cond_signal(&store->wake);
        pthread_mutex_unlock(&store->lock);
        pthread_join(store->thread, NULL);
    }
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(store->statements[i]);
    sqlite3_close(store->checkpoint_db);
    sqlite3_close(store->db);
    close_fd(&store->claim_fd);
    pthread_cond_destroy(&store->wake);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

/* --- transactions --- */

int store_run(struct store *store, enum statement which, struct berm_error *err)
{
    sqlite3_stmt *statement = store->statements[which];
    int rc = sqlite3_step(statement);

    if (rc != SQLITE_DONE)
        store_fail(store->db, err, "database");
    sqlite3_reset(statement);
    return rc == SQLITE_DONE ? 0 : -1;
}

int store_finish(struct store *store, int rc, struct berm_error *err)
{
    if (rc == 0 && store_run(store, COMMIT, err) == 0) {
        count_commit(store);
        return 0;
    }
    store_run(store, ROLLBACK, NULL);
    return -1;
}

void store_bind_int(struct store *store, enum statement which, int index, int64_t value)
{
    sqlite3_bind_int64(store->statements[which], index, value);
}

void store_bind_text(struct store *store, enum statement which, int index, const char *text)
{
    sqlite3_bind_text(store->statements[which], index, text, -1, SQLITE_STATIC);
}

void store_bind_blob(struct store *store, enum statement which, int index, const void *p, int n)
{
    sqlite3_bind_blob(store->statements[which], index, p, n, SQLITE_STATIC);
}

/* --- sandboxes --- */

static void bind_sandbox(struct store *store, enum statement s, const struct sandbox_row *row)
{
    store_bind_int(store, s, 1, (int64_t)row->key);
    store_bind_int(store, s, 2, row->generation);
    store_bind_int(store, s, 3, row->state);
    store_bind_text(store, s, 4, row->image);
    store_bind_blob(store, s, 5, row->digest, sizeof(row->digest));
    store_bind_int(store, s, 6, (int64_t)row->limits.memory_bytes);
    store_bind_int(store, s, 7, (int64_t)row->limits.disk_bytes);
    store_bind_int(store, s, 8, row->limits.cpu_millis);
    store_bind_int(store, s, 9, row->limits.pids);
    store_bind_int(store, s, 10, row->limits.nofile);
    store_bind_text(store, s, 11, row->env ? row->env : "{}");
    store_bind_text(store, s, 12, row->labels ? row->labels : "{}");
    store_bind_int(store, s, 13, (int64_t)row->sleep_after_ms);
    store_bind_int(store, s, 14, row->keep_alive);
    store_bind_int(store, s, 15, row->created_ms);
    store_bind_int(store, s, 16, row->started_ms);
    store_bind_int(store, s, 17, row->last_used_ms);
    store_bind_int(store, s, 18, row->end_reason);
    store_bind_int(store, s, 19, row->exit_status);
    store_bind_int(store, s, 20, row->event_count);
    store_bind_int(store, s, 21, row->network);
    store_bind_text(store, s, 22, row->egress ? row->egress : "");
    store_bind_text(store, s, 23, row->name);
    store_bind_text(store, s, 24, row->id);
    if (s == INSERT_SANDBOX)
        store_bind_int(store, s, 25, row->seq);
}

/* The slot makes the table a ring per sandbox: the oldest event is overwritten. */
static int put_event(struct store *store, int64_t seq, int64_t number, const struct store_event *event,
                     struct berm_error *err)
{
    store_bind_int(store, PUT_EVENT, 1, seq);
    store_bind_int(store, PUT_EVENT, 2, number % STORE_EVENTS_KEPT);
    store_bind_int(store, PUT_EVENT, 3, number);
    store_bind_int(store, PUT_EVENT, 4, event->time_ms);
    store_bind_text(store, PUT_EVENT, 5, event->event);
    store_bind_text(store, PUT_EVENT, 6, event->detail);
    store_bind_text(store, PUT_EVENT, 7, event->reason ? event->reason : "");
    store_bind_int(store, PUT_EVENT, 8, event->generation);
    return store_run(store, PUT_EVENT, err);
}

static int delete_pool_row(struct store *store, uint64_t key, struct berm_error *err)
{
    store_bind_int(store, DELETE_POOL, 1, (int64_t)key);
    return store_run(store, DELETE_POOL, err);
}

/* Never given twice, also not after the newest one was deleted: a cursor of a listing stays right. */
static int64_t next_seq(struct store *store)
{
    int64_t now = clock_realtime_ms() * 1000;

    store->last_seq = MAX(store->last_seq + 1, now);
    return store->last_seq;
}

int store_put_sandbox(struct store *store, struct sandbox_row *row, uint64_t pool_key,
                      const struct store_event *event, struct berm_error *err)
{
    bool is_new = row->seq == 0;
    enum statement which = is_new ? INSERT_SANDBOX : UPDATE_SANDBOX;
    int64_t number = row->event_count;
    int rc;

    if (store_run(store, BEGIN, err) < 0)
        return -1;
    row->event_count += event != NULL;
    if (is_new)
        row->seq = next_seq(store);
    bind_sandbox(store, which, row);
    rc = store_run(store, which, err);
    if (rc == 0 && event)
        rc = put_event(store, row->seq, number, event, err);
    if (rc == 0 && pool_key)
        rc = delete_pool_row(store, pool_key, err);
    rc = store_finish(store, rc, err);
    if (rc < 0) {
        row->event_count = number;
        row->seq = is_new ? 0 : row->seq;
    }
    return rc;
}

int store_delete_sandbox(struct store *store, const struct sandbox_row *row, struct berm_error *err)
{
    int rc;

    if (store_run(store, BEGIN, err) < 0)
        return -1;
    store_bind_text(store, DELETE_SANDBOX, 1, row->id);
    store_bind_int(store, DELETE_EVENTS, 1, row->seq);
    store_bind_text(store, DELETE_EDGE_ROUTES, 1, row->id);
    store_bind_text(store, DELETE_DOCUMENT, 1, STORE_KIND_AUTHORITY);
    store_bind_text(store, DELETE_DOCUMENT, 2, row->id);
    rc = store_run(store, DELETE_SANDBOX, err);
    if (rc == 0)
        rc = store_run(store, DELETE_EVENTS, err);
    if (rc == 0)
        rc = store_run(store, DELETE_EDGE_ROUTES, err);
    if (rc == 0)
        rc = store_run(store, DELETE_DOCUMENT, err);
    return store_finish(store, rc, err);
}

int store_touch(struct store *store, const char *id, int64_t last_used_ms, struct berm_error *err)
{
    if (!store->in_touch && store_run(store, BEGIN, err) < 0)
        return -1;
    store->in_touch = true;
    store_bind_text(store, TOUCH_SANDBOX, 1, id);
    store_bind_int(store, TOUCH_SANDBOX, 2, last_used_ms);
    return store_run(store, TOUCH_SANDBOX, err);
}

int store_touch_flush(struct store *store, struct berm_error *err)
{
    if (!store->in_touch)
        return 0;
    store->in_touch = false;
    return store_finish(store, 0, err);
}

/* --- warm sandboxes and keys: single statements are their own transactions --- */

int store_run_alone(struct store *store, enum statement which, struct berm_error *err)
{
    int rc = store_run(store, which, err);

    if (rc == 0)
        count_commit(store);
    return rc;
}

int store_put_pool(struct store *store, uint64_t key, const uint8_t digest[32], struct berm_error *err)
{
    store_bind_int(store, PUT_POOL, 1, (int64_t)key);
    store_bind_blob(store, PUT_POOL, 2, digest, 32);
    return store_run_alone(store, PUT_POOL, err);
}

int store_delete_pool(struct store *store, uint64_t key, struct berm_error *err)
{
    store_bind_int(store, DELETE_POOL, 1, (int64_t)key);
    return store_run_alone(store, DELETE_POOL, err);
}

int store_put_key(struct store *store, const struct api_key_row *row, struct berm_error *err)
{
    store_bind_text(store, PUT_KEY, 1, row->id);
    store_bind_blob(store, PUT_KEY, 2, row->hash, sizeof(row->hash));
    store_bind_text(store, PUT_KEY, 3, row->label);
    store_bind_int(store, PUT_KEY, 4, row->created_ms);
    return store_run_alone(store, PUT_KEY, err);
}

int store_delete_key(struct store *store, const char *id, bool *ret_found, struct berm_error *err)
{
    store_bind_text(store, DELETE_KEY, 1, id);
    if (store_run_alone(store, DELETE_KEY, err) < 0)
        return -1;
    *ret_found = sqlite3_changes(store->db) > 0;
    return 0;
}
