#include "daemon/bindings.h"

#include "daemon/auth.h"

#define BINDINGS_MAX 1000
#define WORDS_MAX    5

static void free_secret(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

static void free_binding(struct binding *binding)
{
    free(binding->name);
    free(binding->bucket);
    free(binding->endpoint);
    free(binding->key_id);
    free_secret(binding->secret);
}

void bindings_free(struct bindings *bindings)
{
    for (size_t i = 0; i < bindings->count; i++)
        free_binding(&bindings->rows[i]);
    free(bindings->rows);
    *bindings = (struct bindings){ 0 };
}

const struct binding *bindings_find(const struct bindings *bindings, struct str name)
{
    for (size_t i = 0; i < bindings->count; i++)
        if (str_is(name, bindings->rows[i].name))
            return &bindings->rows[i];
    return NULL;
}

/* How many there are; one more than WORDS_MAX for any number above it. */
static size_t split(struct str line, struct str words[WORDS_MAX + 1])
{
    size_t count = 0;

    for (size_t at = 0; count <= WORDS_MAX;) {
        size_t start;

        while (at < line.n && (line.p[at] == ' ' || line.p[at] == '\t'))
            at++;
        start = at;
        while (at < line.n && line.p[at] != ' ' && line.p[at] != '\t')
            at++;
        if (at == start)
            break;
        words[count++] = (struct str){ line.p + start, at - start };
    }
    return count;
}

/* -1 without memory; what there is then is freed by who frees the binding. */
static int fill(struct binding *binding, const struct str *words, size_t count)
{
    char **fields[WORDS_MAX] = { &binding->name, &binding->bucket, &binding->endpoint, &binding->key_id,
                                 &binding->secret };

    for (size_t i = 0; i < count; i++)
        if (!(*fields[i] = strndup(words[i].p, words[i].n)))
            return -1;
    return 0;
}

static int add_line(struct str line, void *data, struct berm_error *err)
{
    struct bindings *bindings = data;
    struct str words[WORDS_MAX + 1];
    size_t count = split(line, words);
    struct binding *rows;

    if (count != 3 && count != WORDS_MAX)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0,
                         "expected NAME BUCKET ENDPOINT, and perhaps ACCESS_KEY_ID SECRET_ACCESS_KEY");
    if (memchr(line.p, 0, line.n))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "a NUL");
    if (!str_has_prefix(words[2], STR("http://")) && !str_has_prefix(words[2], STR("https://")))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "the endpoint must be an http or https URL");
    if (bindings_find(bindings, words[0]))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "the name is there already");
    if (bindings->count >= BINDINGS_MAX)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "there are more than %d", BINDINGS_MAX);
    rows = reallocarray(bindings->rows, bindings->count + 1, sizeof(*rows));
    if (!rows)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "bindings");
    bindings->rows = rows;
    rows[bindings->count] = (struct binding){ 0 };
    if (fill(&rows[bindings->count++], words, count) < 0)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "bindings");
    return 0;
}

int bindings_load_file(struct bindings *bindings, const char *path, struct berm_error *err)
{
    struct bindings fresh = { 0 };

    if (path && auth_each_line(path, add_line, &fresh, err) < 0) {
        bindings_free(&fresh);
        return -1;
    }
    bindings_free(bindings);
    *bindings = fresh;
    return 0;
}
