/* image_config.h - Docker's Config object of an image: from ours, and merged with what a container asks for. */
#pragma once

#include "daemon/docker/engine.h"

/* The Config of a local image as JSON, in `arena`. NULL without memory. */
char *image_config_of_entry(struct arena *arena, const struct image_entry *entry, bool plain);

/*
 * `base` with the members of `changes` that are there: Env and Labels and ExposedPorts are merged by name, all
 * others replaced; an Entrypoint without a Cmd takes the base's Cmd away, as Docker does. JSON text, the caller's
 * to free; NULL without memory.
 */
char *image_config_merge(const struct json *base, const struct json *changes);

/* What a container runs, of a merged Config: a JSON array, the caller's to free. NULL without memory. */
char *image_config_command(const struct json *config, bool plain);
/* Env as an object. Likewise. */
char *image_config_env(const struct json *config);

/* Whether Config has the shapes that the others rely on. INVALID_REQUEST with the field. */
int image_config_check(const struct json *config, struct berm_error *err);
