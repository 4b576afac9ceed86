/*
 * confine.h - what the worker gives up before the first byte from the network: files but those it reads again, new
 * programs, tracing, kinds of sockets it has no use for.
 */
#pragma once

#include "link/options.h"

/* Raises the limit of descriptors, too. 0 or -1 with *err; without Landlock in the kernel that part is left out. */
int link_confine(const struct link_options *options, struct berm_error *err);
