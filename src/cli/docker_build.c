/*
 * docker_build.c - `berm docker build`: a Dockerfile becomes a tag of the daemon.
 *
 * A stage whose instructions only say things (ENV, CMD, EXPOSE...) is a commit of a container that never starts: no
 * byte of a file system is made. One with RUN, COPY, ADD or WORKDIR is worked through twice: first dry, for the
 * digest of all that decides its result (base, instructions, variables, contents of what is copied), which is the
 * name of the image in the cache; then, if there is none of that name, inside a sandbox, whose files become an
 * image of the store. The latter needs the right to write to the store, that is, root.
 */
#include "cli/docker_build.h"

#include "base/sys.h"

#include <fcntl.h>
#include <stdarg.h>

#define CACHE_REPOSITORY "berm.build"

struct build_args {
    const char *file, *target, *platform, *progress;
    struct cli_list tags, args, labels;
    bool no_cache, quiet;
};

/* clang-format off */
static const struct docker_flag build_flags[] = {
    { 't', "tag", FLAG_LIST, offsetof(struct build_args, tags) },
    { 'f', "file", FLAG_TEXT, offsetof(struct build_args, file) },
    { 0, "build-arg", FLAG_LIST, offsetof(struct build_args, args) },
    { 0, "label", FLAG_LIST, offsetof(struct build_args, labels) },
    { 0, "target", FLAG_TEXT, offsetof(struct build_args, target) },
    { 0, "platform", FLAG_TEXT, offsetof(struct build_args, platform) },
    { 0, "no-cache", FLAG_ON, offsetof(struct build_args, no_cache) },
    { 'q', "quiet", FLAG_ON, offsetof(struct build_args, quiet) },
    { 0, "load", FLAG_IGNORED, 0 },
    { 0, "pull", FLAG_IGNORED, 0 },
    { 0, "provenance", FLAG_IGNORED_TEXT, 0 },
    { 0, "progress", FLAG_IGNORED_TEXT, 0 },
    { 0, "network", FLAG_IGNORED_TEXT, 0 },
    DOCKER_FLAGS_END
};
/* clang-format on */

int build_fail(struct build *build, unsigned line, const char *format, ...)
{
    char text[200];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (line)
        return berm_fail(&build->err, BERM_E_INVALID_REQUEST, 0, "Dockerfile line %u: %s", line, text);
    return berm_fail(&build->err, BERM_E_INVALID_REQUEST, 0, "%s", text);
}

void build_hash(struct stage *stage, const void *p, size_t n)
{
    EVP_DigestUpdate(stage->key, p, n);
}

static bool changes_files(const struct dockerfile_instruction *item)
{
    return !strcmp(item->name, "RUN") || !strcmp(item->name, "COPY") || !strcmp(item->name, "ADD");
}

/* --- stages --- */

static struct stage *find_stage(struct build *build, const char *name)
{
    uint64_t number;

    for (size_t i = 0; i < build->stage_count; i++)
        if (build->stages[i].name && !strcasecmp(build->stages[i].name, name))
            return &build->stages[i];
    if (str_to_u64(str_from(name), &number) == 0 && number < build->stage_count)
        return &build->stages[number];
    return NULL;
}

static int take_from(struct build *build, struct stage *globals, const struct dockerfile_instruction *item)
{
    struct stage *stage = &build->stages[build->stage_count];
    char **words;
    size_t count;

    if (!build_words(build, globals, item->text, &words, &count))
        return -1;
    if (build->stage_count == STAGES_MAX)
        return build_fail(build, item->line, "more than %d stages", STAGES_MAX);
    if (count != 1 && !(count == 3 && !strcasecmp(words[1], "as")))
        return build_fail(build, item->line, "FROM needs an image, and may have AS name");
    stage->base = words[0];
    stage->name = count == 3 ? words[2] : NULL;
    stage->first = stage->end = (size_t)(item - build->file.items) + 1;
    build->stage_count++;
    return 0;
}

static int find_stages(struct build *build, struct stage *globals)
{
    for (size_t i = 0; i < build->file.count; i++) {
        const struct dockerfile_instruction *item = &build->file.items[i];
        struct stage *stage = build->stage_count ? &build->stages[build->stage_count - 1] : NULL;

        if (!strcmp(item->name, "FROM")) {
            if (take_from(build, globals, item) < 0)
                return -1;
        } else if (stage) {
            stage->end = i + 1;
            stage->has_files |= changes_files(item);
        } else if (strcmp(item->name, "ARG")) {
            return build_fail(build, item->line, "%s before the first FROM", item->name);
        } else if (build_take_arg(build, globals, item, true) < 0) {
            return -1;
        }
    }
    memcpy(build->globals, globals->variables, sizeof(build->globals));
    build->global_count = globals->variable_count;
    return build->stage_count ? 0 : build_fail(build, 0, "the Dockerfile has no FROM");
}

