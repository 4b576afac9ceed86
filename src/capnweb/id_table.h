/* id_table.h - a hash table from ids to pointers, for the two tables of a session. */
#pragma once

#include "base/base.h"

struct id_slot {
    int64_t id;
    void *value; /* NULL: the slot is free */
};

struct id_table {
    struct id_slot *slots;
    size_t size; /* a power of two, or 0 */
    size_t count;
    uint64_t secret; /* the peer chooses some of the ids */
};

void id_table_free(struct id_table *table);                   /* the values are not its own */
void *id_table_get(const struct id_table *table, int64_t id); /* NULL: it is not there */
/* `id` must not be there. -1 without memory. */
int id_table_put(struct id_table *table, int64_t id, void *value);
void *id_table_remove(struct id_table *table, int64_t id); /* NULL: it was not there */
