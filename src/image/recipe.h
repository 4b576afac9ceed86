/*
 * recipe.h - the `config` file of a recipe (image/README.md describes it). Private to src/image.
 */
#pragma once

#include "image/config.h"

#define RECIPE_CONFIG_MAX (64u * 1024)

struct recipe {
    const char *suite;   /* of Debian, such as "bookworm" */
    const char *variant; /* of mmdebstrap: "minbase", "essential", ... */
    struct image_config config;
};

/* Decodes the text into `arena`. INVALID_REQUEST with the number of the line that is wrong. */
int recipe_parse(struct arena *arena, struct str text, struct recipe *ret, struct berm_error *err);
