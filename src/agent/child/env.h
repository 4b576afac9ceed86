/*
 * env.h - environments: a growable list of "NAME=value" strings that the struct owns.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"

struct env {
    char **items; /* not NULL-terminated */
    size_t count;
    size_t cap;
};

int env_init(struct env *env, char *const *variables); /* `variables` NULL-terminated, or NULL for none */
void env_free(struct env *env);                        /* idempotent */

/* Replaces or adds. The name must not be empty nor hold '=' or NUL, the value no NUL. 0, or -1. */
int env_set(struct env *env, struct str name, struct str value);
/* The value, or NULL. */
const char *env_get(const struct env *env, const char *name);
/* Takes away what the members of `object` (may be NULL) that are null name. */
void env_remove_nulls(struct env *env, const struct json *object);
/* Lays all of `over` over `env`. */
int env_apply(struct env *env, const struct env *over);

/*
 * Adds the members of a JSON object to an empty `env`: strings; null is skipped, anything else refused with a field
 * error of `field`, as are names that are empty or hold '=' or NUL, and values that hold NUL. `object` NULL adds
 * nothing.
 */
int env_from_json(struct env *env, const struct json *object, const char *field, struct berm_error *err);

/* The array for execve(2): `base` with `over` (may be NULL) laid over it, strings borrowed. NULL without memory. */
char **env_merge(struct arena *arena, const struct env *base, const struct env *over);

/* What a shell takes as a variable's name: [A-Za-z_][A-Za-z0-9_]*. */
bool env_is_identifier(struct str name);

/* The name part of an item. */
struct str env_item_name(const char *item);
