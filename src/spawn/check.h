/*
 * check.h - `berm-spawn --check`: what this host offers for each layer of isolation.
 */
#pragma once

/* Prints "name<TAB>ok|degraded|missing<TAB>detail" lines; returns 1 if a required one is missing, else 0. */
int check_host(void);
