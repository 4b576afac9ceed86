/*
 * confine.h - takes from the daemon what it never needs, by Landlock: files outside its own directories, TCP
 * listening to TCP ports, signals to others. A second wall behind the unprivileged user: that user may read
 * what everybody may read, a daemon that was taken over may not.
 */
#pragma once

#include "daemon/config.h"

/* Opens the directories it may use while root can. The ruleset's fd; -1 with *err; -2: this kernel has no Landlock.
 */
int confine_prepare(const struct config *config, struct berm_error *err);
/* The same for bermd --edge, which writes nowhere. */
int confine_prepare_edge(const struct config *config, struct berm_error *err);
/* For this thread and those it starts. Takes the fd. */
int confine_enter(int ruleset_fd, struct berm_error *err);
