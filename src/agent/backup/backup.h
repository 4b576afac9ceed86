/*
 * backup.h - POST /api/backup/...: a directory becomes a squashfs archive, the archive is uploaded in parts, and
 * becomes a directory again by being mounted below a layer of its own. Other programs do the work.
 */
#pragma once

#include "agent/exec/collector.h"
#include "agent/http/request.h"

#define BACKUP_CREATE  "backup.create"
#define BACKUP_RESTORE "backup.restore"
#define BACKUP_PLACE   "/var/backups/"

struct backup {
    struct request *rq;
    const char *operation;
    const char *dir, *archive; /* in the request's arena, as is all else here */

    /* The program that runs. */
    struct collector output;
    void (*next)(struct backup *b, int exit_code);

    /* create */
    struct buf patterns; /* a line each: what is left out */
    const char *patterns_path;

    /* restore */
    const char **old; /* where this archive was mounted before */
    size_t old_count;
    const char *lower, *upper, *work;
    const char *layer; /* that holds these three */
    const char *failed_program;
};

/* backup_create.c, backup_restore.c: take `b` over, whose request has been checked. */
void backup_create(struct backup *b);
void backup_restore(struct backup *b);

/* backup_upload.c: answers a request that has been checked. */
void backup_upload(struct request *rq);

/* --- backup_run.c --- */

/* NULL without memory, then answered. */
struct backup *backup_new(struct request *rq, const char *operation);
void backup_free(struct backup *b);

/*
 * Runs a program in `cwd` (NULL: anywhere); its end is `next`, with 127 if it could not be started, perhaps before
 * this returns. What it wrote is in b->output until the next one runs.
 */
void backup_run(struct backup *b, const char *const *argv, const char *cwd,
                void (*next)(struct backup *b, int exit_code));
/* What it has said, without the newlines at its end. */
struct str backup_said(struct backup *b, int stream);

/* Answers and frees: {operation, dir, archivePath} and `more`, of which there may be two. */
void backup_fail(struct backup *b, enum agent_code code, const struct context_item *more, size_t count,
                 const char *message);
/* 400: `reason` says what is wrong with the request. `b` may be NULL. */
void backup_refuse(struct request *rq, const char *operation, const char *reason);
