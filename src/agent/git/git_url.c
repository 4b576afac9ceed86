#include "git_url.h"

#include "base/utf8.h"

const char *git_url_problem(struct str url)
{
    if (is_blank(url))
        return "Repository URL must not be empty";
    if (memchr(url.p, 0, url.n))
        return "Repository URL must not hold a NUL character";
    if (utf8_utf16_units(url) > GIT_URL_MAX)
        return "Repository URL must not be longer than 2048 characters";
    return NULL;
}

/* --- the name --- */

static struct str without_suffix(struct str s, struct str suffix)
{
    if (s.n >= suffix.n && memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0)
        s.n -= suffix.n;
    return s;
}

/* The last part that is not empty, between any of `separators`. */
static struct str last_part(struct str s, const char *separators)
{
    size_t n;

    while (s.n > 0 && strchr(separators, s.p[s.n - 1]))
        s.n--;
    n = s.n;
    while (n > 0 && !strchr(separators, s.p[n - 1]))
        n--;
    return (struct str){ s.p + n, s.n - n };
}

/* Everything of a URL that has a scheme up to its query and fragment; else nothing. */
static struct str url_path(struct str url)
{
    const char *slashes = memmem(url.p, url.n, "://", 3);
    struct str path;
    size_t n = 0;

    if (!slashes || slashes == url.p)
        return (struct str){ NULL, 0 };
    path = (struct str){ slashes + 3, url.n - (size_t)(slashes + 3 - url.p) };
    while (n < path.n && path.p[n] != '?' && path.p[n] != '#')
        n++;
    path.n = n;
    return path;
}

struct str git_url_name(struct str url)
{
    struct str path = url_path(url);
    const char *slash = path.p ? memchr(path.p, '/', path.n) : NULL;
    struct str name = { NULL, 0 };

    if (slash && path.p[path.n - 1] != '/')
        name = without_suffix(last_part(path, "/"), STR(".git"));
    if (name.n == 0)
        name = without_suffix(last_part(url, "/:"), STR(".git"));
    if (name.n == 0 || str_is(name, ".") || str_is(name, ".."))
        return STR("repository");
    return name;
}

/* --- errors --- */

static bool contains(struct str text, const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; i + n <= text.n; i++)
        if (str_eq_nocase((struct str){ text.p + i, n }, (struct str){ word, n }))
            return true;
    return false;
}

enum agent_code git_classify(int exit_code, struct str text)
{
    static const struct {
        const char *word;
        enum agent_code code;
    } rows[] = {
        { "permission denied", AGENT_E_GIT_AUTH_FAILED },  { "access denied", AGENT_E_GIT_AUTH_FAILED },
        { "not found", AGENT_E_GIT_REPOSITORY_NOT_FOUND }, { "does not exist", AGENT_E_GIT_REPOSITORY_NOT_FOUND },
        { "already exists", AGENT_E_GIT_CLONE_FAILED },    { "did not match", AGENT_E_GIT_BRANCH_NOT_FOUND },
        { "pathspec", AGENT_E_GIT_BRANCH_NOT_FOUND },      { "authentication", AGENT_E_GIT_AUTH_FAILED },
        { "credentials", AGENT_E_GIT_AUTH_FAILED },
    };

    if (exit_code == 124)
        return AGENT_E_GIT_NETWORK_ERROR;
    if (exit_code == 128) {
        bool no_repository = !contains(text, "not a git repository") && contains(text, "repository not found");
        return no_repository ? AGENT_E_GIT_REPOSITORY_NOT_FOUND : AGENT_E_GIT_OPERATION_FAILED;
    }
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (contains(text, rows[i].word))
            return rows[i].code;
    return AGENT_E_GIT_CLONE_FAILED;
}

/* --- redaction --- */

static bool ends_url(char c)
{
    return c == '\0' || strchr(" \t\n\v\f\r\"'`<>,;{}[]", c) != NULL;
}

/*
 * What has been looked up for the places behind, so that a text that is one long chain of URLs still takes linear
 * time.
 */
struct redactor {
    struct str text;
    size_t url_end; /* of the URL that the last place asked about is in */
    size_t next_at; /* of the first '@' not before the last place asked about */
};

static size_t url_end(struct redactor *r, size_t from)
{
    while (r->url_end < from || (r->url_end < r->text.n && !ends_url(r->text.p[r->url_end])))
        r->url_end = r->url_end < from ? from : r->url_end + 1;
    return r->url_end;
}

static size_t next_at(struct redactor *r, size_t from)
{
    while (r->next_at < from || (r->next_at < r->text.n && r->text.p[r->next_at] != '@'))
        r->next_at = r->next_at < from ? from : r->next_at + 1;
    return r->next_at;
}

static struct str rest(const struct redactor *r, size_t from)
{
    return (struct str){ r->text.p + from, r->text.n - from };
}

/* "http://" or "https://" at the beginning: its length, or 0. */
static size_t scheme_length(struct str text)
{
    static const struct str schemes[] = { { "https://", 8 }, { "http://", 7 } };

    for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
        if (text.n >= schemes[i].n && str_eq_nocase((struct str){ text.p, schemes[i].n }, schemes[i]))
            return schemes[i].n;
    return 0;
}

/*
 * Where the credentials of a URL end that begins at `from`; `from` if there are none. That is the first '@', but a
 * password may hold an unescaped one, so all up to the next delimiter count.
 */
static size_t credentials_end(struct redactor *r, size_t from)
{
    size_t end = url_end(r, from), last = next_at(r, from);

    if (last >= end)
        return from;
    for (size_t i = last; i < end && !strchr("/?#", r->text.p[i]); i++)
        if (r->text.p[i] == '@')
            last = i;
    return last;
}

/* The length of "?token=" or the like at the beginning, or 0. */
static size_t secret_parameter(struct str text)
{
    static const char *const names[] = { "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Security-Token", "token",
                                         "secret",           "password" };

    if (text.n == 0 || (text.p[0] != '?' && text.p[0] != '&'))
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        size_t n = strlen(names[i]);
        if (text.n > n + 1 && text.p[n + 1] == '=' &&
            str_eq_nocase((struct str){ text.p + 1, n }, (struct str){ names[i], n }))
            return n + 2;
    }
    return 0;
}

static size_t value_end(const struct redactor *r, size_t from)
{
    while (from < r->text.n && r->text.p[from] != '&' && r->text.p[from] != '#' && !ends_url(r->text.p[from]))
        from++;
    return from;
}

int git_redact(struct buf *out, struct str text)
{
    struct redactor r = { .text = text };
    size_t copied = 0;

    for (size_t i = 0; i < text.n;) {
        size_t scheme = scheme_length(rest(&r, i)), parameter = scheme ? 0 : secret_parameter(rest(&r, i));
        size_t from = i + scheme + parameter, end;
        if (scheme + parameter == 0) {
            i++;
            continue;
        }
        end = scheme ? credentials_end(&r, from) : value_end(&r, from);
        i = end;
        if (scheme && end == from)
            continue;
        if (buf_append(out, text.p + copied, from - copied) < 0 ||
            buf_append_str(out, scheme ? STR("******") : STR("REDACTED")) < 0)
            return -1;
        copied = end;
    }
    return buf_append(out, text.p + copied, text.n - copied);
}
