/* json_keys.h - finds out whether an object has a key twice. Private to the JSON parser. */
#pragma once

#include "json.h"

/* 0 if all keys differ, 1 if two are equal, -1 without memory. Linear in the keys' bytes, also for hostile keys. */
int json_keys_find_duplicate(const struct json_member *members, size_t count);
