/* store_edge.c - what the edge serves. */
#include "daemon/store_internal.h"

static int is_tunnel(const struct edge_row *row)
{
    return row->kind != EDGE_PREVIEW;
}

int store_put_edge(struct store *store, const struct edge_row *row, struct berm_error *err)
{
    store_bind_text(store, PUT_EDGE_ROUTE, 1, row->sandbox);
    store_bind_int(store, PUT_EDGE_ROUTE, 2, is_tunnel(row));
    store_bind_int(store, PUT_EDGE_ROUTE, 3, row->port);
    store_bind_int(store, PUT_EDGE_ROUTE, 4, row->kind);
    store_bind_text(store, PUT_EDGE_ROUTE, 5, row->secret);
    store_bind_text(store, PUT_EDGE_ROUTE, 6, row->id);
    store_bind_text(store, PUT_EDGE_ROUTE, 7, row->name);
    store_bind_int(store, PUT_EDGE_ROUTE, 8, row->generation);
    store_bind_int(store, PUT_EDGE_ROUTE, 9, row->created_ms);
    store_bind_int(store, PUT_EDGE_ROUTE, 10, row->expires_ms);
    return store_run_alone(store, PUT_EDGE_ROUTE, err);
}

int store_delete_edge(struct store *store, const struct edge_row *row, struct berm_error *err)
{
    store_bind_text(store, DELETE_EDGE_ROUTE, 1, row->sandbox);
    store_bind_int(store, DELETE_EDGE_ROUTE, 2, is_tunnel(row));
    store_bind_int(store, DELETE_EDGE_ROUTE, 3, row->port);
    return store_run_alone(store, DELETE_EDGE_ROUTE, err);
}

static int edge_from_row(sqlite3_stmt *s, const struct store_walk *walk)
{
    int (*each)(const struct edge_row *, void *) = (int (*)(const struct edge_row *, void *))walk->each;
    struct edge_row row = { 0 };

    store_column_text(s, 0, row.sandbox, sizeof(row.sandbox));
    row.port = (uint16_t)sqlite3_column_int(s, 1);
    row.kind = (enum edge_kind)sqlite3_column_int(s, 2);
    store_column_text(s, 3, row.secret, sizeof(row.secret));
    store_column_text(s, 4, row.id, sizeof(row.id));
    store_column_text(s, 5, row.name, sizeof(row.name));
    row.generation = sqlite3_column_int64(s, 6);
    row.created_ms = sqlite3_column_int64(s, 7);
    row.expires_ms = sqlite3_column_int64(s, 8);
    return each(&row, walk->data);
}

int store_each_edge(struct store *store, int (*each)(const struct edge_row *row, void *data), void *data,
                    struct berm_error *err)
{
    struct store_walk walk = { edge_from_row, (void (*)(void))each, data };

    return store_walk(store, "SELECT sandbox,port,kind,secret,id,name,generation,created,expires FROM edge_routes",
                      0, &walk, err);
}
