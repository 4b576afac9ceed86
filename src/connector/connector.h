/*
 * connector.h - berm-connector: the cloudflareds of a bermd.
 *
 * Theory of operation. It does what bermd tells it over the wire (base/connector_wire.h) and ends with it: when the
 * wire is closed every cloudflared gets its SIGTERM, and three seconds later its end. Each is a process group of
 * its own, without descriptors but a pipe that both its outputs are, without environment but what is in process.c,
 * and dies with us however we die. What it prints is read and forgotten (base/cloudflared.h).
 *
 * bermd cannot start it twice, so the process that bermd starts only keeps a worker (base/keeper.h). Which runs
 * there are is in memory that both share; the successor of a worker that has crashed tells bermd that they have
 * ended.
 */
#pragma once

#include "base/connector_wire.h"
#include "base/list.h"
#include "net/cloudflared_watch.h"

/* Outlives a worker. */
struct connector_table {
    _Atomic uint32_t last;                     /* the highest number that was ever taken from the wire */
    _Atomic uint32_t runs[CONNECTOR_RUNS_MAX]; /* whose end bermd has not been told; 0: free */
};

struct connector {
    struct loop *loop;
    struct loop_io wire;
    const char *program, *origin; /* NULL: the cloudflared on the PATH; the URL that it is to reach */
    struct list runs;             /* struct run */
    unsigned run_count;
    struct connector_table *table;
    uint32_t buried; /* runs up to this one were our predecessors', and have ended */
    bool ending;     /* the wire is closed */
};

struct run {
    struct connector *connector;
    struct list node;
    uint32_t number;
    bool named;
    struct cloudflared_watch watch;
    pid_t pid;
    struct loop_io output, exit; /* a pipe, a pidfd */
    struct loop_timer grace;
    struct loop_deferred free_later;
    enum connector_reason reason; /* why we end it; 0: we do not */
};

/* --- process.c --- */

/* A cloudflared, as connector->program says: its pid, with the pipe of what it prints. -1 with errno. */
pid_t cloudflared_spawn(const struct connector *connector, bool named, const char *token, int *ret_output);

/* --- run.c --- */

/* Begins one, or tells that there is none. */
void run_begin(struct connector *connector, const struct connector_message *start);
void run_stop(struct run *run, enum connector_reason reason);
struct run *run_find(struct connector *connector, uint32_t number);
/* Before its START is taken from the wire. */
void run_note(struct connector *connector, uint32_t number);
/* All of the table, which predecessors have left. */
void runs_bury(struct connector *connector);

/* --- wire.c --- */

/* What bermd may say. Pure. */
bool connector_accepts(const struct connector_message *message, size_t n);
void connector_tell(struct connector *connector, const struct connector_message *message);
/* Serves the wire until it is closed and nothing runs any more. The exit status. */
int connector_serve(struct connector *connector, int wire);
