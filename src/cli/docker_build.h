/* docker_build.h - what the files of `berm docker build` share. */
#pragma once

#include "cli/docker.h"
#include "cli/docker_context.h"
#include "cli/dockerfile.h"

#include <openssl/evp.h>

#define STAGES_MAX    64
#define VARIABLES_MAX 1000

struct variable {
    const char *name, *value; /* value NULL: declared by ARG and not set */
    bool is_env;
};

/* What a stage's instructions have made of its Config so far. */
struct stage {
    const char *name;  /* of `AS`, or NULL */
    const char *base;  /* reference */
    const char *image; /* once it is done: the tag of what it became */
    size_t first, end; /* its instructions, without the FROM */
    bool has_files;    /* it changes the file system: it needs a container */
    bool wanted;

    struct variable variables[VARIABLES_MAX];
    size_t variable_count;
    struct cli_list labels, ports; /* "NAME=VALUE"; "80/tcp" */
    const char *workdir, *user;
    struct str *shell;
    size_t shell_count;
    struct str *command, *entrypoint; /* JSON text, or NULL */

    const char *container; /* while it is being made */
    EVP_MD_CTX *key;       /* digest of all that decides what it becomes */
};

struct build {
    struct docker_cli *docker;
    struct arena *arena;
    struct dockerfile file;
    struct docker_context *context;
    struct stage *stages;
    size_t stage_count;
    struct cli_list args, tags, labels;
    struct variable globals[VARIABLES_MAX]; /* ARG before the first FROM */
    size_t global_count;
    bool no_cache, quiet;
    bool dry; /* only the key is computed */
    struct berm_error err;
};

/* RUN, COPY, ADD and WORKDIR in the stage's container (docker_steps.c). -1: told, or build->err. */
int build_run(struct build *build, struct stage *stage, const struct dockerfile_instruction *item);
int build_copy(struct build *build, struct stage *stage, const struct dockerfile_instruction *item);
int build_workdir(struct build *build, struct stage *stage);

/* What it says becomes part of the stage (docker_instructions.c). -1: told, or build->err. */
int build_take_instruction(struct build *build, struct stage *stage, const struct dockerfile_instruction *item);
/* ARG; `global`: before the first FROM. */
int build_take_arg(struct build *build, struct stage *stage, const struct dockerfile_instruction *item,
                   bool global);
int build_set_variable(struct build *build, struct stage *stage, const char *name, const char *value, bool is_env);

/* Variables of the stage expanded; in the arena. NULL with build->err. */
char *build_expand(struct build *build, const struct stage *stage, struct str text);
/* The same, with its words beside it. */
char *build_words(struct build *build, const struct stage *stage, struct str text, char ***ret, size_t *ret_count);
/* The container of a finished stage or of an image, to copy from; made if there is none. NULL: told. */
const char *build_source_container(struct build *build, const char *name);
void build_hash(struct stage *stage, const void *p, size_t n);
int build_fail(struct build *build, unsigned line, const char *format, ...) __attribute__((format(printf, 3, 4)));
