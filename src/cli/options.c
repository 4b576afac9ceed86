#include "options.h"

#include "units.h"

struct parser {
    const struct cli_option_set *sets;
    size_t set_count;
    struct arena *arena;
    char **argv;
    int argc, at;
    struct berm_error *err;
};

static const struct cli_option *find(const struct parser *p, char letter, struct str name, void **ret_values)
{
    for (size_t s = 0; s < p->set_count; s++) {
        for (const struct cli_option *o = p->sets[s].table; o && o->name; o++) {
            if (letter ? o->letter == letter : str_is(name, o->name)) {
                *ret_values = p->sets[s].values;
                return o;
            }
        }
    }
    return NULL;
}

static int bad_value(const struct parser *p, const struct cli_option *o, const char *value, const char *wanted)
{
    return berm_fail(p->err, BERM_E_INVALID_REQUEST, 0, "--%s: '%s' is not %s", o->name, value, wanted);
}

static int list_add(const struct parser *p, struct cli_list *list, const char *value)
{
    const char **items = arena_calloc(p->arena, list->count + 2, sizeof(*items));

    if (!items)
        return berm_fail(p->err, BERM_E_SYSTEM, ENOMEM, "options");
    if (list->count > 0)
        memcpy(items, list->items, list->count * sizeof(*items));
    items[list->count++] = value;
    list->items = items;
    return 0;
}

static int env_add(const struct parser *p, const struct cli_option *o, struct cli_list *list, const char *value)
{
    const char *found;
    char *pair;

    if (value[0] == '\0' || value[0] == '=')
        return bad_value(p, o, value, "NAME=VALUE or NAME");
    if (strchr(value, '='))
        return list_add(p, list, value);
    found = getenv(value);
    if (!found)
        return berm_fail(p->err, BERM_E_INVALID_REQUEST, 0, "--%s: %s is not set in the environment", o->name,
                         value);
    pair = arena_printf(p->arena, "%s=%s", value, found);
    return pair ? list_add(p, list, pair) : berm_fail(p->err, BERM_E_SYSTEM, ENOMEM, "options");
}

static int store(const struct parser *p, const struct cli_option *o, void *values, const char *value)
{
    char *field = (char *)values + o->offset;

    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)field = true;
        return 0;
    case CLI_TEXT:
        *(const char **)(void *)field = value;
        return 0;
    case CLI_LIST:
        return list_add(p, (struct cli_list *)(void *)field, value);
    case CLI_ENV:
        return env_add(p, o, (struct cli_list *)(void *)field, value);
    case CLI_SIZE:
        return parse_size(value, (uint64_t *)(void *)field) == 0 ? 0
                                                                 : bad_value(p, o, value, "a size like 512m or 1g");
    case CLI_COUNT:
        return parse_count(value, (uint32_t *)(void *)field) == 0 ? 0 : bad_value(p, o, value, "a number above 0");
    case CLI_CPUS:
        return parse_cpus(value, (uint32_t *)(void *)field) == 0 ? 0 : bad_value(p, o, value, "CPUs like 1 or 0.5");
    case CLI_DURATION:
        return parse_duration(value, (int64_t *)(void *)field) == 0
                   ? 0
                   : bad_value(p, o, value, "a time like 30s, 10m or 500ms");
    }
    return -1;
}

/* The value may be in the same word or be the next one. */
static int take_value(struct parser *p, const struct cli_option *o, void *values, const char *attached)
{
    if (!attached && p->at + 1 >= p->argc)
        return berm_fail(p->err, BERM_E_INVALID_REQUEST, 0, "--%s needs a value: %s", o->name, o->value);
    return store(p, o, values, attached ? attached : p->argv[++p->at]);
}

static int parse_long(struct parser *p, const char *word)
{
    const char *equals = strchr(word, '=');
    struct str name = { word, equals ? (size_t)(equals - word) : strlen(word) };
    void *values;
    const struct cli_option *o = find(p, 0, name, &values);

    if (!o)
        return berm_fail(p->err, BERM_E_INVALID_REQUEST, 0, "there is no option --%.*s",
                         (int)MIN(name.n, (size_t)64), name.p);
    if (o->kind == CLI_FLAG)
        return equals ? berm_fail(p->err, BERM_E_INVALID_REQUEST, 0, "--%s takes no value", o->name)
                      : store(p, o, values, NULL);
    return take_value(p, o, values, equals ? equals + 1 : NULL);
}

/* One or more flags in a word, the last of which may be an option with its value behind it: -i, -iw/tmp, -e A=1. */
static int parse_letters(struct parser *p, const char *word)
{
    for (; *word; word++) {
        void *values;
        const struct cli_option *o = find(p, *word, STR(""), &values);

        if (!o)
            return berm_fail(p->err, BERM_E_INVALID_REQUEST, 0, "there is no option -%c", *word);
        if (o->kind != CLI_FLAG)
            return take_value(p, o, values, word[1] ? word + 1 : NULL);
        if (store(p, o, values, NULL) < 0)
            return -1;
    }
    return 0;
}

int options_parse(const struct cli_option_set *sets, size_t set_count, bool options_first, struct arena *arena,
                  int argc, char **argv, struct cli_operands *ret, struct berm_error *err)
{
    struct parser p = {
        .sets = sets, .set_count = set_count, .arena = arena, .argv = argv, .argc = argc, .err = err
    };
    bool only_operands = false;

    ret->count = 0;
    ret->items = arena_calloc(arena, (size_t)argc + 1, sizeof(*ret->items));
    if (!ret->items)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "options");
    for (; p.at < argc; p.at++) {
        const char *word = argv[p.at];
        int rc = 0;

        if (only_operands || word[0] != '-' || word[1] == '\0') {
            ret->items[ret->count++] = argv[p.at];
            only_operands = only_operands || options_first;
        } else if (strcmp(word, "--") == 0) {
            only_operands = true;
        } else {
            rc = word[1] == '-' ? parse_long(&p, word + 2) : parse_letters(&p, word + 1);
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}
