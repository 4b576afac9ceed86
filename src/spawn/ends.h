/*
 * ends.h - how processes ended whose worker had died before them.
 *
 * The keeper is a subreaper, so it inherits the children of a worker that crashes. It reaps them and writes how
 * each ended to a pipe, always before the process is gone: whoever finds no process finds a record. Without this a
 * prompt init of the host would be the only one to know.
 *
 * A process that lost its keeper, too, belongs to that init, and this knows nothing of it.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ENDS_KEPT 1024 /* records that nobody has asked for yet; the oldest go first */

struct end_record {
    int32_t pid;
    int32_t wait_status;
};

/* The worker's side. */
struct ends {
    int fd; /* the pipe, not blocking */
    uint32_t count;
    struct end_record records[ENDS_KEPT];
};

/* What waitpid() would have said instead of waitid(). */
int end_wait_status(const siginfo_t *info);

/* Of the keeper. -1 with errno. */
int ends_pipe(int *ret_read, int *ret_write);
void ends_tell(int write_fd, const siginfo_t *info);

/* Finds the record of a process and takes it out. */
bool ends_take(struct ends *e, pid_t pid, int *ret_wait_status);
