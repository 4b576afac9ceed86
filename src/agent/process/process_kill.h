/*
 * process_kill.h - ending processes with all that they have started.
 *
 * Theory of operation. The tree of a process is what descends from it, what is in a session or process group that
 * one of these leads, what carries its mark (process_mark.h; so that orphans are found), and what descends from
 * that, read from /proc at one moment. Each
 * member is held by a pidfd, which says when it is gone and cannot come to mean another one. The steps are
 *
 *   ASKED   the first signal to all, the leaves first; GRACE_MS for them to go
 *   FORCED  the tree is read anew and all of it gets SIGKILL, until nothing new turns up; GIVE_UP_MS
 *   OVER    all are gone, or the kernel does not let them go
 *
 * and the process ends with the last. Any number of processes can be in this at once.
 */
#pragma once

#include "process.h"

struct process_kill;

/*
 * Begins, or does nothing if that has begun; SIGKILL goes straight to the second step. The process must run; it may
 * have ended when this returns. Who wants to hear of the end waits for it (process_wait()) before.
 */
void process_kill(struct process *process, int signo);
/* The same for every listed or unlisted process of a session (NULL: for all). How many. */
size_t process_kill_session(struct agent *agent, const char *session_id, int signo);

/*
 * A signal to the tree, without any consequence of ours. How many have got it.
 */
size_t process_signal(struct process *process, int signo);

/* --- for process.c --- */

bool process_kill_over(const struct process_kill *k);
int process_kill_signal(const struct process_kill *k); /* the strongest that was sent */
void process_kill_free(struct process_kill *k);        /* NULL is fine */