/* The stages that `stage` needs, itself included. */
static void want(struct build *build, struct stage *stage)
{
    struct stage *base = find_stage(build, stage->base);

    if (stage->wanted)
        return;
    stage->wanted = true;
    if (base && base < stage)
        want(build, base);
    for (size_t i = stage->first; i < stage->end; i++)
        for (size_t f = 0; f < build->file.items[i].flag_count; f++) {
            const struct dockerfile_flag *flag = &build->file.items[i].flags[f];
            struct stage *other;
            char name[128];

            if (!str_is(flag->name, "from") || str_copy(flag->value, name, sizeof(name)) < 0)
                continue;
            other = find_stage(build, name);
            if (other && other < stage)
                want(build, other);
        }
}

/* --- calls --- */

static const char *create(struct build *build, const char *image)
{
    _cleanup_docker_call_ struct docker_call call = DOCKER_CALL("POST", "/containers/create");
    const struct json *answer;
    const char *id = NULL;
    struct json_writer w;
    struct buf body;

    buf_init(&body, 64 * 1024);
    json_writer_init(&w, &body);
    json_object_begin(&w);
    json_pair_cstring(&w, "Image", image);
    json_pair_empty_array(&w, "Entrypoint");
    json_object_end(&w);
    if (json_writer_finish(&w) == 0) {
        call.content_type = "application/json";
        call.body = buf_str(&body);
        if (docker_do(build->docker, &call) == 0 && (answer = docker_json(build->docker, &call)))
            json_field_cstring(answer, "Id", &id, NULL);
    }
    buf_free(&body);
    return id;
}

static void remove_container(struct build *build, const char *id)
{
    _cleanup_docker_call_ struct docker_call call =
        DOCKER_CALL("DELETE", docker_path(build->docker, "/containers/%s?force=1", id));

    docker_ask(build->docker, &call);
}

static int start_container(struct build *build, const char *id)
{
    _cleanup_docker_call_ struct docker_call call =
        DOCKER_CALL("POST", docker_path(build->docker, "/containers/%s/start", id));

    return docker_do(build->docker, &call);
}

static const struct json *inspect_image(struct build *build, const char *image, bool quiet)
{
    _cleanup_docker_call_ struct docker_call call =
        DOCKER_CALL("GET", docker_path(build->docker, "/images/%s/json", docker_encode(build->docker, image)));

    if (quiet ? docker_ask(build->docker, &call) < 0 || call.status != 200 : docker_do(build->docker, &call) < 0)
        return NULL;
    return docker_json(build->docker, &call);
}

const char *build_source_container(struct build *build, const char *name)
{
    struct stage *stage = find_stage(build, name);

    if (stage && stage->container)
        return stage->container;
    if (!stage) { /* an image: a stage of its own that is removed with the others */
        if (build->stage_count == STAGES_MAX) {
            build_fail(build, 0, "more than %d stages", STAGES_MAX);
            return NULL;
        }
        stage = &build->stages[build->stage_count++];
        stage->name = stage->image = name;
    }
    stage->container = create(build, stage->image);
    if (stage->container && start_container(build, stage->container) < 0)
        return NULL;
    return stage->container;
}

/* --- one stage --- */

static void write_config(struct build *build, struct json_writer *w, const struct stage *stage, bool last)
{
    json_object_begin(w);
    json_key(w, "Env");
    json_array_begin(w);
    for (size_t i = 0; i < stage->variable_count; i++)
        if (stage->variables[i].is_env)
            json_cstring(w,
                         arena_printf(build->arena, "%s=%s", stage->variables[i].name, stage->variables[i].value));
    json_array_end(w);
    json_key(w, "Labels");
    json_object_begin(w);
    for (int pass = 0; pass < 2; pass++) {
        const struct cli_list *list = pass ? &build->labels : &stage->labels;

        for (size_t i = 0; (!pass || last) && i < list->count; i++) {
            const char *equals = strchr(list->items[i], '=');
            bool again = false;

            for (size_t k = i + 1; equals && k < list->count; k++)
                again |= !strncmp(list->items[k], list->items[i], (size_t)(equals - list->items[i]) + 1);
            if (!equals || again)
                continue;
            json_key_str(w, (struct str){ list->items[i], (size_t)(equals - list->items[i]) });
            json_cstring(w, equals + 1);
        }
    }
    json_object_end(w);
    json_key(w, "ExposedPorts");
    json_object_begin(w);
    for (size_t i = 0; i < stage->ports.count; i++) {
        bool again = false;

        for (size_t k = i + 1; k < stage->ports.count; k++)
            again |= !strcmp(stage->ports.items[k], stage->ports.items[i]);
        if (again)
            continue;
        json_pair_empty_object(w, stage->ports.items[i]);
    }
    json_object_end(w);
    if (stage->workdir)
        json_pair_cstring(w, "WorkingDir", stage->workdir);
    if (stage->user)
        json_pair_cstring(w, "User", stage->user);
}

