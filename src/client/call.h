/*
 * call.h - calls that send and get JSON, told by tables: which members a list's items have, and where they go.
 */
#pragma once

#include "client/internal.h"

enum member_type { MEMBER_TEXT, MEMBER_NUMBER /* int64_t */, MEMBER_PORT /* uint16_t, must be there */ };

struct member {
    const char *key; /* NULL: the end of the table */
    enum member_type type;
    size_t offset;
    bool required;
    int64_t fallback; /* of a number that is not there */
};

#define TEXT(type, field, key)                                                                                     \
    {                                                                                                              \
        key, MEMBER_TEXT, offsetof(struct type, field), false, 0                                                   \
    }
#define NEEDED(type, field, key)                                                                                   \
    {                                                                                                              \
        key, MEMBER_TEXT, offsetof(struct type, field), true, 0                                                    \
    }
#define NUMBER(type, field, key, fallback)                                                                         \
    {                                                                                                              \
        key, MEMBER_NUMBER, offsetof(struct type, field), false, fallback                                          \
    }
#define PORT(type, field, key)                                                                                     \
    {                                                                                                              \
        key, MEMBER_PORT, offsetof(struct type, field), true, 0                                                    \
    }
#define NO_MORE                                                                                                    \
    {                                                                                                              \
        NULL, MEMBER_TEXT, 0, false, 0                                                                             \
    }

/* All public lists begin like this. */
struct any_list {
    void *items;
    size_t count;
    const char *json;
};

struct list_type {
    const struct member *members;
    size_t item_size;
    const char *array;  /* name of the array of a list */
    const char *object; /* name of the object of a single one; NULL: the answer itself */
};

/* GETs (`body` NULL) or POSTs. `target` is taken over and may be NULL, with *problem. Free with any_list_free(). */
int call_list(struct berm_client *client, char *target, const struct buf *body, const struct list_type *type,
              bool single, void **ret_list, struct berm_problem *problem);
void any_list_free(void *list);

/* --- requests: a document is begun, filled, and sent; `target` is taken over and may be NULL, with *problem --- */

struct document {
    struct buf buf;
    struct json_writer w;
};

void document_begin(struct document *d);
void document_free(struct document *d);
#define _cleanup_document_ _cleanup_(document_free)
/* Of a string or number that is given: else nothing. */
void document_text(struct document *d, const char *key, const char *value);
void document_number(struct document *d, const char *key, int64_t value);
/* -1 with *problem if it grew too large. */
int document_end(struct document *d, struct berm_problem *problem);

/* `document` NULL: no body; else it is ended here. `want`: a member of the answer, copied to *ret for free(). */
int call_json(struct berm_client *client, const char *method, char *target, struct document *document,
              const char *want, char **ret, struct berm_problem *problem);
/* The same with the whole answer; *ret_json may be NULL. */
int call_text(struct berm_client *client, const char *method, char *target, struct document *document,
              char **ret_json, struct berm_problem *problem);

/* "/v1/sandbox/<id><first><name, encoded><rest>"; NULL with *problem. */
char *named_target(const char *id, const char *first, const char *name, const char *rest,
                   struct berm_problem *problem);
