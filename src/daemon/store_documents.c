/* store_documents.c - small things of other parts, as JSON under a kind and a name. */
#include "daemon/store_internal.h"

int store_put_document(struct store *store, const char *kind, const char *name, const char *json,
                       struct berm_error *err)
{
    store_bind_text(store, PUT_DOCUMENT, 1, kind);
    store_bind_text(store, PUT_DOCUMENT, 2, name);
    store_bind_text(store, PUT_DOCUMENT, 3, json);
    return store_run_alone(store, PUT_DOCUMENT, err);
}

int store_delete_document(struct store *store, const char *kind, const char *name, struct berm_error *err)
{
    store_bind_text(store, DELETE_DOCUMENT, 1, kind);
    store_bind_text(store, DELETE_DOCUMENT, 2, name);
    return store_run_alone(store, DELETE_DOCUMENT, err);
}

int store_get_document(struct store *store, const char *kind, const char *name, char **ret, struct berm_error *err)
{
    sqlite3_stmt *s = store->statements[GET_DOCUMENT];
    int rc;

    *ret = NULL;
    store_bind_text(store, GET_DOCUMENT, 1, kind);
    store_bind_text(store, GET_DOCUMENT, 2, name);
    rc = sqlite3_step(s);
    if (rc == SQLITE_ROW && !(*ret = strdup((const char *)sqlite3_column_text(s, 0))))
        rc = SQLITE_NOMEM;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        store_fail(store->db, err, "database");
    sqlite3_reset(s);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -1;
}

static int document_from_row(sqlite3_stmt *s, const struct store_walk *walk)
{
    int (*each)(const struct store_document *, void *) = (int (*)(const struct store_document *, void *))walk->each;
    const struct store_document document = { (const char *)sqlite3_column_text(s, 0),
                                             (const char *)sqlite3_column_text(s, 1),
                                             (const char *)sqlite3_column_text(s, 2) };

    return document.kind && document.name && document.json ? each(&document, walk->data) : -1;
}

int store_each_document(struct store *store, int (*each)(const struct store_document *document, void *data),
                        void *data, struct berm_error *err)
{
    struct store_walk walk = { document_from_row, (void (*)(void))each, data };

    return store_walk(store, "SELECT kind,name,json FROM documents ORDER BY kind,name", 0, &walk, err);
}
