/*
 * fifo.h - named pipes for the output of session commands, in a directory of our own.
 *
 * The directory is in /dev/shm if it can be: each write to a FIFO updates its times, which on a disk costs a
 * transaction of the file system.
 *
 * A session's shell opens the two FIFOs of a pair for each command by name and closes them after it. A background
 * child that the command leaves behind keeps its end open; then the pair is not used again but drained and dropped
 * until the last writer is gone, so that its later output neither reaches another command nor blocks the child.
 *
 * User code may delete the directory (it is root in its sandbox); whatever needs it next makes a new one.
 */
#pragma once

#include "agent/child/stream.h"

struct agent;

#define FIFO_PATH_MAX 64

struct fifo_dir {
    char path[FIFO_PATH_MAX]; /* "" until the first use; only letters, digits and "_./-" */
    unsigned place;           /* which of the possible places it is in */
    unsigned next;
    struct fifo_pair *spare; /* made, not open; or NULL */
};

/*
 * In the directory there is a link of this name that leads every process to its own descriptor CHILD_EXTRA_FD.
 * A shell that is started there and told to run the script "bash" reads that, and calls itself by that name.
 */
#define FIFO_DIR_SCRIPT "bash"

struct fifo_pair {
    struct agent *agent;
    struct stream streams[STREAM_COUNT];
    char paths[STREAM_COUNT][FIFO_PATH_MAX];
    bool draining;
    struct loop_deferred free_later;
};

/* Makes the directory unless it is there. 0, or -1 with errno. */
int fifo_dir_ensure(struct agent *agent);
/* Makes a node of a new name and returns its path in `out`: a FIFO or a regular file (S_IFREG). 0, or -1 with
 * errno. */
int fifo_dir_make(struct agent *agent, mode_t type, char out[FIFO_PATH_MAX]);
/* For the agent's end. */
void fifo_dir_remove(struct agent *agent);

/* A pair that nobody writes to, its streams without a sink. NULL with errno. */
struct fifo_pair *fifo_pair_new(struct agent *agent);
/* The two steps of that. Whoever opens a FIFO for writing waits until it is open for reading. */
struct fifo_pair *fifo_pair_make(struct agent *agent);
/* Makes one ahead, so that the next fifo_pair_make() need not: 15 us that nobody waits for. */
void fifo_pair_make_spare(struct agent *agent);
int fifo_pair_open(struct fifo_pair *pair);
/* Whether the names still lead to FIFOs, that is, whether a shell could open them. */
bool fifo_pair_usable(const struct fifo_pair *pair);
void fifo_pair_set_sink(struct fifo_pair *pair, struct sink *sink);
/* Reads while the command runs. 0, or -1 with errno. */
int fifo_pair_watch(struct fifo_pair *pair);
/*
 * After a command: delivers what is in the pipes and stops watching. True when no writer is left and the pair can
 * serve the next one. What writers that are left write while we look may come along; it is bounded by the size of a
 * pipe.
 */
bool fifo_pair_finish(struct fifo_pair *pair);
/* Takes the pair over: it is freed when its last writer has gone. */
void fifo_pair_drain(struct fifo_pair *pair);
/* Nobody writes. */
void fifo_pair_free(struct fifo_pair *pair);
