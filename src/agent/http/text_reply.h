/*
 * text_reply.h - answers that carry large texts (the output of a command, a file): JSON that is written piece by
 * piece as the client takes it, each piece's memory being given back on the way. A small answer goes out whole.
 *
 * Use: text_reply_new(), write the small members to reply->w (the object is open), add the texts, send.
 */
#pragma once

#include "agent/exec/output.h"
#include "request.h"

enum text_encoding { TEXT_UTF8 /* ill-formed parts become U+FFFD */, TEXT_BASE64 };

struct text_member {
    const char *key;
    enum text_encoding encoding;
    struct output text;
};

struct text_reply {
    struct json_writer w;
    struct buf out;
    struct text_member members[2];
    unsigned count;
    unsigned current;       /* the member that is being written */
    bool open;              /* inside its string */
    unsigned char carry[3]; /* bytes that do not make a base64 group yet */
    unsigned carried;
};

/* NULL without memory. */
struct text_reply *text_reply_new(void);
/* Takes the text over. */
void text_reply_add(struct text_reply *reply, const char *key, enum text_encoding encoding, struct output *text);
/* Sends and frees, also when the client is gone. `reply` NULL answers that memory is out. Uses rq->data and hooks.
 */
void text_reply_send(struct request *rq, struct text_reply *reply);
