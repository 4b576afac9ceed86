/* file_entry.h - what is told of a file besides its name and contents. */
#pragma once

#include "base/json.h"

#include <sys/stat.h>

/* The members type, size, modifiedAt, mode and permissions. */
void file_entry_put(struct json_writer *w, const struct stat *st);