static void write_commands(struct build *build, struct json_writer *w, const struct stage *stage)
{
    const struct str *commands[] = { stage->entrypoint, stage->command };
    const struct json *words;

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (!commands[i] || json_parse(build->arena, *commands[i], 2, &words, NULL) < 0)
            continue;
        json_key(w, i ? "Cmd" : "Entrypoint");
        json_value(w, words);
    }
    json_object_end(w);
}

/* The container's image with the stage's settings, and its files if it was started, under a tag. */
static int commit(struct build *build, const struct stage *stage, const char *container, const char *tag, bool last)
{
    _cleanup_docker_call_ struct docker_call call =
        DOCKER_CALL("POST", docker_path(build->docker, "/commit?container=%s&repo=%s", container,
                                        docker_encode(build->docker, tag)));
    struct json_writer w;
    struct buf body;
    int rc = -1;

    buf_init(&body, DOCKER_ANSWER_MAX);
    json_writer_init(&w, &body);
    write_config(build, &w, stage, last);
    write_commands(build, &w, stage);
    if (json_writer_finish(&w) == 0) {
        call.content_type = "application/json";
        call.body = buf_str(&body);
        rc = docker_do(build->docker, &call);
    }
    buf_free(&body);
    return rc;
}

static void reset(struct stage *stage)
{
    stage->variable_count = 0;
    stage->labels = stage->ports = (struct cli_list){ 0 };
    stage->workdir = stage->user = NULL;
    stage->shell = NULL;
    stage->shell_count = 0;
    stage->command = stage->entrypoint = NULL;
}

static int work_through(struct build *build, struct stage *stage, const struct json *base)
{
    const struct json *config = json_get(base, "Config"), *env = json_get(config, "Env"),
                      *dir = json_get(config, "WorkingDir");

    reset(stage);
    for (size_t i = 0; env && env->type == JSON_ARRAY && i < env->array.count; i++) {
        char *name = arena_strdup(build->arena, env->array.items[i].string),
             *equals = name ? strchr(name, '=') : NULL;

        if (!equals)
            continue;
        *equals = '\0';
        if (build_set_variable(build, stage, name, equals + 1, true) < 0)
            return -1;
    }
    if (dir && dir->type == JSON_STRING && dir->string.n)
        stage->workdir = dir->string.p;
    for (size_t i = stage->first; i < stage->end; i++) {
        const struct dockerfile_instruction *item = &build->file.items[i];

        if (!build->dry && !build->quiet && stage->has_files)
            fprintf(stderr, "[%s] %s %.*s\n", stage->name ? stage->name : "build", item->name,
                    (int)MIN(item->text.n, (size_t)160), item->text.p);
        if (build_take_instruction(build, stage, item) < 0)
            return -1;
    }
    return 0;
}

static int make_stage(struct build *build, struct stage *stage, const struct json *base, const char *tag, bool last)
{
    const char *container;
    int rc;

    build->dry = false;
    container = create(build, stage->base);
    if (!container)
        return -1;
    if (!stage->has_files) {
        rc = commit(build, stage, container, tag, last);
        remove_container(build, container);
        return rc;
    }
    stage->container = container;
    if (start_container(build, container) < 0 || work_through(build, stage, base) < 0)
        return -1;
    if (!build->quiet)
        fprintf(stderr, "[%s] writing the image\n", stage->name ? stage->name : "build");
    return commit(build, stage, container, tag, last);
}

static int build_stage(struct build *build, struct stage *stage, bool last)
{
    struct stage *parent = find_stage(build, stage->base);
    unsigned char digest[EVP_MAX_MD_SIZE];
    const struct json *base, *id;
    char hex[65];

    if (parent && parent < stage)
        stage->base = parent->image;
    base = inspect_image(build, stage->base, false);
    id = json_get(base, "Id");
    stage->key = EVP_MD_CTX_new();
    if (!base || !id || id->type != JSON_STRING || !stage->key ||
        EVP_DigestInit_ex(stage->key, EVP_sha256(), NULL) != 1)
        return -1;
    build_hash(stage, id->string.p, id->string.n);
    build->dry = true;
    if (work_through(build, stage, base) < 0)
        return -1;
    for (size_t i = stage->first; i < stage->end; i++)
        build_hash(stage, build->file.items[i].text.p, build->file.items[i].text.n + 1);
    for (size_t i = 0; last && i < build->labels.count; i++)
        build_hash(stage, build->labels.items[i], strlen(build->labels.items[i]) + 1);
    for (size_t i = 0; i < stage->variable_count; i++)
        if (stage->variables[i].value)
            build_hash(stage, stage->variables[i].value, strlen(stage->variables[i].value) + 1);
    if (EVP_DigestFinal_ex(stage->key, digest, NULL) != 1)
        return build_fail(build, 0, "SHA-256");
    hex_encode(digest, 32, hex);
    stage->image = arena_printf(build->arena, CACHE_REPOSITORY ":%s", hex);
    if (!build->no_cache && inspect_image(build, stage->image, true)) {
        if (!build->quiet && stage->has_files)
            fprintf(stderr, "[%s] CACHED\n", stage->name ? stage->name : "build");
        return 0;
    }
    return make_stage(build, stage, base, stage->image, last);
}

