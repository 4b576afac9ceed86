/*
 * store_internal.h - what the files of the store share: store.c (opening, transactions, sandboxes, keys),
 * store_read.c (every row at start-up) and one file per further kind of row.
 */
#pragma once

#include "daemon/store.h"

#include <pthread.h>
#include <sqlite3.h>

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    INSERT_SANDBOX,
    UPDATE_SANDBOX,
    DELETE_SANDBOX,
    TOUCH_SANDBOX,
    PUT_EVENT,
    DELETE_EVENTS,
    PUT_POOL,
    DELETE_POOL,
    PUT_KEY,
    DELETE_KEY,
    PUT_DOCUMENT,
    DELETE_DOCUMENT,
    GET_DOCUMENT,
    PUT_EDGE_ROUTE,
    DELETE_EDGE_ROUTE,
    DELETE_EDGE_ROUTES,
    PUT_ONCE,
    FINISH_ONCE,
    GET_ONCE,
    DELETE_ONCE,
    EXPIRE_ONCE,
    COUNT_ONCE,
    SIZE_ONCE,
    TRIM_ONCE,
    STATEMENT_COUNT
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    bool in_touch;
    int64_t last_seq;
    unsigned commits;
    int claim_fd;
    unsigned onces; /* begun, to look at their bounds now and then */

    sqlite3 *checkpoint_db; /* the thread's, after it has started */
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool wanted, stopping; /* under lock */
};

/* store_claim.c: after the statements are prepared. Whatever was claimed last is warm no more. */
int store_open_claim(struct store *store, const char *database, struct berm_error *err);

/* STORE_ERROR with SQLite's words. -1. */
int store_fail(sqlite3 *db, struct berm_error *err, const char *what);

/* Runs a statement that was bound and gives it back for the next use. */
int store_run(struct store *store, enum statement which, struct berm_error *err);
/* Ends the transaction that store_run(BEGIN) began: commits when all went well so far (`rc` 0). */
int store_finish(struct store *store, int rc, struct berm_error *err);
/* A single statement as its own transaction. */
int store_run_alone(struct store *store, enum statement which, struct berm_error *err);
void store_bind_int(struct store *store, enum statement which, int index, int64_t value);
void store_bind_text(struct store *store, enum statement which, int index, const char *text);
void store_bind_blob(struct store *store, enum statement which, int index, const void *p, int n);

struct store_walk {
    int (*row)(sqlite3_stmt *statement, const struct store_walk *walk);
    void (*each)(void); /* the caller's callback; `row` knows its type */
    void *data;
};

/* `parameter` is bound if the statement has one. */
int store_walk(struct store *store, const char *sql, int64_t parameter, const struct store_walk *walk,
               struct berm_error *err);
void store_column_text(sqlite3_stmt *s, int column, char *out, size_t size);
/* -1: it has another length. */
int store_column_blob(sqlite3_stmt *s, int column, void *out, int n);
