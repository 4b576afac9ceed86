/*
 * command_log.h - what the container's command has written, for GET /berm/v1/logs: the newest COMMAND_LOG_BYTES of
 * it, in records of a byte of stream number, three zeros, a length and the nanoseconds since 1970 (both
 * big-endian), and the bytes that were read then.
 *
 * There is one reader, bermd, which follows from the command's start; one that comes later gets what is still
 * there. A reader that does not read loses what is overwritten meanwhile, whole records at a time, and never stops
 * the command.
 *
 * bermd says when it has read all of it (DELETE /berm/v1/logs). An agent that ends with its command waits for that,
 * for a while: what is in a socket when its writer ends is lost with a reader who hears of the end first.
 */
#pragma once

#include "agent/child/sink.h"
#include "base/buf.h"
#include "base/loop.h"

#define COMMAND_LOG_BYTES ((size_t)256 * 1024)

struct agent;
struct request;

struct command_log {
    struct sink sink;
    struct buf records;     /* no memory before the first byte */
    struct request *reader; /* NULL: nobody follows */
    bool blocked;           /* the reader takes no more at the moment; what comes is only kept */
    bool told;              /* bermd has read it to its end */
    struct loop_timer last; /* runs while an agent that ends waits for that */
    size_t unsent;          /* bytes at the end of `records` that the reader has not been given */
};

void command_log_init(struct command_log *log);
/* The command has ended and so have its streams: the reader gets its end. */
void command_log_end(struct command_log *log);
/* Nothing of it would be lost if the agent ended now. */
bool command_log_settled(const struct command_log *log);
/* Stops the loop as soon as that is so, or there has been time enough for it. */
void command_log_leave(struct agent *agent);
