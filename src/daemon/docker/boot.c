/* boot.c - from a description to a sandbox whose agent answers. */
#include "daemon/agent_call.h"
#include "daemon/docker/outgoing.h"
#include "daemon/docker/volumes.h"

static void finish(struct container *container, const struct berm_error *err)
{
    struct list waits;
    struct list *node;

    list_init(&waits);
    list_splice(&waits, &container->boot_waits);
    while ((node = list_shift(&waits))) {
        struct boot_wait *wait = container_of(node, struct boot_wait, node);

        /* One of those before may have ended it. */
        wait->done(wait, err ? NULL : container->sandbox->link, err);
    }
}

void container_stop_booting(struct container *container, const struct berm_error *err)
{
    mounts_cancel(container);
    agent_call_cancel(container->probe);
    container->probe = NULL;
    if (container->waiting)
        lifecycle_cancel(container->docker->daemon, &container->wait);
    container->waiting = false;
    free(container->labels_text);
    container->labels_text = NULL;
    finish(container, err);
}

static void on_answer(const struct berm_error *err, void *data)
{
    struct container *container = data;

    container->probe = NULL;
    if (err->code == BERM_OK) {
        lifecycle_environment_told(container->sandbox, container->sandbox->link);
        container_apply_egress(container);
        container->booted = true;
        finish(container, NULL);
    } else {
        finish(container, err);
    }
}

/* The agent's socket listens from before its start, so this waits for exactly as long as it takes to be there. */
void mounts_done(struct container *container, const struct berm_error *err)
{
    struct sandbox *sandbox = container->sandbox;
    struct berm_error failure = *err;

    if (failure.code == BERM_OK)
        container->probe = agent_call_start(sandbox->link, "GET", "/api/ping", STR(""), sandbox->environment,
                                            on_answer, container, &failure);
    if (!container->probe)
        finish(container, &failure);
}

static void on_sandbox(struct sandbox_wait *wait, struct sandbox *sandbox, const struct berm_error *err)
{
    struct container *container = container_of(wait, struct container, wait);
    container->waiting = false;
    free(container->labels_text);
    container->labels_text = NULL;
    if (!sandbox) {
        finish(container, err);
        return;
    }
    if (!container->sandbox) {
        container->sandbox = sandbox_ref(sandbox);
        sandbox->container = container;
    }
    mounts_begin(container);
}

static void begin(struct container *container)
{
    struct berm_error err;

    container->labels_text = container_labels(container);
    if (!container->labels_text) {
        berm_fail(&err, BERM_E_SYSTEM, ENOMEM, "container");
        finish(container, &err);
        return;
    }
    container->settings = (struct sandbox_settings){ .image = container->berm_image,
                                                     .limits = container->limits,
                                                     .env = container->env,
                                                     .labels = container->labels_text,
                                                     .egress = container_egress_policy(container),
                                                     .has_keep_alive = true,
                                                     .keep_alive = true };
    container->wait =
        (struct sandbox_wait){ .id = container->sandbox_id, .settings = &container->settings, .done = on_sandbox };
    container->waiting = true;
    lifecycle_use(container->docker->daemon, &container->wait);
}

void container_boot(struct container *container, struct boot_wait *wait)
{
    if (container->booted) {
        wait->done(wait, container->sandbox->link, NULL);
        return;
    }
    list_append(&container->boot_waits, &wait->node);
    if (!container->waiting && !container->mounting && !container->probe)
        begin(container);
}

void container_boot_cancel(struct boot_wait *wait)
{
    list_remove(&wait->node);
}
