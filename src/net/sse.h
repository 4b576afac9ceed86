/* sse.h - writing server-sent events (WHATWG HTML, section "Server-sent events"). */
#pragma once

#include "base/buf.h"

/* "event: <event>\ndata: <data>\n\n"; `event` NULL leaves that line out. `data` must hold no CR or LF: else -1. */
int sse_append(struct buf *out, const char *event, struct str data);
/* The same with the data base64-encoded on the way. */
int sse_append_base64(struct buf *out, const char *event, const void *p, size_t n);
