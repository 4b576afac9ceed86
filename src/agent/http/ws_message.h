/*
 * ws_message.h - what clients say on /ws: one JSON object a message.
 *
 * Pure functions over text. A message is checked against the grammar of JSON and taken apart into its members'
 * texts without building anything, because its body may be megabytes that only the route behind it has to
 * understand; what the strict parser would refuse there (a lone surrogate, a key given twice) must be that route's
 * error, with the request's id, and not this layer's, without.
 */
#pragma once

#include "base/base.h"

#define WS_MESSAGE_ID_MAX ((size_t)1024)

enum ws_message_kind {
    WS_MESSAGE_BROKEN, /* not JSON, or nested deeper than any route allows */
    WS_MESSAGE_UNKNOWN,
    WS_MESSAGE_REQUEST,
    WS_MESSAGE_CANCEL
};

/* JSON texts as they stand in the message, without white space around; n == 0: absent. Of a key given twice the
 * last. */
struct ws_message {
    struct str type, id, method, path, headers, body;
};

/* `text` is well-formed UTF-8. An id longer than WS_MESSAGE_ID_MAX, and a cancel without a string for one, is
 * UNKNOWN. */
enum ws_message_kind ws_message_read(struct str text, struct ws_message *ret);
