#include "daemon/docker/image_config.h"

#define TEXT_MAX      (4 * DOCKER_BODY_MAX)
#define ENTRIES_MAX   4096
#define SANDBOX_ENTRY "/container-server/sandbox" /* upstream's pid 1; the agent is in its place here */

/* --- checking --- */

static int check_strings(const struct json *config, const char *name, struct berm_error *err)
{
    const struct json *list = json_get(config, name);

    if (!list || list->type == JSON_NULL || (list->type == JSON_STRING && strcmp(name, "Env") != 0))
        return 0;
    if (list->type != JSON_ARRAY || list->array.count > ENTRIES_MAX)
        return berm_fail_field(err, name, "%s must be an array of at most %d strings", name, ENTRIES_MAX);
    for (size_t i = 0; i < list->array.count; i++) {
        const struct json *item = &list->array.items[i];

        if (item->type != JSON_STRING || memchr(item->string.p, '\0', item->string.n))
            return berm_fail_field(err, name, "%s must hold strings without NUL", name);
    }
    return 0;
}

static int check_labels(const struct json *config, struct berm_error *err)
{
    const struct json *labels = json_get(config, "Labels");

    if (!labels || labels->type == JSON_NULL)
        return 0;
    if (labels->type != JSON_OBJECT || labels->object.count > ENTRIES_MAX)
        return berm_fail_field(err, "Labels", "Labels must be an object of at most %d strings", ENTRIES_MAX);
    for (size_t i = 0; i < labels->object.count; i++)
        if (labels->object.members[i].value.type != JSON_STRING)
            return berm_fail_field(err, "Labels", "Labels must be an object of strings");
    return 0;
}

int image_config_check(const struct json *config, struct berm_error *err)
{
    const struct json *ports = json_get(config, "ExposedPorts");
    const char *text = NULL;

    if (ports && ports->type != JSON_NULL && ports->type != JSON_OBJECT)
        return berm_fail_field(err, "ExposedPorts", "ExposedPorts must be an object");
    if (check_strings(config, "Env", err) < 0 || check_strings(config, "Cmd", err) < 0 ||
        check_strings(config, "Entrypoint", err) < 0 || check_labels(config, err) < 0 ||
        json_field_cstring(config, "User", &text, err) < 0)
        return -1;
    text = NULL;
    if (json_field_cstring(config, "WorkingDir", &text, err) < 0)
        return -1;
    if (text && text[0] && text[0] != '/')
        return berm_fail_field(err, "WorkingDir", "WorkingDir must be absolute");
    return 0;
}

/* --- from a local image --- */

static void write_strings(struct json_writer *w, const char *key, const struct str *items, size_t count)
{
    if (count == 0)
        return;
    json_key(w, key);
    json_array_begin(w);
    for (size_t i = 0; i < count; i++)
        json_string(w, items[i]);
    json_array_end(w);
}

static void write_env(struct json_writer *w, const struct image_config *config)
{
    struct buf pair;

    json_key(w, "Env");
    json_array_begin(w);
    buf_init(&pair, DOCKER_BODY_MAX);
    for (size_t i = 0; i < config->env_count; i++) {
        buf_clear(&pair);
        if (buf_append_str(&pair, config->env[i].name) < 0 || buf_append(&pair, "=", 1) < 0 ||
            buf_append_str(&pair, config->env[i].value) < 0)
            w->failed = true;
        json_string(w, buf_str(&pair));
    }
    buf_free(&pair);
    json_array_end(w);
}

