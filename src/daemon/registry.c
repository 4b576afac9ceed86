#include "daemon/registry.h"

#include "daemon/daemon.h"

void registry_init(struct registry *registry)
{
    *registry = (struct registry){ 0 };
    list_init(&registry->order);
    list_init(&registry->dirty);
}

void registry_free(struct registry *registry)
{
    while (!list_empty(&registry->order))
        registry_remove(registry, container_of(registry->order.next, struct sandbox, order));
    hash_free(&registry->by_id);
    hash_free(&registry->by_key);
}

bool sandbox_id_valid(struct str id)
{
    if (id.n == 0 || id.n > SANDBOX_ID_MAX)
        return false;
    for (size_t i = 0; i < id.n; i++)
        if (!(id.p[i] >= 'a' && id.p[i] <= 'z') && !(id.p[i] >= '2' && id.p[i] <= '7'))
            return false;
    return true;
}

struct sandbox *registry_find(const struct registry *registry, struct str id)
{
    uint64_t hash = hash_text(id);

    for (struct hash_node *node = hash_chain(&registry->by_id, hash); node; node = node->next) {
        struct sandbox *sandbox = container_of(node, struct sandbox, by_id);

        if (node->hash == hash && str_is(id, sandbox->row.id))
            return sandbox;
    }
    return NULL;
}

struct sandbox *registry_add(struct daemon *daemon, struct str id)
{
    struct sandbox *sandbox = calloc(1, sizeof(*sandbox));

    if (!sandbox)
        return NULL;
    sandbox->daemon = daemon;
    sandbox->refs = 1;
    sandbox->state = SANDBOX_STOPPED;
    sandbox->instance.kind = INSTANCE_SANDBOX;
    list_init(&sandbox->waits);
    if (str_copy(id, sandbox->row.id, sizeof(sandbox->row.id)) < 0 ||
        hash_insert(&daemon->registry.by_id, &sandbox->by_id, hash_text(id)) < 0) {
        free(sandbox);
        return NULL;
    }
    list_append(&daemon->registry.order, &sandbox->order);
    return sandbox;
}

void registry_remove(struct registry *registry, struct sandbox *sandbox)
{
    if (!list_linked(&sandbox->order))
        return;
    hash_remove(&registry->by_id, &sandbox->by_id);
    instance_unregister(registry, &sandbox->instance);
    list_remove(&sandbox->order);
    list_remove(&sandbox->dirty);
    sandbox_unref(sandbox);
}

struct sandbox *sandbox_ref(struct sandbox *sandbox)
{
    sandbox->refs++;
    return sandbox;
}

void sandbox_unref(struct sandbox *sandbox)
{
    if (!sandbox || --sandbox->refs > 0)
        return;
    loop_timer_stop(sandbox->daemon->loop, &sandbox->idle_timer);
    agent_link_unref(sandbox->link);
    free(sandbox->environment);
    free(sandbox->row.env);
    free(sandbox->row.egress);
    free(sandbox->row.labels);
    free(sandbox);
}

/* --- instances --- */

struct instance *instance_find(const struct registry *registry, uint64_t key)
{
    uint64_t hash = hash_number(key);

    for (struct hash_node *node = hash_chain(&registry->by_key, hash); node; node = node->next) {
        struct instance *instance = container_of(node, struct instance, node);

        if (instance->key == key)
            return instance;
    }
    return NULL;
}

uint64_t instance_new_key(const struct registry *registry)
{
    uint64_t key;

    do
        random_bytes(&key, sizeof(key));
    while (key == 0 || instance_find(registry, key));
    return key;
}

int instance_register(struct registry *registry, struct instance *instance, uint64_t key)
{
    instance->key = key;
    if (hash_insert(&registry->by_key, &instance->node, hash_number(key)) == 0)
        return 0;
    instance->key = 0;
    return -1;
}

void instance_unregister(struct registry *registry, struct instance *instance)
{
    if (!instance->key)
        return;
    hash_remove(&registry->by_key, &instance->node);
    instance->key = 0;
}
