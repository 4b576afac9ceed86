/* list_driver.h - the conformance list by libberm: what the operations share. */
#pragma once

#include "base/base.h"
#include "base/base64.h"
#include "base/json.h"
#include "client/berm.h"

/* One line of the list: an operation with its arguments, and the place for its result. */
struct call {
    struct berm_client *client;
    const char *id; /* of the sandbox */
    const struct json *args;
    struct arena *arena;
    struct json_writer w; /* an operation that writes nothing has the result {} */
    struct berm_problem problem;
};

struct operation {
    const char *name;
    int (*run)(struct call *call); /* 0, or -1 with call->problem */
};

extern const struct operation work_operations[]; /* ends with a name of NULL */

/* Members of the arguments: NULL, 0 or false when they are not there. */
const char *text_of(struct call *call, const char *key);
int64_t number_of(struct call *call, const char *key);
bool flag_of(struct call *call, const char *key);
const char *const *pairs_of(struct call *call, const char *key);   /* {"A": "b"} as "A=b", NULL-terminated */
const char *const *strings_of(struct call *call, const char *key); /* an array of texts, NULL-terminated */

/* Runs a command and keeps its output. */
struct output {
    struct buf out, err;
    int exit_code;
};
int run_command(struct call *call, struct berm_exec *exec, struct output *ret);
void output_free(struct output *output);

/* Members of a document that the daemon sent. */
const struct json *document_of(struct call *call, const char *json);
void write_members(struct call *call, const struct json *from, const char *const names[]);