char *image_config_of_entry(struct arena *arena, const struct image_entry *entry, bool plain)
{
    const struct image_config *config = &entry->config;
    struct json_writer w;
    struct buf text;
    char *result = NULL;

    buf_init(&text, TEXT_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    write_env(&w, config);
    if (plain) {
        write_strings(&w, "Entrypoint", config->entrypoint, config->entrypoint_count);
        write_strings(&w, "Cmd", config->cmd, config->cmd_count);
        json_pair_cstring(&w, "User", config->user);
        json_pair_cstring(&w, "WorkingDir", config->workdir);
    } else {
        json_key(&w, "ExposedPorts");
        json_object_begin(&w);
        json_pair_empty_object(&w, "3000/tcp");
        json_object_end(&w);
    }
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        result = arena_strdup(arena, buf_str(&text));
    buf_free(&text);
    return result;
}

/* --- merging --- */

static bool present(const struct json *object, const char *key)
{
    const struct json *value = json_get(object, key);

    return value && value->type != JSON_NULL;
}

static struct str env_name(struct str entry)
{
    const char *equals = entry.n ? memchr(entry.p, '=', entry.n) : NULL;

    return (struct str){ entry.p, equals ? (size_t)(equals - entry.p) : entry.n };
}

static bool env_set_in(const struct json *list, size_t from, struct str name)
{
    if (!list || list->type != JSON_ARRAY)
        return false;
    for (size_t i = from; i < list->array.count; i++)
        if (str_eq(env_name(list->array.items[i].string), name))
            return true;
    return false;
}

static void merge_env(struct json_writer *w, const struct json *base, const struct json *changes)
{
    const struct json *lists[] = { json_get(base, "Env"), json_get(changes, "Env") };

    json_key(w, "Env");
    json_array_begin(w);
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        for (size_t i = 0; lists[l] && lists[l]->type == JSON_ARRAY && i < lists[l]->array.count; i++) {
            struct str entry = lists[l]->array.items[i].string;

            if (!env_set_in(lists[l], i + 1, env_name(entry)) &&
                !(l == 0 && env_set_in(lists[1], 0, env_name(entry))))
                json_string(w, entry);
        }
    json_array_end(w);
}

static void merge_object(struct json_writer *w, const char *key, const struct json *base,
                         const struct json *changes)
{
    const struct json *objects[] = { json_get(base, key), json_get(changes, key) };

    if (!present(base, key) && !present(changes, key))
        return;
    json_key(w, key);
    json_object_begin(w);
    for (size_t o = 0; o < ARRAY_SIZE(objects); o++)
        for (size_t i = 0; objects[o] && objects[o]->type == JSON_OBJECT && i < objects[o]->object.count; i++) {
            const struct json_member *member = &objects[o]->object.members[i];

            if (o == 0 && json_get(objects[1], member->key.p))
                continue;
            json_key_str(w, member->key);
            json_value(w, &member->value);
        }
    json_object_end(w);
}

static void take_latest(struct json_writer *w, const char *key, const struct json *base, const struct json *changes)
{
    const struct json *from = present(changes, key) ? changes : base;

    if (!present(from, key))
        return;
    json_key(w, key);
    json_value(w, json_get(from, key));
}

char *image_config_merge(const struct json *base, const struct json *changes)
{
    struct json_writer w;
    struct buf text;

    buf_init(&text, TEXT_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    merge_env(&w, base, changes);
    merge_object(&w, "Labels", base, changes);
    merge_object(&w, "ExposedPorts", base, changes);
    take_latest(&w, "Entrypoint", base, changes);
    if (!present(changes, "Entrypoint") || present(changes, "Cmd"))
        take_latest(&w, "Cmd", base, changes);
    take_latest(&w, "WorkingDir", base, changes);
    take_latest(&w, "User", base, changes);
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        return buf_steal(&text, NULL);
    buf_free(&text);
    return NULL;
}

/* --- what a container runs --- */

static void add_words(struct json_writer *w, const struct json *words, bool skip_sandbox)
{
    size_t from = 0;

    if (!words || words->type == JSON_NULL)
        return;
    if (words->type == JSON_STRING) { /* as the shell form was written long ago */
        json_cstring(w, "/bin/sh");
        json_cstring(w, "-c");
        json_string(w, words->string);
        return;
    }
    if (skip_sandbox && words->array.count > 0 && str_is(words->array.items[0].string, SANDBOX_ENTRY))
        from = 1;
    for (size_t i = from; i < words->array.count; i++)
        json_string(w, words->array.items[i].string);
}

char *image_config_command(const struct json *config, bool plain)
{
    struct json_writer w;
    struct buf text;

    buf_init(&text, TEXT_MAX);
    json_writer_init(&w, &text);
    json_array_begin(&w);
    add_words(&w, json_get(config, "Entrypoint"), !plain);
    add_words(&w, json_get(config, "Cmd"), false);
    json_array_end(&w);
    if (json_writer_finish(&w) == 0)
        return buf_steal(&text, NULL);
    buf_free(&text);
    return NULL;
}

char *image_config_env(const struct json *config)
{
    const struct json *list = json_get(config, "Env");
    struct json_writer w;
    struct buf text;

    buf_init(&text, TEXT_MAX);
    json_writer_init(&w, &text);
    json_object_begin(&w);
    for (size_t i = 0; list && list->type == JSON_ARRAY && i < list->array.count; i++) {
        struct str entry = list->array.items[i].string, name = env_name(entry);

        if (name.n == 0 || name.n == entry.n || env_set_in(list, i + 1, name))
            continue; /* "NAME" alone takes a variable away, and there is nothing to take it from */
        json_key_str(&w, name);
        json_string(&w, (struct str){ name.p + name.n + 1, entry.n - name.n - 1 });
    }
    json_object_end(&w);
    if (json_writer_finish(&w) == 0)
        return buf_steal(&text, NULL);
    buf_free(&text);
    return NULL;
}
