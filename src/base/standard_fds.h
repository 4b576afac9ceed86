/* standard_fds.h - descriptors 0, 1 and 2 are open in our programs, whatever their caller did. */
#pragma once

/*
 * To be called first in main(). A descriptor that the caller has closed must not become a socket or a file of ours,
 * which output or the log would then go to. Closed stays closed in effect: reading gives the end, writing fails.
 * 0, or -1 with errno.
 */
int open_standard_fds(void);
