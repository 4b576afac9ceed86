/*
 * hijack.h - a connection that an `Upgrade: tcp` has taken away from HTTP: bytes both ways. Output is queued, and
 * its writer told to wait; input is read while somebody wants it. The client may shut its side down and go on
 * reading.
 */
#pragma once

#include "daemon/api/request.h"

struct hijack;

struct hijack_events {
    void (*on_input)(void *data, struct str bytes);
    void (*on_input_end)(void *data);
    void (*on_drain)(void *data); /* after hijack_write() returned false */
    void (*on_close)(
        void *data); /* the client is gone, or all is written after hijack_end(): freed behind this call */
};

/* Answers 101. What the client has sent already comes from inside, as input. NULL: the connection was lost. */
struct hijack *hijack_start(struct request *request, const char *content_type, const struct hijack_events *events,
                            void *data);
bool hijack_write(struct hijack *hijack,
                  struct str bytes); /* false: wait for on_drain, or without memory be closed */
size_t hijack_queued(const struct hijack *hijack);
void hijack_read(struct hijack *hijack, bool on); /* off at first */
/* Closes when all is written: on_close comes, perhaps from inside, and nothing else before it. */
void hijack_end(struct hijack *hijack);
void hijack_abort(struct hijack *hijack); /* at once, without on_close. NULL is allowed */
