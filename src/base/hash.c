#include "hash.h"

static uint64_t secret(unsigned which)
{
    static uint64_t words[2];

    if (!words[0])
        random_bytes(words, sizeof(words));
    return words[which];
}

/* The finaliser of MurmurHash3: every input bit reaches every output bit. */
static uint64_t mix(uint64_t v)
{
    v ^= v >> 33;
    v *= 0xff51afd7ed558ccdu;
    v ^= v >> 33;
    v *= 0xc4ceb9fe1a85ec53u;
    return v ^ v >> 33;
}

uint64_t hash_number(uint64_t v)
{
    return mix(v ^ secret(0));
}

uint64_t hash_text(struct str s)
{
    uint64_t h = secret(0) ^ s.n, word;

    for (size_t at = 0; at < s.n; at += sizeof(word)) {
        word = 0;
        memcpy(&word, s.p + at, MIN(sizeof(word), s.n - at));
        h = mix(h ^ word) + secret(1);
    }
    return mix(h);
}

static int grow(struct hash_table *table)
{
    size_t count = table->bucket_count ? table->bucket_count * 2 : 64;
    struct hash_node **buckets = calloc(count, sizeof(struct hash_node *));

    if (!buckets)
        return -1;
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct hash_node *node = table->buckets[i], *next;

        for (; node; node = next) {
            next = node->next;
            node->next = buckets[node->hash & (count - 1)];
            buckets[node->hash & (count - 1)] = node;
        }
    }
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
    return 0;
}

int hash_insert(struct hash_table *table, struct hash_node *node, uint64_t hash)
{
    struct hash_node **bucket;

    if (table->count >= table->bucket_count && grow(table) < 0 && table->bucket_count == 0)
        return -1;
    bucket = &table->buckets[hash & (table->bucket_count - 1)];
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    table->count++;
    return 0;
}

void hash_remove(struct hash_table *table, struct hash_node *node)
{
    struct hash_node **at;

    if (!table->bucket_count)
        return;
    for (at = &table->buckets[node->hash & (table->bucket_count - 1)]; *at; at = &(*at)->next) {
        if (*at != node)
            continue;
        *at = node->next;
        table->count--;
        return;
    }
}

struct hash_node *hash_chain(const struct hash_table *table, uint64_t hash)
{
    return table->bucket_count ? table->buckets[hash & (table->bucket_count - 1)] : NULL;
}

void hash_free(struct hash_table *table)
{
    free(table->buckets);
    *table = (struct hash_table){ 0 };
}
