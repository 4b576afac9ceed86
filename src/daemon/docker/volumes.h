/*
 * volumes.h - volumes of the Docker API: directory trees that outlive containers.
 *
 * A volume is a document of the store and a subvolume of berm-spawn's pool, which knows it by a random number only.
 * The subvolume is there before the document and goes after it, so whatever a crash leaves in between has no
 * document, and is removed by docker_sweep_volumes() once the daemon and berm-spawn have found each other again.
 */
#pragma once

#include "daemon/docker/engine.h"

#define VOLUME_ANONYMOUS                                                                                           \
    "com.docker.volume.anonymous" /* Docker's label for one that a container has brought about */

struct docker_volume {
    struct list node;
    char name[DOCKER_NAME_MAX + 1];
    uint64_t number;
    uint64_t disk_bytes;
    int64_t created_ms;
    char *labels; /* JSON object, owned */
};

int volumes_load(struct docker *docker, struct berm_error *err);
void volumes_free(struct docker *docker);
/* Makes one of that name, then goes on with `next`, unless the client is gone; a failure is answered. */
void volume_make(struct request *request, const char *name, void (*next)(struct request *request));
struct docker_volume *volume_find(const struct docker *docker, struct str name);

/* --- mounts of a container (mounts.c) --- */

/*
 * What Binds and Mounts of a HostConfig ask for, as container->mounts: a JSON array as Docker shows it. All but
 * volumes is refused. A volume that does not exist is made: then `again` is called, and -1 returned as when the
 * request was answered.
 */
int mounts_take(struct request *request, struct container *container, const struct json *host,
                void (*again)(struct request *request));
bool mounts_name(const struct container *container, const char *volume);
/* Mounts all that is not mounted yet in the running instance; mounts_done() of boot.c comes, perhaps at once. */
void mounts_begin(struct container *container);
void mounts_cancel(struct container *container); /* idempotent */
/* BERM_OK: all are there. */
void mounts_done(struct container *container, const struct berm_error *err);
