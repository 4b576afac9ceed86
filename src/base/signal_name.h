/* signal_name.h - "SIGTERM", "TERM" and "15" as signals. */
#pragma once

#include "base/base.h"

/* 0 if it is none. */
int signal_by_name(struct str text);
/* "SIGTERM", or NULL for a signal without a name. */
const char *signal_name(int signo);
