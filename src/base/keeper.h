/*
 * keeper.h - a process that does nothing but fork another one, the worker, again when that has crashed.
 *
 * For programs that bermd starts before it gives up its privileges and cannot start a second time. The worker dies
 * with the keeper. One that says why it ends (exits) is not started again. Beside the worker there is a spare,
 * which does nothing but become the keeper, with a spare and a worker of its own, when the keeper has been killed:
 * so only who kills both at once is rid of them. Signals meant for the worker are best sent to the process group,
 * which all of them are in.
 */
#pragma once

#include "base/base.h"

#include <sys/types.h>

#define KEEPER_SPARE_NAME "keeper-spare" /* as ps(1) shows it */

/* `work` runs in the worker, whose exit status it returns. Returns the status of the one that exited. */
int keeper_run(int (*work)(void *data), void *data);
/* The worker of this process, 0 between two. May be asked in a signal handler. */
pid_t keeper_worker(void);
