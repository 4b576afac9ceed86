#include "image/recipe.h"

/* Cuts the first word off: what is up to the first blank. */
static struct str cut_word(struct str *rest)
{
    struct str word = { rest->p, 0 };
    while (word.n < rest->n && rest->p[word.n] != ' ' && rest->p[word.n] != '\t')
        word.n++;
    *rest = str_trim((struct str){ rest->p + word.n, rest->n - word.n });
    return word;
}

/* Suites and variants end up as arguments of mmdebstrap: plain words, never an option or a path. */
static int set_plain_word(struct arena *arena, struct str value, const char **ret, struct berm_error *err)
{
    if (value.n == 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "a value is missing");
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '-' && i > 0)))
            return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "only lower-case letters, digits and '-' are allowed");
    }
    *ret = arena_strdup(arena, value);
    return *ret ? 0 : berm_fail(err, BERM_E_SYSTEM, ENOMEM, "recipe");
}

static int set_env(struct recipe *recipe, struct arena *arena, struct str value, struct berm_error *err)
{
    const char *equals = memchr(value.p, '=', value.n);
    if (!equals)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "env needs NAME=VALUE");
    size_t name_size = (size_t)(equals - value.p);
    return image_config_set_env(&recipe->config, arena, (struct str){ value.p, name_size },
                                (struct str){ equals + 1, value.n - name_size - 1 }, err);
}

static int set_words(struct str *words, size_t *count, struct arena *arena, struct str value,
                     struct berm_error *err)
{
    *count = 0;
    while (value.n > 0)
        if (image_config_add_word(words, count, arena, cut_word(&value), err) < 0)
            return -1;
    return 0;
}

static int parse_line(struct recipe *recipe, struct arena *arena, struct str line, struct berm_error *err)
{
    struct image_config *config = &recipe->config;
    struct str value = line;
    struct str key = cut_word(&value);
    if (str_is(key, "suite"))
        return set_plain_word(arena, value, &recipe->suite, err);
    if (str_is(key, "variant"))
        return set_plain_word(arena, value, &recipe->variant, err);
    if (str_is(key, "env"))
        return set_env(recipe, arena, value, err);
    if (str_is(key, "workdir"))
        return image_config_set_workdir(config, arena, value, err);
    if (str_is(key, "user"))
        return image_config_set_user(config, arena, value, err);
    if (str_is(key, "cmd"))
        return set_words(config->cmd, &config->cmd_count, arena, value, err);
    if (str_is(key, "entrypoint"))
        return set_words(config->entrypoint, &config->entrypoint_count, arena, value, err);
    return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "there is no such setting");
}

int recipe_parse(struct arena *arena, struct str text, struct recipe *ret, struct berm_error *err)
{
    struct recipe recipe = { .suite = "bookworm", .variant = "minbase" };
    if (image_config_init(&recipe.config, arena, err) < 0)
        return -1;
    for (unsigned number = 1; text.n > 0; number++) {
        const char *newline = memchr(text.p, '\n', text.n);
        size_t n = newline ? (size_t)(newline - text.p) : text.n;
        struct str line = str_trim((struct str){ text.p, n });
        struct berm_error detail = { 0 };
        if (line.n > 0 && line.p[0] != '#' && parse_line(&recipe, arena, line, &detail) < 0)
            return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "line %u of the recipe's config: %s", number,
                             detail.message);
        text = (struct str){ text.p + n + (newline ? 1 : 0), text.n - n - (newline ? 1 : 0) };
    }
    *ret = recipe;
    return 0;
}
