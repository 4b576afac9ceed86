#include "found_names.h"

#define NAMES_BYTES ((size_t)32 * 1024 * 1024)

struct found_names {
    struct arena arena;
    struct found_name *first, **tail;
    struct hash_table by_name;
};

struct found_names *found_names_new(void)
{
    struct found_names *found = calloc(1, sizeof(*found));

    if (!found)
        return NULL;
    arena_init(&found->arena, NAMES_BYTES);
    found->tail = &found->first;
    return found;
}

void found_names_free(struct found_names *found)
{
    if (!found)
        return;
    hash_free(&found->by_name);
    arena_free(&found->arena);
    free(found);
}

int found_names_add(struct found_names *found, struct str name, bool directory)
{
    struct found_name *item = NULL;

    if (found->by_name.count < FOUND_NAMES_MAX)
        item = arena_alloc(&found->arena, sizeof(*item) + name.n);
    if (!item)
        return -1;
    *item = (struct found_name){ .directory = directory, .n = name.n };
    memcpy(item->name, name.p, name.n);
    if (hash_insert(&found->by_name, &item->hash, hash_text(name)) < 0)
        return -1;
    *found->tail = item;
    found->tail = &item->next;
    return 0;
}

struct found_name *found_names_take(struct found_names *found, struct str name)
{
    uint64_t hash = hash_text(name);

    for (struct hash_node *node = hash_chain(&found->by_name, hash); node; node = node->next) {
        struct found_name *item = container_of(node, struct found_name, hash);
        if (node->hash == hash && !item->taken && str_eq((struct str){ item->name, item->n }, name)) {
            item->taken = true;
            return item;
        }
    }
    return NULL;
}

struct found_name *found_names_take_any(struct found_names *found)
{
    struct found_name *item;

    while (found->first && found->first->taken)
        found->first = found->first->next;
    item = found->first;
    if (item)
        item->taken = true;
    return item;
}
