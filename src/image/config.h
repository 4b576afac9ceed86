/*
 * config.h - config.json of an image: reading, writing and filling in. Private to src/image.
 */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "image/image.h"

#define IMAGE_CONFIG_MAX_BYTES (128u * 1024)
#define IMAGE_CONFIG_MAX_ENV   1024
#define IMAGE_CONFIG_MAX_WORDS 256

/* An empty configuration for this machine's architecture: no variables, no command, working directory "/". */
int image_config_init(struct image_config *config, struct arena *arena, struct berm_error *err);

/*
 * Each copies into the arena. A variable that is set again takes the new value. A relative working directory is
 * taken from "/" as container engines do, an empty one is "/". The words are those of `cmd` or `entrypoint`.
 */
int image_config_set_env(struct image_config *config, struct arena *arena, struct str name, struct str value,
                         struct berm_error *err);
int image_config_set_workdir(struct image_config *config, struct arena *arena, struct str path,
                             struct berm_error *err);
int image_config_set_user(struct image_config *config, struct arena *arena, struct str user,
                          struct berm_error *err);
int image_config_add_word(struct str *words, size_t *count, struct arena *arena, struct str word,
                          struct berm_error *err);
/* Those of the array `key` of a document, if it has one. */
int image_config_take_words(struct arena *arena, const struct json *object, const char *key, struct str *words,
                            size_t *count, struct berm_error *err);

/* The canonical text (see image.h). Sorts config->env. */
int image_config_write(struct image_config *config, struct buf *out, struct berm_error *err);

/* Reads what image_config_write wrote; IMAGE_INVALID for anything else. */
int image_config_parse(struct arena *arena, struct str text, struct image_config *ret, struct berm_error *err);

/* This machine's architecture by Go's name, or NULL when Berm has no name for it. */
const char *image_host_architecture(void);
