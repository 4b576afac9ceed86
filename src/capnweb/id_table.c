#include "id_table.h"

#define FIRST_SIZE 16

void id_table_free(struct id_table *table)
{
    free(table->slots);
    *table = (struct id_table){ .slots = NULL };
}

static size_t home(const struct id_table *table, int64_t id)
{
    return ((uint64_t)id * table->secret >> 32) & (table->size - 1);
}

static struct id_slot *find(const struct id_table *table, int64_t id)
{
    size_t i;

    if (table->size == 0)
        return NULL;
    for (i = home(table, id); table->slots[i].value; i = (i + 1) & (table->size - 1))
        if (table->slots[i].id == id)
            return &table->slots[i];
    return NULL;
}

void *id_table_get(const struct id_table *table, int64_t id)
{
    struct id_slot *slot = find(table, id);

    return slot ? slot->value : NULL;
}

static void put(struct id_table *table, int64_t id, void *value)
{
    size_t i = home(table, id);

    while (table->slots[i].value)
        i = (i + 1) & (table->size - 1);
    table->slots[i] = (struct id_slot){ id, value };
}

static int resize(struct id_table *table, size_t size)
{
    struct id_table bigger = { .size = size, .count = table->count, .secret = table->secret };

    if (bigger.secret == 0) {
        random_bytes(&bigger.secret, sizeof(bigger.secret));
        bigger.secret |= 1; /* odd: no two ids get the same product */
    }
    bigger.slots = calloc(size, sizeof(*bigger.slots));
    if (!bigger.slots)
        return -1;
    for (size_t i = 0; i < table->size; i++)
        if (table->slots[i].value)
            put(&bigger, table->slots[i].id, table->slots[i].value);
    free(table->slots);
    *table = bigger;
    return 0;
}

int id_table_put(struct id_table *table, int64_t id, void *value)
{
    if (table->count + 1 > table->size / 4 * 3 && resize(table, table->size ? table->size * 2 : FIRST_SIZE) < 0)
        return -1;
    put(table, id, value);
    table->count++;
    return 0;
}

/* Closes the gap, so that no probe ends at it before it has reached what lies behind. */
void *id_table_remove(struct id_table *table, int64_t id)
{
    struct id_slot *slot = find(table, id);
    size_t mask = table->size - 1, gap, i;
    void *value;

    if (!slot)
        return NULL;
    value = slot->value;
    gap = (size_t)(slot - table->slots);
    for (i = (gap + 1) & mask; table->slots[i].value; i = (i + 1) & mask) {
        size_t distance = (i - home(table, table->slots[i].id)) & mask;
        if (distance >= ((i - gap) & mask)) {
            table->slots[gap] = table->slots[i];
            gap = i;
        }
    }
    table->slots[gap].value = NULL;
    table->count--;
    /* A burst leaves no memory behind. */
    if (table->size > 1024 && table->count < table->size / 8)
        (void)resize(table, table->size / 2);
    return value;
}
