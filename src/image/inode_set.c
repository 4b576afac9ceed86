#include "image/inode_set.h"

/* Open addressing; 0, which no file has as its number, marks a free slot. */
struct inode_set {
    uint64_t *slots;
    size_t size; /* a power of two */
    size_t used;
};

static size_t slot_of(const uint64_t *slots, size_t size, uint64_t inode)
{
    size_t i = (size_t)((inode * 0x9E3779B97F4A7C15u) >> 20) & (size - 1);
    while (slots[i] != 0 && slots[i] != inode)
        i = (i + 1) & (size - 1);
    return i;
}

struct inode_set *inode_set_new(void)
{
    struct inode_set *set = calloc(1, sizeof(*set));
    if (!set)
        return NULL;
    set->size = 1024;
    set->slots = calloc(set->size, sizeof(uint64_t));
    if (!set->slots)
        free_ptr(&set);
    return set;
}

void inode_set_free(struct inode_set *set)
{
    if (set)
        free(set->slots);
    free(set);
}

static int grow(struct inode_set *set)
{
    size_t size = set->size * 2;
    uint64_t *slots = calloc(size, sizeof(uint64_t));
    if (!slots)
        return -1;
    for (size_t i = 0; i < set->size; i++)
        if (set->slots[i] != 0)
            slots[slot_of(slots, size, set->slots[i])] = set->slots[i];
    free(set->slots);
    set->slots = slots;
    set->size = size;
    return 0;
}

int inode_set_add(struct inode_set *set, uint64_t inode)
{
    if (set->used >= set->size / 2 && grow(set) < 0)
        return -1;
    size_t i = slot_of(set->slots, set->size, inode);
    set->used += set->slots[i] == 0;
    set->slots[i] = inode;
    return 0;
}

bool inode_set_has(const struct inode_set *set, uint64_t inode)
{
    return set->slots[slot_of(set->slots, set->size, inode)] != 0;
}
