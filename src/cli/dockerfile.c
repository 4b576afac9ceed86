#include "cli/dockerfile.h"

#include "base/json.h"

struct parser {
    struct arena *arena;
    struct str rest;
    unsigned line; /* of the next one */
    char escape;
    struct berm_error *err;
};

static int fail(const struct parser *p, unsigned line, const char *message)
{
    return berm_fail(p->err, BERM_E_INVALID_REQUEST, 0, "Dockerfile line %u: %s", line, message);
}

/* The next line without its end; false at the end of the text. */
static bool take_line(struct parser *p, struct str *ret)
{
    const char *lf;

    if (p->rest.n == 0)
        return false;
    lf = memchr(p->rest.p, '\n', p->rest.n);
    *ret = (struct str){ p->rest.p, lf ? (size_t)(lf - p->rest.p) : p->rest.n };
    p->rest.p += ret->n + (lf != NULL);
    p->rest.n -= ret->n + (lf != NULL);
    if (ret->n > 0 && ret->p[ret->n - 1] == '\r')
        ret->n--;
    p->line++;
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* `# escape=` and `# syntax=` count in the first lines only. */
static void take_directives(struct parser *p)
{
    struct parser ahead = *p;
    struct str line;

    while (take_line(&ahead, &line)) {
        static const struct str escape = { "escape=", 7 };

        line = str_trim(line);
        if (line.n == 0 || line.p[0] != '#')
            return;
        line = str_trim((struct str){ line.p + 1, line.n - 1 });
        if (!memchr(line.p, '=', line.n))
            return;
        if (line.n == escape.n + 1 && str_eq_nocase((struct str){ line.p, escape.n }, escape) &&
            (line.p[escape.n] == '`' || line.p[escape.n] == '\\'))
            p->escape = line.p[escape.n];
        p->rest = ahead.rest;
        p->line = ahead.line;
    }
}

/* A logical line: continued ones joined, comments and empty ones between them dropped. */
static int take_logical(struct parser *p, struct buf *out, unsigned *ret_line)
{
    struct str line;

    buf_clear(out);
    *ret_line = 0;
    while (take_line(p, &line)) {
        struct str trimmed = str_trim(line);
        bool goes_on;

        if (trimmed.n == 0 || trimmed.p[0] == '#')
            continue;
        if (!*ret_line) {
            *ret_line = p->line - 1;
            line = trimmed;
        }
        while (line.n > 0 && is_space(line.p[line.n - 1]))
            line.n--;
        goes_on = line.n > 0 && line.p[line.n - 1] == p->escape;
        if (buf_append(out, line.p, line.n - goes_on) < 0)
            return fail(p, *ret_line, "it is too long");
        if (!goes_on)
            return 1;
    }
    return out->len > 0;
}

static struct str take_word(struct str *s)
{
    struct str word;
    size_t n = 0;

    *s = str_trim(*s);
    while (n < s->n && !is_space(s->p[n]))
        n++;
    word = (struct str){ s->p, n };
    *s = str_trim((struct str){ s->p + n, s->n - n });
    return word;
}

static int take_flags(struct parser *p, struct dockerfile_instruction *item)
{
    while (str_has_prefix(item->text, STR("--")) && item->text.n > 2) {
        struct str word = take_word(&item->text), name = { word.p + 2, word.n - 2 };
        const char *equals = memchr(name.p, '=', name.n);
        struct dockerfile_flag *flag = &item->flags[item->flag_count];

        if (item->flag_count == DOCKERFILE_FLAGS_MAX)
            return fail(p, item->line, "too many flags");
        flag->name = (struct str){ name.p, equals ? (size_t)(equals - name.p) : name.n };
        flag->value = equals ? (struct str){ equals + 1, name.n - flag->name.n - 1 } : STR("");
        item->flag_count++;
    }
    return 0;
}

/* Text that only looks like JSON is shell, as Docker has it. */
static int take_json(struct parser *p, struct dockerfile_instruction *item)
{
    const struct json *list = NULL;

    if (item->text.n == 0 || item->text.p[0] != '[' || json_parse(p->arena, item->text, 2, &list, NULL) < 0 ||
        list->type != JSON_ARRAY)
        return 0;
    for (size_t i = 0; i < list->array.count; i++)
        if (list->array.items[i].type != JSON_STRING ||
            memchr(list->array.items[i].string.p, '\0', list->array.items[i].string.n))
            return 0;
    item->words = arena_calloc(p->arena, list->array.count + 1, sizeof(*item->words));
    if (!item->words)
        return fail(p, item->line, "out of memory");
    for (size_t i = 0; i < list->array.count; i++)
        item->words[i] = list->array.items[i].string;
    item->word_count = list->array.count;
    return 0;
}

/* RUN <<EOF: the lines up to EOF are the script. */
static int take_heredoc(struct parser *p, struct dockerfile_instruction *item)
{
    struct str word = item->text, line;
    bool strip = false;
    const char *start;

    if (strcmp(item->name, "RUN") != 0 || !str_has_prefix(word, STR("<<")))
        return 0;
    word = (struct str){ word.p + 2, word.n - 2 };
    if (word.n > 0 && word.p[0] == '-') {
        strip = true;
        word = (struct str){ word.p + 1, word.n - 1 };
    }
    if (word.n > 2 && (word.p[0] == '"' || word.p[0] == '\'') && word.p[word.n - 1] == word.p[0])
        word = (struct str){ word.p + 1, word.n - 2 };
    if (word.n == 0 || memchr(word.p, ' ', word.n))
        return fail(p, item->line, "this form of a here-document is not understood");
    start = p->rest.p;
    while (take_line(p, &line)) {
        struct str mark = line;

        while (strip && mark.n > 0 && mark.p[0] == '\t')
            mark = (struct str){ mark.p + 1, mark.n - 1 };
        if (!str_eq(mark, word))
            continue;
        item->heredoc = (struct str){ start, (size_t)(line.p - start) };
        return 0;
    }
    return fail(p, item->line, "the here-document has no end");
}

static int take_instruction(struct parser *p, struct str text, unsigned line, struct dockerfile_instruction *ret)
{
    struct str name;

    *ret = (struct dockerfile_instruction){ .line = line };
    ret->text.p = arena_strdup(p->arena, text);
    ret->text.n = text.n;
    if (!ret->text.p)
        return fail(p, line, "out of memory");
    name = take_word(&ret->text);
    if (name.n >= sizeof(ret->name))
        return fail(p, line, "there is no such instruction");
    for (size_t i = 0; i < name.n; i++)
        ret->name[i] = name.p[i] >= 'a' && name.p[i] <= 'z' ? (char)(name.p[i] - 'a' + 'A') : name.p[i];
    if (take_flags(p, ret) < 0 || take_heredoc(p, ret) < 0)
        return -1;
    return take_json(p, ret);
}

int dockerfile_parse(struct arena *arena, struct str text, struct dockerfile *ret, struct berm_error *err)
{
    struct parser p = { .arena = arena, .rest = text, .line = 1, .escape = '\\', .err = err };
    struct buf logical;
    unsigned line;
    int rc;

    if (text.n > DOCKERFILE_MAX_BYTES)
        return fail(&p, 1, "the file is larger than 1 MiB");
    if (memchr(text.p ? text.p : "", '\0', text.n))
        return fail(&p, 1, "the file holds a NUL byte");
    *ret = (struct dockerfile){ .items = arena_calloc(arena, DOCKERFILE_INSTRUCTIONS_MAX, sizeof(*ret->items)) };
    if (!ret->items)
        return fail(&p, 1, "out of memory");
    take_directives(&p);
    buf_init(&logical, DOCKERFILE_MAX_BYTES);
    while ((rc = take_logical(&p, &logical, &line)) > 0) {
        if (ret->count == DOCKERFILE_INSTRUCTIONS_MAX)
            rc = fail(&p, line, "too many instructions");
        else
            rc = take_instruction(&p, buf_str(&logical), line, &ret->items[ret->count]);
        if (rc < 0)
            break;
        ret->count++;
    }
    buf_free(&logical);
    ret->escape = p.escape;
    return rc < 0 ? -1 : 0;
}

/* --- variables --- */

static bool name_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

struct expansion {
    struct buf out;
    char escape;
    dockerfile_lookup lookup;
    const void *data;
    struct berm_error *err;
};

static int expand_into(struct expansion *e, struct str text, unsigned depth);

/* "{name:-word}": how many bytes it took. */
static ssize_t expand_braces(struct expansion *e, struct str text, unsigned depth)
{
    size_t n = 1, end, open = 1;
    const char *value;
    struct str name, word;
    char kind = 0;

    while (n < text.n && name_char(text.p[n], n == 1))
        n++;
    name = (struct str){ text.p + 1, n - 1 };
    for (end = n; end < text.n && open > 0; end++)
        open += text.p[end] == '{' ? 1 : text.p[end] == '}' ? -1 : 0;
    if (open > 0 || name.n == 0)
        return berm_fail(e->err, BERM_E_INVALID_REQUEST, 0, "bad substitution: $%.*s", (int)MIN(text.n, (size_t)64),
                         text.p);
    word = (struct str){ text.p + n, end - 1 - n };
    if (word.n >= 2 && word.p[0] == ':' && (word.p[1] == '-' || word.p[1] == '+')) {
        kind = word.p[1];
        word = (struct str){ word.p + 2, word.n - 2 };
    } else if (word.n > 0) {
        return berm_fail(e->err, BERM_E_INVALID_REQUEST, 0, "this substitution is not understood: $%.*s",
                         (int)MIN(end, (size_t)64), text.p);
    }
    value = e->lookup(e->data, name);
    if (kind && (value && value[0]) == (kind == '+'))
        return expand_into(e, word, depth + 1) < 0 ? -1 : (ssize_t)end;
    if (kind != '+' && value && buf_append_str(&e->out, str_from(value)) < 0)
        return -1;
    return (ssize_t)end;
}

static ssize_t expand_variable(struct expansion *e, struct str text, unsigned depth)
{
    const char *value;
    size_t n = 0;

    if (text.n > 0 && text.p[0] == '{')
        return expand_braces(e, text, depth);
    while (n < text.n && name_char(text.p[n], n == 0))
        n++;
    if (n == 0)
        return buf_append(&e->out, "$", 1);
    value = e->lookup(e->data, (struct str){ text.p, n });
    return value && buf_append_str(&e->out, str_from(value)) < 0 ? -1 : (ssize_t)n;
}

static int expand_into(struct expansion *e, struct str text, unsigned depth)
{
    bool single = false, dquote = false;

    if (depth > 8)
        return berm_fail(e->err, BERM_E_INVALID_REQUEST, 0, "substitutions are nested too deep");
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        ssize_t used;

        if (c == '\'' && !dquote)
            single = !single;
        else if (c == '"' && !single)
            dquote = !dquote;
        if (c == e->escape && !single && i + 1 < text.n) {
            bool dollar = text.p[i + 1] == '$';

            if (buf_append(&e->out, text.p + i + dollar, 2 - (size_t)dollar) < 0)
                return -1;
            i++;
            continue;
        }
        if (c != '$' || single) {
            if (buf_append(&e->out, &c, 1) < 0)
                return -1;
            continue;
        }
        used = expand_variable(e, (struct str){ text.p + i + 1, text.n - i - 1 }, depth);
        if (used < 0)
            return -1;
        i += (size_t)used;
    }
    return 0;
}

