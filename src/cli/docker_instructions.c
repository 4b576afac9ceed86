/* docker_instructions.c - what the instructions say: variables, and the settings of a stage. */
#include "cli/docker_build.h"

/* --- variables --- */

static const char *look_up(const void *data, struct str name)
{
    const struct stage *stage = data;

    for (size_t i = stage->variable_count; i > 0; i--)
        if (str_is(name, stage->variables[i - 1].name))
            return stage->variables[i - 1].value;
    return NULL;
}

char *build_expand(struct build *build, const struct stage *stage, struct str text)
{
    return dockerfile_expand(build->arena, text, build->file.escape, look_up, stage, &build->err);
}

char *build_words(struct build *build, const struct stage *stage, struct str text, char ***ret, size_t *ret_count)
{
    char *expanded = build_expand(build, stage, text);

    if (!expanded ||
        dockerfile_split(build->arena, str_from(expanded), build->file.escape, ret, ret_count, &build->err) < 0)
        return NULL;
    return expanded;
}

/* ENV wins over ARG of the same name, whichever comes first. */
int build_set_variable(struct build *build, struct stage *stage, const char *name, const char *value, bool is_env)
{
    struct variable *found = NULL;

    for (size_t i = 0; i < stage->variable_count; i++)
        if (!strcmp(stage->variables[i].name, name))
            found = &stage->variables[i];
    if (found && found->is_env && !is_env)
        return 0;
    if (!found) {
        if (stage->variable_count == VARIABLES_MAX)
            return build_fail(build, 0, "more than %d variables", VARIABLES_MAX);
        found = &stage->variables[stage->variable_count++];
    }
    *found = (struct variable){ name, value, is_env };
    return 0;
}

static const char *build_arg(const struct build *build, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < build->args.count; i++) {
        if (!strncmp(build->args.items[i], name, n) && build->args.items[i][n] == '=')
            return build->args.items[i] + n + 1;
        if (!strcmp(build->args.items[i], name))
            return getenv(name);
    }
    return NULL;
}

static const char *predefined(const char *name)
{
    static const struct {
        const char *name, *value;
    } known[] = { { "TARGETPLATFORM", "linux/amd64" },
                  { "TARGETOS", "linux" },
                  { "TARGETARCH", "amd64" },
                  { "BUILDPLATFORM", "linux/amd64" },
                  { "BUILDOS", "linux" },
                  { "BUILDARCH", "amd64" },
                  { "TARGETVARIANT", "" },
                  { "BUILDVARIANT", "" } };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (!strcmp(known[i].name, name))
            return known[i].value;
    return NULL;
}

/* ARG name[=default] of a stage, or before all of them (`stage` then is the one that holds the globals). */
int build_take_arg(struct build *build, struct stage *stage, const struct dockerfile_instruction *item, bool global)
{
    char **words;
    size_t count;

    if (!build_words(build, stage, item->text, &words, &count))
        return -1;
    for (size_t i = 0; i < count; i++) {
        char *equals = strchr(words[i], '=');
        const char *value;

        if (equals)
            *equals = '\0';
        value = build_arg(build, words[i]);
        if (!value && equals)
            value = equals + 1;
        if (!value)
            value = predefined(words[i]);
        for (size_t g = 0; !value && !global && g < build->global_count; g++)
            if (!strcmp(build->globals[g].name, words[i]))
                value = build->globals[g].value;
        if (build_set_variable(build, stage, words[i], value, false) < 0)
            return -1;
    }
    return 0;
}

/* ENV and LABEL: name=value ..., or the old "name value". */
static int take_pairs(struct build *build, struct stage *stage, const struct dockerfile_instruction *item,
                      int (*each)(struct build *build, struct stage *stage, const char *name, const char *value))
{
    char **words, *text;
    size_t count;

    text = build_words(build, stage, item->text, &words, &count);
    if (!text)
        return -1;
    if (count > 0 && !strchr(words[0], '=')) {
        struct str rest = str_from(text + strcspn(text, " \t"));

        return each(build, stage, words[0], arena_strdup(build->arena, str_trim(rest)));
    }
    for (size_t i = 0; i < count; i++) {
        char *equals = strchr(words[i], '=');

        if (!equals || equals == words[i])
            return build_fail(build, item->line, "%s needs name=value", item->name);
        *equals = '\0';
        if (each(build, stage, words[i], equals + 1) < 0)
            return -1;
    }
    return count ? 0 : build_fail(build, item->line, "%s needs name=value", item->name);
}

static int add_item(struct build *build, struct cli_list *list, const char *item)
{
    const char **items = arena_calloc(build->arena, list->count + 2, sizeof(*items));

    if (!items || !item)
        return build_fail(build, 0, "out of memory");
    for (size_t i = 0; i < list->count; i++)
        items[i] = list->items[i];
    items[list->count++] = item;
    list->items = items;
    return 0;
}

static int add_env(struct build *build, struct stage *stage, const char *name, const char *value)
{
    return build_set_variable(build, stage, name, value, true);
}

static int add_label(struct build *build, struct stage *stage, const char *name, const char *value)
{
    return add_item(build, &stage->labels, arena_printf(build->arena, "%s=%s", name, value));
}

