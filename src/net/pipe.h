/*
 * pipe.h - the one pipe of the program, by which splice(2) moves bytes between two sockets without copying them;
 * private to src/net. For whoever has the loop's thread, within one callback: it is empty before and after, which
 * net_pipe_drop() makes sure of where it could not be emptied, as the bytes of one connection must never come to
 * another.
 */
#pragma once

#include "base/base.h"

#define NET_PIPE ((size_t)256 << 10) /* the most that is in it */

/* > 0: that many bytes of the socket, at most `most`, are in the pipe now. Else as recv(2); ENOTSUP: there is no
 * pipe, read instead. */
ssize_t net_pipe_fill(int socket, size_t most);
/* How many of the `n` bytes that are in it the socket has taken: fewer with errno, EAGAIN if it is full. */
size_t net_pipe_pour(size_t n, int socket);
/* Reads exactly the `n` bytes that are in it. -1: they are lost. */
int net_pipe_read(void *p, size_t n);
/* Whatever is in it is gone. */
void net_pipe_drop(void);
