/* worker.h - the process that serves the wire: everything that reads what the network sends. */
#pragma once

#include "link/options.h"

/* Until bermd closes the wire: the process's exit status. */
int worker_run(const struct link_options *options, struct link_table *table);
