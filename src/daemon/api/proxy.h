/*
 * proxy.h - one call to the sandbox's agent on behalf of a request: bodies stream both ways with back-pressure both
 * ways, and when the connection breaks, the client is told what became of the sandbox.
 *
 * The agent is hostile: its heads went through h1.h, what it says in an error is cut and escaped, and it decides
 * about nothing but the body of its own answer.
 */
#pragma once

#include "daemon/api/api.h"

struct field_list;

struct proxy_rules {
    /* The answer's head. True: the rule has begun our answer, the body is passed on. False: it is a refusal. */
    bool (*on_head)(struct request *request, const struct h1_head *head);
    /* Each piece of a body that is passed on. NULL: written as it is. */
    void (*on_piece)(struct request *request, struct str piece);
    /* The body is complete. NULL: the answer ends. */
    void (*on_complete)(struct request *request);
    /* A refusal with its body, which is cut at 64 KiB. */
    void (*on_refusal)(struct request *request, int status, struct str body);
    /* The call broke before its end. NULL: an error, or an aborted answer if it had begun. */
    void (*on_broken)(struct request *request, const struct berm_error *err);
    /* The fields of a 101 that the client gets to see. NULL: those of an answer under the API's own address. */
    int (*copy_fields)(struct request *request, const struct h1_head *head, struct field_list *fields);
};

/* Rules' on_head for bytes that are passed on as application/octet-stream when the agent answers 200. */
bool proxy_pass_bytes(struct request *request, const struct h1_head *head);
/* The same for an answer of the agent's that is read whole, whatever it is: on_refusal gets it. */
bool proxy_read_answer(struct request *request, const struct h1_head *head);

/*
 * Calls the agent of request->link; `length` as in http_call_start(). Body bytes go through proxy_write() and
 * proxy_end_body(), or come from the client after proxy_upload(). -1: the request has been failed, or, when too
 * many connect at once, request->next is called again in a moment; so that must not have done anything before.
 */
int proxy_start(struct request *request, const struct proxy_rules *rules, const char *method, const char *target,
                const struct http_field *fields, size_t count, uint64_t length);
/*
 * The same for a GET with a field Upgrade and no body. An answer of 101 is not for the rules: the client
 * gets it, and both connections are joined (passage.h).
 */
int proxy_start_upgrade(struct request *request, const struct proxy_rules *rules, const char *target,
                        const struct http_field *fields, size_t count);
void proxy_write(struct request *request, struct str bytes);
void proxy_end_body(struct request *request);
/* The length of the client's body, as http_call_start() takes it. */
uint64_t proxy_body_length(const struct request *request);
/* The request's body, being streamed, goes to the agent from now on. */
void proxy_upload(struct request *request);

/* For request.c: the client has room again; the exchange is over. */
void proxy_drained(struct request *request);
void proxy_close(struct request *request);

/* The text of an error in the agent's layout, in the arena; a fallback if there is none. `ret_code` may be NULL. */
const char *agent_error_message(struct request *request, struct str body, const char **ret_code);
