/*
 * internal.h - what the files of the client library share: one HTTP request at a time over libcurl.
 *
 * Theory of operation: each call runs on a lane of its own (lane.h) and steps it until curl is done, waiting in
 * poll(2) on three things that can end or advance it at any moment: the lane, the caller's cancel descriptor, and
 * the caller's stdin, whose bytes are sent while the response streams. curl asks for body bytes when the socket can
 * take some; if stdin has none at that moment, the sending half is paused and the wait is for stdin as well. A
 * response that is complete ends the call even if the body is not all sent: a command need not read its input. A
 * stream (stream.c) is the same call with somebody else waiting.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/buf.h"
#include "base/json.h"
#include "client/lane.h"

#define ANSWER_MAX ((size_t)16 << 20) /* the largest JSON answer that is taken */
#define ARENA_MAX  ((size_t)64 << 20)

struct berm_client {
    struct berm_client
        *root;     /* whose the lanes are: itself, or of a berm_client_with() the client it was made of */
    char *url;     /* without a slash at its end */
    char *ca_file; /* or NULL */
    struct curl_slist *auth;
    struct curl_slist *fields; /* more of them in each request */
    bool loopback;             /* no proxy from the environment stands before the own machine */
    atomic_int cancel_fd;
    pthread_mutex_t lock; /* of what follows */
    struct lane *idle;
    size_t idle_count;
};

struct transfer {
    /* The request. */
    const char *method;
    const char *target;       /* below the client's URL, percent-encoded */
    const char *content_type; /* NULL: no body at all */
    const char *accept;
    const char *session;
    const char *const *fields; /* more "Name: value", NULL-terminated; or NULL */
    struct str body;           /* sent first */
    berm_source source;        /* then this, if given */
    void *source_data;
    int source_fd;       /* what the source reads from without blocking once poll(2) says so; -1: it may block */
    int64_t source_size; /* -1: until its end, chunked */

    /* Takes the body of a 2xx response; non-zero ends the transfer, *problem filled. NULL: kept in `answer`. */
    int (*on_body)(struct transfer *t, struct str piece);
    void *on_body_data;

    /* State and result. */
    struct berm_client *client;
    struct lane *lane; /* between transfer_begin() and transfer_end() */
    struct berm_problem *problem;
    struct curl_slist *headers;
    char *url;
    char why[CURL_ERROR_SIZE];
    struct buf answer;
    size_t body_sent;
    int64_t source_sent;
    long status;
    bool source_ended, send_paused, failed, finished; /* finished: nothing more is wanted from the response */
    bool connect_only; /* curl makes the connection and no request; the lane is not used again */
    bool hold;         /* on_body has no room: the response waits until transfer_go_on() */
    bool receive_held;
    struct str want_header; /* name of a response field that is kept; n == 0: none */
    char header[128];       /* its value, or "" */
};

#define TRANSFER_INIT(t_method, t_target)                                                                          \
    {                                                                                                              \
        .method = (t_method), .target = (t_target), .source_fd = -1, .answer = { .max = ANSWER_MAX },              \
    }

void transfer_done(struct transfer *t);
#define _cleanup_transfer_ _cleanup_(transfer_done)

/* In steps: 1 when it is over, 0 when there is something to wait for (transfer_fds), -1 with *problem. */
int transfer_begin(struct berm_client *client, struct transfer *t, struct berm_problem *problem);
int transfer_step(struct transfer *t, struct berm_problem *problem);
/* What an answer of 300 and above says, into t->problem. Returns -1. */
int transfer_api_problem(struct transfer *t);
/* Takes the response up again after on_body said that it has no room. */
void transfer_go_on(struct transfer *t);
/* Gives everything back but the answer. Closes the connection if it is not over. Idempotent. */
void transfer_end(struct transfer *t);
/* Waits for the transfer, the client's cancel descriptor, and the source if it is wanted. `timeout_ms` as poll(2).
 */
int transfer_wait(struct transfer *t, int timeout_ms, struct berm_problem *problem);

/* What is left now of `timeout_ms` (as poll(2) has it) that began then. */
int time_left_ms(int timeout_ms, const struct timespec *began);

/* Runs it. 0 if the daemon answered 2xx and everything was delivered; else -1 with *problem. */
int transfer_run(struct berm_client *client, struct transfer *t, struct berm_problem *problem);

/* The same with a JSON body and answer. `request` NULL: no body. *ret_answer lives in `arena`; NULL: not parsed. */
int transfer_json(struct berm_client *client, struct transfer *t, const struct buf *request, struct arena *arena,
                  const struct json **ret_answer, struct berm_problem *problem);

/*
 * GETs a document that becomes a list: `take` reads it into `list`, whose strings live in `arena`, where *ret_json
 * goes as well.
 */
typedef int (*list_take)(void *list, const struct json *answer, struct berm_error *err);
int transfer_list(struct berm_client *client, const char *target, struct arena *arena, list_take take, void *list,
                  const char **ret_json, struct berm_problem *problem);

/* ---- problems ---- */

int problem_set(struct berm_problem *problem, enum berm_problem_kind kind, int errnum, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int problem_memory(struct berm_problem *problem);
/* From a library error of base: field or protocol trouble in what the daemon sent. */
int problem_protocol(struct berm_problem *problem, const struct berm_error *err);
/* Control characters become '?': text of a daemon goes to a terminal. */
void problem_clean(char *text);

/* ---- targets and ids ---- */

bool sandbox_id_valid(const char *id);
/* "/v1/sandbox/<id><rest>" for free(); NULL with *problem for a bad id or without memory. */
char *sandbox_target(const char *id, const char *rest, struct berm_problem *problem);
/* Appends `s` percent-encoded; `keep` holds characters that stay besides the unreserved ones. */
int append_encoded(struct buf *out, const char *s, const char *keep);

/* ---- JSON both ways ---- */

/* Writes {"NAME":"value",...} from "NAME=value" strings; -1 with *problem if one has no name. */
int write_pairs(struct json_writer *w, const char *key, const char *const *pairs, struct berm_problem *problem);
/* A required string member copied for free(). */
int take_string(const struct json *object, const char *key, char **ret, struct berm_problem *problem);