/* --- the whole --- */

static int tag_result(struct build *build, const struct stage *stage)
{
    for (size_t i = 0; i < build->tags.count; i++) {
        _cleanup_docker_call_ struct docker_call call =
            DOCKER_CALL("POST", docker_path(build->docker, "/images/%s/tag?repo=%s", stage->image,
                                            docker_encode(build->docker, build->tags.items[i])));

        if (docker_do(build->docker, &call) < 0)
            return -1;
        if (!build->quiet)
            fprintf(stderr, "naming to %s\n", build->tags.items[i]);
    }
    return 0;
}

static int build_all(struct build *build, const char *target)
{
    struct stage *last;
    int rc = 0;

    last = target ? find_stage(build, target) : &build->stages[build->stage_count - 1];
    if (!last)
        return build_fail(build, 0, "target stage \"%s\" could not be found", target);
    want(build, last);
    for (struct stage *stage = build->stages; rc == 0 && stage <= last; stage++)
        if (stage->wanted)
            rc = build_stage(build, stage, stage == last);
    return rc == 0 ? tag_result(build, last) : -1;
}

static int read_dockerfile(struct build *build, const char *path, const char *context)
{
    char *text = arena_alloc(build->arena, DOCKERFILE_MAX_BYTES + 1);
    _cleanup_close_ int fd = -EBADF;
    ssize_t n;

    if (!path)
        path = arena_printf(build->arena, "%s/Dockerfile", context);
    fd = !strcmp(path, "-") ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 || !text ? -1 : read_to_end(fd, text, DOCKERFILE_MAX_BYTES);
    if (n < 0)
        return build_fail(build, 0, "failed to read dockerfile %s: %s", path, strerror(errno));
    return dockerfile_parse(build->arena, (struct str){ text, (size_t)n }, &build->file, &build->err);
}

static int run_build(struct build *build, const struct build_args *args, const char *context)
{
    struct stage *globals = arena_calloc(build->arena, 1, sizeof(*globals));
    int rc;

    build->stages = arena_calloc(build->arena, STAGES_MAX, sizeof(*build->stages));
    if (!globals || !build->stages)
        return build_fail(build, 0, "out of memory");
    if (args->platform && args->platform[0] && strcmp(args->platform, "linux/amd64"))
        return build_fail(build, 0, "only linux/amd64 is built here, not %s", args->platform);
    rc = read_dockerfile(build, args->file, context);
    if (rc == 0)
        rc = docker_context_open(context, &build->context, &build->err);
    if (rc == 0)
        rc = find_stages(build, globals);
    if (rc == 0)
        rc = build_all(build, args->target);
    for (size_t i = 0; i < build->stage_count; i++) {
        if (build->stages[i].container)
            remove_container(build, build->stages[i].container);
        EVP_MD_CTX_free(build->stages[i].key);
    }
    docker_context_free(build->context);
    return rc;
}

int docker_cmd_build(struct docker_cli *docker, int argc, char **argv)
{
    struct build_args args = { 0 };
    struct cli_operands operands;
    struct build *build;

    if (docker_flags(docker, build_flags, &args, false, argc, argv, &operands) < 0)
        return STATUS_FAILED;
    if (operands.count != 1)
        return docker_fail(docker, "build needs one directory as its context");
    build = arena_calloc(&docker->cli->arena, 1, sizeof(*build));
    if (!build)
        return docker_fail(docker, "out of memory");
    *build = (struct build){ .docker = docker,
                             .arena = &docker->cli->arena,
                             .args = args.args,
                             .tags = args.tags,
                             .labels = args.labels,
                             .no_cache = args.no_cache,
                             .quiet = args.quiet };
    if (run_build(build, &args, operands.items[0]) == 0)
        return STATUS_OK;
    return build->err.code != BERM_OK ? docker_fail(docker, "ERROR: %s", build->err.message) : STATUS_FAILED;
}
