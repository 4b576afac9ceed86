#include "daemon/egress/resolver.h"

#include "base/hash.h"
#include "base/list.h"
#include "net/ares_loop.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define LOOKUPS_MAX    1024
#define CACHE_MAX      4096
#define TTL_LEAST_S    1 /* a name with TTL 0 is the same for the connection that follows the question */
#define TTL_MOST_S     3600
#define TTL_NEGATIVE_S 5
#define TRY_MS         2000
#define TRIES          3
#define CLASS_IN       1

struct cache_entry {
    struct hash_node node;
    struct list by_age;
    uint64_t until_ms;
    struct resolve_result result;
    uint16_t type;
    size_t name_size;
    char name[];
};

struct egress_lookup {
    struct egress_resolver *resolver;
    uint16_t type;
    char name[HOST_NAME_MAX_BYTES + 1];
    void (*done)(const struct resolve_result *result, void *data); /* NULL: cancelled */
    void *data;
    bool ready; /* `result` waits for `deferred` */
    struct resolve_result result;
    struct loop_deferred deferred;
};

struct egress_resolver {
    struct loop *loop;
    struct ares_loop ares;
    bool freeing;
    unsigned lookups;
    struct hash_table cache;
    struct list cached; /* oldest first */
};

/* --- the cache --- */

static uint64_t cache_hash(struct str name, uint16_t type)
{
    return hash_text(name) ^ type;
}

static struct cache_entry *find_cached(const struct egress_resolver *r, struct str name, uint16_t type)
{
    uint64_t hash = cache_hash(name, type);

    for (struct hash_node *node = hash_chain(&r->cache, hash); node; node = node->next) {
        struct cache_entry *entry = container_of(node, struct cache_entry, node);

        if (node->hash == hash && entry->type == type &&
            str_eq(name, (struct str){ entry->name, entry->name_size }))
            return entry;
    }
    return NULL;
}

static void drop_entry(struct egress_resolver *r, struct cache_entry *entry)
{
    hash_remove(&r->cache, &entry->node);
    list_remove(&entry->by_age);
    free(entry);
}

static uint32_t lifetime_s(const struct resolve_result *result)
{
    uint32_t ttl = result->count ? TTL_MOST_S : TTL_NEGATIVE_S;

    for (size_t i = 0; i < result->count; i++)
        ttl = MIN(ttl, result->addresses[i].ttl);
    return MAX(ttl, (uint32_t)TTL_LEAST_S);
}

static void put_cached(struct egress_resolver *r, struct str name, uint16_t type,
                       const struct resolve_result *result)
{
    struct cache_entry *entry = find_cached(r, name, type);

    if (entry)
        drop_entry(r, entry);
    if (result->outcome == RESOLVE_FAILED)
        return;
    if (r->cache.count >= CACHE_MAX)
        drop_entry(r, container_of(r->cached.next, struct cache_entry, by_age));
    entry = calloc(1, sizeof(*entry) + name.n);
    if (!entry)
        return;
    entry->result = *result;
    entry->type = type;
    entry->name_size = name.n;
    memcpy(entry->name, name.p, name.n);
    entry->until_ms = loop_now_ms(r->loop) + (uint64_t)lifetime_s(result) * 1000;
    if (hash_insert(&r->cache, &entry->node, cache_hash(name, type)) < 0) {
        free(entry);
        return;
    }
    list_append(&r->cached, &entry->by_age);
}

bool egress_resolver_cached(struct egress_resolver *r, struct str name, uint16_t type, struct resolve_result *ret)
{
    struct cache_entry *entry = find_cached(r, name, type);
    uint64_t now = loop_now_ms(r->loop);
    uint32_t left_s;

    if (!entry)
        return false;
    if (entry->until_ms <= now) {
        drop_entry(r, entry);
        return false;
    }
    *ret = entry->result;
    left_s = (uint32_t)((entry->until_ms - now) / 1000);
    for (size_t i = 0; i < ret->count; i++)
        ret->addresses[i].ttl = MIN(ret->addresses[i].ttl, left_s);
    return true;
}

/* --- answers --- */

static void take_a(const unsigned char *answer, int size, struct resolve_result *ret, int *status)
{
    struct ares_addrttl list[DNS_ADDRESSES_MAX];
    int count = DNS_ADDRESSES_MAX;

    *status = ares_parse_a_reply(answer, size, NULL, list, &count);
    for (int i = 0; *status == ARES_SUCCESS && i < count; i++)
        ret->addresses[ret->count++] =
            (struct dns_address){ ip_from_v4((const uint8_t *)&list[i].ipaddr), (uint32_t)MAX(list[i].ttl, 0) };
}

