/* terminal_message.h - what a viewer of a terminal says as text. Pure functions. */
#pragma once

#include "terminal.h"

enum terminal_message {
    TERMINAL_MESSAGE_RESIZE,  /* *ret is the size */
    TERMINAL_MESSAGE_IGNORED, /* of a kind that we do not know */
    TERMINAL_MESSAGE_INVALID,
    TERMINAL_MESSAGE_BAD_SIZE /* zero, negative or more than a terminal can have */
};

enum terminal_message terminal_message_read(struct str text, struct terminal_size *ret);
