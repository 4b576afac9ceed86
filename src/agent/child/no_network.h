/*
 * no_network.h - takes the network away from the calling process and all that come of it: a system call filter that
 * lets it have unix sockets and nothing else. There is no way back.
 */
#pragma once

/* 0, or -1 with errno where the kernel has no such filters. System calls only. */
int no_network_enter(void);
