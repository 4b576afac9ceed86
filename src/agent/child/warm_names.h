/* warm_names.h - the names that the start of nearly every program asks for, asked for ahead of time. */
#pragma once

#include "env.h"

/*
 * Who asks first for a name in a mount waits for a search in each layer of the overlay; together that is a tenth of
 * the CPU time of a sandbox's first command. Blocks on file systems that do not answer: for before the sandbox's
 * code runs.
 */
void warm_names(const struct env *env);
