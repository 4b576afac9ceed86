/* exchange.h - a call as an HTTP exchange with our own server. */
#pragma once

#include "net/client.h"
#include "rpc.h"

struct rpc_exchange;

/* How a call becomes a request and its answer a result. */
struct rpc_route {
    const char *method;
    const char *path; /* a '%' stands for the first argument, which then is none of `members` */
    /*
     * The arguments in their order, as members of the body; "*" spreads the members of an object. NULL: there is no
     * body.
     */
    const char *members;
    /* Makes the result; NULL: the answer's JSON is it. */
    struct capnweb_value (*result)(struct capnweb_call *call, const struct json *answer);
    /*
     * Of a route that answers events whatever happens: the error of an operation ("file.read") that the first event
     * tells becomes a rejection.
     */
    const char *operation;
};

void rpc_exchange_start(struct capnweb_call *call, const struct rpc_route *route);
/* The same with a body that is made already (JSON, or NULL), and a result that is made of a stream's head. */
void rpc_exchange_start_with(struct capnweb_call *call, const struct rpc_route *route, const struct buf *body,
                             struct capnweb_value (*stream_result)(struct capnweb_call *call,
                                                                   const struct h1_head *head,
                                                                   struct capnweb_value stream));

/* How many more may begin; answers the call and is false when none. */
bool rpc_exchange_admit(struct capnweb_call *call);

/* --- pieces --- */

/* An object of `count` members, whose names are set; NULL without memory. */
struct capnweb_member *rpc_object(struct capnweb_call *call, size_t count, struct capnweb_value *ret);
struct capnweb_value rpc_timestamp(struct capnweb_call *call);
/* An answer's members with further ones behind them. */
struct capnweb_value rpc_with(struct capnweb_call *call, const struct json *answer,
                              const struct capnweb_member *more, size_t count);
/* The string argument, or what is missing of it: n == 0. */
struct str rpc_text(const struct capnweb_call *call, size_t i);
/* `text` as a segment of a path or a value of a query; NULL without memory. */
char *rpc_escape(struct arena *arena, struct str text);

/* --- errors, in the form that the SDK reads --- */

/* Codes that the SDK does not know are lost as properties; it reads those from a message that is JSON. */
void rpc_reject(struct capnweb_call *call, struct str code, struct str message, struct capnweb_value context);
void rpc_reject_internal(struct capnweb_call *call, const char *message);
void rpc_reject_invalid(struct capnweb_call *call, const char *field, const char *message);
/* Of an error's body; `status` when it is none. */
struct capnweb_value rpc_error_of(struct capnweb_call *call, int status, struct str body);
