/*
 * docker.h - the part of the Docker Engine API that workerd, wrangler and `berm docker` use, on a unix socket.
 *
 * A container is an ordinary sandbox of the registry with labels "docker.*" that say what Docker's clients need to
 * find it again, so it survives the daemon like any other. What has not been started yet lives in memory only.
 * Whoever may open the socket may use every sandbox made through it: its mode and group are the whole protection.
 */
#pragma once

#include "daemon/registry.h"

struct daemon;
struct docker;

/* As root: the listening socket of --docker-socket with its mode and group. A stale one is replaced. -1 with *err.
 */
int docker_listen(const struct config *config, struct berm_error *err);

/* Takes over the listening socket. After the store was read. NULL with *err. */
struct docker *docker_new(struct daemon *daemon, int listen_fd, struct berm_error *err);
void docker_free(struct docker *docker); /* NULL is allowed */
/* Stops accepting requests; those that wait for a container to end do not count as busy. */
void docker_drain(struct docker *docker);

/* An instance of a sandbox has ended: from lifecycle.c, for sandboxes with a container. */
void docker_sandbox_ended(struct sandbox *sandbox, enum end_reason reason, int exit_status);
/* An instance of one was found running and has its network again. */
void docker_sandbox_adopted(struct sandbox *sandbox);
/* Its agent can be asked: what its command writes is read on. */
void docker_sandbox_linked(struct sandbox *sandbox);
/* Once all is adopted: has berm-spawn tell its volumes. Nothing for NULL; likewise the next. */
void docker_sweep_volumes(struct docker *docker);
/* One of them: it is removed unless it is known. */
void docker_volume_found(struct docker *docker, uint64_t number);
/* berm-spawn has made an image of a sandbox's files, or could not (event->error). Nothing for NULL; likewise the
 * next.
 */
void docker_committed(struct docker *docker, uint64_t number, const struct spawn_reply *event);
/* Its worker has died with what was under way. */
void docker_commits_lost(struct docker *docker);
/* Has berm-spawn tell the images that it has made; of each: it is removed if nothing uses it. */
void docker_sweep_images(struct docker *docker);
void docker_image_found(struct docker *docker, uint64_t number, const uint8_t digest[32]);
/* A sandbox has been deleted: its container goes with it. */
void docker_sandbox_deleted(struct sandbox *sandbox);