char *dockerfile_expand(struct arena *arena, struct str text, char escape, dockerfile_lookup lookup,
                        const void *data, struct berm_error *err)
{
    struct expansion e = { .escape = escape, .lookup = lookup, .data = data, .err = err };
    char *result = NULL;

    err->code = BERM_OK;
    buf_init(&e.out, DOCKERFILE_MAX_BYTES);
    if (expand_into(&e, text, 0) == 0)
        result = arena_strdup(arena, buf_str(&e.out));
    buf_free(&e.out);
    if (!result && err->code == BERM_OK)
        berm_fail(err, BERM_E_INVALID_REQUEST, 0, "the line is too long when its variables are expanded");
    return result;
}

/* --- words --- */

/* One word into `out`: how many bytes of `text` it took, or -1 for a quote without end. */
static ssize_t unquote_word(struct str text, char escape, char *out)
{
    char quote = 0;
    size_t i = 0;

    for (; i < text.n && (quote || !is_space(text.p[i])); i++) {
        char c = text.p[i];

        if (!quote && (c == '"' || c == '\''))
            quote = c;
        else if (quote && c == quote)
            quote = 0;
        else if (c == escape && quote != '\'' && i + 1 < text.n)
            *out++ = text.p[++i];
        else
            *out++ = c;
    }
    *out = '\0';
    return quote ? -1 : (ssize_t)i;
}

int dockerfile_split(struct arena *arena, struct str text, char escape, char ***ret, size_t *ret_count,
                     struct berm_error *err)
{
    *ret = arena_calloc(arena, DOCKERFILE_WORDS_MAX + 1, sizeof(**ret));
    *ret_count = 0;
    if (!*ret)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "words");
    for (text = str_trim(text); text.n > 0; text = str_trim(text)) {
        char *word = arena_alloc(arena, text.n + 1);
        ssize_t used;

        if (!word || *ret_count == DOCKERFILE_WORDS_MAX)
            return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "too many words");
        used = unquote_word(text, escape, word);
        if (used < 0)
            return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "a quote has no end");
        (*ret)[(*ret_count)++] = word;
        text = (struct str){ text.p + used, text.n - (size_t)used };
    }
    return 0;
}
