/*
 * bindings.h - the buckets that a mount may name by `binding`, as a Worker names its own: which bucket of which S3
 * server that is, and with which keys. They come from a file, sandbox.bindings_file.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

struct binding {
    char *name, *bucket, *endpoint;
    char *key_id, *secret; /* NULL: as for a mount without credentials */
};

struct bindings {
    struct binding *rows;
    size_t count;
};

/*
 * Reads the file and puts its bindings in place of those read before; on failure those stay. `path` NULL: none.
 * One a line: NAME BUCKET ENDPOINT [ACCESS_KEY_ID SECRET_ACCESS_KEY], words with blanks between them; # begins a
 * comment.
 */
int bindings_load_file(struct bindings *bindings, const char *path, struct berm_error *err);
/* NULL: there is none of that name. Borrowed until they are loaded again. */
const struct binding *bindings_find(const struct bindings *bindings, struct str name);
void bindings_free(struct bindings *bindings);