static void take_aaaa(const unsigned char *answer, int size, struct resolve_result *ret, int *status)
{
    struct ares_addr6ttl list[DNS_ADDRESSES_MAX];
    int count = DNS_ADDRESSES_MAX;

    *status = ares_parse_aaaa_reply(answer, size, NULL, list, &count);
    for (int i = 0; *status == ARES_SUCCESS && i < count; i++) {
        struct dns_address *address = &ret->addresses[ret->count];

        memcpy(address->ip.bytes, &list[i].ip6addr, sizeof(address->ip.bytes));
        address->ttl = (uint32_t)MAX(list[i].ttl, 0);
        ret->count += !ip_is_v4(&address->ip); /* a mapped one is no answer to this question */
    }
}

static enum resolve_outcome outcome_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
    case ARES_ENODATA:
        return RESOLVE_OK;
    case ARES_ENOTFOUND:
        return RESOLVE_NO_NAME;
    default:
        return RESOLVE_FAILED;
    }
}

/* c-ares may call back inside ares_query(), our callers are promised that we do not. */
static void on_answer(void *data, int status, int timeouts, unsigned char *answer, int size)
{
    struct egress_lookup *lookup = data;
    struct egress_resolver *r = lookup->resolver;

    (void)timeouts;
    if (r->freeing) {
        free(lookup);
        return;
    }
    if (status == ARES_SUCCESS && lookup->type == DNS_TYPE_A)
        take_a(answer, size, &lookup->result, &status);
    else if (status == ARES_SUCCESS)
        take_aaaa(answer, size, &lookup->result, &status);
    lookup->result.outcome = outcome_of(status);
    put_cached(r, str_from(lookup->name), lookup->type, &lookup->result);
    lookup->ready = true;
    loop_defer(r->loop, &lookup->deferred);
}

static void deliver(struct loop_deferred *deferred)
{
    struct egress_lookup *lookup = container_of(deferred, struct egress_lookup, deferred);

    lookup->resolver->lookups--;
    if (lookup->done)
        lookup->done(&lookup->result, lookup->data);
    free(lookup);
}

struct egress_lookup *egress_resolver_ask(struct egress_resolver *r, struct str name, uint16_t type,
                                          void (*done)(const struct resolve_result *, void *), void *data)
{
    struct egress_lookup *lookup;

    if (r->lookups >= LOOKUPS_MAX || !(lookup = calloc(1, sizeof(*lookup))))
        return NULL;
    if (str_copy(name, lookup->name, sizeof(lookup->name)) < 0) {
        free(lookup);
        return NULL;
    }
    lookup->resolver = r;
    lookup->type = type;
    lookup->done = done;
    lookup->data = data;
    lookup->deferred.callback = deliver;
    r->lookups++;
    ares_query(r->ares.channel, lookup->name, CLASS_IN, type, on_answer, lookup);
    ares_loop_arm(&r->ares);
    return lookup;
}

void egress_lookup_cancel(struct egress_lookup *lookup)
{
    if (lookup)
        lookup->done = NULL;
}

/* --- set-up --- */

int egress_resolver_new(const char *servers, struct egress_resolver **ret, struct berm_error *err)
{
    struct egress_resolver *r = calloc(1, sizeof(*r));
    struct ares_options options = { .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
                                    .timeout = TRY_MS,
                                    .tries = TRIES,
                                    .sock_state_cb = ares_loop_on_socket };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS;
    int rc;

    if (!r)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "resolver");
    options.sock_state_cb_data = &r->ares;
    options.lookups = (char[]){ "b" }; /* never the host's /etc/hosts */
    list_init(&r->cached);
    ares_loop_init(&r->ares, NULL);
    rc = ares_library_init(ARES_LIB_INIT_ALL);
    if (rc == ARES_SUCCESS)
        rc = ares_init_options(&r->ares.channel, &options, mask);
    r->ares.has_channel = rc == ARES_SUCCESS;
    if (rc == ARES_SUCCESS && servers)
        rc = ares_set_servers_ports_csv(r->ares.channel, servers);
    if (rc == ARES_SUCCESS) {
        *ret = r;
        return 0;
    }
    egress_resolver_free(r);
    return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "egress.resolvers: %s", ares_strerror(rc));
}

void egress_resolver_start(struct egress_resolver *r, struct loop *loop)
{
    r->loop = r->ares.loop = loop;
}

void egress_resolver_free(struct egress_resolver *r)
{
    if (!r)
        return;
    r->freeing = true;
    ares_loop_end(&r->ares);
    while (!list_empty(&r->cached))
        drop_entry(r, container_of(r->cached.next, struct cache_entry, by_age));
    hash_free(&r->cache);
    free(r);
}
