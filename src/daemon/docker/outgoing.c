/*
 * outgoing.c - every outgoing connection of a container is offered to workerd's listener on this host, as far as
 * the operator's bounds allow it, what is in TLS decrypted; what workerd does not want goes the way of the
 * sandbox's policy, which without `internet` lets nothing through.
 */
#include "daemon/docker/outgoing.h"

#include "base/log.h"
#include "daemon/docker/side.h"
#include "daemon/egress/egress.h"
#include "daemon/sandbox_egress.h"

#define NAMES_MAX 1024

static const char closed[] = "{\"mode\":\"deny\"}";

static const struct side_egress *told(const struct container *container)
{
    const struct container *beside = side_beside(container);

    return beside && beside->side && side_egress(beside->side)->known ? side_egress(beside->side) : NULL;
}

const char *container_egress_policy(const struct container *container)
{
    const struct side_egress *side = told(container);

    return side && !side->internet ? closed : NULL;
}

/* A NULL-terminated list in the arena; NULL: there are none. */
static const char **names_of(const struct side_egress *side, struct arena *arena)
{
    const struct json *list = NULL;
    const char **names;
    size_t count = 0;

    if (!side->allow_hostnames || json_parse(arena, str_from(side->allow_hostnames), 4, &list, NULL) < 0)
        return NULL;
    names = arena_calloc(arena, NAMES_MAX + 1, sizeof(*names));
    for (size_t i = 0; names && i < list->array.count && count < NAMES_MAX; i++) {
        const struct json *name = &list->array.items[i];

        if (name->type == JSON_STRING && !memchr(name->string.p, '\0', name->string.n))
            names[count++] = name->string.p;
    }
    return count ? names : NULL;
}

static void apply_policy(struct container *container, const struct side_egress *side)
{
    struct egress_service *service = container->docker->daemon->egress;
    struct egress_policy *policy = NULL;
    const struct json *body = NULL;
    struct berm_error err;
    struct arena arena;

    arena_init(&arena, 64 * 1024);
    if (side->internet)
        policy = egress_policy_ref(egress_service_policy(service));
    else if (json_parse(&arena, str_from(closed), 4, &body, &err) < 0 ||
             egress_policy_new(body, egress_service_ceiling(service), &policy, &err) < 0)
        log_error("docker.egress_failed", "container", container->name, "error", err.message);
    if (policy)
        egress_set_policy(container->sandbox->instance.egress, policy);
    egress_policy_unref(policy);
    arena_free(&arena);
}

const struct authority *docker_authority(struct docker *docker, struct berm_error *err)
{
    if (!docker->authority &&
        stored_authority(docker->daemon, "docker.authority", "docker", &docker->authority, err) < 0)
        return NULL;
    return docker->authority;
}

static void apply_authority(struct container *container)
{
    struct berm_error err;

    if (!docker_authority(container->docker, &err))
        log_error("docker.no_authority", "container", container->name, "error", err.message);
    egress_set_authority(container->sandbox->instance.egress, container->docker->authority);
}

void docker_sandbox_adopted(struct sandbox *sandbox)
{
    container_apply_egress(sandbox->container);
}

void container_apply_egress(struct container *container)
{
    static const uint8_t loopback[4] = { 127, 0, 0, 1 };
    const struct side_egress *side = told(container);
    struct egress_interceptor interceptor;
    struct arena arena;

    if (!side || !container->sandbox || !container->sandbox->instance.egress)
        return;
    arena_init(&arena, 64 * 1024 * 1024);
    interceptor = (struct egress_interceptor){ .ip = ip_from_v4(loopback),
                                               .port = side->port,
                                               .names = names_of(side, &arena) };
    if (egress_set_interceptor(container->sandbox->instance.egress, side->port ? &interceptor : NULL) < 0)
        log_error("docker.egress_failed", "container", container->name, "error", "out of memory");
    apply_authority(container);
    apply_policy(container, side);
    arena_free(&arena);
}
