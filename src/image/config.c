#include "image/config.h"

#include <sys/utsname.h>

const char *image_host_architecture(void)
{
    struct utsname host;
    if (uname(&host) < 0)
        return NULL;
    if (strcmp(host.machine, "x86_64") == 0)
        return "amd64";
    if (strcmp(host.machine, "aarch64") == 0)
        return "arm64";
    if (strcmp(host.machine, "riscv64") == 0)
        return "riscv64";
    return NULL;
}

int image_config_init(struct image_config *config, struct arena *arena, struct berm_error *err)
{
    *config = (struct image_config){ .user = "", .workdir = "/" };
    config->architecture = image_host_architecture();
    if (!config->architecture)
        return berm_fail(err, BERM_E_SYSTEM, 0, "this machine's architecture is not one that images exist for");
    config->cmd = arena_calloc(arena, IMAGE_CONFIG_MAX_WORDS, sizeof(struct str));
    config->entrypoint = arena_calloc(arena, IMAGE_CONFIG_MAX_WORDS, sizeof(struct str));
    config->env = arena_calloc(arena, IMAGE_CONFIG_MAX_ENV, sizeof(struct image_env));
    if (!config->cmd || !config->entrypoint || !config->env)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "image configuration");
    return 0;
}

/* A NUL-terminated copy of text that the kernel will take as a C string later. */
static int copy_text(struct arena *arena, struct str text, struct str *ret, struct berm_error *err)
{
    if (memchr(text.p ? text.p : "", 0, text.n))
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the image's configuration has a NUL byte in a string");
    char *copy = arena_strdup(arena, text);
    if (!copy)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the image's configuration is too big");
    *ret = (struct str){ copy, text.n };
    return 0;
}

int image_config_set_env(struct image_config *config, struct arena *arena, struct str name, struct str value,
                         struct berm_error *err)
{
    if (name.n == 0 || memchr(name.p, '=', name.n))
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "an environment variable of the image has no usable name");
    struct image_env entry;
    if (copy_text(arena, name, &entry.name, err) < 0 || copy_text(arena, value, &entry.value, err) < 0)
        return -1;
    for (size_t i = 0; i < config->env_count; i++) {
        if (str_eq(config->env[i].name, name)) {
            config->env[i] = entry;
            return 0;
        }
    }
    if (config->env_count == IMAGE_CONFIG_MAX_ENV)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the image sets more than %d environment variables",
                         IMAGE_CONFIG_MAX_ENV);
    config->env[config->env_count++] = entry;
    return 0;
}

int image_config_set_workdir(struct image_config *config, struct arena *arena, struct str path,
                             struct berm_error *err)
{
    struct str copy = { 0 };
    if (copy_text(arena, path, &copy, err) < 0)
        return -1;
    bool absolute = path.n > 0 && path.p[0] == '/';
    config->workdir = absolute ? copy.p : arena_printf(arena, "/%s", copy.p);
    if (!config->workdir)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the image's configuration is too big");
    return 0;
}

int image_config_set_user(struct image_config *config, struct arena *arena, struct str user, struct berm_error *err)
{
    struct str copy = { 0 };
    if (copy_text(arena, user, &copy, err) < 0)
        return -1;
    config->user = copy.p;
    return 0;
}

int image_config_add_word(struct str *words, size_t *count, struct arena *arena, struct str word,
                          struct berm_error *err)
{
    if (*count == IMAGE_CONFIG_MAX_WORDS)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the image's command has more than %d words",
                         IMAGE_CONFIG_MAX_WORDS);
    if (copy_text(arena, word, &words[*count], err) < 0)
        return -1;
    (*count)++;
    return 0;
}

static int compare_env(const void *a, const void *b)
{
    const struct image_env *x = a;
    const struct image_env *y = b;
    return strcmp(x->name.p, y->name.p);
}

static void write_words(struct json_writer *w, const char *key, const struct str *words, size_t count)
{
    json_key(w, key);
    json_array_begin(w);
    for (size_t i = 0; i < count; i++)
        json_string(w, words[i]);
    json_array_end(w);
}

