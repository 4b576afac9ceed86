/* settings.h - the settings of a sandbox: taken over by a new one, changed on one that exists. For lifecycle.c. */
#pragma once

#include "daemon/lifecycle.h"

/* Fills in what `settings` (or NULL) names. `row` gets its own copies. 0, or -1 without memory. */
int settings_take(struct sandbox_row *row, const struct sandbox_settings *settings);

/*
 * Applies wait->settings to a sandbox that is not CREATING; wait->done comes once the limits hold, the store has it
 * all and the agent knows the environment.
 */
void settings_apply(struct sandbox *sandbox, struct sandbox_wait *wait);
/* The wait's memory goes away; the change goes on. */
void settings_cancel(struct sandbox *sandbox, struct sandbox_wait *wait);
/* The instance is gone: a change under way moves its wait to sandbox->waits. */
void settings_abandon(struct sandbox *sandbox);
