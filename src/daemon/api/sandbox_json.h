/* sandbox_json.h - a sandbox as clients see it. */
#pragma once

#include "base/json.h"
#include "daemon/registry.h"

const char *sandbox_state_name(enum sandbox_state state);
/* `with_usage`: write a member "usage", null if `usage` is NULL. */
void sandbox_write_json(struct json_writer *w, const struct sandbox *sandbox, const struct spawn_stat *usage,
                        bool with_usage);
/* What it uses now, for plots. `usage` NULL: it does not run, or nobody could tell. */
void sandbox_write_stats(struct json_writer *w, const struct sandbox *sandbox, const struct spawn_stat *usage);
