/*
 * caps.h - capability sets.
 */
#pragma once

#include "base/base.h"

/* Lower-level sets are bits by capability number. All return 0, or -1 with errno. */

/* The sandbox's set: bounding set, permitted and effective become caps_sandbox(); nothing inheritable or ambient.
 */
int caps_drop_to_sandbox(void);
uint64_t caps_sandbox(void);

/* The worker's own: gives up what it never needs. */
int caps_drop_to_worker(void);
/* What the imager and its programs need; no_new_privs, so that no program brings more. */
int caps_drop_to_imager(void);
