/*
 * process_follow.h - the output of a process as an event stream (event_stream.h): what there is, then what comes,
 * then how it ended.
 *
 * Theory of operation. A follower takes from the logs of the process (byte_log.h) at the pace of its client and
 * knows for each of the two streams how far it has come. In a session events are whole lines, one each; only
 * lines longer than 64 KiB come in parts. Without a session events are the bytes as they come. What is there
 * already, and what comes in bulk, goes together. Characters are never split. A follower that the bounded log has
 * overtaken gets an event "truncated" with the number of bytes that it has missed. The stream ends after the one
 * event that tells of the end of the process.
 */
#pragma once

#include "agent/http/request.h"
#include "process.h"

enum follow_form {
    FOLLOW_COMMAND, /* start, stdout, stderr, complete */
    FOLLOW_CALL,    /* the same with names of events; start has the pid and the session */
    FOLLOW_PROCESS  /* process_info, stdout, stderr, exit; with processId and offset */
};

/* Sends the head of an answer ahead of the process; one of the two others has to come then. False without memory.
 */
bool process_follow_begin(struct request *rq);
/* Of the two forms of a command that which the request asks for: `?events=named` is RPC's. */
enum follow_form process_follow_form(const struct request *rq);
/* There is no process: the answer that has begun ends like that of a command that failed. 0 is no exit code here.
 */
void process_follow_fail(struct request *rq, struct str command, int exit_code);
/* Answers the request, also one whose answer has begun. `from` are the offsets to begin at; those past the end mean
 * the end. */
void process_follow(struct request *rq, struct process *process, enum follow_form form,
                    const uint64_t from[STREAM_COUNT]);