/* --- the other instructions --- */

static int take_expose(struct build *build, struct stage *stage, const struct dockerfile_instruction *item)
{
    char **words;
    size_t count;

    if (!build_words(build, stage, item->text, &words, &count))
        return -1;
    for (size_t i = 0; i < count; i++) {
        const char *slash = strchr(words[i], '/');
        struct str number = { words[i], slash ? (size_t)(slash - words[i]) : strlen(words[i]) };
        uint64_t port;

        if (str_to_u64(number, &port) < 0 || port == 0 || port > 65535 ||
            (slash && strcmp(slash, "/tcp") && strcmp(slash, "/udp")))
            return build_fail(build, item->line, "EXPOSE %s is no port", words[i]);
        if (add_item(build, &stage->ports,
                     arena_printf(build->arena, "%llu%s", (unsigned long long)port, slash ? slash : "/tcp")) < 0)
            return -1;
    }
    return 0;
}

static int take_workdir(struct build *build, struct stage *stage, const struct dockerfile_instruction *item)
{
    const char *before = stage->workdir ? stage->workdir : "/";
    char **words;
    size_t count;

    if (!build_words(build, stage, item->text, &words, &count))
        return -1;
    if (count != 1)
        return build_fail(build, item->line, "WORKDIR needs one directory");
    stage->workdir = words[0][0] == '/' ? words[0]
                                        : arena_printf(build->arena, "%s%s%s", before,
                                                       before[strlen(before) - 1] == '/' ? "" : "/", words[0]);
    return stage->has_files ? build_workdir(build, stage) : 0;
}

static int take_user(struct build *build, struct stage *stage, const struct dockerfile_instruction *item)
{
    char *text = build_expand(build, stage, item->text);

    if (!text)
        return -1;
    stage->user =
        strcmp(text, "root") && strcmp(text, "0") && strcmp(text, "root:root") && strcmp(text, "0:0") ? text : NULL;
    return 0;
}

/* A command in its two forms, as the JSON array that Config has. */
static int take_command(struct build *build, struct stage *stage, const struct dockerfile_instruction *item,
                        struct str **ret)
{
    struct json_writer w;
    struct buf text;
    struct str *json = arena_calloc(build->arena, 1, sizeof(*json));

    buf_init(&text, DOCKERFILE_MAX_BYTES);
    json_writer_init(&w, &text);
    json_array_begin(&w);
    for (size_t i = 0; i < item->word_count; i++)
        json_string(&w, item->words[i]);
    if (!item->words) {
        for (size_t i = 0; i < stage->shell_count; i++)
            json_string(&w, stage->shell[i]);
        if (!stage->shell) {
            json_cstring(&w, "/bin/sh");
            json_cstring(&w, "-c");
        }
        json_string(&w, item->text);
    }
    json_array_end(&w);
    if (json && json_writer_finish(&w) == 0)
        json->p = arena_strdup(build->arena, buf_str(&text));
    if (json && json->p)
        json->n = strlen(json->p);
    buf_free(&text);
    *ret = json;
    return json && json->p ? 0 : build_fail(build, item->line, "out of memory");
}

static int take_shell(struct build *build, struct stage *stage, const struct dockerfile_instruction *item)
{
    if (!item->words || item->word_count == 0)
        return build_fail(build, item->line, "SHELL needs the JSON form");
    stage->shell = item->words;
    stage->shell_count = item->word_count;
    return 0;
}

int build_take_instruction(struct build *build, struct stage *stage, const struct dockerfile_instruction *item)
{
    const char *name = item->name;

    if (!strcmp(name, "RUN"))
        return build_run(build, stage, item);
    if (!strcmp(name, "COPY") || !strcmp(name, "ADD"))
        return build_copy(build, stage, item);
    if (!strcmp(name, "ARG"))
        return build_take_arg(build, stage, item, false);
    if (!strcmp(name, "ENV"))
        return take_pairs(build, stage, item, add_env);
    if (!strcmp(name, "LABEL"))
        return take_pairs(build, stage, item, add_label);
    if (!strcmp(name, "EXPOSE"))
        return take_expose(build, stage, item);
    if (!strcmp(name, "WORKDIR"))
        return take_workdir(build, stage, item);
    if (!strcmp(name, "USER"))
        return take_user(build, stage, item);
    if (!strcmp(name, "CMD"))
        return take_command(build, stage, item, &stage->command);
    if (!strcmp(name, "ENTRYPOINT"))
        return take_command(build, stage, item, &stage->entrypoint);
    if (!strcmp(name, "SHELL"))
        return take_shell(build, stage, item);
    if (!strcmp(name, "VOLUME") || !strcmp(name, "HEALTHCHECK") || !strcmp(name, "STOPSIGNAL") ||
        !strcmp(name, "MAINTAINER")) {
        if (build->dry)
            fprintf(stderr, "warning: Dockerfile line %u: %s has no meaning here and is ignored\n", item->line,
                    name);
        return 0;
    }
    return build_fail(build, item->line, "unknown instruction: %s", name);
}
