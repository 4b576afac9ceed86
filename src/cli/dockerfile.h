/*
 * dockerfile.h - the text of a Dockerfile as instructions: lines joined, comments gone, flags and JSON forms taken
 * apart. Variables are not expanded here, as their values depend on what came before. Pure: no file is opened.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

#define DOCKERFILE_MAX_BYTES        ((size_t)1 << 20)
#define DOCKERFILE_INSTRUCTIONS_MAX 1000
#define DOCKERFILE_FLAGS_MAX        16
#define DOCKERFILE_WORDS_MAX        1000

struct dockerfile_flag {
    struct str name, value; /* --name=value; value n == 0 for --name */
};

struct dockerfile_instruction {
    unsigned line;     /* where it begins, from 1 */
    char name[16];     /* in capitals */
    struct str text;   /* what follows the name and the flags */
    struct str *words; /* of the JSON form; NULL: it is not written so */
    size_t word_count;
    struct dockerfile_flag flags[DOCKERFILE_FLAGS_MAX];
    size_t flag_count;
    struct str heredoc; /* of RUN <<EOF; p NULL: none */
};

struct dockerfile {
    struct dockerfile_instruction *items;
    size_t count;
    char escape; /* '\\' or '`' */
};

/* 0, or -1 with INVALID_REQUEST and a message that begins with the line. All memory is the arena's. */
int dockerfile_parse(struct arena *arena, struct str text, struct dockerfile *ret, struct berm_error *err);

/* NULL: not set. */
typedef const char *(*dockerfile_lookup)(const void *data, struct str name);

/*
 * Expands $name, ${name}, ${name:-word} and ${name:+word}, with the escape character taking their meaning away;
 * inside single quotes nothing is expanded. Quotes stay. NULL with *err.
 */
char *dockerfile_expand(struct arena *arena, struct str text, char escape, dockerfile_lookup lookup,
                        const void *data, struct berm_error *err);

/*
 * The words of a line: separated by white space, quotes and the escape character taken away. -1 with *err.
 */
int dockerfile_split(struct arena *arena, struct str text, char escape, char ***ret, size_t *ret_count,
                     struct berm_error *err);
