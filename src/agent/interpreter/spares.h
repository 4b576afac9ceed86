/* spares.h - interpreters that are prepared before anybody asks for them; see context.h. */
#pragma once

#include "context.h"

/* Whether a spare can become an interpreter with these variables: not if its program or its libraries read some of
 * them at their start only. `env` may be NULL. */
bool spares_env_fits(const struct env *env);
/* The one that is furthest of those that were started with the sandbox's environment as it is now, now the caller's
 * (who sets events and data), or NULL. */
struct kernel *spares_take(struct interpreter *interpreter, enum kernel_program program);
/* A context has been made: keep a spare of the kind for the next one. */
void spares_after_use(struct interpreter *interpreter, enum kernel_program program);
/* The snapshot does not fit: what is started from now on starts from the program, and spares of it go. */
void spares_snapshot_failed(struct interpreter *interpreter, enum kernel_program program);
/* Whether a snapshot can become an interpreter with this whole environment. */
bool spares_snapshot_fits(const struct interpreter *interpreter, enum kernel_program program, char *const *envp);