int image_config_write(struct image_config *config, struct buf *out, struct berm_error *err)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_object_begin(&w);
    json_pair_cstring(&w, "architecture", config->architecture);
    write_words(&w, "cmd", config->cmd, config->cmd_count);
    write_words(&w, "entrypoint", config->entrypoint, config->entrypoint_count);
    qsort(config->env, config->env_count, sizeof(config->env[0]), compare_env);
    json_key(&w, "env");
    json_object_begin(&w);
    for (size_t i = 0; i < config->env_count; i++)
        json_pair_string(&w, config->env[i].name.p, config->env[i].value);
    json_object_end(&w);
    json_pair_cstring(&w, "user", config->user);
    json_pair_cstring(&w, "workdir", config->workdir);
    json_object_end(&w);
    if (json_writer_finish(&w) < 0 || buf_append(out, "\n", 1) < 0 || out->len > IMAGE_CONFIG_MAX_BYTES)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "the image's configuration is larger than %u bytes",
                         IMAGE_CONFIG_MAX_BYTES);
    return 0;
}

int image_config_take_words(struct arena *arena, const struct json *object, const char *key, struct str *words,
                            size_t *count, struct berm_error *err)
{
    const struct json *array = NULL;
    if (json_field_array(object, key, &array, err) < 0)
        return -1;
    for (size_t i = 0; array && i < array->array.count; i++) {
        const struct json *item = &array->array.items[i];
        if (item->type != JSON_STRING)
            return berm_fail_field(err, key, "%s must hold strings only", key);
        if (image_config_add_word(words, count, arena, item->string, err) < 0)
            return -1;
    }
    return 0;
}

static int parse_env(struct arena *arena, const struct json *object, struct image_config *config,
                     struct berm_error *err)
{
    const struct json *env = NULL;
    if (json_field_object(object, "env", &env, err) < 0)
        return -1;
    for (size_t i = 0; env && i < env->object.count; i++) {
        const struct json_member *member = &env->object.members[i];
        if (member->value.type != JSON_STRING)
            return berm_fail_field(err, "env", "env must hold strings only");
        if (image_config_set_env(config, arena, member->key, member->value.string, err) < 0)
            return -1;
    }
    return 0;
}

static int parse_strings(struct arena *arena, const struct json *object, struct image_config *config,
                         struct berm_error *err)
{
    struct str architecture = STR(""), user = STR(""), workdir = STR("/"), copy = { 0 };
    if (json_field_string(object, "architecture", &architecture, err) < 0 ||
        json_field_string(object, "user", &user, err) < 0 ||
        json_field_string(object, "workdir", &workdir, err) < 0 || copy_text(arena, architecture, &copy, err) < 0 ||
        image_config_set_user(config, arena, user, err) < 0 ||
        image_config_set_workdir(config, arena, workdir, err) < 0)
        return -1;
    config->architecture = copy.p;
    return 0;
}

int image_config_parse(struct arena *arena, struct str text, struct image_config *ret, struct berm_error *err)
{
    struct berm_error detail = { 0 };
    const struct json *object = NULL;
    struct image_config config;
    if (image_config_init(&config, arena, err) < 0)
        return -1;
    if (json_parse(arena, text, 8, &object, &detail) < 0 ||
        (object->type != JSON_OBJECT && berm_fail(&detail, BERM_E_IMAGE_INVALID, 0, "it is not an object") < 0) ||
        parse_strings(arena, object, &config, &detail) < 0 || parse_env(arena, object, &config, &detail) < 0 ||
        image_config_take_words(arena, object, "cmd", config.cmd, &config.cmd_count, &detail) < 0 ||
        image_config_take_words(arena, object, "entrypoint", config.entrypoint, &config.entrypoint_count, &detail) <
            0)
        return berm_fail(err, BERM_E_IMAGE_INVALID, 0, "config.json of the image: %s", detail.message);
    *ret = config;
    return 0;
}
