/*
 * hash.h - intrusive chained hash table, by 64-bit hash. The caller compares keys.
 *
 * Strangers choose names (sandbox ids, files), so text is hashed with a secret of this process: nobody can aim at
 * one bucket.
 */
#pragma once

#include "base.h"

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hash_table {
    struct hash_node **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
};

uint64_t hash_text(struct str s);
uint64_t hash_number(uint64_t v);

/* 0, or -1 without memory. */
int hash_insert(struct hash_table *table, struct hash_node *node, uint64_t hash);
void hash_remove(struct hash_table *table, struct hash_node *node);
/* The chain that may hold `hash`: walk with ->next and compare ->hash, then the key. */
struct hash_node *hash_chain(const struct hash_table *table, uint64_t hash);
void hash_free(struct hash_table *table); /* the table, not the nodes */
