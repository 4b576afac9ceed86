/* fuzz_dockerfile.c - any bytes as a Dockerfile, its lines expanded and split, and as a template. */
#include "cli/docker.h"
#include "cli/dockerfile.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *look_up(const void *data, struct str name)
{
    (void)data;
    return name.n % 3 == 0 ? NULL : name.n % 3 == 1 ? "" : "value";
}

static void parse(struct arena *arena, struct str text)
{
    struct dockerfile file;
    struct berm_error err;

    if (dockerfile_parse(arena, text, &file, &err) < 0)
        return;
    assert(file.count <= DOCKERFILE_INSTRUCTIONS_MAX);
    for (size_t i = 0; i < file.count; i++) {
        char *expanded = dockerfile_expand(arena, file.items[i].text, file.escape, look_up, NULL, &err);
        char **words;
        size_t count;

        if (expanded && dockerfile_split(arena, str_from(expanded), file.escape, &words, &count, &err) == 0)
            assert(count <= DOCKERFILE_WORDS_MAX && !words[count]);
    }
}

static void format(struct arena *arena, struct str text)
{
    static const char json[] = "{\"A\":{\"B\":\"text\"},\"L\":[[1,2],[\"x\"]],\"Z\":null}";
    const struct json *value = NULL;
    char *template = str_dup(text);
    struct berm_error err;
    struct buf out;

    buf_init(&out, 1 << 16);
    if (template && json_parse(arena, STR(json), 8, &value, &err) == 0)
        docker_format(&out, template, value, &err);
    free(template);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = { (const char *)data, size };
    struct arena arena;

    arena_init(&arena, (size_t)16 << 20);
    parse(&arena, text);
    format(&arena, text);
    arena_free(&arena);
    return 0;
}
