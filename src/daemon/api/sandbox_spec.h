/* sandbox_spec.h - the body of PUT /v1/sandbox/{id}: decoded and checked. */
#pragma once

#include "base/json.h"
#include "daemon/egress/policy.h"
#include "daemon/lifecycle.h"

/*
 * `body` may be NULL (nothing is named). Texts of *ret live in `arena`. Unknown members are errors: a misspelt
 * limit must not pass for none. `ceiling`: the operator's bounds of egress; NULL when that is off. -1 with a field
 * error.
 */
int sandbox_spec_decode(const struct config *config, const struct egress_ceiling *ceiling, struct arena *arena,
                        const struct json *body, struct sandbox_settings *ret, struct berm_error *err);

/* The body is the map itself; a null takes a member away. */
int env_spec_decode(struct arena *arena, const struct json *body, struct sandbox_settings *ret,
                    struct berm_error *err);
int labels_spec_decode(struct arena *arena, const struct json *body, struct sandbox_settings *ret,
                       struct berm_error *err);

/* A policy that is to be stored: its text, in the arena. */
int egress_spec_decode(const struct egress_ceiling *ceiling, struct arena *arena, const struct json *body,
                       const char **ret, struct berm_error *err);

bool label_name_valid(struct str name);
/* The environment of a command or session: any names that execve(2) can pass on, strings or null. */
int environment_check(const struct json *env, struct berm_error *err);
