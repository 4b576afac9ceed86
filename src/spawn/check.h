/*
 * check.h - `berm-spawn --check`: what this host offers for each layer of isolation.
 */
#pragma once

#include "options.h"

/* Prints "name<TAB>ok|degraded|missing<TAB>detail" lines; returns 1 if a required one is missing, else 0. */
int check_host(const struct spawn_options *options);
