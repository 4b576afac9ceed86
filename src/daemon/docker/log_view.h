/*
 * log_view.h - which lines of a container's log one reader wants, and in what form: of which streams, since and
 * until when, without the first ones (`tail`), with the time before each. Pure.
 *
 * A log is a row of records, as the agent tells them: a head of LOG_RECORD_HEAD bytes (stream number, three zeros,
 * length and time, big-endian), then what was read at that time. A line may have been written in several pieces:
 * its time is that of the first, and what becomes of it becomes of all of it.
 */
#pragma once

#include "base/base.h"

#define LOG_RECORD_HEAD 16
#define LOG_STREAMS     3

struct log_record {
    int stream;       /* 1: standard output, 2: standard error */
    uint64_t time_ns; /* since 1970 */
    struct str text;
    size_t size; /* with its head */
};

/* The record at the beginning of `bytes`. 0; 1: it is not whole yet, ret->size is known if there is a head; -1: it
 * is none. */
int log_record_parse(struct str bytes, struct log_record *ret);

struct log_view {
    unsigned streams; /* 1 << number */
    bool timestamps;
    uint64_t since_ns, until_ns; /* both included */
    uint64_t skip;               /* lines of what comes that are left out */
    struct log_line {
        bool begun, wanted;
    } lines[LOG_STREAMS];
};

/* "1700000000" or "1700000000.123456789" seconds, or RFC 3339 in UTC. -1: neither. */
int log_time_parse(const char *text, uint64_t *ret_ns);

/* How many lines that are wanted begin in `record`. `view` goes on: count with a copy. */
uint64_t log_view_count(struct log_view *view, const struct log_record *record);
/* Calls `emit` for each piece that is to be sent. */
void log_view_take(struct log_view *view, const struct log_record *record,
                   void (*emit)(void *data, int stream, struct str time, struct str text), void *data);
