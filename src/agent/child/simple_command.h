/*
 * simple_command.h - commands that need no shell.
 *
 * `bash -c 'ls -la /tmp'` takes a millisecond to start bash, which then does nothing but execve(2) the program in
 * its own place. For a text that is only words of plain characters, whose first word is a program and no word of
 * bash's, the agent does that execve itself, with the environment that bash would hand on. Whatever is not certain
 * to come out the same is left to bash: quotes, expansions, assignments, builtins, keywords, programs that are not
 * found or have no format of the kernel's, and environments that make bash run code first (BASH_ENV, exported
 * functions).
 */
#pragma once

#include "base/arena.h"
#include "env.h"

/* The words of `text`, NULL-terminated, in the arena; NULL if it needs a shell (or memory is out). */
char **simple_command_split(struct arena *arena, struct str text);

/* The program that `name` means: as it is if it holds a '/', else by the PATH of `envp`. NULL: not found, not
 * certain. */
const char *simple_command_find(struct arena *arena, const char *name, char *const *envp);

/* Whether bash would run something of its own first. */
bool simple_command_env_is_plain(char *const *envp);

/*
 * `envp` as bash hands it on: PWD is `directory`, SHLVL counts from 0, _ is the program. OLDPWD is kept only if it
 * names a directory. NULL without memory.
 */
char **simple_command_env(struct arena *arena, char *const *envp, const char *directory, const char *program);
