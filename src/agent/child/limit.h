/*
 * limit.h - what a command with limits may use, and the receipt of what it has used: the member "limits" of a
 * request and the member "usage" of the answer. How they are held is in metered.h and keeper.h.
 *
 *   limits: {cpuMs, memory, pids, wallMs, outputBytes, network}   each may be missing; {} asks for the receipt
 * alone usage:  {cpuMs, maxRss, ioBytes, netBytes, reason}            null: could not be measured
 */
#pragma once

#include "base/error.h"
#include "base/json.h"

#define LIMIT_NONE INT64_MAX

struct limits {
    int64_t cpu_ms;       /* of processor time, of all its processes together */
    int64_t memory;       /* bytes, of all its processes together */
    int64_t pids;         /* processes at once */
    int64_t wall_ms;      /* since its start */
    int64_t output_bytes; /* of stdout and stderr together */
    bool no_network;      /* no sockets but those of the machine itself */
};

/* Why it ended. */
enum end_reason {
    END_EXITED,  /* by itself, whatever the code or signal */
    END_KILLED,  /* by request, or because its client went away */
    END_TIMEOUT, /* the request's time limit */
    END_CPU,     /* a limit, and so on */
    END_MEMORY,
    END_PIDS,
    END_WALL,
    END_OUTPUT
};

struct usage {
    bool measured; /* else only the reason is known */
    uint64_t cpu_us;
    uint64_t max_rss;  /* bytes, of its largest process */
    uint64_t io_bytes; /* read from and written to storage */
    bool no_network;   /* so netBytes is 0 */
    bool net_known;    /* see net_count.h */
    uint64_t net_bytes;
    enum end_reason reason;
};

/* The member "limits" of `body`. *ret_given is false, and *ret is left alone, without one. -1: a field error. */
int limits_from_json(const struct json *body, struct limits *ret, bool *ret_given, struct berm_error *err);

/* "usage": {...} */
void usage_put(struct json_writer *w, const struct usage *usage);
