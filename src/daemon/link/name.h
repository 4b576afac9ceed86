/*
 * name.h - what daemons behind an edge are called, and what their previews and tunnels are called there. Pure.
 *
 *   <label>-<daemon>.<domain of the edge>
 *
 * <label> is what it would be below a domain of the daemon's own (edge/name.h), so all names are one label below
 * the edge's domain and one wildcard certificate does. A daemon's name holds no hyphen, so the last one ends the
 * label.
 */
#pragma once

#include "base/base.h"

#define LINK_NAME_MAX 20

/* 1 to 20 of [a-z0-9], a letter first. */
bool link_name_valid(struct str name);
/* Splits at the last hyphen; a name in capitals is copied in small letters into `name`. -1: it is none of these. */
int link_label_split(struct str label, struct str *ret_label, char name[LINK_NAME_MAX + 1]);
