/*
 * sys.h - system calls with the awkward parts taken care of. All return -1 with errno unless said otherwise.
 */
#pragma once

#include "base.h"

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

int write_all(int fd, const void *p, size_t n);
/* Reads to EOF or until `max` bytes: the count, or -1 (EFBIG when there is more). */
ssize_t read_to_end(int fd, void *p, size_t max);
/* Opens, reads and closes a small file below `dirfd`, NUL-terminating it: length without the NUL, or -1. */
ssize_t read_small_file(int dirfd, const char *path, char *out, size_t out_size);
/* One write(2) to an existing file, as /proc and cgroup files want it. */
int write_small_file(int dirfd, const char *path, const char *text);

#define TCP_LOOPBACK_CONTROL "reno" /* built into every kernel, and allowed to everybody */

int set_nonblocking(int fd);

/* The largest send buffer that the system gives: a unix stream of big bodies then wakes its reader less often. */
void socket_enlarge(int fd);
/*
 * For a TCP connection over the loopback, or a listener for such. What the host has chosen for the internet may
 * send at a pace that it has to find out, by timers (bbr): where nothing is ever lost, that costs a third of the
 * speed.
 */
void socket_unpace(int fd);

/* Every signal's default action, also of those that whoever started us ignored and libc hides (32 and 33). */
void reset_signal_actions(void);

/*
 * openat2 with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: `path` cannot leave `rootfd` whatever links it meets. Both
 * add O_CLOEXEC, and give up with EAGAIN when renames keep racing with the walk.
 */
int open_in_root(int rootfd, const char *path, int flags, mode_t mode);
/* openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS: `path` may not even try. */
int open_beneath(int dirfd, const char *path, int flags, mode_t mode);

#define FDS_MAX 4

/*
 * One message with up to FDS_MAX descriptors over a seqpacket or stream unix socket. Received ones are
 * close-on-exec; more than asked for are closed and the message refused (EPROTO), as is a truncated one.
 */
int send_fds(int sock, const void *message, size_t n, const int *fds, size_t nfds);
ssize_t recv_fds(int sock, void *message, size_t max, int *fds, size_t max_fds, size_t *ret_nfds);

/* fork(2); the child is killed when its parent ends. */
pid_t fork_bound(void);
int pidfd_open_pid(pid_t pid);
int pidfd_signal(int pidfd, int signo);

/* An address of `name` inside the directory `dirfd`, by way of /proc/self/fd, so that no path is ever too long. */
int unix_address_at(int dirfd, const char *name, struct sockaddr_un *ret, socklen_t *ret_len);

/* RFC 3339 UTC with milliseconds and Z: 24 characters and a NUL. */
void format_timestamp(int64_t unix_ms, char out[25]);
