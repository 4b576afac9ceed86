/* file_type.h - the MIME type of a file: by its name, else what file(1) says of its content, or without that
 * file_sniff.h. */
#pragma once

#include "agent/exec/collector.h"
#include "files.h"

struct file_type {
    struct file_request *f;
    struct collector output; /* of file(1) */
    void (*on_type)(struct file_type *type, const char *mime);
};

/* on_type comes once, perhaps before this returns; `mime` lives as long as the request. */
void file_type_find(struct file_type *type, struct file_request *f,
                    void (*on_type)(struct file_type *type, const char *mime));
