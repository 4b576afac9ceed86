/*
 * notify.h - tells the service manager that started us how far we are, as sd_notify(3) describes it: a datagram to
 * the unix socket that NOTIFY_SOCKET names. Without that variable nobody is told.
 */
#pragma once

#include <stdint.h>

#define NOTIFY_READY "READY=1" /* clients are served */

/*
 * The socket, or -EBADF where nobody asked or can be reached, which is logged and no reason not to start. To be
 * called before the user and the files that we may open change. Takes the variable out of the environment: no
 * program that we start speaks for us.
 */
int notify_open(void);
/* -EBADF is nobody. Never blocks; a failure is logged. */
void notify_tell(int fd, const char *state);
/* That the end has begun, and how long it may take: the manager would kill us after a time of its own. */
void notify_stopping(int fd, uint64_t most_ms);
