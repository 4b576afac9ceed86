/* sandbox_spec.h - the body of PUT /v1/sandbox/{id}: decoded and checked. */
#pragma once

#include "base/json.h"
#include "daemon/lifecycle.h"

/*
 * `body` may be NULL (nothing is named). Texts of *ret live in `arena`. Unknown members are errors: a misspelt
 * limit must not pass for none. -1 with a field error.
 */
int sandbox_spec_decode(const struct config *config, struct arena *arena, const struct json *body,
                        struct sandbox_settings *ret, struct berm_error *err);

bool label_name_valid(struct str name);
/* The environment of a command or session: any names that execve(2) can pass on, strings or null. */
int environment_check(const struct json *env, struct berm_error *err);
